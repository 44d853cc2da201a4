"""Actions: what the page does, as the new values of its components."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from imagesearch.errors import QueryError
from imagesearch.ui._cards import Card, heading_html, report_html
from imagesearch.ui._filter_form import (
    CHOICE_SLOTS,
    choice_properties,
    combine,
    compose,
    facets_of,
    kept,
    range_properties,
)
from imagesearch.ui._layout import FIRST_K, Layout
from imagesearch.ui._text import language_of, phrase
from imagesearch.ui._view import Answer

__all__ = ["Actions"]


_Updates = dict[Any, Any]


class Actions:
    """Answers events; names and order of the arguments are those of the API.

    Args:
        layout: What is filled.
    """

    def __init__(self, layout: Layout) -> None:
        self._at = layout
        self._view = layout.view

    def search(  # noqa: PLR0917  # Gradio gives an event's inputs by position
        self,
        picture: str | None = None,
        text: str = "",
        id: str = "",
        k: int = FIRST_K,
        min_score: float | None = None,
        where: str = "",
        crop: str = "",
        language: str = "en",
    ) -> _Updates:
        """Find the pictures most like a picture, words, an indexed picture, or their sum."""
        answer = self._view.search(
            picture,
            text=text or "",
            id=id or "",
            k=k,
            min_score=min_score,
            where=where or "",
            crop=crop or "",
            language=language,
        )
        return self._show(answer)

    def more_like_this(
        self,
        id: str,
        k: int = FIRST_K,
        min_score: float | None = None,
        where: str = "",
        language: str = "en",
    ) -> _Updates:
        """Find the pictures most like an indexed one, without itself."""
        answer = self._view.more_like_this(
            id or "", k=k, min_score=min_score, where=where or "", language=language
        )
        return self._show(answer)

    def browse(self, k: int = FIRST_K, where: str = "", language: str = "en") -> _Updates:
        """Show pictures of the index that match a filter, without ranking them."""
        return self._show(self._view.browse(k=k, where=where or "", language=language))

    def answer(  # noqa: PLR0917  # Gradio gives an event's inputs by position
        self,
        slots: list[list[str]],
        picture: str | None,
        text: str,
        id: str,
        k: int,
        min_score: float | None,
        where: str,
        crop: str,
        language: str,
        *picked: Any,
    ) -> _Updates:
        """Search, or browse, among the pictures that have what a visitor picked."""
        chosen = self._compose(slots, picked)
        where = combine(chosen, where)
        return {
            **self.search(picture, text, id, k, min_score, where, crop, language),
            **self._note(chosen, alike=""),
        }

    def answer_alike(  # noqa: PLR0917  # as above
        self,
        slots: list[list[str]],
        id: str,
        k: int,
        min_score: float | None,
        where: str,
        language: str,
        *picked: Any,
    ) -> _Updates:
        """Find more like a picture among those that have what a visitor picked."""
        chosen = self._compose(slots, picked)
        return {
            **self.more_like_this(id, k, min_score, combine(chosen, where), language),
            **self._note(chosen, alike=id),
        }

    def narrow(  # noqa: PLR0917  # as above
        self,
        slots: list[list[str]],
        meaning: str,
        alike: str,
        picture: str | None,
        text: str,
        id: str,
        k: int,
        min_score: float | None,
        where: str,
        crop: str,
        language: str,
        *picked: Any,
    ) -> _Updates:
        """Answer once more, with what is picked now; the question stays what it was."""
        if self._compose(slots, picked) == meaning:
            # A visitor went through a field without changing it.
            skipped: _Updates = gr.skip()
            return skipped
        if alike:
            return self.answer_alike(slots, alike, k, min_score, where, language, *picked)
        return self.answer(slots, picture, text, id, k, min_score, where, crop, language, *picked)

    def add(self, files: list[str] | None, fields: str = "", language: str = "en") -> _Updates:
        """Add pictures to the index, each with the same fields."""
        if not files:
            raise QueryError(phrase("nothing_to_add", language))
        added = self._view.add(files, fields or "")
        return {
            self._at.report: report_html(added, language),
            self._at.report_json: added.to_json(),
        }

    def choose(
        self, results: list[dict[str, Any]], language: str, event: gr.SelectData
    ) -> _Updates:
        """Show what is known about a picture of the gallery."""
        card = Card(**results[event.index])
        return {
            self._at.chosen: card.id,
            self._at.detail: self._view.detail(card, language),
            self._at.detail_box: gr.update(visible=True),
        }

    def open(self, request: gr.Request) -> _Updates:
        """Fill the page for a visitor who opens it."""
        language = self._view.settings.language
        if language == "auto":
            language = language_of(request.headers.get("accept-language", ""))
        return {
            self._at.language: language,
            **self._speak(language),
            # Only here can a number be made empty; made with None, it shows 0.
            self._at.min_score: gr.update(
                value=None,
                label=phrase("min_score", language),
                placeholder=phrase("min_score_info", language),
            ),
            **self._offer(language),
            **self._show(self._view.browse(k=FIRST_K, language=language)),
            **self._note("", alike=""),
            self._at.facts: self._view.facts_html(language),
        }

    def change_language(self, language: str, slots: list[list[str]], *picked: Any) -> _Updates:
        """Say everything in another language; answers stay as they are."""
        return {
            **self._speak(language),
            **self._offer(language, slots, picked),
            self._at.facts: self._view.facts_html(language),
            self._at.detail_box: gr.update(visible=False),
            self._at.report: "",
        }

    def refresh(self, language: str, slots: list[list[str]], *picked: Any) -> _Updates:
        """Look at the index again."""
        return {
            self._at.facts: self._view.facts_html(language),
            **self._offer(language, slots, picked),
        }

    def clear(self, k: int, language: str) -> _Updates:
        """Forget the query and the filter, and show what the index holds."""
        empty: _Updates = dict.fromkeys(
            [self._at.text, self._at.id, self._at.crop, self._at.where], ""
        )
        return {
            **empty,
            self._at.picture: None,
            self._at.crop_on: False,
            self._at.min_score: None,
            **self._offer(language),
            **self.browse(k, language=language),
            **self._note("", alike=""),
        }

    def make_visible(self, picture: str | None) -> Any:
        """Replace a picture that browsers cannot show, such as HEIC or TIFF, by one that they can."""
        image = self._view.displayable(picture) if picture else None
        return gr.skip() if image is None else image

    def _show(self, answer: Answer) -> _Updates:
        return {
            self._at.status: answer.status,
            self._at.gallery: answer.gallery,
            self._at.results: [card.to_json() for card in answer.cards],
            # With the answer, not after it: a visitor may already have chosen one of its pictures.
            self._at.detail_box: gr.update(visible=False),
        }

    def _compose(self, slots: list[list[str]], picked: Sequence[Any]) -> str:
        return compose(self._view.fields()[1], slots, picked)

    def _note(self, chosen: str, *, alike: str) -> _Updates:
        """Note what is shown: which choices narrowed it, and what it is like."""
        return {
            self._at.meaning: gr.update(value=chosen, visible=bool(chosen)),
            self._at.alike: alike,
        }

    def _speak(self, language: str) -> _Updates:
        changed: dict[Any, dict[str, str]] = {}
        for component, name, key in self._at.words:
            changed.setdefault(component, {})[name] = phrase(key, language)
        return {
            self._at.heading: heading_html(language),
            **{component: gr.update(**values) for component, values in changed.items()},
        }

    def _offer(
        self, language: str, slots: Sequence[Sequence[str]] = ((), ()), picked: Sequence[Any] = ()
    ) -> _Updates:
        facets = facets_of(self._view.fields()[1])
        values = kept(facets, slots, picked)
        updates: _Updates = {
            self._at.slots: facets.names,
            self._at.no_facets: gr.update(
                value=phrase("filters_none", language),
                visible=not facets.choices and not facets.ranges,
            ),
        }
        for slot, dropdown in enumerate(self._at.choices):
            there = slot < len(facets.choices)
            properties = choice_properties(facets.choices[slot], language) if there else {}
            updates[dropdown] = gr.update(visible=there, value=values[slot], **properties)
        limits = values[CHOICE_SLOTS:]
        for slot, (row, *boxes) in enumerate(self._at.ranges):
            there = slot < len(facets.ranges)
            updates[row] = gr.update(visible=there)
            both = range_properties(facets.ranges[slot], language) if there else ({}, {})
            for end, (box, properties) in enumerate(zip(boxes, both, strict=True)):
                updates[box] = gr.update(value=limits[2 * slot + end], **properties)
        return updates
