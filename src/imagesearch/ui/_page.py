"""The page: its components, their events, and its theme."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from typing import Any, ParamSpec, TypeVar

import gradio as gr

from imagesearch.ui._actions import Actions
from imagesearch.ui._errors import guarded
from imagesearch.ui._layout import Layout
from imagesearch.ui._text import phrase
from imagesearch.ui._view import IndexView

__all__ = ["build_page", "theme_options"]


_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")

# Events that are not part of the API, and events without a progress display.
_PRIVATE: dict[str, Any] = {"api_visibility": "private"}
_QUIET: dict[str, Any] = {"show_progress": "hidden", **_PRIVATE}


def build_page(view: IndexView) -> gr.Blocks:
    """Build the page.

    Args:
        view: The view that the page shows.
    """
    with gr.Blocks(
        title=f"{phrase('title', view.settings.language)} · imagesearch",
        analytics_enabled=False,
        delete_cache=(3600, 86400),
    ) as page:
        _Events(Layout(view), page).connect()
    return page


def theme_options() -> dict[str, Any]:
    """Return the arguments of ``launch`` for the look of the page."""
    folder = resources.files("imagesearch.ui")
    scripts = [folder.joinpath(name).read_text("utf-8") for name in ("crop.js", "toasts.js")]
    # Fonts that come with Gradio, so that browsers load none from the internet.
    font: Any = [
        gr.themes.LocalFont("Source Sans Pro", weights=(400, 700)),
        "system-ui",
        "sans-serif",
    ]
    theme = gr.themes.Default(primary_hue="teal", neutral_hue="slate", radius_size="md", font=font)
    return {
        "theme": theme,
        "css": folder.joinpath("style.css").read_text("utf-8"),
        "head": "".join(f"<script>{script}</script>" for script in scripts),
    }


class _Events:
    """Connects the events of the components to actions; used inside a `gr.Blocks`."""

    def __init__(self, layout: Layout, page: gr.Blocks) -> None:
        self._layout = layout
        self._actions = Actions(layout)
        self._page = page

    def connect(self) -> None:
        self._connect_search()
        self._connect_picture()
        self._connect_language_and_info()
        if not self._layout.view.settings.read_only:
            self._connect_adding()
        gr.api(self._guarded(self._layout.view.record), api_name="record")
        gr.api(self._guarded(self._layout.view.facts), api_name="facts")

    @property
    def _answer(self) -> list[Any]:
        """The components that show an answer, for programs too."""
        return [
            self._layout.status,
            self._layout.gallery,
            self._layout.results,
            self._layout.detail_box,
        ]

    @property
    def _page_answer(self) -> list[Any]:
        """The components that show an answer on the page."""
        return [*self._answer, self._layout.choices_text, self._layout.example]

    @property
    def _filter_values(self) -> list[Any]:
        """The drop-downs and number boxes of the filter form."""
        return [
            *self._layout.choices,
            *(box for _, low, high in self._layout.ranges for box in (low, high)),
        ]

    @property
    def _filter_form(self) -> list[Any]:
        """The components that depend on the fields of the index."""
        rows = (row for row, _, _ in self._layout.ranges)
        return [self._layout.field_names, self._layout.no_fields, *self._filter_values, *rows]

    @property
    def _labelled(self) -> list[Any]:
        """The components with text in the visitor's language."""
        return [
            self._layout.heading,
            *dict.fromkeys(component for component, _, _ in self._layout.labels),
        ]

    def _connect_search(self) -> None:
        layout = self._layout
        options = [layout.k, layout.min_score, layout.where, layout.language]
        queries = [
            layout.picture,
            layout.text,
            layout.id,
            *options[:3],
            layout.crop,
            layout.language,
        ]
        lines = [layout.text.submit, layout.id.submit, layout.crop.submit, layout.where.submit]
        for event in (
            gr.on(
                [layout.search_button.click, *lines, layout.picture.upload],
                self._guarded(self._actions.search_page),
                [layout.field_names, *queries, *self._filter_values],
                self._page_answer,
                **_PRIVATE,
            ),
            layout.more_button.click(
                self._guarded(self._actions.more_page),
                [layout.field_names, layout.selected, *options, *self._filter_values],
                self._page_answer,
                **_PRIVATE,
            ),
        ):
            event.success(fn=None, js="() => imagesearchShowResults()", **_PRIVATE)
        boxes = [box for _, low, high in layout.ranges for box in (low, high)]
        gr.on(
            [
                *(choice.input for choice in layout.choices),
                # Not change, which would search after every digit.
                *(event for box in boxes for event in (box.submit, box.blur)),
            ],
            self._guarded(self._actions.narrow),
            [
                layout.field_names,
                layout.choices_text,
                layout.example,
                *queries,
                *self._filter_values,
            ],
            self._page_answer,
            **_PRIVATE,
        )
        for action, inputs in (
            (self._actions.search, queries),
            (self._actions.more_like_this, [layout.selected, *options]),
            (self._actions.browse, [layout.k, layout.where, layout.language]),
        ):
            layout.api.click(self._guarded(action), inputs, self._answer, api_name=action.__name__)
        layout.gallery.select(
            self._guarded(self._actions.select),
            [layout.results, layout.language],
            [layout.selected, layout.detail, layout.detail_box],
            **_QUIET,
        ).success(fn=None, js="() => imagesearchShowDetail()", **_PRIVATE)
        layout.clear_button.click(
            self._guarded(self._actions.clear),
            [layout.k, layout.language],
            [
                *(
                    layout.picture,
                    layout.text,
                    layout.id,
                    layout.crop_on,
                    layout.crop,
                    layout.min_score,
                ),
                *(layout.where, *self._filter_form, *self._page_answer),
            ],
            **_PRIVATE,
        )

    def _connect_picture(self) -> None:
        layout = self._layout
        layout.picture.upload(
            self._guarded(self._actions.make_visible), [layout.picture], [layout.picture], **_QUIET
        )
        layout.picture.change(
            lambda picture: (gr.update(visible=picture is not None, value=False), ""),
            [layout.picture],
            [layout.crop_on, layout.crop],
            **_QUIET,
        )
        layout.crop_on.change(
            lambda on: gr.update(visible=on) if on else gr.update(visible=False, value=""),
            [layout.crop_on],
            [layout.crop],
            **_QUIET,
        )
        gr.on(
            [layout.crop.change, layout.crop_on.change], fn=None, js="() => imagesearchDrawCrop()"
        )

    def _connect_language_and_info(self) -> None:
        layout = self._layout
        layout.language.input(
            self._guarded(self._actions.change_language),
            [layout.language, layout.field_names, *self._filter_values],
            [*self._labelled, *self._filter_form, layout.info, layout.detail_box, layout.report],
            **_QUIET,
        )
        layout.info_tab.select(
            self._guarded(self._actions.refresh),
            [layout.language, layout.field_names, *self._filter_values],
            [layout.info, *self._filter_form],
            **_QUIET,
        )
        self._page.load(
            fn=None, outputs=[layout.options], js="() => imagesearchOpenOptions()", **_PRIVATE
        )
        self._page.load(
            self._guarded(self._actions.open),
            None,
            [layout.language, *self._labelled, *self._filter_form, *self._page_answer, layout.info],
            **_QUIET,
        )

    def _connect_adding(self) -> None:
        layout = self._layout
        layout.add_button.click(
            self._guarded(self._actions.add),
            [layout.files, layout.fields, layout.language],
            [layout.report, layout.report_json],
            api_name="add",
        ).success(
            self._guarded(self._actions.refresh),
            [layout.language, layout.field_names, *self._filter_values],
            [layout.info, *self._filter_form],
            **_QUIET,
        ).then(lambda: None, None, [layout.files], **_QUIET)

    def _guarded(self, action: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
        return guarded(action, self._layout.view)
