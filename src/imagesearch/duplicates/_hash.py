"""Perceptual hashes, and the search for near ones by multi-index hashing."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["RADIUS", "dhash", "hamming", "near_pairs", "pack", "phash"]


# The hash keeps the lowest quarter of the frequencies of the shrunken image.
_OVERSAMPLING = 4


def phash(image: Image.Image, size: int = 8) -> NDArray[np.bool_]:
    """Return which of an image's lowest frequencies are stronger than their median.

    The DCT-II of the greyscale image at 4 · `size` pixels a side; see Krawetz, "Looks Like It"
    (2011), and Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions" (2010).
    The result is that of the package ``imagehash``, bit for bit.

    Args:
        image: Any image that Pillow converts to greyscale.
        size: Frequencies in each direction, ≥ 2; the hash has size² bits.

    Returns:
        bool of shape (size, size).

    Raises:
        ValueError: `size` is less than 2.

    Example:
        >>> phash(Image.linear_gradient("L")).shape
        (8, 8)
    """
    side = _checked(size) * _OVERSAMPLING
    grey = image.convert("L").resize((side, side), Image.Resampling.LANCZOS)
    cosines = _cosines(side)[:size]
    low = cosines @ np.asarray(grey, np.float64) @ cosines.T
    bits: NDArray[np.bool_] = low > np.median(low)
    return bits


def dhash(image: Image.Image, size: int = 8) -> NDArray[np.bool_]:
    """Return where a small greyscale version of an image gets brighter from left to right.

    See Krawetz, "Kind of Like That" (2013). The result is that of the package ``imagehash``, bit
    for bit.

    Args:
        image: Any image that Pillow converts to greyscale.
        size: Comparisons in each direction, ≥ 2; the hash has size² bits.

    Returns:
        bool of shape (size, size).

    Raises:
        ValueError: `size` is less than 2.

    Example:
        >>> bool(dhash(Image.linear_gradient("L").rotate(90)).all())
        True
    """
    grey = image.convert("L").resize((_checked(size) + 1, size), Image.Resampling.LANCZOS)
    pixels = np.asarray(grey)
    bits: NDArray[np.bool_] = pixels[:, 1:] > pixels[:, :-1]
    return bits


def _checked(size: int) -> int:
    if size < 2:
        raise ValueError(f"size must be at least 2, got {size}")
    return size


@functools.cache
def _cosines(side: int) -> NDArray[np.float64]:
    positions = np.arange(side)
    return 2 * np.cos(np.pi * positions[:, None] * (2 * positions + 1) / (2 * side))


def pack(bits: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Pack bits into 64-bit words, first bit highest.

    Args:
        bits: bool of any shape; the number of bits is a multiple of 64.

    Returns:
        uint64 of shape (bits / 64,).

    Example:
        >>> [int(word) for word in pack(np.eye(8, dtype=bool))]
        [9241421688590303745]
    """
    words: NDArray[np.uint64] = np.packbits(bits.ravel()).view(">u8").astype(np.uint64)
    return words


def hamming(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return the number of bits in which packed hashes differ.

    Args:
        a: uint64 of shape (…, words).
        b: uint64 of a shape that broadcasts with it.

    Returns:
        int64 of shape (…).

    Example:
        >>> hamming(np.array([[7], [8]], np.uint64), np.array([3], np.uint64)).tolist()
        [1, 3]
    """
    distance: NDArray[np.int64] = _popcount(a ^ b).sum(axis=-1, dtype=np.int64)
    return distance


def _popcount(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    # The parallel bit count of "Hacker's Delight" (Warren 2012), 5-1; np.bitwise_count needs
    # NumPy 2.0.
    pairs = words - (words >> np.uint64(1) & np.uint64(0x5555555555555555))
    nibbles = (pairs & np.uint64(0x3333333333333333)) + (
        pairs >> np.uint64(2) & np.uint64(0x3333333333333333)
    )
    octets = nibbles + (nibbles >> np.uint64(4)) & np.uint64(0x0F0F0F0F0F0F0F0F)
    total: NDArray[np.uint64] = octets * np.uint64(0x0101010101010101) >> np.uint64(56)
    return total


RADIUS = 11
"""The largest distance between the two hashes of a pair: 4 bands · (2 + 1) - 1."""

_BANDS = 4
_BAND_BITS = 16
_PROBES = [
    sum(1 << bit for bit in bits)
    for count in (0, 1, 2)
    for bits in combinations(range(_BAND_BITS), count)
]
_BLOCK = 2**18


def near_pairs(
    queries: NDArray[np.uint64], table: NDArray[np.uint64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Find all pairs of 64-bit hashes that differ in at most `RADIUS` bits.

    Multi-index hashing (Norouzi, Punjani and Fleet 2012): hashes that differ in at most 11 bits
    differ in at most 2 bits of one of their four 16-bit bands. Memory is that of a few copies of
    the hashes and of one block of pairs.

    Args:
        queries: uint64 of shape (n,).
        table: uint64 of shape (m,).

    Yields:
        Rows of `queries` and rows of `table`, pair by pair, in blocks; a pair may come more than
        once.

    Example:
        >>> hashes = np.array([0, 0b111, 2**64 - 1], np.uint64)
        >>> sorted({(int(i), int(j)) for block in near_pairs(hashes, hashes) for i, j in zip(*block)})
        [(0, 0), (0, 1), (1, 0), (1, 1), (2, 2)]
    """
    for band in range(_BANDS):
        shift = np.uint64(band * _BAND_BITS)
        query_keys, table_keys = (
            (hashes >> shift & np.uint64(0xFFFF)).astype(np.int64) for hashes in (queries, table)
        )
        order = np.argsort(table_keys, kind="stable")
        starts = np.searchsorted(table_keys[order], np.arange(2**_BAND_BITS + 1))
        for probe in _PROBES:
            keys = query_keys ^ probe
            first, count = starts[keys], starts[keys + 1] - starts[keys]
            for rows, positions in _expanded(first, count):
                candidates = order[positions]
                near = _popcount(queries[rows] ^ table[candidates]) <= RADIUS
                if near.any():
                    yield rows[near], candidates[near]


def _expanded(
    first: NDArray[np.int64], count: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield every row with each of its `count` positions from `first` on, in blocks."""
    rows = np.flatnonzero(count)
    ends = np.cumsum(count[rows])
    start = 0
    while start < len(rows):
        done = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + _BLOCK, side="right")))
        block = rows[start:stop]
        repeated = np.repeat(block, count[block])
        offsets = np.arange(len(repeated)) - np.repeat(
            ends[start:stop] - count[block] - done, count[block]
        )
        yield repeated, np.repeat(first[block], count[block]) + offsets
        start = stop
