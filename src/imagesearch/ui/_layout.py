"""The components of the page."""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from imagesearch.images import IMAGE_SUFFIXES
from imagesearch.ui._cards import render_in
from imagesearch.ui._filter_form import CHOICE_SLOTS, RANGE_SLOTS
from imagesearch.ui._query import MAX_K
from imagesearch.ui._text import LANGUAGES, Message, phrase
from imagesearch.ui._view import IndexView

__all__ = ["FIRST_K", "Layout", "any_value", "uploads_only"]


def any_value(base: Any) -> Any:
    """Return a subclass of a component that passes on any value, so that our own checks see it.

    For a text in place of a number, Gradio would answer with the message of Python's ``TypeError``,
    and for an unknown choice with the choice itself, markup included. The class bypasses Gradio's
    metaclass, as in `uploads_only`.
    """

    def preprocess(self: Any, payload: Any) -> Any:  # noqa: ARG001  # Gradio calls it as a method
        return payload

    members = {"is_template": True, "preprocess": preprocess, "__module__": __name__}
    return ABCMeta.__new__(type(base), f"Unchecked{base.__name__}", (base,), members)


def uploads_only(base: Any) -> Any:
    """Return a subclass of an upload component that passes on paths of uploaded files only.

    Gradio would decode images with Pillow's defaults, and fetch a URL that a visitor sends in place
    of a file. The class bypasses Gradio's metaclass, which writes a stub file beside the source of
    each class.
    """

    async def keep_local(self: Any, path: str | Path | None) -> str | None:
        if "://" in str(path):
            raise _refusal("no_urls")
        moved: str | None = await base.async_move_resource_to_block_cache(self, path)
        return moved

    def preprocess(self: Any, payload: Any) -> Any:
        if payload is None:
            return None
        if hasattr(payload, "root"):
            return [_received(file, self.GRADIO_CACHE) for file in payload.root]
        return _received(payload, self.GRADIO_CACHE)

    members = {
        "is_template": True,
        "async_move_resource_to_block_cache": keep_local,
        "preprocess": preprocess,
        "__module__": __name__,
    }
    return ABCMeta.__new__(type(base), f"Uploaded{base.__name__}", (base,), members)


def _received(file: Any, folder: str) -> str:
    path = Path(file.path or "").resolve()
    if not path.is_relative_to(Path(folder).resolve()):
        raise _refusal("no_urls")
    if not path.is_file():
        raise _refusal("upload_gone")
    return str(path)


def _refusal(key: str) -> Exception:
    """Return an error in all languages, because that of the visitor is unknown here."""
    message = " ".join(Message(key).text(language) for language in LANGUAGES)
    title = " · ".join(phrase("error_title", language) for language in LANGUAGES)
    error: Exception = gr.Error(message, title=title, print_exception=False)
    return error


FIRST_K = 12
"""The initial number of results."""

_NARROW = 320
_ACCEPTED = ["image", *sorted(IMAGE_SUFFIXES)]


class Layout:
    """The components of the page; created inside a `gr.Blocks`.

    Args:
        view: The view that the page shows.

    Attributes:
        labels: For each text of a component: the component, its property and the key of the phrase.
    """

    def __init__(self, view: IndexView) -> None:
        self.view = view
        self.first_language = "zh" if view.settings.language == "zh" else "en"
        self.labels: list[tuple[Any, str, str]] = []
        self._create()

    def _labelled(self, make: Callable[..., Any], fixed: dict[str, Any], **phrases: str) -> Any:
        """Create a component with phrases as properties, and remember their keys."""
        texts = {name: phrase(key, self.first_language) for name, key in phrases.items()}
        component = make(**texts, **fixed)
        self.labels += [(component, name, key) for name, key in phrases.items()]
        return component

    def _create(self) -> None:
        with gr.Row(elem_id="is-header"):
            self.heading = gr.HTML(render_in(self.first_language, "heading"), elem_id="is-heading")
            self.language = any_value(gr.Radio)(
                [("English", "en"), ("中文", "zh")],
                value=self.first_language,
                show_label=False,
                container=False,
                elem_id="is-language",
                scale=0,
                min_width=190,
            )
        # Hidden components instead of session state, so that programs can read and set them.
        self.results = gr.JSON(value=[], visible=False, label="results")
        self.selected = gr.Textbox(visible=False, label="id")
        # The id whose "more like this" results are shown; empty for other results.
        self.example = gr.Textbox(visible=False, label="id")
        # The names of the fields that the drop-downs and ranges show.
        self.field_names = gr.State([[], []])
        # Invisible; its events are the API for programs.
        self.api = gr.Button(visible=False)
        with gr.Tabs():
            with self._labelled(gr.Tab, {"id": "search"}, label="tab_search"), gr.Row():
                with gr.Column(scale=2, min_width=_NARROW):
                    self._create_query()
                with gr.Column(scale=5, min_width=_NARROW):
                    self._create_results()
            read_only = self.view.settings.read_only
            with self._labelled(gr.Tab, {"id": "add", "visible": not read_only}, label="tab_add"):
                self._create_adding()
            self.info_tab = self._labelled(gr.Tab, {"id": "info"}, label="tab_info")
            with self.info_tab:
                self.info = gr.HTML("", elem_id="is-info", label="info")

    def _create_query(self) -> None:
        one_line: dict[str, Any] = {"value": "", "max_lines": 1}
        self.picture = self._labelled(
            uploads_only(gr.Image),
            {
                "format": "png",
                "sources": ["upload", "clipboard"],
                "height": 260,
                "buttons": [],
                "elem_id": "is-picture",
            },
            label="picture",
            placeholder="picture_hint",
        )
        self.crop_on = self._labelled(
            gr.Checkbox,
            {"visible": False, "container": False, "elem_id": "is-crop-on"},
            label="crop_on",
        )
        self.crop = self._labelled(
            gr.Textbox,
            {"visible": False, "placeholder": "10, 20, 90, 80", "elem_id": "is-crop", **one_line},
            label="crop",
            info="crop_info",
        )
        self.text = self._labelled(
            gr.Textbox,
            {"visible": self.view.searches_text, "elem_id": "is-text", **one_line},
            label="text",
            info="text_info",
        )
        with gr.Row():
            self.clear_button = self._labelled(
                gr.Button, {"elem_id": "is-clear", "min_width": 80}, value="clear"
            )
            self.search_button = self._labelled(
                gr.Button,
                {"variant": "primary", "elem_id": "is-search", "min_width": 120, "scale": 2},
                value="search",
            )
        # Closed at first, so that phones show the results; a script opens it on wide screens.
        options = self._labelled(
            gr.Accordion, {"open": False, "elem_id": "is-options"}, label="options"
        )
        with options:
            self._create_options()
        self.options = options

    def _create_options(self) -> None:
        with gr.Row():
            self.k = self._labelled(
                any_value(gr.Slider),
                {
                    "minimum": 1,
                    "maximum": MAX_K,
                    "value": FIRST_K,
                    "step": 1,
                    "elem_id": "is-k",
                    "scale": 2,
                    "min_width": 160,
                    "buttons": [],
                },
                label="k",
            )
            self.min_score = self._labelled(
                any_value(gr.Number),
                {"value": None, "step": 0.05, "elem_id": "is-min-score", "min_width": 110},
                label="min_score",
                placeholder="min_score_info",
            )
        self._create_facets()
        one_line: dict[str, Any] = {"value": "", "max_lines": 1}
        self.choices_text = self._labelled(
            gr.Textbox,
            {"visible": False, "interactive": False, "elem_id": "is-choices-text", **one_line},
            label="choices",
        )
        self.where = self._labelled(
            gr.Textbox,
            {"value": "", "placeholder": 'kind = "fish" and price < 10', "elem_id": "is-where"},
            label="where",
            info="where_info",
        )
        self.id = self._labelled(
            gr.Textbox, {"elem_id": "is-id", **one_line}, label="id", info="id_info"
        )

    def _create_facets(self) -> None:
        self.no_fields = gr.Markdown(visible=False)
        self.choices = [
            any_value(gr.Dropdown)(
                [],
                multiselect=True,
                label="field",
                visible=False,
                elem_classes="is-choice",
            )
            for _ in range(CHOICE_SLOTS)
        ]
        self.ranges: list[tuple[gr.Row, gr.Number, gr.Number]] = []
        for _ in range(RANGE_SLOTS):
            with gr.Row(visible=False) as row:
                boxes = [
                    any_value(gr.Number)(
                        value=None, label=end, min_width=110, elem_classes=f"is-{end}"
                    )
                    for end in ("from", "to")
                ]
            self.ranges.append((row, *boxes))

    def _create_results(self) -> None:
        self.status = gr.HTML("", elem_id="is-status", label="summary")
        self.gallery = self._labelled(
            gr.Gallery,
            {
                "show_label": False,
                "columns": 4,
                "height": "auto",
                "object_fit": "contain",
                "allow_preview": False,
                "interactive": False,
                "buttons": [],
                "elem_id": "is-gallery",
            },
            label="gallery",
        )
        with gr.Column(visible=False, elem_id="is-detail-box") as self.detail_box:
            self.detail = gr.HTML("", elem_id="is-detail", label="detail")
            self.more_button = self._labelled(
                gr.Button, {"elem_id": "is-more", "variant": "primary"}, value="more"
            )

    def _create_adding(self) -> None:
        with gr.Row():
            with gr.Column(min_width=_NARROW):
                self.files = self._labelled(
                    uploads_only(gr.File),
                    {
                        "file_count": "multiple",
                        "file_types": _ACCEPTED,
                        "elem_id": "is-add-files",
                        "height": 260,
                    },
                    label="add_files",
                )
            with gr.Column(min_width=_NARROW):
                self.fields = self._labelled(
                    gr.Textbox,
                    {
                        "value": "",
                        "placeholder": "kind = fish\nprice = 9.5",
                        "lines": 5,
                        "elem_id": "is-add-fields",
                    },
                    label="add_fields",
                    info="add_fields_info",
                )
                self.add_button = self._labelled(
                    gr.Button, {"variant": "primary", "elem_id": "is-add"}, value="add_button"
                )
        self.report = gr.HTML("", elem_id="is-report", label="report")
        self.report_json = gr.JSON(visible=False, label="report")
