"""The actions of the page; each returns new values for components."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from imagesearch.ui._cards import Card, render_in
from imagesearch.ui._filter_form import (
    CHOICE_SLOTS,
    choice_properties,
    combine,
    compose,
    facets_of,
    moved_values,
    range_properties,
)
from imagesearch.ui._layout import FIRST_K, Layout
from imagesearch.ui._text import PageError, language_of, phrase
from imagesearch.ui._uploads import AddedFiles
from imagesearch.ui._view import Answer

__all__ = ["Actions", "report_html"]


_Updates = dict[Any, Any]


class Actions:
    """The actions behind the events; names and order of the arguments are those of the API.

    Args:
        layout: The components to update.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._view = layout.view

    def search(  # noqa: PLR0917  # Gradio passes an event's inputs by position
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
        """Find the images most like an image, a text, an indexed image, or their combination."""
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
        """Find the images most like an indexed one, without itself."""
        answer = self._view.more_like_this(
            id or "", k=k, min_score=min_score, where=where or "", language=language
        )
        return self._show(answer)

    def browse(self, k: int = FIRST_K, where: str = "", language: str = "en") -> _Updates:
        """Show images of the index that match a filter, without ranking them."""
        return self._show(self._view.browse(k=k, where=where or "", language=language))

    def search_page(  # noqa: PLR0917  # Gradio passes an event's inputs by position
        self,
        names: list[list[str]],
        picture: str | None,
        text: str,
        id: str,
        k: int,
        min_score: float | None,
        where: str,
        crop: str,
        language: str,
        *values: Any,
    ) -> _Updates:
        """Search, or browse, with the choices of the filter form."""
        chosen = self._compose(names, values)
        where = combine(chosen, where)
        return {
            **self.search(picture, text, id, k, min_score, where, crop, language),
            **self._remember(chosen, example=""),
        }

    def more_page(  # noqa: PLR0917  # as above
        self,
        names: list[list[str]],
        id: str,
        k: int,
        min_score: float | None,
        where: str,
        language: str,
        *values: Any,
    ) -> _Updates:
        """Find more like an indexed image with the choices of the filter form."""
        chosen = self._compose(names, values)
        return {
            **self.more_like_this(id, k, min_score, combine(chosen, where), language),
            **self._remember(chosen, example=id),
        }

    def narrow(  # noqa: PLR0917  # as above
        self,
        names: list[list[str]],
        choices_text: str,
        example: str,
        picture: str | None,
        text: str,
        id: str,
        k: int,
        min_score: float | None,
        where: str,
        crop: str,
        language: str,
        *values: Any,
    ) -> _Updates:
        """Repeat the last query with the present choices."""
        if self._compose(names, values) == choices_text:
            # The visitor left a field without changing it.
            skipped: _Updates = gr.skip()
            return skipped
        if example:
            return self.more_page(names, example, k, min_score, where, language, *values)
        return self.search_page(
            names, picture, text, id, k, min_score, where, crop, language, *values
        )

    def add(self, files: list[str] | None, fields: str = "", language: str = "en") -> _Updates:
        """Add images to the index, all with the same fields."""
        if not files:
            raise PageError("nothing_to_add")
        added = self._view.add(files, fields or "")
        return {
            self._layout.report: report_html(added, language),
            self._layout.report_json: added.to_json(),
        }

    def select(
        self, results: list[dict[str, Any]], language: str, event: gr.SelectData
    ) -> _Updates:
        """Show the details of a result."""
        card = Card(**results[event.index])
        return {
            self._layout.selected: card.id,
            self._layout.detail: self._view.detail(card, language),
            self._layout.detail_box: gr.update(visible=True),
        }

    def open(self, request: gr.Request) -> _Updates:
        """Fill the page for a new visitor."""
        language = self._view.settings.language
        if language == "auto":
            language = language_of(request.headers.get("accept-language", ""))
        return {
            self._layout.language: language,
            **self._labels(language),
            # An empty number can only be set here; a component created with None shows 0.
            self._layout.min_score: gr.update(
                value=None,
                label=phrase("min_score", language),
                placeholder=phrase("min_score_info", language),
            ),
            **self._filter_form(language),
            **self._show(self._view.browse(k=FIRST_K, language=language)),
            **self._remember("", example=""),
            self._layout.info: self._view.info_html(language),
        }

    def change_language(self, language: str, names: list[list[str]], *values: Any) -> _Updates:
        """Change the language of the page; the results stay."""
        return {
            **self._labels(language),
            **self._filter_form(language, names, values),
            self._layout.info: self._view.info_html(language),
            self._layout.detail_box: gr.update(visible=False),
            self._layout.report: "",
        }

    def refresh(self, language: str, names: list[list[str]], *values: Any) -> _Updates:
        """Update what depends on the content of the index."""
        return {
            self._layout.info: self._view.info_html(language),
            **self._filter_form(language, names, values),
        }

    def clear(self, k: int, language: str) -> _Updates:
        """Clear the query and the filter, and show the index."""
        layout = self._layout
        empty: _Updates = dict.fromkeys([layout.text, layout.id, layout.crop, layout.where], "")
        return {
            **empty,
            layout.picture: None,
            layout.crop_on: False,
            layout.min_score: None,
            **self._filter_form(language),
            **self.browse(k, language=language),
            **self._remember("", example=""),
        }

    def make_visible(self, picture: str | None) -> Any:
        """Convert an image that browsers cannot show, such as HEIC or TIFF."""
        image = self._view.displayable(picture) if picture else None
        return gr.skip() if image is None else image

    def _show(self, answer: Answer) -> _Updates:
        return {
            self._layout.status: answer.status,
            self._layout.gallery: answer.gallery,
            self._layout.results: [card.to_json() for card in answer.cards],
            # In the same update: the visitor may select a result before a later one arrives.
            self._layout.detail_box: gr.update(visible=False),
        }

    def _compose(self, names: list[list[str]], values: Sequence[Any]) -> str:
        return compose(self._view.fields()[1], names, values)

    def _remember(self, chosen: str, *, example: str) -> _Updates:
        """Store the choices and the example of the results that are shown."""
        return {
            self._layout.choices_text: gr.update(value=chosen, visible=bool(chosen)),
            self._layout.example: example,
        }

    def _labels(self, language: str) -> _Updates:
        properties: dict[Any, dict[str, str]] = {}
        for component, name, key in self._layout.labels:
            properties.setdefault(component, {})[name] = phrase(key, language)
        return {
            self._layout.heading: render_in(language, "heading"),
            **{component: gr.update(**texts) for component, texts in properties.items()},
        }

    def _filter_form(
        self, language: str, names: Sequence[Sequence[str]] = ((), ()), values: Sequence[Any] = ()
    ) -> _Updates:
        layout = self._layout
        facets = facets_of(self._view.fields()[1])
        moved = moved_values(facets, names, values)
        updates: _Updates = {
            layout.field_names: facets.names,
            layout.no_fields: gr.update(
                value=phrase("filters_none", language),
                visible=not facets.choices and not facets.ranges,
            ),
        }
        for slot, dropdown in enumerate(layout.choices):
            is_used = slot < len(facets.choices)
            properties = choice_properties(facets.choices[slot], language) if is_used else {}
            updates[dropdown] = gr.update(visible=is_used, value=moved[slot], **properties)
        limits = moved[CHOICE_SLOTS:]
        for slot, (row, *boxes) in enumerate(layout.ranges):
            is_used = slot < len(facets.ranges)
            updates[row] = gr.update(visible=is_used)
            both = range_properties(facets.ranges[slot], language) if is_used else ({}, {})
            for end, (box, properties) in enumerate(zip(boxes, both, strict=True)):
                updates[box] = gr.update(value=limits[2 * slot + end], **properties)
        return updates


def report_html(added: AddedFiles, language: str) -> str:
    """Return the numbers of added images, and the name and reason of each that failed."""
    counts = [
        (key, len(getattr(added, key))) for key in ("added", "updated", "unchanged", "failed")
    ]
    counts = [(key, count) for key, count in counts if count]
    return render_in(language, "report", counts=counts, failed=added.failed)
