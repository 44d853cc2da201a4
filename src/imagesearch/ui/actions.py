"""Actions: what the page does, as the new values of its components."""

from __future__ import annotations

from typing import Any

import gradio as gr

from imagesearch.errors import QueryError
from imagesearch.ui.cards import Card, heading_html, report_html
from imagesearch.ui.facets import choice_properties, compose, facets_of, range_properties
from imagesearch.ui.layout import FIRST_K, Layout
from imagesearch.ui.phrases import language_of, phrase
from imagesearch.ui.view import Answer

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
        """Fill the page for somebody who opens it."""
        language = self._view.settings.language
        if language == "auto":
            language = language_of(request.headers.get("accept-language", ""))
        return {
            self._at.language: language,
            **self._speak(language),
            # Only here can a number be told to be empty; made with None, it shows 0.
            self._at.min_score: gr.update(
                value=None,
                label=phrase("min_score", language),
                placeholder=phrase("min_score_info", language),
            ),
            **self._offer(language, reset=True),
            **self._show(self._view.browse(k=FIRST_K, language=language)),
            self._at.facts: self._view.facts_html(language),
        }

    def change_language(self, language: str) -> _Updates:
        """Say everything in another language; answers stay as they are."""
        return {
            **self._speak(language),
            **self._offer(language, reset=False),
            self._at.facts: self._view.facts_html(language),
            self._at.detail_box: gr.update(visible=False),
            self._at.report: "",
        }

    def refresh(self, language: str) -> _Updates:
        """Look at the index again."""
        return {
            self._at.facts: self._view.facts_html(language),
            **self._offer(language, reset=False),
        }

    def clear(self, language: str) -> _Updates:
        """Forget the query and the filter."""
        empty: _Updates = dict.fromkeys(
            [self._at.text, self._at.id, self._at.crop, self._at.where], ""
        )
        return {
            **empty,
            self._at.picture: None,
            self._at.crop_on: False,
            self._at.min_score: None,
            **self._offer(language, reset=True),
        }

    def compose(self, slots: list[list[str]], *values: Any) -> str:
        """Write the filter that was chosen as text."""
        return compose(self._view.fields()[1], slots, values)

    def make_visible(self, picture: str | None) -> Any:
        """Replace a picture that browsers cannot show, such as HEIC or TIFF, by one that they can."""
        image = self._view.displayable(picture) if picture else None
        return gr.skip() if image is None else image

    def _show(self, answer: Answer) -> _Updates:
        return {
            self._at.status: answer.status,
            self._at.gallery: answer.gallery,
            self._at.results: [card.to_json() for card in answer.cards],
            # With the answer, not after it: somebody may already have chosen one of its pictures.
            self._at.detail_box: gr.update(visible=False),
        }

    def _speak(self, language: str) -> _Updates:
        changed: dict[Any, dict[str, str]] = {}
        for component, name, key in self._at.words:
            changed.setdefault(component, {})[name] = phrase(key, language)
        return {
            self._at.heading: heading_html(language),
            **{component: gr.update(**values) for component, values in changed.items()},
        }

    def _offer(self, language: str, *, reset: bool) -> _Updates:
        facets = facets_of(self._view.fields()[1])
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
            value: dict[str, Any] = {"value": []} if reset else {}
            updates[dropdown] = gr.update(visible=there, **properties, **value)
        for slot, (row, *boxes) in enumerate(self._at.ranges):
            there = slot < len(facets.ranges)
            updates[row] = gr.update(visible=there)
            both = range_properties(facets.ranges[slot], language) if there else ({}, {})
            for box, properties in zip(boxes, both, strict=True):
                updates[box] = gr.update(**properties, **({"value": None} if reset else {}))
        return updates
