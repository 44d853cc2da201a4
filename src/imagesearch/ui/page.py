"""Page: the view's answers in Gradio. Every action is an event here, and an API endpoint too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import gradio as gr

from imagesearch.ui.actions import Actions
from imagesearch.ui.guarding import guarded
from imagesearch.ui.layout import Layout
from imagesearch.ui.phrases import phrase
from imagesearch.ui.view import IndexView

__all__ = ["build_page"]

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")

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
        _Wiring(Layout(view), page).connect()
    return page


class _Wiring:
    """What leads to what; made inside a `gr.Blocks`."""

    def __init__(self, layout: Layout, page: gr.Blocks) -> None:
        self._at = layout
        self._do = Actions(layout)
        self._page = page

    def connect(self) -> None:
        self._connect_searching()
        self._connect_picture()
        self._connect_language_and_facts()
        if not self._at.view.settings.read_only:
            self._connect_adding()
        gr.api(self._guarded(self._at.view.record), api_name="record")
        gr.api(self._guarded(self._at.view.facts), api_name="facts")

    @property
    def _shown(self) -> list[Any]:
        """What an answer fills."""
        return [self._at.status, self._at.gallery, self._at.results, self._at.detail_box]

    @property
    def _answered(self) -> list[Any]:
        """What an answer fills for visitors, beside what programs get."""
        return [*self._shown, self._at.meaning, self._at.alike]

    @property
    def _picked(self) -> list[Any]:
        """What a visitor picks of the fields' values."""
        return [
            *self._at.choices,
            *(box for _, low, high in self._at.ranges for box in (low, high)),
        ]

    @property
    def _offered(self) -> list[Any]:
        """What the index's fields fill."""
        rows = (row for row, _, _ in self._at.ranges)
        return [self._at.slots, self._at.no_facets, *self._picked, *rows]

    @property
    def _spoken(self) -> list[Any]:
        """What has words in the visitor's language."""
        return [self._at.heading, *dict.fromkeys(component for component, _, _ in self._at.words)]

    def _connect_searching(self) -> None:
        at = self._at
        options = [at.k, at.min_score, at.where, at.language]
        queries = [at.picture, at.text, at.id, *options[:3], at.crop, at.language]
        lines = [at.text.submit, at.id.submit, at.crop.submit, at.where.submit]
        for event in (
            gr.on(
                [at.search_button.click, *lines, at.picture.upload],
                self._guarded(self._do.answer),
                [at.slots, *queries, *self._picked],
                self._answered,
                **_PRIVATE,
            ),
            at.more_button.click(
                self._guarded(self._do.answer_alike),
                [at.slots, at.chosen, *options, *self._picked],
                self._answered,
                **_PRIVATE,
            ),
        ):
            event.success(fn=None, js="() => imagesearchShowResults()", **_PRIVATE)
        boxes = [box for _, low, high in at.ranges for box in (low, high)]
        gr.on(
            [
                *(choice.input for choice in at.choices),
                # With every digit there would be a search.
                *(event for box in boxes for event in (box.submit, box.blur)),
            ],
            self._guarded(self._do.narrow),
            [at.slots, at.meaning, at.alike, *queries, *self._picked],
            self._answered,
            **_PRIVATE,
        )
        for action, inputs in (
            (self._do.search, queries),
            (self._do.more_like_this, [at.chosen, *options]),
            (self._do.browse, [at.k, at.where, at.language]),
        ):
            at.program.click(self._guarded(action), inputs, self._shown, api_name=action.__name__)
        at.gallery.select(
            self._guarded(self._do.choose),
            [at.results, at.language],
            [at.chosen, at.detail, at.detail_box],
            **_QUIET,
        ).success(fn=None, js="() => imagesearchShowDetail()", **_PRIVATE)
        at.clear_button.click(
            self._guarded(self._do.clear),
            [at.k, at.language],
            [
                *(at.picture, at.text, at.id, at.crop_on, at.crop, at.min_score),
                *(at.where, *self._offered, *self._answered),
            ],
            **_PRIVATE,
        )

    def _connect_picture(self) -> None:
        at = self._at
        at.picture.upload(
            self._guarded(self._do.make_visible), [at.picture], [at.picture], **_QUIET
        )
        at.picture.change(
            lambda picture: (gr.update(visible=picture is not None, value=False), ""),
            [at.picture],
            [at.crop_on, at.crop],
            **_QUIET,
        )
        at.crop_on.change(
            lambda on: gr.update(visible=on) if on else gr.update(visible=False, value=""),
            [at.crop_on],
            [at.crop],
            **_QUIET,
        )
        gr.on([at.crop.change, at.crop_on.change], fn=None, js="() => imagesearchDrawCrop()")

    def _connect_language_and_facts(self) -> None:
        at = self._at
        at.language.input(
            self._guarded(self._do.change_language),
            [at.language, at.slots, *self._picked],
            [*self._spoken, *self._offered, at.facts, at.detail_box, at.report],
            **_QUIET,
        )
        at.facts_tab.select(
            self._guarded(self._do.refresh),
            [at.language, at.slots, *self._picked],
            [at.facts, *self._offered],
            **_QUIET,
        )
        self._page.load(
            fn=None, outputs=[at.options], js="() => imagesearchOpenOptions()", **_PRIVATE
        )
        self._page.load(
            self._guarded(self._do.open),
            None,
            [at.language, *self._spoken, *self._offered, *self._answered, at.facts],
            **_QUIET,
        )

    def _connect_adding(self) -> None:
        at = self._at
        at.add_button.click(
            self._guarded(self._do.add),
            [at.files, at.fields, at.language],
            [at.report, at.report_json],
            api_name="add",
        ).success(
            self._guarded(self._do.refresh),
            [at.language, at.slots, *self._picked],
            [at.facts, *self._offered],
            **_QUIET,
        ).then(lambda: None, None, [at.files], **_QUIET)

    def _guarded(self, action: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
        return guarded(action, self._at.view)
