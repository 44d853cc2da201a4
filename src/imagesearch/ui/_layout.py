"""Unchecked components: Gradio's, but what they receive is left to our own checks."""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from imagesearch.images import IMAGE_SUFFIXES
from imagesearch.ui._cards import heading_html
from imagesearch.ui._filter_form import CHOICE_SLOTS, RANGE_SLOTS
from imagesearch.ui._inputs import MAX_K
from imagesearch.ui._text import LANGUAGES, phrase
from imagesearch.ui._view import IndexView

__all__ = ["FIRST_K", "Layout", "any_value", "uploads_only"]


def any_value(base: Any) -> Any:
    """Return a kind of component that passes on whatever a program sends.

    Gradio would answer a text in a number's place with the words of Python's own ``TypeError``, and
    repeat a choice that it does not know, markup and all. The class is made past Gradio's metaclass,
    as in `uploads_only`.
    """

    def preprocess(self: Any, payload: Any) -> Any:  # noqa: ARG001  # Gradio calls it as a method
        return payload

    members = {"is_template": True, "preprocess": preprocess, "__module__": __name__}
    return ABCMeta.__new__(type(base), f"Unchecked{base.__name__}", (base,), members)


def uploads_only(base: Any) -> Any:
    """Return a kind of upload component whose files go to our own decoder, and which fetches nothing.

    Gradio would open pictures with Pillow as it stands, and fetch an address that a visitor sends
    in a file's place. The class is made past Gradio's metaclass, which writes a stub file beside
    the source of every class that it makes.
    """

    async def keep_local(self: Any, path: str | Path | None) -> str | None:
        if "://" in str(path):
            raise _refusal("error_url")
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
        raise _refusal("error_url")
    if not path.is_file():
        raise _refusal("error_no_file")
    return str(path)


def _refusal(key: str) -> Exception:
    """Return an error in all languages: the visitor's is not known here."""
    message = " ".join(phrase(key, language) for language in LANGUAGES)
    title = " · ".join(phrase("error_title", language) for language in LANGUAGES)
    error: Exception = gr.Error(message, title=title, print_exception=False)
    return error


FIRST_K = 12
"""Pictures in an answer until a visitor wants more or fewer."""

_NARROW = 320
_ACCEPTED = ["image", *sorted(IMAGE_SUFFIXES)]


class Layout:
    """The components of the page, in one language and with their phrases in all; made inside a `gr.Blocks`.

    Args:
        view: What the page will show.
    """

    def __init__(self, view: IndexView) -> None:
        self.view = view
        self.first = "zh" if view.settings.language == "zh" else "en"
        self.words: list[tuple[Any, str, str]] = []
        self._lay_out()

    def _say(self, make: Callable[..., Any], fixed: dict[str, Any], **phrases: str) -> Any:
        """Make a component whose properties hold phrases, and remember them for other languages."""
        spoken = {name: phrase(key, self.first) for name, key in phrases.items()}
        component = make(**spoken, **fixed)
        self.words += [(component, name, key) for name, key in phrases.items()]
        return component

    def _lay_out(self) -> None:
        with gr.Row(elem_id="is-header"):
            self.heading = gr.HTML(heading_html(self.first), elem_id="is-heading")
            self.language = any_value(gr.Radio)(
                [("English", "en"), ("中文", "zh")],
                value=self.first,
                show_label=False,
                container=False,
                elem_id="is-language",
                scale=0,
                min_width=190,
            )
        # Hidden, and not session state, so that programs get and give them too.
        self.results = gr.JSON(value=[], visible=False, label="results")
        self.chosen = gr.Textbox(visible=False, label="id")
        # The picture to which the ones shown are alike, where "more like this" found them.
        self.alike = gr.Textbox(visible=False, label="id")
        self.slots = gr.State([[], []])
        # Never seen nor pressed: programs call its events by name.
        self.program = gr.Button(visible=False)
        with gr.Tabs():
            with self._say(gr.Tab, {"id": "search"}, label="tab_search"), gr.Row():
                with gr.Column(scale=2, min_width=_NARROW):
                    self._lay_out_query()
                with gr.Column(scale=5, min_width=_NARROW):
                    self._lay_out_answer()
            read_only = self.view.settings.read_only
            with self._say(gr.Tab, {"id": "add", "visible": not read_only}, label="tab_add"):
                self._lay_out_adding()
            self.facts_tab = self._say(gr.Tab, {"id": "facts"}, label="tab_facts")
            with self.facts_tab:
                self.facts = gr.HTML("", elem_id="is-facts", label="facts")

    def _lay_out_query(self) -> None:
        one_line: dict[str, Any] = {"value": "", "max_lines": 1}
        self.picture = self._say(
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
        self.crop_on = self._say(
            gr.Checkbox,
            {"visible": False, "container": False, "elem_id": "is-crop-on"},
            label="crop_on",
        )
        self.crop = self._say(
            gr.Textbox,
            {"visible": False, "placeholder": "10, 20, 90, 80", "elem_id": "is-crop", **one_line},
            label="crop",
            info="crop_info",
        )
        self.text = self._say(
            gr.Textbox,
            {"visible": self.view.searches_text, "elem_id": "is-text", **one_line},
            label="text",
            info="text_info",
        )
        with gr.Row():
            self.clear_button = self._say(
                gr.Button, {"elem_id": "is-clear", "min_width": 80}, value="clear"
            )
            self.search_button = self._say(
                gr.Button,
                {"variant": "primary", "elem_id": "is-search", "min_width": 120, "scale": 2},
                value="search",
            )
        # Closed at first, so that phones have the pictures in sight; wide screens open it.
        options = self._say(gr.Accordion, {"open": False, "elem_id": "is-options"}, label="options")
        with options:
            self._lay_out_options()
        self.options = options

    def _lay_out_options(self) -> None:
        with gr.Row():
            self.k = self._say(
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
            self.min_score = self._say(
                any_value(gr.Number),
                {"value": None, "step": 0.05, "elem_id": "is-min-score", "min_width": 110},
                label="min_score",
                placeholder="min_score_info",
            )
        self._lay_out_facets()
        one_line: dict[str, Any] = {"value": "", "max_lines": 1}
        self.meaning = self._say(
            gr.Textbox,
            {"visible": False, "interactive": False, "elem_id": "is-meaning", **one_line},
            label="meaning",
        )
        self.where = self._say(
            gr.Textbox,
            {"value": "", "placeholder": 'kind = "fish" and price < 10', "elem_id": "is-where"},
            label="where",
            info="where_info",
        )
        self.id = self._say(
            gr.Textbox, {"elem_id": "is-id", **one_line}, label="id", info="id_info"
        )

    def _lay_out_facets(self) -> None:
        self.no_facets = gr.Markdown(visible=False)
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

    def _lay_out_answer(self) -> None:
        self.status = gr.HTML("", elem_id="is-status", label="summary")
        self.gallery = self._say(
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
            self.more_button = self._say(
                gr.Button, {"elem_id": "is-more", "variant": "primary"}, value="more"
            )

    def _lay_out_adding(self) -> None:
        with gr.Row():
            with gr.Column(min_width=_NARROW):
                self.files = self._say(
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
                self.fields = self._say(
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
                self.add_button = self._say(
                    gr.Button, {"variant": "primary", "elem_id": "is-add"}, value="add_button"
                )
        self.report = gr.HTML("", elem_id="is-report", label="report")
        self.report_json = gr.JSON(visible=False, label="report")
