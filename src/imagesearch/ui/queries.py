"""Queries: what a visitor put into the page → a `Query`, with the picture decoded by our policy."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from reprlib import repr as shorten

from PIL import Image

from imagesearch._validation import as_real, as_whole
from imagesearch.errors import (
    DecodeError,
    ImageTooLargeError,
    QueryError,
    SourceNotFoundError,
    UnsupportedImageError,
)
from imagesearch.images import decode
from imagesearch.images.sniff import starts_as_image
from imagesearch.types import Query
from imagesearch.ui.spoken import Spoken

__all__ = [
    "MAX_K",
    "Box",
    "cut",
    "decode_upload",
    "make_query",
    "parse_box",
    "parse_count",
    "parse_score",
    "read_upload",
]

MAX_K = 100
"""Most pictures in one answer."""

Box = tuple[float, float, float, float]
"""Left, top, right and bottom, in per cent of the picture's width and height."""


def read_upload(path: str | Path, *, max_bytes: int) -> bytes:
    """Return the bytes of a file that the page received.

    Raises:
        SourceNotFoundError: It has been cleared away.
        QueryError: It is larger than is taken.
    """
    file = Path(path)
    try:
        size = file.stat().st_size
        if size > max_bytes:
            raise QueryError(Spoken("too_heavy", size / 1e6, max_bytes / 1e6))
        return file.read_bytes()
    except OSError as error:
        raise SourceNotFoundError("the uploaded file is gone; upload it again") from error


def decode_upload(
    data: bytes,
    *,
    max_pixels: int,
    shrink_to: int | None = None,
    name: str = "the picture",
    decoder: Callable[..., Image.Image] = decode,
) -> Image.Image:
    """Return the upright RGB image in uploaded bytes.

    Args:
        data: The file.
        max_pixels: Most pixels, width times height.
        shrink_to: As for `imagesearch.images.decode`.
        name: What messages call it; never a path of this machine.
        decoder: `imagesearch.images.decode`, or a pool's method of that name.

    Raises:
        DecodeError: No image, damaged, or too large.
        MissingDependencyError: The format needs an optional package.

    Example:
        >>> decode_upload(b"words", max_pixels=100)
        Traceback (most recent call last):
            ...
        imagesearch.errors.DecodeError: the picture ...
    """
    try:
        return decoder(data, shrink_to=shrink_to, max_pixels=max_pixels, name=name)
    except DecodeError as error:
        key = _problem(data, error)
        raise DecodeError(Spoken(key, error, max_pixels / 1e6)) from error


def _problem(data: bytes, error: DecodeError) -> str:
    """Return the phrase that says why bytes are refused."""
    if not data:
        return "no_bytes"
    if isinstance(error, ImageTooLargeError):
        return "too_many_pixels"
    if isinstance(error, UnsupportedImageError):
        return "unsupported"
    return "damaged" if starts_as_image(data) else "no_image"


def parse_box(text: str) -> Box | None:
    """Read a crop box: four numbers in per cent; nothing, or all of the picture, is no crop.

    Raises:
        QueryError: Not four numbers from 0 to 100, or no area between them.

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
        raise QueryError(Spoken("no_box", shorten(text))) from error
    if not (0 <= left < right <= 100 and 0 <= top < bottom <= 100):
        raise QueryError(Spoken("empty_box", shorten(text)))
    return None if (left, top, right, bottom) == (0, 0, 100, 100) else (left, top, right, bottom)


def parse_count(count: object) -> int:
    """Return how many pictures are asked for; 5.0 is 5, as JSON makes no difference.

    Raises:
        QueryError: No whole number from 1 to `MAX_K`.

    Example:
        >>> parse_count(5.0)
        5
    """
    whole = int(count) if isinstance(count, float) and count.is_integer() else as_whole(count)
    if whole is None or not 1 <= whole <= MAX_K:
        raise QueryError(Spoken("no_count", shorten(count), MAX_K))
    return whole


def parse_score(score: object) -> float | None:
    """Return the least score that is asked for; None for any.

    Raises:
        QueryError: No finite number.

    Example:
        >>> parse_score(0.5), parse_score(None)
        (0.5, None)
    """
    number = as_real(score)
    if number is None and score is not None:
        raise QueryError(Spoken("no_score", shorten(score)))
    return number


def cut(image: Image.Image, box: Box) -> Image.Image:
    """Return a part of an image, at least one pixel wide and high.

    Example:
        >>> cut(Image.new("RGB", (200, 100)), (10, 20, 60, 70)).size
        (100, 50)
    """
    left, right = _pixels(box[0], box[2], image.width)
    top, bottom = _pixels(box[1], box[3], image.height)
    return image.crop((left, top, right, bottom))


def _pixels(start: float, end: float, length: int) -> tuple[int, int]:
    first = min(int(start / 100 * length + 0.5), length - 1)
    return first, max(first + 1, min(length, int(end / 100 * length + 0.5)))


def make_query(image: Image.Image | None, text: str, id: str) -> Query | None:
    """Return the sum of what was given, or None for nothing.

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
