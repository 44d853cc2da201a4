"""An open index: state shared by its readers, and reading of records."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from imagesearch._validation import batched
from imagesearch.errors import (
    IncompatibleIndexError,
    StoreCorruptError,
    StoreUnavailableError,
    UnsupportedOperationError,
)
from imagesearch.filters import Filter
from imagesearch.stores._checks import possible_ids
from imagesearch.stores.local._checksums import CHECK
from imagesearch.stores.local._connections import (
    RESTORE,
    OvertakenError,
    ReplacedError,
    file_identity,
    require_settled,
    translated,
)
from imagesearch.stores.local._create import (
    Options,
    create_index,
    describe_index,
    migrate_index,
    stored_encoding,
    stored_identity,
)
from imagesearch.stores.local._database import Database
from imagesearch.stores.local._lock import WriterLock
from imagesearch.stores.local._paths import Layout
from imagesearch.stores.local._rows import Line, read_lines, record_of, require_matches
from imagesearch.stores.local._search import Searcher
from imagesearch.stores.local._snapshot import GenerationChangedError, Snapshot, Snapshots
from imagesearch.stores.local._vectors import Encoding
from imagesearch.types import IndexMeta, Record, RecordBatch

__all__ = ["Opened", "open_index", "read_records", "refuse_writing", "reopen_index", "scan_records"]


T = TypeVar("T")

# Attempts to open or read an index between writes of other processes.
_ATTEMPTS = 40


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Opened:
    """The parts of an open index.

    Attributes:
        path: The path that the user gave.
        layout: The real paths, so that a changed symbolic link cannot lead to another index.
        meta: Meta of the index.
        database: Ids, metadata and digests.
        snapshots: States of the index in memory.
        searcher: Finds the nearest rows of a snapshot.
        encoding: How vectors are stored.
    """

    path: Path
    layout: Layout
    meta: IndexMeta
    database: Database
    snapshots: Snapshots
    searcher: Searcher
    encoding: Encoding

    def read(self, work: Callable[[sqlite3.Connection, Snapshot], T]) -> T:
        """Return the result of `work` on one state of the index.

        Args:
            work: Reads; called again after a concurrent write.

        Raises:
            StoreError: As `reading`.
        """
        for _ in range(_ATTEMPTS):
            with suppress(OvertakenError):
                return self._read(work)
        return self._read(work)

    def _read(self, work: Callable[[sqlite3.Connection, Snapshot], T]) -> T:
        with self.reading() as (connection, snapshot):
            return work(connection, snapshot)

    @contextmanager
    def reading(self) -> Iterator[tuple[sqlite3.Connection, Snapshot]]:
        """Read one state of the index, regardless of concurrent writes.

        Raises:
            ReplacedError: Another index is at the path now.
            OvertakenError: The result is invalid; read again.
            StoreCorruptError: The index is damaged.
            StoreUnavailableError: It cannot be read.
        """
        with translated(self.path), ExitStack() as stack:
            missing = None
            while True:
                transaction = ExitStack()
                with transaction:
                    connection = transaction.enter_context(self.database.reading())
                    mapped = self.snapshots.mapped
                    try:
                        snapshot = self.snapshots.of(connection)
                    except GenerationChangedError as error:
                        self.database.require_in_place()
                        connection.require_settled()
                        if error.args == missing:
                            raise StoreCorruptError(
                                f"the index at {self.path} has lost its file {error.args[0]}",
                                remedy=RESTORE,
                            ) from error
                        missing = error.args
                        continue
                    except StoreCorruptError:
                        # Files of two indexes contradict each other.
                        self.database.require_in_place()
                        raise
                    if self.snapshots.mapped != mapped:
                        # The vectors were found by their name: are they of the same index?
                        self.database.require_in_place()
                    stack.push(transaction.pop_all())
                break
            yield connection, snapshot


def open_index(
    path: Path,
    layout: Layout,
    lock: WriterLock,
    meta: IndexMeta,
    options: Options,
    *,
    read_only: bool,
) -> Opened:
    """Create an index, or verify an existing one; see `LocalStore.open`."""
    for _ in range(_ATTEMPTS):
        with translated(path):
            before = file_identity(layout.database)
        try:
            return _open(path, layout, lock, meta, options, read_only=read_only)
        except (OvertakenError, ReplacedError):
            pass
        except StoreCorruptError:
            # Files of two indexes contradict each other.
            with translated(path):
                same = file_identity(layout.database) == before
            if same:
                raise
    return _open(path, layout, lock, meta, options, read_only=read_only)


def reopen_index(
    old: Opened, layout: Layout, lock: WriterLock, options: Options, *, read_only: bool
) -> Opened:
    """Open the index that replaced another one; nothing is created.

    Raises:
        IncompatibleIndexError: It was made with another embedder or metric.
        StoreUnavailableError: There is no index now.
        StoreError: It cannot be opened.
    """
    with translated(old.path):
        there = layout.database.exists() and layout.database.stat().st_size > 0
        if not there or describe_index(layout, read_only=True) is None:
            raise StoreUnavailableError(
                f"the index at {old.path} was removed after it was opened, or is being built anew; "
                "put an index in its place, or close it and open it again"
            )
    try:
        return open_index(old.path, layout, lock, old.meta, options, read_only=read_only)
    except IncompatibleIndexError as error:
        raise IncompatibleIndexError(
            f"the index at {old.path} was replaced by one that does not fit this program: {error}"
        ) from error


def _open(
    path: Path,
    layout: Layout,
    lock: WriterLock,
    meta: IndexMeta,
    options: Options,
    *,
    read_only: bool,
) -> Opened:
    with ExitStack() as undo, translated(path):
        if not lock.held:
            undo.callback(lock.release)
        real = Layout(Path(os.path.realpath(layout.folder)))
        before = file_identity(real.database)
        stored = describe_index(real, read_only=read_only)
        if stored is None:
            if read_only:
                raise refuse_writing(path)
            stored = create_index(real, lock, meta, options.dtype or "float32")
            before = file_identity(real.database)
        stored.require_compatible(meta, where=f"the index at {path}")
        encoding = stored_encoding(real, stored, options.dtype, read_only=read_only)
        migrate_index(real, lock, read_only=read_only)
        identity = stored_identity(real, read_only=read_only)
        database = Database(real.database, layout.database, read_only=read_only)
        undo.callback(database.close)
        # The files above were opened by name, one after the other.
        if database.file != before:
            raise ReplacedError(layout.database)
        opened = Opened(
            path,
            real,
            stored,
            database,
            Snapshots(real, stored.dim, encoding, identity),
            Searcher(real, stored.dim, stored.metric, options),
            encoding,
        )
        with opened.reading():
            pass
        undo.pop_all()
    return opened


def refuse_writing(path: Path) -> UnsupportedOperationError:
    """Return the error for a write to an index that was opened read-only."""
    return UnsupportedOperationError(
        f"the index at {path} cannot be created or changed with read_only=True"
    )


Reading: TypeAlias = tuple[Opened, sqlite3.Connection, Snapshot]

_IDS = 1000

# SQLite takes a C int; a batch may always be smaller than requested.
_LARGEST_BATCH = 2**31 - 1


def read_records(
    connection: sqlite3.Connection, snapshot: Snapshot, ids: Sequence[str], *, vectors: bool
) -> dict[str, Record]:
    """Return the records that exist among `ids`."""
    records: dict[str, Record] = {}
    for batch in batched(possible_ids(ids), _IDS):
        some = json.dumps(batch, ensure_ascii=False)
        found = read_lines(
            connection,
            "id IN (SELECT value FROM json_each(?))",
            (some,),
            checked=snapshot.checked,
        )
        for line in found:
            records[line[1]] = record_of(line, snapshot.vectors if vectors else None)
    return records


def scan_records(
    reading: Callable[[], AbstractContextManager[Reading]],
    where: Filter | None,
    size: int,
    *,
    vectors: bool,
    require_open: Callable[[Opened], None],
) -> Iterator[RecordBatch]:
    """Yield the records that exist when the scan begins.

    Args:
        reading: Begins a transaction.
        where: Yield only records that match.
        size: Records in a batch.
        vectors: Whether the batches include vectors.
        require_open: Raises if the index was closed between two batches.
    """
    with reading() as (opened, connection, snapshot):
        if where is None:
            expected = snapshot.live
            lines = read_lines(connection, "1", (), checked=snapshot.checked)
        else:
            matching = np.flatnonzero(snapshot.allowed(where, connection))
            expected = len(matching)
            lines = _lines_of(connection, matching, checked=snapshot.checked)
        seen = 0
        while some := list(islice(lines, min(int(size), _LARGEST_BATCH))):
            seen += len(some)
            records = [record_of(line, None) for line in some]
            if where is not None and snapshot.checked:
                require_matches(where, records)
            batch = RecordBatch.of(records)
            if vectors:
                rows = np.array([line[0] for line in some], np.int64)
                batch = replace(batch, vectors=snapshot.vectors[rows])
            require_settled(connection)
            yield batch
            require_open(opened)
        if seen != expected:
            raise StoreCorruptError(
                f"the index at {opened.path} counts {expected} records, but its database holds "
                f"{seen}; {CHECK}"
            )


def _lines_of(
    connection: sqlite3.Connection, rows: NDArray[np.int64], *, checked: bool
) -> Iterator[Line]:
    for some in batched(rows, _IDS):
        numbers = json.dumps(some.tolist())
        yield from read_lines(
            connection, "row IN (SELECT value FROM json_each(?))", (numbers,), checked=checked
        )
