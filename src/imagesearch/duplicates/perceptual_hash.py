"""Perceptual hashes: pictures that look the same differ in few bits.

Both have the definitions of the public package ``imagehash`` (``phash`` and ``dhash``), bit for
bit, so that hashes made elsewhere can be compared with these.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["bit_distance", "dhash", "pack", "phash"]

# Frequencies that are kept are the lowest quarter of those in the shrunken picture.
_OVERSAMPLING = 4

# numpy counts bits itself only from 2.0 on.
_ONES = np.array([byte.bit_count() for byte in range(256)], np.uint8)


def phash(image: Image.Image, size: int = 8) -> NDArray[np.bool_]:
    """Return which of the lowest frequencies of a picture are stronger than their median.

    The DCT-II of the picture in grey at 4 · `size` pixels a side; see Krawetz, "Looks Like It"
    (2011), and Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions" (2010).

    Args:
        image: Any picture that Pillow turns into grey.
        size: Frequencies in each direction, ≥ 2; the hash has size² bits.

    Returns:
        bool of shape (size, size).

    Example:
        >>> phash(Image.linear_gradient("L")).shape
        (8, 8)
    """
    side = _side(size) * _OVERSAMPLING
    grey = image.convert("L").resize((side, side), Image.Resampling.LANCZOS)
    cosines = _cosines(side)[:size]
    low = cosines @ np.asarray(grey, np.float64) @ cosines.T
    bits: NDArray[np.bool_] = low > np.median(low)
    return bits


def dhash(image: Image.Image, size: int = 8) -> NDArray[np.bool_]:
    """Return where a small grey picture grows brighter from left to right.

    See Krawetz, "Kind of Like That" (2013).

    Args:
        image: Any picture that Pillow turns into grey.
        size: Comparisons in each direction, ≥ 2; the hash has size² bits.

    Returns:
        bool of shape (size, size).

    Example:
        >>> bool(dhash(Image.linear_gradient("L").rotate(90)).all())
        True
    """
    grey = image.convert("L").resize((_side(size) + 1, size), Image.Resampling.LANCZOS)
    pixels = np.asarray(grey)
    bits: NDArray[np.bool_] = pixels[:, 1:] > pixels[:, :-1]
    return bits


def pack(bits: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Return bits as 64-bit words, first bit highest.

    Args:
        bits: bool of any shape; a multiple of 64 of them.

    Returns:
        uint64 of shape (bits / 64,).

    Example:
        >>> [int(word) for word in pack(np.eye(8, dtype=bool))]
        [9241421688590303745]
    """
    words: NDArray[np.uint64] = np.packbits(bits.ravel()).view(">u8").astype(np.uint64)
    return words


def bit_distance(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return in how many bits packed hashes differ.

    Args:
        a: uint64 of shape (…, words).
        b: uint64 of a shape that goes with it.

    Returns:
        int64 of shape (…).

    Example:
        >>> bit_distance(np.array([[7], [8]], np.uint64), np.array([3], np.uint64)).tolist()
        [1, 3]
    """
    different = np.ascontiguousarray(a ^ b)
    count: NDArray[np.int64] = _ONES[different.view(np.uint8)].sum(axis=-1, dtype=np.int64)
    return count


@functools.cache
def _cosines(side: int) -> NDArray[np.float64]:
    places = np.arange(side)
    return 2 * np.cos(np.pi * places[:, None] * (2 * places + 1) / (2 * side))


def _side(size: int) -> int:
    if size < 2:
        raise ValueError(f"size={size}; a hash needs at least 2 bits a side")
    return size
