"""Guarding: errors of actions become messages for visitors, in the language that they chose."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import gradio as gr

from imagesearch.rendering import html_text
from imagesearch.ui.explaining import explain
from imagesearch.ui.phrases import language_of, phrase
from imagesearch.ui.view import IndexView

__all__ = ["guarded"]

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
        try:
            return action(*args, **kwargs)
        except Exception as error:
            try:
                given = signature.bind_partial(*args, **kwargs).arguments
            except TypeError:  # that may be what went wrong
                given = {}
            language = _language(given.get("language"), given.get("request"), view)
            raise gr.Error(
                html_text(explain(error, view, language), quote=False),
                title=phrase("error_title", language),
                print_exception=False,
            ) from error

    return guard


def _language(chosen: str | None, request: Any, view: IndexView) -> str:
    own = view.settings.language
    if chosen is None and own == "auto" and request is not None:
        return language_of(request.headers.get("accept-language", ""))
    return chosen or own
