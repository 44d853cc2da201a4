"""Thumbnails: small pictures for people to look at, opened where the images came from."""

from __future__ import annotations

import functools
from collections.abc import Callable

from PIL import Image

from imagesearch.errors import SourceError
from imagesearch.sources import open_image
from imagesearch.types import ImageSource, ImageTerm, Query

__all__ = ["query_thumbnail", "thumbnail"]

_SIDE = 256


def thumbnail(source: ImageSource) -> Image.Image | None:
    """Open an image at about 256 pixels; None if it cannot be opened any more."""
    try:
        return open_image(source, shrink_to=_SIDE)
    except SourceError:
        return None


def query_thumbnail(query: Query) -> Callable[[], Image.Image | None] | None:
    """Return what opens the first image of a query; None if it has none."""
    images = [term.source for term in query.terms if isinstance(term, ImageTerm)]
    return functools.partial(thumbnail, images[0]) if images else None
