"""Snapshot: the state of an index in memory, as seen by a read transaction."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import cast

import numpy as np
from numpy.typing import NDArray

from imagesearch._forks import on_fork
from imagesearch._validation import batched
from imagesearch.errors import StoreCorruptError
from imagesearch.filters import Compare, Filter, FilterNode
from imagesearch.stores._blocks import Block
from imagesearch.stores.local._checksums import CHECK, dead_sum_of, require_field_sums
from imagesearch.stores.local._column_cache import ColumnCache, select
from imagesearch.stores.local._connections import RESTORE, read_database, require_settled
from imagesearch.stores.local._paths import Layout
from imagesearch.stores.local._schema import EDIT, FORMAT, State, read_identity, read_state
from imagesearch.stores.local._sql import compile_filter
from imagesearch.stores.local._vectors import Encoding, Rows, StoredVectors, map_vectors
from imagesearch.stores.local._verification import VerifiedRows, lost_commits, read_marker
from imagesearch.types import RESERVED_FIELDS

__all__ = ["GenerationChangedError", "Snapshot", "Snapshots"]


# Rows that are scored in one go, with up to 64 queries: 16 MB of scores.
_BLOCK_ROWS = 65_536
_CACHED_FILTERS = 8
# Stands for the table of records among the known fields; no field has this name.
_RECORDS = ""
# Gathering rows costs as much as scoring twice as many that lie together.
_GATHER_BELOW = 0.4


class GenerationChangedError(Exception):
    """The vectors file of this transaction is gone: another process has compacted the index."""


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """One version of an index.

    Attributes:
        generation: Number of the vectors file; compaction starts the next.
        version: Version of the index; grows with every write.
        rows: Rows in the vectors file, tombstones included.
        live: Number of records.
        checked: Whether the index has checksums.
        vectors: (rows, dim), mapped into memory; verified and decoded when they are read.
        alive: (rows,), whether a row belongs to a record.
        last_dead: Number of the last entry in the table ``dead``.
        dead_sum: Sum over the entries up to that one.
        columns: Metadata fields in memory.
        known_fields: Fields whose filter entries this process has verified.
    """

    generation: int
    version: int
    rows: int
    live: int
    checked: bool
    vectors: StoredVectors
    alive: NDArray[np.bool_]
    last_dead: int
    dead_sum: int
    columns: ColumnCache
    known_fields: set[str] = field(default_factory=set)
    _allowed: dict[Filter, NDArray[np.bool_]] = field(default_factory=dict)

    def allowed(self, where: Filter, connection: sqlite3.Connection) -> NDArray[np.bool_]:
        """Return which rows belong to records that match; cached for the next query."""
        known = self._allowed.get(where)
        if known is not None:
            return known
        if self.checked:
            mask = select(where, self.rows, partial(self._leaf, connection))
            mask &= self.alive
        else:
            mask = self._by_sql(where, connection)
        if len(self._allowed) >= _CACHED_FILTERS:
            self._allowed.clear()
        self._allowed[where] = mask
        return mask

    def _leaf(self, connection: sqlite3.Connection, node: FilterNode) -> NDArray[np.bool_]:
        """Return which rows fulfil a condition on one field; deleted ones may be among them."""
        name = cast(Compare, node).field
        if name not in RESERVED_FIELDS:
            edits = self.version // EDIT
            column = self.columns.column(name, connection, self.generation, edits, self.rows)
            if column is not None:
                return column.matching(node, self.rows)
        return self._by_sql(node, connection)

    def _by_sql(self, where: Filter, connection: sqlite3.Connection) -> NDArray[np.bool_]:
        self.require_fields(where, connection)
        condition, bound = compile_filter(where)
        found = connection.execute(f"SELECT row FROM records WHERE {condition}", bound)  # noqa: S608  # names and values are bound
        rows = np.fromiter((row for (row,) in found), np.int64)
        require_settled(connection)
        if len(rows) and (rows.max() >= self.rows or rows.min() < 0 or not self.alive[rows].all()):
            raise StoreCorruptError(f"the database has a record without a vector; {CHECK}")
        mask = np.zeros(self.rows, np.bool_)
        mask[rows] = True
        return mask

    def require_fields(self, where: Filter, connection: sqlite3.Connection) -> None:
        """Verify the entries that a filter reads, once in a process.

        Raises:
            StoreCorruptError: They are damaged.
        """
        if not self.checked:
            return
        if _RECORDS not in self.known_fields:
            # Filters look rows up in this table, and miss rows that are out of order.
            lines = connection.execute("SELECT row FROM records NOT INDEXED")
            rows = np.fromiter((row for (row,) in lines), np.int64)
            if not np.array_equal(rows, np.flatnonzero(self.alive)):
                raise StoreCorruptError(
                    f"the records in the database differ from those the index counts; {CHECK}"
                )
            self.known_fields.add(_RECORDS)
        require_field_sums(connection, where, self.known_fields)

    def rows_of(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the vectors of ascending rows, without a copy if they lie together."""
        if len(rows) and rows[-1] - rows[0] + 1 == len(rows):
            return self.vectors[rows[0] : rows[-1] + 1]
        return self.vectors[rows]

    def blocks(self, mask: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.int64], Block]]:
        """Return the rows in `mask` with their vectors, a block at a time.

        Where most rows are in `mask`, the others are included as row -1, which is cheaper than
        gathering.
        """
        rows = np.flatnonzero(mask)
        if len(rows) < _GATHER_BELOW * self.rows:
            for some in batched(rows, _BLOCK_ROWS):
                self.vectors.require(some)
                yield some, self.vectors.block(some)
            return
        for start in range(0, self.rows, _BLOCK_ROWS):
            counting = mask[start : start + _BLOCK_ROWS]
            rows = np.arange(start, start + len(counting))
            if not counting.all():
                self.vectors.require(rows[counting])
                rows[~counting] = -1
            else:
                self.vectors.require(slice(start, start + len(counting)))
            yield rows, self.vectors.block(slice(start, start + len(counting)))


class Snapshots:
    """Makes snapshots, each from the previous one where possible.

    Args:
        layout: The files of the index.
        dim: Elements of a vector.
        encoding: How vectors are stored.
        identity: Identity of the index; empty if it has no checksums.

    Attributes:
        mapped: How many times a vectors file was mapped.
    """

    def __init__(self, layout: Layout, dim: int, encoding: Encoding, identity: str) -> None:
        self._layout = layout
        self._dim, self._encoding = dim, encoding
        self._identity = identity
        self._columns = ColumnCache()
        self._last: Snapshot | None = None
        self.mapped = 0
        self._verified: tuple[int, VerifiedRows] = (0, VerifiedRows())
        self._lock = threading.Lock()
        on_fork(self, in_child=Snapshots._renew_lock)

    def _renew_lock(self) -> None:
        # Not a `ForkSafeLock`: a fork that held it would deadlock with a reader.
        self._lock = threading.Lock()

    def of(self, connection: sqlite3.Connection) -> Snapshot:
        """Return the snapshot of a transaction, valid within that transaction.

        Raises:
            GenerationChangedError: The vectors file is gone; begin a new transaction.
            StoreCorruptError: The vectors file is too short, the state is damaged, or acknowledged
                writes are missing.
        """
        state = read_state(connection, checked=bool(self._identity))
        generation, version, rows, live = state.generation, state.version, state.rows, state.live
        last = self._last
        if last is not None and (last.generation, last.version) == (generation, version):
            return self._within(last, connection)
        self._require_acknowledged(state)
        lengths = (
            last.vectors.lengths if last is not None and last.generation == generation else None
        )
        path = self._layout.vectors(generation, self._encoding)
        try:
            vectors = map_vectors(path, rows, self._dim, self._encoding, lengths)
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
        dead_sum = last.dead_sum if same and last is not None else 0
        if dead:
            seen = dead[-1][0]
            dead_rows = [row for _, row in dead]
            if state.checked:
                dead_sum = dead_sum_of(dead_rows, dead_sum)
            if not 0 <= min(dead_rows) <= max(dead_rows) < rows:
                raise self._wrong_dead()
            alive[dead_rows] = False
        if dead_sum != state.dead_sum:
            raise self._wrong_dead()
        if np.count_nonzero(alive) != live:
            raise StoreCorruptError(
                f"the index at {self._layout.folder} counts {live} records, but "
                f"{np.count_nonzero(alive)} of its vectors are alive",
                remedy=RESTORE,
            )
        snapshot = Snapshot(
            generation,
            version,
            rows,
            live,
            state.checked,
            vectors,
            alive,
            seen,
            dead_sum,
            self._columns,
        )
        self.mapped += 1
        # Only a consistent state may be kept for later transactions.
        require_settled(connection)
        if same and last is not None:
            snapshot.known_fields.update(last.known_fields)
        with self._lock:
            if self._last is None or self._last.version < version:
                self._last = snapshot
        return self._within(snapshot, connection)

    def _within(self, snapshot: Snapshot, connection: sqlite3.Connection) -> Snapshot:
        """Return the snapshot with vectors that this transaction verifies."""
        if not snapshot.checked:
            return snapshot
        with self._lock:
            generation, verified = self._verified
            if generation != snapshot.generation:
                verified = VerifiedRows()
                # A transaction that began before a compaction keeps its own.
                if generation < snapshot.generation:
                    self._verified = (snapshot.generation, verified)

        def require(rows: Rows) -> None:
            if verified.cover(snapshot.alive, snapshot.version):
                return
            if isinstance(rows, slice):
                first, last, _ = rows.indices(snapshot.rows)
                rows = np.flatnonzero(snapshot.alive[first:last]) + first
            verified.require(connection, snapshot.vectors.rows, rows)

        return replace(snapshot, vectors=snapshot.vectors.requiring(require))

    def _require_acknowledged(self, state: State) -> None:
        commit = read_marker(self._layout.marker)
        # With another identity, the folder was replaced by another index in the meantime.
        if commit is None or commit.identity != self._identity or commit.version <= state.version:
            return
        # A transaction may have begun before the last commit; a new one must not be behind it.
        identity, now = read_database(
            self._layout.database,
            lambda connection: (read_identity(connection, FORMAT), read_state(connection)),
            read_only=True,
        )
        if identity == commit.identity and now.version < commit.version:
            raise lost_commits(self._layout.folder, commit, now)

    def _wrong_dead(self) -> StoreCorruptError:
        return StoreCorruptError(
            f"the deleted records of the index at {self._layout.folder} do not match their "
            f"checksum; {CHECK}"
        )
