"""The page: its elements, what they do, and how its errors are shown."""

from __future__ import annotations

import functools
import inspect
import logging
import traceback
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

import gradio as gr

from imagesearch._printable import printable, shorten
from imagesearch._rendering import html_text
from imagesearch.errors import (
    DecodeError,
    FilterError,
    ImageSearchError,
    ManifestError,
    MissingDependencyError,
    QueryError,
    SourceNotFoundError,
    StoreLockedError,
    UnsupportedFilterError,
    UnsupportedOperationError,
)
from imagesearch.filters import parse_filter
from imagesearch.ui._actions import Actions
from imagesearch.ui._layout import Layout
from imagesearch.ui._text import LANGUAGES, Spoken, in_language, language_of, phrase
from imagesearch.ui._view import IndexView

__all__ = ["build_page", "explain", "guarded"]


# What stands before the library's own words says nothing more before ours.
_PLAIN = frozenset({"error_query", "error_adding"})

_logger = logging.getLogger("imagesearch.ui")


def explain(error: Exception, view: IndexView, language: str) -> str:
    """Return a message for visitors; what is not their doing goes to the log instead.

    Args:
        error: What was raised.
        view: Whose secrets to keep.
        language: ``"en"`` or ``"zh"``.
    """
    match error:
        case SourceNotFoundError():
            return phrase("error_no_file", language)
        case StoreLockedError():
            return phrase("error_locked", language)
        case DecodeError():
            key = "error_picture"
        case MissingDependencyError():
            key = "error_format"
        case UnsupportedFilterError():
            key = "error_filter_unsupported"
        case FilterError():
            key = "error_filter"
        case QueryError():
            key = "error_query"
        case ManifestError() | UnsupportedOperationError():
            key = "error_adding"
        case _:
            # Not exc_info: tracebacks print errors of other libraries as they are.
            trace = "".join(traceback.format_exception(error))
            _logger.error("a request failed\n%s", printable(trace, lines=True))
            words = str(error) if _is_plain(error, view) else type(error).__name__
            return phrase("error_server", language).format(words)
    text = in_language(error, language)
    if not view.settings.shows_paths:
        text = text.replace(repr(view.index.store), type(view.index.store).__name__)
    if key in _PLAIN and isinstance(error.args[0] if error.args else "", Spoken):
        return text
    return phrase(key, language).format(text)


def _is_plain(error: Exception, view: IndexView) -> bool:
    return isinstance(error, ImageSearchError) and view.settings.shows_paths


_MAX_TEXT = 20_000
"""Longest text that a visitor may send in one argument, in characters."""

_MAX_CONDITIONS = 100
"""Most conditions in a visitor's filter; each is tested on every record."""

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


def guarded(
    action: Callable[_Parameters, _Result], view: IndexView
) -> Callable[_Parameters, _Result]:
    """Return an action whose errors are messages for visitors.

    Args:
        action: What may fail. Its argument named ``language`` decides the language of messages;
            without one its ``request`` does, or else the page's own.
        view: Whose secrets to keep.
    """
    signature = inspect.signature(action)

    @functools.wraps(action)
    def guard(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Result:
        given: Mapping[str, Any] = {}
        try:
            given = signature.bind_partial(*args, **kwargs).arguments
            _check(given)
            return action(*args, **kwargs)
        except Exception as error:
            language = _language(given.get("language"), given.get("request"), view)
            raise gr.Error(
                html_text(explain(error, view, language), quote=False),
                title=phrase("error_title", language),
                print_exception=False,
            ) from error

    return guard


def _check(arguments: Mapping[str, Any]) -> None:
    """Refuse what would take long to read, before anything reads it.

    Raises:
        QueryError: A text is too long, or the language is not one of the page's.
        FilterError: The filter has too many conditions, or is none.
    """
    for value in arguments.values():
        for part in value if isinstance(value, list | tuple) else [value]:
            if isinstance(part, str) and len(part) > _MAX_TEXT:
                raise QueryError(Spoken("text_too_long", len(part), _MAX_TEXT))
    language = arguments.get("language", LANGUAGES[0])
    if language not in LANGUAGES:
        raise QueryError(Spoken("no_language", shorten(language), ", ".join(LANGUAGES)))
    where = arguments.get("where")
    if isinstance(where, str) and where.strip():
        parse_filter(where, max_conditions=_MAX_CONDITIONS)


def _language(chosen: object, request: Any, view: IndexView) -> str:
    own = view.settings.language
    if chosen is None and own == "auto" and request is not None:
        return language_of(request.headers.get("accept-language", ""))
    return chosen if isinstance(chosen, str) and chosen in LANGUAGES else own


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
