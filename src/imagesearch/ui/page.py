"""Page: the view's answers in Gradio. Every action is an event here, and an API endpoint too."""

from __future__ import annotations

import functools
import html
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import gradio as gr

from imagesearch.errors import QueryError
from imagesearch.ui.cards import Card, heading_html, report_html
from imagesearch.ui.explaining import explain
from imagesearch.ui.facets import (
    choice_properties,
    compose,
    facets_of,
    range_properties,
)
from imagesearch.ui.layout import FIRST_K, Layout
from imagesearch.ui.phrases import language_of, phrase
from imagesearch.ui.view import Answer, IndexView

__all__ = ["build_page"]

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")
_Updates = dict[Any, Any]

# Events that are no API, and those that do not show that they work.
_PRIVATE: dict[str, Any] = {"api_visibility": "private"}
_QUIET: dict[str, Any] = {"show_progress": "hidden", **_PRIVATE}


def build_page(view: IndexView) -> gr.Blocks:
    """Build the page.

    Args:
        view: What answers.
    """
    with gr.Blocks(
        title=f"{phrase('title', view.settings.language)} · imagesearch",
        analytics_enabled=False,
        delete_cache=(3600, 86400),
    ) as page:
        _Page(view, page)
    return page


class _Page(Layout):
    """What happens between the components; made inside a `gr.Blocks`."""

    def __init__(self, view: IndexView, page: gr.Blocks) -> None:
        super().__init__(view)
        self.page = page
        self._connect()

    # What the page does; the names of the arguments are those of the API

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
        answer = self.view.search(
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
        answer = self.view.more_like_this(
            id or "", k=k, min_score=min_score, where=where or "", language=language
        )
        return self._show(answer)

    def browse(self, k: int = FIRST_K, where: str = "", language: str = "en") -> _Updates:
        """Show pictures of the index that match a filter, without ranking them."""
        return self._show(self.view.browse(k=k, where=where or "", language=language))

    def add(self, files: list[str] | None, fields: str = "", language: str = "en") -> _Updates:
        """Add pictures to the index, each with the same fields."""
        if not files:
            raise QueryError(phrase("nothing_to_add", language))
        added = self.view.add(files, fields or "")
        return {self.report: report_html(added, language), self.report_json: added.to_json()}

    def choose(
        self, results: list[dict[str, Any]], language: str, event: gr.SelectData
    ) -> _Updates:
        """Show what is known about a picture of the gallery."""
        card = Card(**results[event.index])
        return {
            self.chosen: card.id,
            self.detail: self.view.detail(card, language),
            self.detail_box: gr.update(visible=True),
        }

    def open(self, request: gr.Request) -> _Updates:
        """Fill the page for somebody who opens it."""
        language = self.view.settings.language
        if language == "auto":
            language = language_of(request.headers.get("accept-language", ""))
        return {
            self.language: language,
            **self._speak(language),
            # Only here can a number be told to be empty; made with None, it shows 0.
            self.min_score: gr.update(
                value=None,
                label=phrase("min_score", language),
                placeholder=phrase("min_score_info", language),
            ),
            **self._offer(language, reset=True),
            **self._show(self.view.browse(k=FIRST_K, language=language)),
            self.facts: self.view.facts_html(language),
        }

    def change_language(self, language: str) -> _Updates:
        """Say everything in another language; answers stay as they are."""
        return {
            **self._speak(language),
            **self._offer(language, reset=False),
            self.facts: self.view.facts_html(language),
            self.detail_box: gr.update(visible=False),
            self.report: "",
        }

    def refresh(self, language: str) -> _Updates:
        """Look at the index again."""
        return {
            self.facts: self.view.facts_html(language),
            **self._offer(language, reset=False),
        }

    def clear(self, language: str) -> _Updates:
        """Forget the query and the filter."""
        empty: _Updates = dict.fromkeys([self.text, self.id, self.crop, self.where], "")
        return {
            **empty,
            self.picture: None,
            self.crop_on: False,
            self.min_score: None,
            **self._offer(language, reset=True),
        }

    def compose(self, slots: list[list[str]], *values: Any) -> str:
        """Write the filter that was chosen as text."""
        return compose(self.view.fields()[1], slots, values)

    def make_visible(self, picture: str | None) -> Any:
        """Replace a picture that browsers cannot show, such as HEIC or TIFF, by one that they can."""
        image = self.view.displayable(picture) if picture else None
        return gr.skip() if image is None else image

    def _show(self, answer: Answer) -> _Updates:
        return {
            self.status: answer.status,
            self.gallery: answer.gallery,
            self.results: [card.to_json() for card in answer.cards],
            # With the answer, not after it: somebody may already have chosen one of its pictures.
            self.detail_box: gr.update(visible=False),
        }

    def _speak(self, language: str) -> _Updates:
        changed: dict[Any, dict[str, str]] = {}
        for component, name, key in self.words:
            changed.setdefault(component, {})[name] = phrase(key, language)
        return {
            self.heading: heading_html(language),
            **{component: gr.update(**values) for component, values in changed.items()},
        }

    def _offer(self, language: str, *, reset: bool) -> _Updates:
        facets = facets_of(self.view.fields()[1])
        updates: _Updates = {
            self.slots: facets.names,
            self.no_facets: gr.update(
                value=phrase("filters_none", language),
                visible=not facets.choices and not facets.ranges,
            ),
        }
        for slot, dropdown in enumerate(self.choices):
            there = slot < len(facets.choices)
            properties = choice_properties(facets.choices[slot], language) if there else {}
            value: dict[str, Any] = {"value": []} if reset else {}
            updates[dropdown] = gr.update(visible=there, **properties, **value)
        for slot, (row, *boxes) in enumerate(self.ranges):
            there = slot < len(facets.ranges)
            updates[row] = gr.update(visible=there)
            both = range_properties(facets.ranges[slot], language) if there else ({}, {})
            for box, properties in zip(boxes, both, strict=True):
                updates[box] = gr.update(**properties, **({"value": None} if reset else {}))
        return updates

    def _guarded(self, action: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
        """Turn errors into messages for visitors, in the language that they chose."""

        @functools.wraps(action)
        def guarded(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Result:
            try:
                return action(*args, **kwargs)
            except Exception as error:
                language = "zh" if "zh" in args else "en"
                raise gr.Error(
                    html.escape(explain(error, self.view, language), quote=False),
                    print_exception=False,
                ) from error

        return guarded

    # What leads to what

    def _connect(self) -> None:
        self._connect_searching()
        self._connect_picture()
        self._connect_filters()
        self._connect_language_and_facts()
        if not self.view.settings.read_only:
            self._connect_adding()
        gr.api(self._guarded(self.view.record), api_name="record")
        gr.api(self._guarded(self.view.facts), api_name="facts")

    @property
    def _shown(self) -> list[Any]:
        """What an answer fills."""
        return [self.status, self.gallery, self.results, self.detail_box]

    @property
    def _picked(self) -> list[Any]:
        """What a visitor picks of the fields' values."""
        return [*self.choices, *(box for _, low, high in self.ranges for box in (low, high))]

    @property
    def _offered(self) -> list[Any]:
        """What the index's fields fill."""
        rows = (row for row, _, _ in self.ranges)
        return [self.slots, self.no_facets, *self._picked, *rows]

    @property
    def _spoken(self) -> list[Any]:
        """What has words in the visitor's language."""
        return [self.heading, *dict.fromkeys(component for component, _, _ in self.words)]

    def _connect_searching(self) -> None:
        options = [self.k, self.min_score, self.where, self.language]
        queries = [self.picture, self.text, self.id, *options[:3], self.crop, self.language]
        search = self._guarded(self.search)
        lines = [self.text.submit, self.id.submit, self.crop.submit, self.where.submit]
        for event in (
            self.search_button.click(search, queries, self._shown, api_name="search"),
            gr.on([*lines, self.picture.upload], search, queries, self._shown, **_PRIVATE),
            self.more_button.click(
                self._guarded(self.more_like_this),
                [self.chosen, *options],
                self._shown,
                api_name="more_like_this",
            ),
        ):
            event.success(fn=None, js="() => imagesearchShowResults()", **_PRIVATE)
        self.gallery.select(
            self._guarded(self.choose),
            [self.results, self.language],
            [self.chosen, self.detail, self.detail_box],
            **_QUIET,
        ).success(fn=None, js="() => imagesearchShowDetail()", **_PRIVATE)
        self.clear_button.click(
            self._guarded(self.clear),
            [self.language],
            [
                *(self.picture, self.text, self.id, self.crop_on, self.crop, self.min_score),
                *(self.where, *self._offered),
            ],
            **_QUIET,
        ).then(
            self._guarded(self.browse),
            [self.k, self.where, self.language],
            self._shown,
            api_name="browse",
        )

    def _connect_picture(self) -> None:
        self.picture.upload(
            self._guarded(self.make_visible), [self.picture], [self.picture], **_QUIET
        )
        self.picture.change(
            lambda picture: (gr.update(visible=picture is not None, value=False), ""),
            [self.picture],
            [self.crop_on, self.crop],
            **_QUIET,
        )
        self.crop_on.change(
            lambda on: gr.update(visible=on) if on else gr.update(visible=False, value=""),
            [self.crop_on],
            [self.crop],
            **_QUIET,
        )
        gr.on([self.crop.change, self.crop_on.change], fn=None, js="() => imagesearchDrawCrop()")

    def _connect_filters(self) -> None:
        gr.on(
            [component.change for component in self._picked],
            self._guarded(self.compose),
            [self.slots, *self._picked],
            [self.where],
            **_QUIET,
        )

    def _connect_language_and_facts(self) -> None:
        self.language.input(
            self._guarded(self.change_language),
            [self.language],
            [*self._spoken, *self._offered, self.facts, self.detail_box, self.report],
            **_QUIET,
        )
        self.facts_tab.select(
            self._guarded(self.refresh), [self.language], [self.facts, *self._offered], **_QUIET
        )
        self.page.load(
            self._guarded(self.open),
            None,
            [self.language, *self._spoken, *self._offered, *self._shown, self.facts],
            **_QUIET,
        )

    def _connect_adding(self) -> None:
        self.add_button.click(
            self._guarded(self.add),
            [self.files, self.fields, self.language],
            [self.report, self.report_json],
            api_name="add",
        ).success(
            self._guarded(self.refresh), [self.language], [self.facts, *self._offered], **_QUIET
        ).then(lambda: None, None, [self.files], **_QUIET)
