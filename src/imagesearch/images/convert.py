"""Convert: a PIL image of any mode → upright RGB, scaled where it has more than 8 bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imagesearch.errors import DecodeError
from imagesearch.images.limits import MAX_PIXELS, check_size
from imagesearch.images.quiet import quiet

__all__ = ["to_rgb", "upright_rgb"]

_ORIENTATION = 0x0112

# EXIF 2.32, section 4.6.4: what turns each stored orientation upright.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_ROWS_AT_ONCE = 1 << 22
"""Pixels that are scaled in one go, so that wide numbers exist for a few rows only."""


def upright_rgb(
    image: Image.Image, *, max_pixels: int = MAX_PIXELS, name: str = "image"
) -> Image.Image:
    """Return a PIL image as upright 8-bit RGB, by the policy of `decode`.

    The caller's image keeps its mode, size and content; one that was opened but not read is read.
    Of an animation, the frame it stands at is taken.

    Args:
        image: Any mode.
        max_pixels: Most pixels, width times height.
        name: What messages call the image.

    Returns:
        A new image, or `image` itself if it is plain upright RGB already.

    Raises:
        DecodeError: No PIL image, no pixels or too many, an unreadable file behind it, or a mode
            without a meaning as colour.

    Example:
        >>> upright_rgb(Image.new("LA", (2, 1), (0, 0))).getpixel((0, 0))
        (255, 255, 255)
    """
    if not isinstance(image, Image.Image):
        raise DecodeError(f"{name} is a {type(image).__name__}, not a PIL image")
    check_size(*image.size, max_pixels=max_pixels, name=name)
    try:
        with quiet(name):
            image.load()
            return to_rgb(image, name=name)
    except DecodeError:
        raise
    except Exception as error:  # Pillow raises whatever its decoders meet
        raise DecodeError(
            f"{name} (mode {image.mode}) cannot be read as RGB: {_words(error)}; "
            "save it as PNG or JPEG and try again"
        ) from error


def to_rgb(image: Image.Image, *, name: str) -> Image.Image:
    """Return a loaded image as upright RGB; the same object if there is nothing to do."""
    turn = _TURNS.get(_orientation(image))
    colour = _colour(image, name)
    return colour if turn is None else _bare(colour.transpose(turn))


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(_ORIENTATION)
    except Exception:  # noqa: BLE001  # damaged EXIF says nothing; the picture is still good
        return 1
    return value if isinstance(value, int) else 1


def _colour(image: Image.Image, name: str) -> Image.Image:
    mode = image.mode
    if mode.startswith("I;16") or mode in {"I", "F"}:
        return _scaled(image)
    if image.has_transparency_data:
        return _over_white(image)
    if mode == "RGB":
        return image
    if mode == "LAB":
        return _from_lab(image, name)
    return _bare(image.convert("RGB"))


def _over_white(image: Image.Image) -> Image.Image:
    key = image.info.get("transparency")
    if image.mode == "RGB" and isinstance(key, tuple) and max(key) > 255:
        # Pillow keeps a 16-bit PNG's transparent colour in 16 bits beside its pixels in 8.
        image = image.copy()
        image.info["transparency"] = tuple(value >> 8 for value in key)
    if image.mode == "La":
        image = image.convert("LA")
    elif image.mode not in {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa"}:
        return _bare(image.convert("RGB"))
    rgba = image if image.mode == "RGBA" else image.convert("RGBA")
    alpha = rgba.getchannel("A")
    if alpha.getextrema() == (255, 255):
        return _bare(rgba.convert("RGB"))
    paper = Image.new("RGB", rgba.size, (255, 255, 255))
    paper.paste(rgba, mask=alpha)
    return paper


def _from_lab(image: Image.Image, name: str) -> Image.Image:
    try:
        from PIL import ImageCms

        transform = ImageCms.buildTransform(
            ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB"
        )
    except ImportError as error:
        raise DecodeError(
            f"{name} is in CIELAB, which this build of Pillow cannot convert; save it as RGB"
        ) from error
    converted = ImageCms.applyTransform(image, transform)
    if converted is None:
        raise DecodeError(f"{name} is in CIELAB and could not be converted; save it as RGB")
    return _bare(converted)


def _scaled(image: Image.Image) -> Image.Image:
    """Scale one wide channel to 8 bits; see the policy for the ranges."""
    values: NDArray[Any] = np.asarray(image)
    low, high = _range(values)
    grey = np.empty(values.shape, np.uint8)
    step = max(1, _ROWS_AT_ONCE // values.shape[1])
    for row in range(0, len(values), step):
        rows = values[row : row + step].astype(np.float64)
        scaled = (np.nan_to_num(rows, nan=low, posinf=high, neginf=low) - low) / (high - low)
        grey[row : row + step] = np.rint(np.clip(scaled, 0.0, 1.0) * 255.0).astype(np.uint8)
    key = image.info.get("transparency")
    if isinstance(key, int):
        grey[values == key] = 255
    return Image.fromarray(grey).convert("RGB")


def _range(values: NDArray[Any]) -> tuple[float, float]:
    """Return what becomes black and what becomes white."""
    if values.dtype.kind == "u":
        return 0.0, 65535.0
    if values.dtype.kind == "f":
        finite = np.isfinite(values)
        if not finite.any():
            return 0.0, 1.0
        low = float(np.min(values, where=finite, initial=np.inf))
        high = float(np.max(values, where=finite, initial=-np.inf))
        known = (1.0, 255.0)
    else:
        low, high = float(values.min()), float(values.max())
        known = (255.0, 65535.0)
    for white in known:
        if low >= 0.0 and high <= white:
            return 0.0, white
    return (low, high) if high > low else (low - 1.0, low)


def _bare(image: Image.Image) -> Image.Image:
    """Drop what the pixels have already obeyed, so that nobody rotates or blends them again."""
    image.info.clear()
    return image


def _words(error: Exception) -> str:
    return f"{error}".strip() or type(error).__name__
