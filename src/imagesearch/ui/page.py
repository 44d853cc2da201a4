"""Page: the view's answers in Gradio. Every action is an event here, and an API endpoint too."""

from __future__ import annotations

import functools
import html
from abc import ABCMeta
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import gradio as gr

from imagesearch.errors import QueryError
from imagesearch.images import IMAGE_SUFFIXES
from imagesearch.ui.cards import Card, heading_html, report_html
from imagesearch.ui.facets import (
    CHOICE_SLOTS,
    RANGE_SLOTS,
    choice_properties,
    compose,
    facets_of,
    range_properties,
)
from imagesearch.ui.phrases import language_of, phrase
from imagesearch.ui.view import MAX_K, Answer, IndexView, explain

__all__ = ["build_page", "look"]

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")
_Updates = dict[Any, Any]

_K = 12
_NARROW = 320
_ACCEPTED = ["image", *sorted(IMAGE_SUFFIXES)]


def look() -> dict[str, Any]:
    """Return the arguments of ``launch`` that decide how the page looks."""
    folder = resources.files("imagesearch.ui")
    script = folder.joinpath("crop.js").read_text("utf-8")
    # Fonts that come with Gradio, so that no browser asks anybody else for them.
    font: Any = [
        gr.themes.LocalFont("Source Sans Pro", weights=(400, 700)),
        "system-ui",
        "sans-serif",
    ]
    theme = gr.themes.Default(
        primary_hue="teal", neutral_hue="slate", radius_size="md", font=font
    )
    return {
        "theme": theme,
        "css": folder.joinpath("style.css").read_text("utf-8"),
        "head": f"<script>{script}</script>",
    }


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


class _Page:
    """The components, and what happens between them; made inside a `gr.Blocks`."""

    def __init__(self, view: IndexView, page: gr.Blocks) -> None:
        self.view = view
        self.page = page
        self.first = "zh" if view.settings.language == "zh" else "en"
        self.words: list[tuple[Any, str, str]] = []
        self._lay_out()
        self._connect()

    # What the page consists of

    def _say(self, make: Callable[..., Any], fixed: dict[str, Any], **phrases: str) -> Any:
        """Make a component whose properties hold phrases, and remember them for other languages."""
        spoken = {name: phrase(key, self.first) for name, key in phrases.items()}
        component = make(**spoken, **fixed)
        self.words += [(component, name, key) for name, key in phrases.items()]
        return component

    def _lay_out(self) -> None:
        with gr.Row(elem_id="is-header"):
            self.heading = gr.HTML(heading_html(self.first), elem_id="is-heading")
            self.language = gr.Radio(
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
        self.slots = gr.State([[], []])
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
        one_line: dict[str, Any] = {"max_lines": 1}
        self.picture = self._say(
            _uploads_only(gr.Image),
            {
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
        with gr.Row():
            self.k = self._say(
                gr.Slider,
                {
                    **{"minimum": 1, "maximum": MAX_K, "value": _K, "step": 1},
                    **{"elem_id": "is-k", "scale": 2, "min_width": 160, "buttons": []},
                },
                label="k",
            )
            self.min_score = self._say(
                gr.Number,
                {"value": None, "step": 0.05, "elem_id": "is-min-score", "min_width": 110},
                label="min_score",
                placeholder="min_score_info",
            )
        with self._say(gr.Accordion, {"open": True, "elem_id": "is-filters"}, label="filters"):
            self._lay_out_facets()
            self.where = self._say(
                gr.Textbox,
                {"placeholder": 'kind = "fish" and price < 10', "elem_id": "is-where"},
                label="where",
                info="where_info",
            )
        self.id = self._say(gr.Textbox, {"elem_id": "is-id", **one_line}, label="id", info="id_info")

    def _lay_out_facets(self) -> None:
        self.no_facets = gr.Markdown(visible=False)
        self.choices = [
            gr.Dropdown(
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
                    gr.Number(value=None, label=end, min_width=110, elem_classes=f"is-{end}")
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
        with gr.Group(visible=False, elem_id="is-detail-box") as self.detail_box:
            self.detail = gr.HTML("", elem_id="is-detail", label="detail")
            self.more_button = self._say(
                gr.Button, {"elem_id": "is-more", "variant": "primary"}, value="more"
            )

    def _lay_out_adding(self) -> None:
        with gr.Row():
            with gr.Column(min_width=_NARROW):
                self.files = self._say(
                    _uploads_only(gr.File),
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

    # What the page does; the names of the arguments are those of the API

    def search(
        self,
        picture: str | None = None,
        text: str = "",
        id: str = "",
        k: int = _K,
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
        k: int = _K,
        min_score: float | None = None,
        where: str = "",
        language: str = "en",
    ) -> _Updates:
        """Find the pictures most like an indexed one, without itself."""
        answer = self.view.more_like_this(
            id or "", k=k, min_score=min_score, where=where or "", language=language
        )
        return self._show(answer)

    def browse(self, k: int = _K, where: str = "", language: str = "en") -> _Updates:
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
            **self._show(self.view.browse(k=_K, language=language)),
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

    def _show(self, answer: Answer) -> _Updates:
        return {
            self.status: answer.status,
            self.gallery: gr.update(value=answer.gallery, selected_index=None),
            self.results: [card.to_json() for card in answer.cards],
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
            value = {"value": []} if reset else {}
            updates[dropdown] = gr.update(visible=there, **properties, **value)
        for slot, (row, *boxes) in enumerate(self.ranges):
            there = slot < len(facets.ranges)
            updates[row] = gr.update(visible=there)
            both = range_properties(facets.ranges[slot], language) if there else ({}, {})
            for box, properties in zip(boxes, both, strict=True):
                updates[box] = gr.update(**properties, **({"value": None} if reset else {}))
        return updates

    def _guarded(
        self, action: Callable[_Parameters, _Result]
    ) -> Callable[_Parameters, _Result]:
        """Turn errors into messages for visitors, in the language that they chose."""

        @functools.wraps(action)
        def guarded(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Result:
            try:
                return action(*args, **kwargs)
            except Exception as error:
                language = "zh" if "zh" in args else "en"
                raise gr.Error(
                    html.escape(explain(error, self.view, language), quote=False),
                    title=phrase("error_title", language),
                    print_exception=False,
                ) from error

        return guarded

    # What leads to what

    def _connect(self) -> None:
        private: Any = {"api_visibility": "private"}
        quiet: Any = {"show_progress": "hidden", **private}
        shown = [self.status, self.gallery, self.results]
        options = [self.k, self.min_score, self.where, self.language]
        picked = [*self.choices, *(box for _, low, high in self.ranges for box in (low, high))]
        offered = [self.slots, self.no_facets, *picked, *(row for row, _, _ in self.ranges)]
        spoken = [self.heading, *dict.fromkeys(component for component, _, _ in self.words)]
        queries = [self.picture, self.text, self.id, *options[:3], self.crop, self.language]

        search = self._guarded(self.search)
        lines = [self.text.submit, self.id.submit, self.crop.submit, self.where.submit]
        for event in (
            self.search_button.click(search, queries, shown, api_name="search"),
            gr.on([*lines, self.picture.upload], search, queries, shown, **private),
            self.more_button.click(
                self._guarded(self.more_like_this),
                [self.chosen, *options],
                shown,
                api_name="more_like_this",
            ),
        ):
            event.success(self._hide, None, [self.detail_box], **quiet).then(
                fn=None, js="() => imagesearchShowResults()", **private
            )
        self.gallery.select(
            self._guarded(self.choose),
            [self.results, self.language],
            [self.chosen, self.detail, self.detail_box],
            **quiet,
        ).success(fn=None, js="() => imagesearchShowDetail()", **private)
        self.clear_button.click(
            self._guarded(self.clear),
            [self.language],
            [
                *(self.picture, self.text, self.id, self.crop_on, self.crop, self.min_score),
                *(self.where, *offered),
            ],
            **quiet,
        ).then(
            self._guarded(self.browse),
            [self.k, self.where, self.language],
            shown,
            api_name="browse",
        ).then(self._hide, None, [self.detail_box], **quiet)

        self.picture.change(
            lambda picture: (gr.update(visible=picture is not None, value=False), ""),
            [self.picture],
            [self.crop_on, self.crop],
            **quiet,
        )
        self.crop_on.change(
            lambda on: gr.update(visible=on) if on else gr.update(visible=False, value=""),
            [self.crop_on],
            [self.crop],
            **quiet,
        )
        gr.on([self.crop.change, self.crop_on.change], fn=None, js="() => imagesearchDrawCrop()")

        gr.on(
            [component.change for component in picked],
            self._guarded(self.compose),
            [self.slots, *picked],
            [self.where],
            **quiet,
        )
        self.language.input(
            self._guarded(self.change_language),
            [self.language],
            [*spoken, *offered, self.facts, self.detail_box, self.report],
            **quiet,
        )
        refreshed = [self.facts, *offered]
        self.facts_tab.select(self._guarded(self.refresh), [self.language], refreshed, **quiet)
        self.page.load(
            self._guarded(self.open),
            None,
            [self.language, *spoken, *offered, *shown, self.facts],
            **quiet,
        )
        if not self.view.settings.read_only:
            self.add_button.click(
                self._guarded(self.add),
                [self.files, self.fields, self.language],
                [self.report, self.report_json],
                api_name="add",
            ).success(self._guarded(self.refresh), [self.language], refreshed, **quiet).then(
                lambda: None, None, [self.files], **quiet
            )
        gr.api(self._guarded(self.view.record), api_name="record")
        gr.api(self._guarded(self.view.facts), api_name="facts")

    @staticmethod
    def _hide() -> Any:
        return gr.update(visible=False)


def _uploads_only(base: Any) -> Any:
    """Return a kind of upload component whose files go to our own decoder, and which fetches nothing.

    Gradio would open pictures with Pillow as it stands, and fetch an address that a visitor sends
    in a file's place. The class is made past Gradio's metaclass, which writes a stub file beside
    the source of every class that it makes.
    """

    async def keep_local(self: Any, path: str | Path | None) -> str | None:
        if "://" in str(path):
            raise gr.Error(phrase("error_url", "en"), print_exception=False)
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
    if not path.is_relative_to(Path(folder).resolve()) or not path.is_file():
        raise gr.Error(phrase("error_url", "en"), print_exception=False)
    return str(path)
