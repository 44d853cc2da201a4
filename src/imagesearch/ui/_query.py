"""The queries of visitors, checked."""

from __future__ import annotations

import re

from PIL import Image

from imagesearch._printable import shorten
from imagesearch._validation import as_real, as_whole
from imagesearch.types import Query
from imagesearch.ui._text import PageError

__all__ = [
    "MAX_K",
    "Box",
    "crop_to",
    "make_query",
    "parse_box",
    "parse_count",
    "parse_number",
]


MAX_K = 100
"""The largest number of results."""

Box = tuple[float, float, float, float]
"""Left, top, right and bottom, in per cent of the image's width and height."""


def parse_box(text: str) -> Box | None:
    """Read a crop box: four numbers in per cent; empty text and the whole image mean no crop.

    Raises:
        PageError: The text is not four numbers from 0 to 100, or the box is empty.

    Example:
        >>> parse_box("10, 20, 90, 80"), parse_box(" ")
        ((10.0, 20.0, 90.0, 80.0), None)
    """
    words = [word for word in re.split(r"[\s,，;；%]+", text) if word]
    if not words:
        return None
    try:
        left, top, right, bottom = (float(word) for word in words)
    except ValueError as error:
        raise PageError("bad_box", shorten(text)) from error
    if not (0 <= left < right <= 100 and 0 <= top < bottom <= 100):
        raise PageError("empty_box", shorten(text))
    return None if (left, top, right, bottom) == (0, 0, 100, 100) else (left, top, right, bottom)


def crop_to(image: Image.Image, box: Box) -> Image.Image:
    """Return the part of an image in a box, at least one pixel wide and high.

    Example:
        >>> crop_to(Image.new("RGB", (200, 100)), (10, 20, 60, 70)).size
        (100, 50)
    """
    left, right = _pixels(box[0], box[2], image.width)
    top, bottom = _pixels(box[1], box[3], image.height)
    return image.crop((left, top, right, bottom))


def _pixels(start: float, end: float, length: int) -> tuple[int, int]:
    first = min(int(start / 100 * length + 0.5), length - 1)
    return first, max(first + 1, min(length, int(end / 100 * length + 0.5)))


def parse_count(count: object) -> int:
    """Return the number of results; 5.0 counts as 5, because JSON does not distinguish them.

    Raises:
        PageError: The value is not a whole number from 1 to `MAX_K`.

    Example:
        >>> parse_count(5.0)
        5
    """
    whole = int(count) if isinstance(count, float) and count.is_integer() else as_whole(count)
    if whole is None or not 1 <= whole <= MAX_K:
        raise PageError("bad_count", shorten(count), MAX_K)
    return whole


def parse_number(value: object, key: str) -> float | None:
    """Return an optional number.

    Args:
        value: A number, or None.
        key: The phrase for anything else.

    Raises:
        PageError: The value is neither a finite number nor None.

    Example:
        >>> parse_number(0.5, "bad_score"), parse_number(None, "bad_score")
        (0.5, None)
    """
    number = as_real(value)
    if number is None and value is not None:
        raise PageError(key, shorten(value))
    return number


def make_query(image: Image.Image | None, text: str, id: str) -> Query | None:
    """Return the sum of the parts, or None if there are none.

    Example:
        >>> print(make_query(None, "a red shoe", "sku-1"))
        text 'a red shoe' + id 'sku-1'
        >>> make_query(None, " ", "") is None
        True
    """
    parts = [
        *([Query.image(image)] if image is not None else []),
        *([Query.text(text.strip())] if text.strip() else []),
        *([Query.id(id.strip())] if id.strip() else []),
    ]
    return Query(tuple(term for part in parts for term in part.terms)) if parts else None
