"""Verification of commits and vectors: the marker of the last commit, and compared checksums.

SQLite's write-ahead log holds the newest commits. If it is deleted or truncated, the database is
intact but older, and contains no sign of that. So the writer records each commit in a file of its
own, the marker, once the commit is on the disk and without waiting for the file. After a power loss
or on a full disk the marker may be behind the database; it is ahead only if commits are missing.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imagesearch._validation import batched
from imagesearch.errors import StoreCorruptError
from imagesearch.stores.local._checksums import (
    BLOCK,
    block_checksum,
    checksums_of,
    damaged_records,
    read_vector_checksums,
    vector_checksums,
)
from imagesearch.stores.local._schema import State
from imagesearch.stores.local._vectors import Encoding

__all__ = [
    "Commit",
    "VerifiedRows",
    "damaged_rows",
    "impossible_rows",
    "lost_commits",
    "match_checksums",
    "read_block",
    "read_marker",
    "write_marker",
]


_MAGIC = "imagesearch-commit-1"
# One sector at most, so that it is written whole.
_SIZE = 256


@dataclass(frozen=True, slots=True)
class Commit:
    """The last acknowledged commit.

    Attributes:
        identity: Identity of the index.
        version: Version of the index after the commit.
        live: Number of records after the commit.
    """

    identity: str
    version: int
    live: int


def write_marker(path: Path, identity: str, state: State) -> None:
    """Record a commit that is on the disk; a failure is ignored, for it loses no data.

    Args:
        path: The marker.
        identity: Identity of the index.
        state: The committed state.
    """
    text = f"{_MAGIC} {identity} {state.version} {state.live}"
    line = f"{text} {zlib.crc32(text.encode()):08x}".ljust(_SIZE - 1) + "\n"
    with suppress(OSError):
        # In place: nothing has to be allocated, and no name changes.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)


def read_marker(path: Path) -> Commit | None:
    """Return the recorded commit; None if the marker is missing, damaged, or cannot be read."""
    try:
        text = path.read_text(encoding="ascii").rstrip()
    except (OSError, ValueError):
        return None
    words = text.split(" ")
    if len(words) != 5 or words[0] != _MAGIC:
        return None
    if f"{zlib.crc32(' '.join(words[:-1]).encode()):08x}" != words[-1]:
        return None
    return Commit(words[1], int(words[2]), int(words[3]))


def lost_commits(path: Path, commit: Commit, state: State) -> StoreCorruptError:
    """Return the error for a database that is older than its marker.

    Args:
        path: The index, for the message.
        commit: The acknowledged commit.
        state: The state of the database.
    """
    return StoreCorruptError(
        f"the index at {path} has lost acknowledged writes: its database is at version "
        f"{state.version} with {state.live} records, but version {commit.version} with "
        f"{commit.live} was acknowledged. Its log index.sqlite-wal was deleted or cut, or an older "
        "index.sqlite was put in its place; restore the whole folder from a backup, or accept the "
        f"older state with imagesearch check --repair {path}"
    )


# Rows compared at a time.
_STEP = 16_384
# Far beyond what rounding leaves of a vector of unit length.
_LENGTH_TOLERANCE = 0.01


class VerifiedRows:
    """Compares rows of one vectors file with their checksums, each once.

    Rows of a generation never change, so all its snapshots share one of these. Several threads may
    use it at once; at worst they compare the same row.

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
        """Return the rows that have not been compared yet."""
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
        """Return whether all live rows of a version have been compared; the answer is cached.

        Args:
            alive: (rows,), the live rows.
            version: Version of the index, ≥ 1.
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
            StoreCorruptError: Rows do not match their checksums; names the records.
        """
        unknown = self.lacks(rows)
        for part in batched(unknown, _STEP):
            wrong = damaged_rows(connection, stored, part)
            if len(wrong):
                found = connection.execute(
                    "SELECT id FROM records WHERE row IN (SELECT value FROM json_each(?))",
                    (json.dumps(wrong.tolist()),),
                )
                raise damaged_records(
                    [id for (id,) in found], "the stored vector does not match its checksum"
                )
            self._known[part] = True
            self._uncovered = 0


def damaged_rows(
    connection: sqlite3.Connection, stored: NDArray[np.generic], rows: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the rows that do not match their checksums.

    Args:
        connection: In the transaction in which `rows` are rows of the index.
        stored: (n, dim), the vectors file.
        rows: At least one, in any order.

    Raises:
        StoreCorruptError: The checksums themselves are damaged.
    """
    blocks = read_vector_checksums(connection, np.unique(rows // BLOCK).tolist())
    expected = checksums_of(blocks, rows)
    first = int(rows[0])
    together = np.array_equal(rows, np.arange(first, first + len(rows)))
    present = stored[first : first + len(rows)] if together else stored[rows]
    wrong: NDArray[np.int64] = rows[vector_checksums(present) != expected]
    return wrong


def read_block(
    connection: sqlite3.Connection, block: int, stored: NDArray[np.generic]
) -> tuple[NDArray[np.uint32], bool]:
    """Return what is known of the checksums of a block, and whether they are intact.

    Damaged checksums are recovered if those of the vectors match the checksum of the block: then
    all of its vectors are intact.

    Args:
        connection: In a transaction.
        block: Number of the block.
        stored: The rows of the block, those of deleted records among them.
    """
    line = connection.execute(
        "SELECT crcs, checksum FROM checksums WHERE block = ?", (block,)
    ).fetchone()
    if line is None or not isinstance(line[0], bytes):
        return np.empty(0, np.uint32), False
    crcs, checksum = line
    known = np.frombuffer(crcs[: len(crcs) // 4 * 4], "<u4").astype(np.uint32)
    if len(crcs) == 4 * len(known) and block_checksum(block, crcs) == checksum:
        return known, len(known) >= len(stored)
    present = vector_checksums(stored)
    if block_checksum(block, present.astype("<u4").tobytes()) == checksum:
        return present, False
    return known, False


def match_checksums(
    vectors: NDArray[np.generic], offsets: NDArray[np.int64], expected: NDArray[np.uint32]
) -> NDArray[np.bool_]:
    """Return which vectors of a block match their checksums; False where there is no checksum."""
    known = offsets < len(expected)
    matches = np.zeros(len(vectors), np.bool_)
    matches[known] = vector_checksums(vectors[known]) == expected[offsets[known]]
    return matches


def impossible_rows(rows: NDArray[np.generic], encoding: Encoding) -> NDArray[np.bool_]:
    """Return which rows of a vectors file hold values that are never written.

    These are NaN, infinity and, under ``cosine``, a wrong length. Used for indexes without
    checksums.
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
