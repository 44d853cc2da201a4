"""Limits on image size and memory, and the file names of images."""

from __future__ import annotations

import os
from pathlib import PurePath

from imagesearch.errors import DecodeError, ImageTooLargeError

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_DECODED_BYTES",
    "MAX_PIXELS",
    "MAX_SIDE",
    "check_memory",
    "check_size",
    "looks_like_image_name",
]


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
    """Whether a file name has the suffix of a supported format, in upper or lower case.

    Only the name is examined; `decode` goes by the content of a file.

    Example:
        >>> looks_like_image_name("photos/IMG_0001.JPG"), looks_like_image_name("notes.txt")
        (True, False)
    """
    return PurePath(path).suffix.lower() in IMAGE_SUFFIXES


MAX_PIXELS = 178_956_970
"""Limit on pixels (width x height): twice the default of ``PIL.Image.MAX_IMAGE_PIXELS``, where
Pillow itself stops."""

MAX_SIDE = 100_000
"""Limit on one side in pixels. Pillow stores a pointer and a padded line for each row, so an image
of 1 x 178,956,970 pixels takes 3.5 GB. JPEG, GIF and WebP allow at most 65,535."""

MAX_DECODED_BYTES = 768 * 1024 * 1024
"""Limit on the memory for decoding one image, without its encoded bytes: Pillow's pixels (1 byte a
pixel for grey and palettes, 2 for 16-bit grey, 4 otherwise), the decoder's own buffers, and another
4 bytes a pixel where the image is converted or rotated. RGB of `MAX_PIXELS` just fits."""


def check_size(width: int, height: int, *, max_pixels: int, name: str) -> None:
    """Refuse an image without pixels or with too many.

    Raises:
        DecodeError: ``width * height`` is 0.
        ImageTooLargeError: It is more than `max_pixels`, or a side is longer than `MAX_SIDE`.
    """
    if width < 1 or height < 1:
        raise DecodeError(f"{name} has no pixels: it is {width}×{height}")
    if width * height > max_pixels:
        raise ImageTooLargeError(
            f"{name} is {width}×{height}, {width * height / 1e6:.4g} megapixels; at most "
            f"{max_pixels / 1e6:.4g} are decoded, so that a small file cannot fill the memory; "
            "save a smaller copy"
        )
    if max(width, height) > MAX_SIDE:
        raise ImageTooLargeError(
            f"{name} is {width}×{height}; a side has at most {MAX_SIDE:,} pixels, so that a small "
            "file cannot fill the memory; split it"
        )


def check_memory(
    mode: str,
    size: tuple[int, int],
    *,
    name: str,
    turned: bool = False,
    decoder: int = 0,
) -> None:
    """Refuse an image that needs more than `MAX_DECODED_BYTES` to decode.

    Args:
        mode: Pillow's mode, which determines the bytes per pixel.
        size: Width and height to decode.
        name: The image in messages.
        turned: Whether the image must be rotated.
        decoder: Bytes that the decoder needs in addition to the pixels.

    Raises:
        ImageTooLargeError: The limit is exceeded.
    """
    width, height = size
    converted = _RGB_BYTES if turned or mode != "RGB" else 0
    needed = width * height * (_MODE_BYTES.get(mode, 4) + converted) + decoder
    if needed > MAX_DECODED_BYTES:
        raise ImageTooLargeError(
            f"{name} is {width}×{height} in mode {mode}{', rotated' if turned else ''}, which takes "
            f"{needed / 1e6:,.0f} MB to decode; at most {MAX_DECODED_BYTES / 1e6:,.0f} MB are used, "
            "so that a small file cannot fill the memory; save a smaller copy"
        )


# Pillow stores RGB in 4 bytes a pixel.
_RGB_BYTES = 4
_MODE_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}
