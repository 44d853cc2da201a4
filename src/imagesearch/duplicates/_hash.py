"""Perceptual hashes, and finding near ones by multi-index hashing."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["RADIUS", "bit_distance", "close_pairs", "dhash", "pack", "phash"]


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


RADIUS = 11
"""Most bits in which two hashes of a pair may differ: 4 bands · (2 + 1) - 1."""

_BANDS = 4
_BITS = 16
_PROBES = [
    sum(1 << bit for bit in bits)
    for count in (0, 1, 2)
    for bits in combinations(range(_BITS), count)
]
_BLOCK = 2**18


def close_pairs(
    queries: NDArray[np.uint64], table: NDArray[np.uint64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Find all pairs of hashes that differ in at most `RADIUS` bits.

    Memory is that of a few copies of the hashes and of one block of pairs.

    Args:
        queries: uint64 of shape (n,).
        table: uint64 of shape (m,).

    Yields:
        Positions in `queries` and in `table`, pair by pair, in blocks; a pair may come more than
        once.

    Example:
        >>> hashes = np.array([0, 0b111, 2**64 - 1], np.uint64)
        >>> sorted({(int(i), int(j)) for block in close_pairs(hashes, hashes) for i, j in zip(*block)})
        [(0, 0), (0, 1), (1, 0), (1, 1), (2, 2)]
    """
    for band in range(_BANDS):
        shift = np.uint64(band * _BITS)
        wanted, held = (
            (hashes >> shift & np.uint64(0xFFFF)).astype(np.int64) for hashes in (queries, table)
        )
        order = np.argsort(held, kind="stable")
        starts = np.searchsorted(held[order], np.arange(2**_BITS + 1))
        for probe in _PROBES:
            value = wanted ^ probe
            first, count = starts[value], starts[value + 1] - starts[value]
            for rows, places in _spread(first, count):
                found = order[places]
                near = _differing(queries[rows] ^ table[found]) <= RADIUS
                if near.any():
                    yield rows[near], found[near]


def _spread(
    first: NDArray[np.int64], count: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield every row with each of its `count` places from `first` on, about a block at a time."""
    rows = np.flatnonzero(count)
    ends = np.cumsum(count[rows])
    cut = 0
    while cut < len(rows):
        done = int(ends[cut - 1]) if cut else 0
        stop = max(cut + 1, int(np.searchsorted(ends, done + _BLOCK, side="right")))
        some = rows[cut:stop]
        repeated = np.repeat(some, count[some])
        inside = np.arange(len(repeated)) - np.repeat(
            ends[cut:stop] - count[some] - done, count[some]
        )
        yield repeated, np.repeat(first[some], count[some]) + inside
        cut = stop


def _differing(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    # The parallel bit count of "Hacker's Delight" (Warren 2012), 5-1.
    pairs = words - (words >> np.uint64(1) & np.uint64(0x5555555555555555))
    nibbles = (pairs & np.uint64(0x3333333333333333)) + (
        pairs >> np.uint64(2) & np.uint64(0x3333333333333333)
    )
    octets = nibbles + (nibbles >> np.uint64(4)) & np.uint64(0x0F0F0F0F0F0F0F0F)
    total: NDArray[np.uint64] = octets * np.uint64(0x0101010101010101) >> np.uint64(56)
    return total
