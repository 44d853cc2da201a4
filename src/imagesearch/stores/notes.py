"""The text of a note: what any store can keep, checked."""

from __future__ import annotations

import json
from typing import Any

from imagesearch.errors import StoreRequestError

__all__ = ["note_text"]


def note_text(name: str, value: Any) -> str | None:
    """Return the JSON text of a note; None when it is to be removed.

    Raises:
        StoreRequestError: The name is empty, or the value does not come back as it was.

    Example:
        >>> note_text("seen", {"pages": [1, 2]}), note_text("seen", None)
        ('{"pages": [1, 2]}', None)
    """
    if not isinstance(name, str) or not name:
        raise StoreRequestError(f"a note is kept under a name, not under {name!r}")
    if value is None:
        return None
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()  # a lone surrogate is no text that can be written
        # Tuples and keys that are numbers would come back as something else.
        same = json.loads(text) == value
    except (TypeError, ValueError, RecursionError) as error:
        raise StoreRequestError(f"note {name!r} is no JSON value: {error}") from error
    if not same:
        raise StoreRequestError(
            f"note {name!r} is no JSON value: use lists, texts as keys, and no tuples"
        )
    return text
