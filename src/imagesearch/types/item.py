"""Item: one image on its way in, before it has been read."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, TypeAlias

from numpy.typing import NDArray
from PIL import Image

from imagesearch.types.metadata import Metadata

__all__ = ["Failure", "ImageSource", "Item"]

ImageSource: TypeAlias = str | os.PathLike[str] | bytes | Image.Image | NDArray[Any]
"""One image: a path, an http(s) URL, encoded bytes, a PIL image, or an array (height, width[, channels])."""


@dataclass(frozen=True, slots=True)
class Item:
    """One image to be indexed, with what is known about it.

    Attributes:
        source: A path, an http(s) URL, encoded bytes, a PIL image or an array.
        id: The record's id; None derives it from the canonical URI, or from the content for bytes
            and in-memory images.
        metadata: The user's own fields, kept with the record and open to filters; ``{}`` for
            none. None says nothing about them: a record that exists keeps those that it has.
        uri: Where the image comes from; None derives it from the source (absolute path, URL, or
            ``sha256:…`` for in-memory images).

    Example:
        >>> Item("shoe.jpg", id="sku-1", metadata={"price": 9.5}).id
        'sku-1'
    """

    source: ImageSource
    id: str | None = None
    metadata: Metadata | None = None
    uri: str | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """One input that could not be indexed, and why.

    Attributes:
        source: The input in words that its owner recognises: a path, ``photos.csv:17``, an id.
        error: What went wrong; ``str(error)`` is the reason to show.
        id: The id that the record would have had, where that is known.

    Example:
        >>> from imagesearch.errors import DecodeError
        >>> str(Failure("a.jpg", DecodeError("a.jpg is empty")).error)
        'a.jpg is empty'
    """

    source: str
    error: Exception
    id: str | None = None
