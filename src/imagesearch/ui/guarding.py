"""Guarding: arguments of actions are checked, and errors become messages in the visitor's language."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from reprlib import repr as shorten
from typing import Any, ParamSpec, TypeVar

import gradio as gr

from imagesearch._rendering import html_text
from imagesearch.errors import QueryError
from imagesearch.filters import parse_filter
from imagesearch.ui.explaining import explain
from imagesearch.ui.phrases import LANGUAGES, language_of, phrase
from imagesearch.ui.spoken import Spoken
from imagesearch.ui.view import IndexView

__all__ = ["guarded"]

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
