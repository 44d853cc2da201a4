"""Names: which file names are taken for images when a folder is read."""

from __future__ import annotations

import os
from pathlib import PurePath

__all__ = ["IMAGE_SUFFIXES", "looks_like_image_name"]

IMAGE_SUFFIXES = frozenset(
    {
        ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo",
        ".png", ".apng",
        ".gif",
        ".webp",
        ".avif", ".avifs",
        ".heic", ".heif", ".hif",
        ".tif", ".tiff",
        ".bmp",
        ".pbm", ".pgm", ".ppm", ".pnm", ".pfm",
        ".jp2", ".j2k", ".jpx", ".jpf", ".j2c", ".jpc",
        ".ico",
    }
)  # fmt: skip
"""Suffixes, in lower case, of the formats that `decode` accepts."""


def looks_like_image_name(path: str | os.PathLike[str]) -> bool:
    """Whether a file of this name is expected to be an image; upper or lower case is the same.

    Only names are looked at: what is in a file is decided by its bytes, whatever its name.

    Example:
        >>> looks_like_image_name("photos/IMG_0001.JPG"), looks_like_image_name("notes.txt")
        (True, False)
    """
    return PurePath(path).suffix.lower() in IMAGE_SUFFIXES
