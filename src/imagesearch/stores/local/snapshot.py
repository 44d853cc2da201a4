"""Snapshot: one state of an index in memory, as a read transaction saw it."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from imagesearch.errors import StoreCorruptError
from imagesearch.filters import Filter
from imagesearch.stores.local.encoding import Encoding
from imagesearch.stores.local.layout import Layout
from imagesearch.stores.local.sql import compile_filter
from imagesearch.stores.local.vectors_file import StoredVectors, map_vectors

__all__ = ["GenerationChangedError", "Snapshot", "Snapshots"]

# One block of vectors is read at a time, whatever the size of the index.
_BLOCK_BYTES = 16 * 2**20
# What has to be decoded first should still be in the processor's cache when it is scored.
_DECODED_BYTES = 2**20
_CACHED_FILTERS = 8
# Gathering rows costs as much as scoring twice as many that lie together.
_GATHER_BELOW = 0.4


class GenerationChangedError(Exception):
    """The vectors file of this transaction is gone: another process has just compacted."""


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """What is true at one version of an index.

    Attributes:
        generation: Number of the vectors file; compaction starts the next.
        version: Grows with every write.
        rows: Rows in the vectors file, dead ones among them.
        live: Records.
        vectors: (rows, dim), mapped into memory and decoded where they are read.
        alive: (rows,), whether a row belongs to a record.
        last_dead: Number of the last entry in the table ``dead``.
    """

    generation: int
    version: int
    rows: int
    live: int
    vectors: StoredVectors
    alive: NDArray[np.bool_]
    last_dead: int
    _allowed: dict[Filter, NDArray[np.bool_]] = field(default_factory=dict)

    def allowed(self, where: Filter, connection: sqlite3.Connection) -> NDArray[np.bool_]:
        """Return which rows belong to records that match; remembered for the next query."""
        known = self._allowed.get(where)
        if known is not None:
            return known
        condition, bound = compile_filter(where)
        found = connection.execute(f"SELECT row FROM records WHERE {condition}", bound)  # noqa: S608  # names and values are bound
        mask = np.zeros(self.rows, np.bool_)
        mask[np.fromiter((row for (row,) in found), np.int64)] = True
        if len(self._allowed) >= _CACHED_FILTERS:
            self._allowed.clear()
        self._allowed[where] = mask
        return mask

    def rows_of(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the vectors of ascending rows, without a copy if they lie together."""
        if len(rows) and rows[-1] - rows[0] + 1 == len(rows):
            return self.vectors[rows[0] : rows[-1] + 1]
        return self.vectors[rows]

    def blocks(
        self, mask: NDArray[np.bool_]
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Give the rows of `mask` with their vectors, a block at a time.

        Where most rows count, the others come along as row -1, which is cheaper than gathering.
        """
        size = _DECODED_BYTES if self.vectors.decoded else _BLOCK_BYTES
        step = max(1, size // (4 * max(1, self.vectors.dim)))
        for start in range(0, self.rows, step):
            counting = mask[start : start + step]
            rows = np.flatnonzero(counting) + start
            if len(rows) > _GATHER_BELOW * len(counting):
                span = np.arange(start, start + len(counting))
                span[~counting] = -1
                yield span, self.vectors[start : start + len(counting)]
            elif len(rows):
                yield rows, self.vectors[rows]


class Snapshots:
    """Makes snapshots, each from the last one where that is possible.

    Args:
        layout: Where the vectors files are.
        dim: Numbers in a vector.
        encoding: How they are kept.
    """

    def __init__(self, layout: Layout, dim: int, encoding: Encoding) -> None:
        self._layout = layout
        self._dim, self._encoding = dim, encoding
        self._last: Snapshot | None = None
        self._lock = threading.Lock()

    def of(self, connection: sqlite3.Connection) -> Snapshot:
        """Return the snapshot of a transaction.

        Raises:
            GenerationChangedError: The vectors file is gone; begin a new transaction.
            StoreCorruptError: The vectors file is shorter than its rows.
        """
        generation, version, rows, live = connection.execute(
            "SELECT generation, version, rows, live FROM state"
        ).fetchone()
        last = self._last
        if last is not None and (last.generation, last.version) == (generation, version):
            return last
        path = self._layout.vectors(generation, self._encoding)
        try:
            vectors = map_vectors(path, rows, self._dim, self._encoding)
        except FileNotFoundError as error:
            raise GenerationChangedError(path.name) from error
        same = last is not None and last.generation == generation and last.version < version
        seen = last.last_dead if same and last is not None else 0
        alive = np.ones(rows, np.bool_)
        if same and last is not None:
            alive[: last.rows] = last.alive
        dead = connection.execute(
            "SELECT number, row FROM dead WHERE number > ? ORDER BY number", (seen,)
        ).fetchall()
        if dead:
            seen = dead[-1][0]
            alive[[row for _, row in dead]] = False
        if np.count_nonzero(alive) != live:
            raise StoreCorruptError(
                f"the index at {self._layout.folder} counts {live} records, but "
                f"{np.count_nonzero(alive)} of its vectors are alive; restore it from a backup, "
                "or build a new index"
            )
        snapshot = Snapshot(generation, version, rows, live, vectors, alive, seen)
        with self._lock:
            if self._last is None or self._last.version < version:
                self._last = snapshot
        return snapshot
