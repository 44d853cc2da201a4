"""What visitors read when an action fails."""

from __future__ import annotations

import functools
import html
import inspect
import logging
import traceback
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

from imagesearch._printable import printable, shorten
from imagesearch._rendering import one_line
from imagesearch.errors import (
    DecodeError,
    FilterError,
    ImageSearchError,
    ManifestError,
    QueryError,
    StoreLockedError,
    UnsupportedFilterError,
    UnsupportedOperationError,
)
from imagesearch.filters import parse_filter
from imagesearch.ui._text import (
    LANGUAGES,
    Message,
    PageError,
    UploadError,
    language_of,
    phrase,
)
from imagesearch.ui._view import IndexView

__all__ = ["explain", "guarded"]


_MAX_TEXT = 20_000
"""The longest text that a visitor may send in one argument, in characters."""

_MAX_CONDITIONS = 100
"""The largest number of conditions in a visitor's filter; each is tested on every record."""

_logger = logging.getLogger("imagesearch.ui")


def explain(error: Exception, view: IndexView) -> Message:
    """Return a message for visitors; errors of the server are logged.

    Args:
        error: The error of an action.
        view: The view that the action used; paths that it hides do not appear in messages.
    """
    match error:
        case UploadError():
            return Message("bad_picture", error.message)
        case PageError():
            return error.message
        case StoreLockedError():
            return Message("locked")
        case UnsupportedFilterError():
            key = "unsupported_filter"
        case FilterError():
            key = "bad_filter"
        case DecodeError():
            key = "bad_picture"
        case QueryError():
            key = "bad_query"
        case ManifestError() | UnsupportedOperationError():
            key = "bad_addition"
        case _:
            # Not exc_info, which would log control characters in the messages of other libraries.
            trace = "".join(traceback.format_exception(error))
            _logger.error("a request failed\n%s", printable(trace, lines=True))
            is_shown = isinstance(error, ImageSearchError) and view.settings.shows_paths
            return Message("server_failed", str(error) if is_shown else type(error).__name__)
    text = str(error)
    if not view.settings.shows_paths:
        text = text.replace(repr(view.index.store), type(view.index.store).__name__)
    return Message(key, text)


_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


def guarded(
    action: Callable[_Parameters, _Result], view: IndexView
) -> Callable[_Parameters, _Result]:
    """Return an action that raises `gradio.Error` with a message for visitors.

    Args:
        action: The action. The language of messages is its argument ``language``; without one,
            that of its argument ``request``, or else the page's own.
        view: The view that the action uses.
    """
    signature = inspect.signature(action)

    @functools.wraps(action)
    def guard(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Result:
        arguments: Mapping[str, Any] = {}
        try:
            arguments = signature.bind_partial(*args, **kwargs).arguments
            _check(arguments)
            return action(*args, **kwargs)
        except Exception as error:
            import gradio as gr

            language = _language(arguments.get("language"), arguments.get("request"), view)
            # Gradio shows messages as HTML.
            text = html.escape(one_line(explain(error, view).text(language)), quote=False)
            title = phrase("error_title", language)
            raise gr.Error(text, title=title, print_exception=False) from error

    return guard


def _check(arguments: Mapping[str, Any]) -> None:
    """Refuse arguments that would take long to process.

    Raises:
        PageError: A text is too long, or the language is not one of the page's.
        FilterError: The filter is invalid or has too many conditions.
    """
    for value in arguments.values():
        for part in value if isinstance(value, list | tuple) else [value]:
            if isinstance(part, str) and len(part) > _MAX_TEXT:
                raise PageError("text_too_long", len(part), _MAX_TEXT)
    language = arguments.get("language", LANGUAGES[0])
    if language not in LANGUAGES:
        raise PageError("bad_language", shorten(language), ", ".join(LANGUAGES))
    where = arguments.get("where")
    if isinstance(where, str) and where.strip():
        parse_filter(where, max_conditions=_MAX_CONDITIONS)


def _language(chosen: object, request: Any, view: IndexView) -> str:
    own = view.settings.language
    if chosen is None and own == "auto" and request is not None:
        return language_of(request.headers.get("accept-language", ""))
    return chosen if isinstance(chosen, str) and chosen in LANGUAGES else own
