"""Blank: images that show nothing, which all look alike to a model."""

from __future__ import annotations

from typing import Any

from PIL import Image

__all__ = ["is_blank"]

_NOISE = 2
"""Levels by which the pixels of a sheet of one colour may differ after lossy compression."""

_SAMPLE = 8


def is_blank(image: Image.Image) -> bool:
    """Whether an RGB image is a single colour, up to 2 levels of 255 in each channel.

    A fully transparent image is one too, for it has become a white sheet.

    Example:
        >>> is_blank(Image.new("RGB", (64, 48), "teal"))
        True
        >>> is_blank(Image.radial_gradient("L").convert("RGB"))
        False
    """
    # A few pixels tell most images apart from a sheet, without a pass through millions.
    sample = image.resize((_SAMPLE, _SAMPLE), Image.Resampling.NEAREST)
    return _is_even(sample) and _is_even(image)


def _is_even(image: Image.Image) -> bool:
    extrema: Any = image.getextrema()  # a pair for each channel
    return all(high - low <= _NOISE for low, high in extrema)
