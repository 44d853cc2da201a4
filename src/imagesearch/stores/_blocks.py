"""Blocks of stored vectors, scored in pieces that stay in the processor's cache."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from imagesearch._cpus import available_cpus
from imagesearch._forks import ForkGate
from imagesearch.types import Metric

__all__ = ["Block", "Codec", "RowLengths", "computing"]

computing = ForkGate()
"""Entered for products of matrices, which NumPy computes with threads."""

# Decoded or copied at a time. Measured: 256 KB and 4 MB take a third longer.
_PIECE_BYTES = 2**20
# Work for more than one thread, as bytes of float32; threads take 0.1 ms to start.
_THREADED_BYTES = 16 * 2**20
_MAX_THREADS = 4
# One query and short vectors in memory: NumPy's own loop takes half as long as BLAS.
_SHORT = 512


class Codec(Protocol):
    """How stored elements become float32."""

    @property
    def gain(self) -> float:
        """Factor by which elements that `widen` returns must be multiplied."""
        ...

    @property
    def unit(self) -> bool:
        """Whether decoded vectors have length 1, regardless of the stored length."""
        ...

    def widen(self, stored: NDArray[Any], out: NDArray[np.float32]) -> NDArray[np.float32]:
        """Convert elements without scaling, into `out`."""
        ...

    def decode(self, stored: NDArray[Any]) -> NDArray[np.float32]:
        """Return the vectors."""
        ...


class RowLengths:
    """Squared lengths of the rows of one file, each computed once.

    Several threads may use it at once; at worst they compute the same length.
    """

    def __init__(self) -> None:
        self._squared = np.empty(0, np.float32)
        self._lock = threading.Lock()

    def of(
        self, rows: NDArray[np.int64] | slice, vectors: NDArray[np.float32], gain: float
    ) -> NDArray[np.float32]:
        """Return the squared lengths of rows.

        Args:
            rows: Their numbers.
            vectors: The rows themselves, to be multiplied by `gain`.
            gain: The factor.
        """
        last = rows.stop if isinstance(rows, slice) else int(rows[-1]) + 1
        if last > len(self._squared):
            with self._lock:
                if last > len(self._squared):
                    grown = np.full(last + last // 4, np.nan, np.float32)
                    grown[: len(self._squared)] = self._squared
                    self._squared = grown
        squared = self._squared[rows]
        if np.isnan(squared).any():
            squared = _squared_lengths(vectors, gain)
            self._squared[rows] = squared
        return squared


def _squared_lengths(vectors: NDArray[np.float32], gain: float) -> NDArray[np.float32]:
    if gain != 1.0:
        vectors = vectors * np.float32(gain)
    squared: NDArray[np.float32] = np.einsum("ij,ij->i", vectors, vectors)
    return squared


class Block:
    """Some rows of a matrix of stored vectors.

    Args:
        stored: (n, dim).
        rows: Which rows, ascending.
        codec: How vectors are stored; None for float32.
        lengths: Lengths of the rows of `stored`, if rows never change.

    Example:
        >>> block = Block(np.eye(3, dtype=np.float32), np.array([0, 2]))
        >>> block.scores(np.ones((1, 3), np.float32), "dot")[0].tolist()
        [[1.0, 1.0]]
    """

    def __init__(
        self,
        stored: NDArray[Any],
        rows: NDArray[np.int64] | slice,
        codec: Codec | None = None,
        lengths: RowLengths | None = None,
    ) -> None:
        self._stored, self._rows = stored, rows
        self._codec, self._lengths = codec, lengths

    def __len__(self) -> int:
        rows = self._rows
        return (
            len(range(*rows.indices(len(self._stored)))) if isinstance(rows, slice) else len(rows)
        )

    def read(self) -> NDArray[np.float32]:
        """Return the vectors."""
        stored = self._stored[self._rows]
        return stored if self._codec is None else self._codec.decode(stored)

    def scores(
        self, queries: NDArray[np.float32], metric: Metric
    ) -> tuple[NDArray[np.float32], float]:
        """Score all vectors for all queries, and return the greatest length of a vector.

        Args:
            queries: (n, dim); of unit length under ``cosine``.
            metric: How to compare.

        Returns:
            float32 of shape (n, rows), see `Hit.score`; under ``l2`` 1 less, so that small distances
            keep their digits. And the greatest length.
        """
        count, dim = len(self), self._stored.shape[1]
        table = np.empty((len(queries), count), np.float32)
        unit = self._codec is not None and self._codec.unit
        squared = np.empty(count, np.float32) if unit or metric != "cosine" else None
        whole = self._codec is None and isinstance(self._rows, slice)
        with computing:
            if whole and squared is None:
                vectors = self._stored[self._rows]
                if len(queries) == 1 and dim <= _SHORT:
                    np.einsum("ij,j->i", vectors, queries[0], out=table[0])
                else:
                    np.matmul(queries, vectors.T, out=table)
            else:
                threads = 1 if 4 * dim * count < _THREADED_BYTES or whole else _threads()
                _split(count, threads, lambda a, z: self._fill(a, z, queries, table, squared))
        if squared is None:
            return np.clip(table, -1, 1, out=table), 1.0
        if metric == "cosine":
            # A file that was damaged may hold zeros; they stay zeros.
            table *= np.divide(1, np.sqrt(squared), out=np.zeros_like(squared), where=squared > 0)
            return np.clip(table, -1, 1, out=table), 1.0
        longest = float(np.sqrt(squared.max(initial=0).astype(np.float64)))
        if metric == "l2":
            # -|q-v|²/2 = q·v - (|q|²+|v|²)/2
            table -= (np.einsum("ij,ij->i", queries, queries)[:, None] + squared) / 2
        return table, longest

    def _fill(
        self,
        first: int,
        last: int,
        queries: NDArray[np.float32],
        table: NDArray[np.float32],
        squared: NDArray[np.float32] | None,
    ) -> None:
        stored, codec = self._stored, self._codec
        step = max(1, _PIECE_BYTES // (4 * max(1, stored.shape[1])))
        gathered = np.empty((step, stored.shape[1]), stored.dtype)
        wide = np.empty((step, stored.shape[1]), np.float32)
        gain = 1.0 if codec is None else codec.gain
        weighted = queries if gain == 1.0 else queries * np.float32(gain)
        for start in range(first, last, step):
            stop = min(start + step, last)
            rows = self._numbers(start, stop)
            vectors = (
                stored[rows]
                if isinstance(rows, slice)
                else np.take(stored, rows, axis=0, out=gathered[: stop - start], mode="clip")
            )
            if codec is not None:
                vectors = codec.widen(vectors, wide[: stop - start])
            np.matmul(weighted, vectors.T, out=table[:, start:stop])
            if squared is not None:
                squared[start:stop] = (
                    _squared_lengths(vectors, gain)
                    if self._lengths is None
                    else self._lengths.of(rows, vectors, gain)
                )

    def _numbers(self, start: int, stop: int) -> NDArray[np.int64] | slice:
        """Return the numbers of some rows, as a slice if they lie together."""
        if isinstance(self._rows, slice):
            first = self._rows.start or 0
            return slice(first + start, first + stop)
        rows = self._rows[start:stop]
        together = rows[-1] - rows[0] == stop - start - 1
        return slice(int(rows[0]), int(rows[-1]) + 1) if together else rows


def _split(count: int, threads: int, work: Callable[[int, int], None]) -> None:
    if threads == 1:
        work(0, count)
        return
    ends = [count * number // threads for number in range(threads + 1)]
    # Threads do not inherit how NumPy treats overflow.
    quiet = np.errstate(over="ignore", invalid="ignore")
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(quiet(work), ends[:-1], ends[1:]))


@cache
def _threads() -> int:
    return min(_MAX_THREADS, available_cpus())
