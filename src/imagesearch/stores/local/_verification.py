"""VerifiedRows: which stored vectors this process has compared with their checksums."""

from __future__ import annotations

import json
import sqlite3
import threading

import numpy as np
from numpy.typing import NDArray

from imagesearch.stores.local._checksums import (
    BLOCK,
    checksums_of,
    damaged_records,
    read_vector_checksums,
    vector_checksums,
)
from imagesearch.stores.local.encoding import Encoding

__all__ = ["VerifiedRows", "damaged_rows", "impossible_rows"]

# Rows that are compared in one go; their checksums take 4 bytes each.
_STEP = 16_384
# Far beyond what rounding leaves of a vector of unit length.
_LENGTH_TOLERANCE = 0.01


class VerifiedRows:
    """Compares rows of one vectors file with their checksums, each once.

    Rows of a generation never change, so that all snapshots of it share one of these. Several
    threads may ask at once; at worst they compare the same row.

    Example:
        >>> verified = VerifiedRows()
        >>> verified.lacks(np.array([0, 1])).tolist()
        [0, 1]
    """

    def __init__(self) -> None:
        self._known = np.zeros(0, np.bool_)
        self._lock = threading.Lock()
        self._covered = self._uncovered = 0

    def lacks(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return those of some rows that have not been compared yet."""
        known = self._known
        if not len(rows):
            return rows
        highest = int(rows.max())
        if highest >= len(known):
            with self._lock:
                if highest >= len(self._known):
                    grown = np.zeros(max(highest + 1, len(self._known) * 5 // 4), np.bool_)
                    grown[: len(self._known)] = self._known
                    self._known = grown
                known = self._known
        seen = known[rows]
        return rows[:0] if seen.all() else rows[~seen]

    def cover(self, alive: NDArray[np.bool_], version: int) -> bool:
        """Return whether all live rows of a version have been compared; known for the next call.

        Args:
            alive: (rows,), the live rows.
            version: Of the index, ≥ 1.
        """
        if version == self._covered:
            return True
        if version == self._uncovered:
            return False
        known = self._known
        covered = len(known) >= len(alive) and bool(known[: len(alive)][alive].all())
        if covered:
            self._covered = version
        else:
            self._uncovered = version
        return covered

    def require(
        self, connection: sqlite3.Connection, stored: NDArray[np.generic], rows: NDArray[np.int64]
    ) -> None:
        """Compare rows that have not been compared yet.

        Args:
            connection: In the transaction in which `rows` are rows of the index.
            stored: (n, dim), the vectors file.
            rows: Numbers of live rows.

        Raises:
            StoreCorruptError: Rows do not have their checksums; names the records.
        """
        unknown = self.lacks(rows)
        for first in range(0, len(unknown), _STEP):
            some = unknown[first : first + _STEP]
            wrong = damaged_rows(connection, stored, some)
            if len(wrong):
                found = connection.execute(
                    "SELECT id FROM records WHERE row IN (SELECT value FROM json_each(?))",
                    (json.dumps(wrong.tolist()),),
                )
                raise damaged_records(
                    [id for (id,) in found], "the stored vector does not have its checksum"
                )
            self._known[some] = True
            self._uncovered = 0


def damaged_rows(
    connection: sqlite3.Connection, stored: NDArray[np.generic], rows: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return those of some rows that do not have their checksums.

    Args:
        connection: In the transaction in which `rows` are rows of the index.
        stored: (n, dim), the vectors file.
        rows: At least one, in any order.

    Raises:
        StoreCorruptError: The checksums are damaged themselves.
    """
    blocks = read_vector_checksums(connection, np.unique(rows // BLOCK).tolist())
    expected = checksums_of(blocks, rows)
    first = int(rows[0])
    together = np.array_equal(rows, np.arange(first, first + len(rows)))
    present = stored[first : first + len(rows)] if together else stored[rows]
    wrong: NDArray[np.int64] = rows[vector_checksums(present) != expected]
    return wrong


def impossible_rows(rows: NDArray[np.generic], encoding: Encoding) -> NDArray[np.bool_]:
    """Return which rows of a vectors file hold what no write puts there.

    NaN, infinity and, under ``cosine``, another length than encoding gives: for indexes that have
    no checksums yet.
    """
    if encoding.dtype == "int8":
        return np.asarray(np.abs(rows.astype(np.int16)).max(axis=1, initial=0) != 127)
    wide = rows.astype(np.float32)
    wrong = ~np.isfinite(wide).all(axis=1)
    if encoding.metric == "cosine":
        with np.errstate(all="ignore"):
            if encoding.dtype == "float32":
                length = np.linalg.norm(wide.astype(np.float64), axis=1)
            else:
                length = np.abs(wide).max(axis=1, initial=0)
            wrong |= ~(np.abs(length - 1) < _LENGTH_TOLERANCE)
    return np.asarray(wrong)
