"""Explaining: what went wrong, for visitors and without what is not for their eyes."""

from __future__ import annotations

import logging

from imagesearch.errors import (
    DecodeError,
    FilterError,
    ImageSearchError,
    ManifestError,
    MissingDependencyError,
    QueryError,
    SourceNotFoundError,
    UnsupportedOperationError,
)
from imagesearch.ui.phrases import phrase
from imagesearch.ui.view import IndexView

__all__ = ["explain"]

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
        case DecodeError() | MissingDependencyError():
            key = "error_picture"
        case FilterError():
            key = "error_filter"
        case QueryError() | ManifestError() | UnsupportedOperationError():
            key = "error_query"
        case _:
            _logger.error("a request failed", exc_info=error)
            words = str(error) if _is_plain(error, view) else type(error).__name__
            return phrase("error_server", language).format(words)
    text = str(error)
    if not view.settings.shows_paths:
        text = text.replace(repr(view.index.store), type(view.index.store).__name__)
    return phrase(key, language).format(text)


def _is_plain(error: Exception, view: IndexView) -> bool:
    return isinstance(error, ImageSearchError) and view.settings.shows_paths
