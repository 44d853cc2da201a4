"""Explaining: what went wrong, for visitors and without what is not for their eyes."""

from __future__ import annotations

import logging
import traceback

from imagesearch._printable import printable
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
from imagesearch.ui.phrases import phrase
from imagesearch.ui.spoken import Spoken, in_language
from imagesearch.ui.view import IndexView

__all__ = ["explain"]

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
