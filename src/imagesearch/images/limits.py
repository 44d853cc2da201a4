"""Limits: how large a picture may be before it is taken for a decompression bomb."""

from __future__ import annotations

from imagesearch.errors import DecodeError, ImageTooLargeError

__all__ = ["MAX_PIXELS", "check_size"]

MAX_PIXELS = 178_956_970
"""Most pixels (width x height) that are decoded: twice ``PIL.Image.MAX_IMAGE_PIXELS`` as Pillow
sets it, which is where Pillow itself stops. As RGB that is 0.5 GB."""


def check_size(width: int, height: int, *, max_pixels: int, name: str) -> None:
    """Refuse a picture without pixels or with too many.

    Raises:
        DecodeError: ``width * height`` is 0.
        ImageTooLargeError: It is more than `max_pixels`.
    """
    if width < 1 or height < 1:
        raise DecodeError(f"{name} has no pixels: it is {width}×{height}")
    if width * height > max_pixels:
        raise ImageTooLargeError(
            f"{name} is {width}×{height}, {width * height / 1e6:.4g} megapixels; at most "
            f"{max_pixels / 1e6:.4g} are decoded, so that a small file cannot fill the memory; "
            "save a smaller copy"
        )
