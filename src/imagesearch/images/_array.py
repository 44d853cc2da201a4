"""Convert a NumPy array to an RGB image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imagesearch.errors import DecodeError
from imagesearch.images._convert import assemble, ground_of, put_on
from imagesearch.images._limits import MAX_PIXELS, check_memory, check_size

__all__ = ["from_array"]


_CHANNELS = (1, 3, 4)


def from_array(array: NDArray[Any], *, name: str = "array") -> Image.Image:
    """Return one image from an array.

    Args:
        array: Shape (height, width), (height, width, 1), (height, width, 3) in RGB order, or
            (height, width, 4) in RGBA order, blended as `decode` does. ``uint8`` from 0 to 255,
            ``uint16`` from 0 to 65535, floats from 0 to 1, or bool with True as white.
        name: The array in messages.

    Returns:
        An RGB image that does not share memory with the array.

    Raises:
        ImageTooLargeError: More pixels than `decode` accepts; nothing is copied.
        DecodeError: Another shape or dtype, no pixels, NaN, or floats outside 0 to 1.

    Example:
        >>> from_array(np.ones((2, 3), np.float32)).getpixel((0, 0))
        (255, 255, 255)
    """
    if not isinstance(array, np.ndarray):
        raise DecodeError(f"{name} is a {type(array).__name__}, not a NumPy array")
    pixels = _layout(array, name)
    height, width = pixels.shape[:2]
    mode = "RGBA" if pixels.ndim == 3 and pixels.shape[2] == 4 else "RGB"
    check_size(width, height, max_pixels=MAX_PIXELS, name=name)
    check_memory("RGB", (width, height), name=name)
    _check_numbers(pixels, name)

    def band(top: int, end: int) -> Image.Image:
        return Image.fromarray(np.ascontiguousarray(_eight_bit(pixels[top:end]))).convert(mode)

    if mode == "RGB":
        return assemble((width, height), band)
    ground = ground_of((width, height), band)
    return assemble((width, height), lambda top, end: put_on(band(top, end), ground))


def _layout(array: NDArray[Any], name: str) -> NDArray[Any]:
    shape = array.shape
    if array.ndim not in {2, 3}:
        many = "; pass a batch as list(array)" if array.ndim == 4 else ""
        raise DecodeError(
            f"{name} must have shape (height, width) or (height, width, channels), got {shape}"
            f"{many}"
        )
    if array.size == 0:
        raise DecodeError(f"{name} has no pixels: its shape is {shape}")
    if array.ndim == 3 and shape[2] not in _CHANNELS:
        if shape[0] in _CHANNELS:
            raise DecodeError(
                f"{name} has its channels first, in shape {shape}; pass array.transpose(1, 2, 0)"
            )
        raise DecodeError(
            f"{name} must have 1, 3 or 4 channels in its last axis, got shape {shape}"
        )
    return array[:, :, 0] if array.ndim == 3 and shape[2] == 1 else array


def _check_numbers(array: NDArray[Any], name: str) -> None:
    match array.dtype.kind, array.dtype.itemsize:
        case ("u", 1) | ("u", 2) | ("b", _):
            return
        case "f", _:
            low, high = float(array.min()), float(array.max())
            if np.isnan(low):
                raise DecodeError(
                    f"{name} contains NaN; replace it, for example with np.nan_to_num"
                )
            if low < 0.0 or high > 1.0:
                raise DecodeError(
                    f"{name} must hold floats from 0 to 1, got {low:g} to {high:g}; scale them, "
                    "or pass 0 to 255 as array.astype(np.uint8)"
                )
        case _:
            raise DecodeError(
                f"{name} must be uint8 (0 to 255), uint16, bool or float (0 to 1), got dtype "
                f"{array.dtype}; convert it, for example with array.astype(np.uint8)"
            )


def _eight_bit(array: NDArray[Any]) -> NDArray[np.uint8]:
    match array.dtype.kind:
        case "b":
            return array.astype(np.uint8) * np.uint8(255)
        case "f":
            return np.rint(array * 255.0).astype(np.uint8)
        case _ if array.dtype.itemsize == 2:
            return ((array.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
        case _:
            return array.astype(np.uint8)
