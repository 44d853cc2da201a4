"""Bands: which of many 64-bit hashes lie close together, without comparing each with each.

Multi-index hashing (Norouzi, Punjani and Fleet, "Fast Search in Hamming Space with Multi-Index
Hashing", 2012): hashes that differ in at most 11 of 64 bits differ in at most 2 bits of one of
their four 16-bit bands, so it is enough to look up every band with every pair of its bits changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

__all__ = ["RADIUS", "close_pairs"]

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
