"""Options of an index, and how its folder is described, created and migrated."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from imagesearch._validation import one_of, whole
from imagesearch.errors import (
    IncompatibleIndexError,
    StoreCorruptError,
    StoreLockedError,
    UnsupportedOperationError,
)
from imagesearch.stores.local import _schema as schema
from imagesearch.stores.local._checksums import (
    append_vector_checksums,
    dead_sum_of,
    field_sums,
    record_checksum,
    values_checksum,
    vector_checksums,
    write_field_sums,
)
from imagesearch.stores.local._connections import connect, read_database
from imagesearch.stores.local._lock import WriterLock
from imagesearch.stores.local._paths import Layout, sync_folder
from imagesearch.stores.local._schema import (
    FORMAT,
    OTHERS,
    RECORDS,
    fill_about,
    read_dtype,
    read_meta,
    seal_state,
)
from imagesearch.stores.local._vectors import Dtype, Encoding, VectorsFile, map_vectors
from imagesearch.stores.local._verification import impossible_rows, read_marker, write_marker
from imagesearch.types import IndexMeta

__all__ = [
    "MIGRATIONS",
    "Engine",
    "Options",
    "create_index",
    "describe_index",
    "migrate",
    "migrate_index",
    "note_commit",
    "stored_encoding",
    "stored_identity",
]


_logger = logging.getLogger("imagesearch")

_COPY_BYTES = 16 * 2**20


def migrate(connection: sqlite3.Connection, format: int, layout: Layout) -> None:
    """Migrate a database to the current format, each step in one transaction.

    Args:
        connection: Outside a transaction; the caller holds the writer's lock.
        format: Format of the database, ≥ 1.
        layout: The files of the index.

    Raises:
        StoreCorruptError: The vectors file is too short.
        sqlite3.Error, OSError: The database cannot be changed.
    """
    for number in range(format, FORMAT):
        connection.execute("BEGIN IMMEDIATE")
        try:
            MIGRATIONS[number - 1](connection, layout)
            connection.execute(f"PRAGMA user_version = {number + 1}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def _add_dtype(connection: sqlite3.Connection, layout: Layout) -> None:
    """Add the choice of how vectors are stored."""
    del layout
    connection.execute("ALTER TABLE state ADD COLUMN dtype TEXT NOT NULL DEFAULT 'float32'")


def _add_checksums(connection: sqlite3.Connection, layout: Layout) -> None:
    """Add checksums; of existing damage only impossible vectors are detected."""
    meta, dtype = read_meta(connection, 2), read_dtype(connection, 2)
    (text, generation, rows, live, version) = connection.execute(
        "SELECT meta, generation, rows, live, version FROM state"
    ).fetchone()
    _logger.info("computing checksums for the %d records of %s", live, layout.folder)
    # Renamed to make room for the new tables; their indexes move with them.
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema")]
    old = [name for name in ("records", "state", "dead", "notes") if name in tables]
    for name in old:
        connection.execute(f"ALTER TABLE {name} RENAME TO old_{name}")
    for statement in (RECORDS + OTHERS).split(";"):
        connection.execute(statement)
    connection.executemany(
        "INSERT INTO records VALUES (?, ?, ?, ?, ?, ?)",
        (
            (*line, record_checksum(*line))
            for line in connection.execute(
                "SELECT row, id, uri, digest, metadata FROM old_records ORDER BY row"
            )
        ),
    )
    if "notes" in old:
        notes = connection.execute("SELECT name, value FROM old_notes").fetchall()
        connection.executemany(
            "INSERT INTO notes VALUES (?, ?, ?)",
            [(*note, values_checksum(*note)) for note in notes],
        )
    connection.execute("INSERT INTO dead SELECT number, row FROM old_dead")
    dead = dead_sum_of(row for (row,) in connection.execute("SELECT row FROM dead"))
    write_field_sums(connection, field_sums(connection))
    fill_about(connection, text, dtype)
    connection.execute(
        "INSERT INTO state VALUES (1, ?, ?, ?, ?, ?, 0)",
        (generation, rows, live, version + 1, dead),
    )
    seal_state(connection)
    encoding = Encoding(dtype, meta.metric)
    stored = map_vectors(layout.vectors(generation, encoding), rows, meta.dim, encoding)
    step = max(1, _COPY_BYTES // max(1, meta.dim * encoding.stored.itemsize))
    for first in range(0, rows, step):
        some = stored.rows[first : first + step]
        crcs = vector_checksums(some)
        impossible = impossible_rows(some, encoding)
        # A wrong checksum, so that the vector is reported when it is read.
        crcs[impossible] ^= 0xFFFFFFFF
        append_vector_checksums(connection, first, crcs)
    for name in old:
        connection.execute(f"DROP TABLE old_{name}")


MIGRATIONS: tuple[Callable[[sqlite3.Connection, Layout], None], ...] = (
    _add_dtype,
    _add_checksums,
)
"""MIGRATIONS[n] turns format n + 1 into n + 2."""


Engine: TypeAlias = Literal["auto", "usearch", "hnswlib", "exact"]


@dataclass(frozen=True, slots=True)
class Options:
    """Validated arguments of `LocalStore`.

    Raises:
        ConfigError: One is out of range.

    Example:
        >>> Options(M=1)
        Traceback (most recent call last):
        imagesearch.errors.ConfigError: M must be a whole number from 2 to 1000, got 1
    """

    M: int = 16
    ef_construction: int = 200
    ef: int | None = None
    engine: Engine = "auto"
    exact_below: int = 5000
    dtype: Dtype | None = None

    def __post_init__(self) -> None:
        one_of(self.engine, "engine", get_args(Engine))
        if self.dtype is not None:
            one_of(self.dtype, "dtype", get_args(Dtype))
        whole(self.M, "M", least=2, most=1000)
        whole(self.ef_construction, "ef_construction", least=1, most=100_000)
        whole(self.exact_below, "exact_below", least=0, most=2**40)
        if self.ef is not None:
            whole(self.ef, "ef", least=1, most=100_000)


_PATIENCE_S = 5.0


def describe_index(layout: Layout, *, read_only: bool) -> IndexMeta | None:
    """Return the meta of an index, or None where one may be created.

    Raises:
        IncompatibleIndexError: The path holds something else, or a newer format.
        StoreCorruptError: There are vectors without their database.
        sqlite3.Error, OSError: It cannot be read.
    """
    if not layout.exists():
        return None

    def read(connection: sqlite3.Connection) -> IndexMeta | None:
        format = schema.check_format(connection, layout.folder)
        return schema.read_meta(connection, format) if format else None

    return read_database(layout.database, read, read_only=read_only)


def stored_encoding(
    layout: Layout, meta: IndexMeta, wanted: Dtype | None, *, read_only: bool
) -> Encoding:
    """Return how the vectors of an existing index are stored.

    Args:
        layout: The files of the index.
        meta: Meta of the index.
        wanted: The dtype that the user chose; None accepts any.
        read_only: Whether the database may not be written.

    Raises:
        ConfigError: The metric does not support the dtype.
        IncompatibleIndexError: The index has another dtype than `wanted`.
        sqlite3.Error, OSError: It cannot be read.
    """

    def read(connection: sqlite3.Connection) -> Dtype:
        return schema.read_dtype(connection, schema.check_format(connection, layout.folder))

    dtype = read_database(layout.database, read, read_only=read_only)
    if wanted is not None and Encoding(wanted, meta.metric).dtype != dtype:
        raise IncompatibleIndexError(
            f"the index at {layout.folder} keeps its vectors as {dtype}, and dtype={wanted!r} was "
            "asked for; leave dtype out to use the index as it is, or write a new one: "
            f"imagesearch copy {layout.folder} NEW.idx --dtype {wanted}"
        )
    return Encoding(dtype, meta.metric)


def stored_identity(layout: Layout, *, read_only: bool) -> str:
    """Return the unique identity of an index; empty for formats without checksums.

    Raises:
        StoreCorruptError: The marker belongs to another database.
        sqlite3.Error, OSError: It cannot be read.
    """

    def read(connection: sqlite3.Connection) -> str:
        format = schema.check_format(connection, layout.folder)
        return schema.read_identity(connection, format)

    identity = read_database(layout.database, read, read_only=read_only)
    commit = read_marker(layout.marker)
    if identity and commit is not None and commit.identity != identity:
        raise StoreCorruptError(
            f"the index.sqlite at {layout.folder} belongs to another index than its last-commit; "
            "restore the whole folder from a backup, or accept the database as it is with "
            f"imagesearch check --repair {layout.folder}"
        )
    return identity


def note_commit(connection: sqlite3.Connection, layout: Layout) -> None:
    """Record the state of the database in the marker."""
    identity = schema.read_identity(connection, schema.FORMAT)
    write_marker(layout.marker, identity, schema.read_state(connection))


def create_index(layout: Layout, lock: WriterLock, meta: IndexMeta, dtype: Dtype) -> IndexMeta:
    """Create an index and keep the writer's lock; or return the meta of one created meanwhile.

    Raises:
        ConfigError: The metric does not support the dtype; nothing was created.
        StoreLockedError: Another process holds the lock and does not finish.
        sqlite3.Error, OSError: It cannot be created.
    """
    encoding = Encoding(dtype, meta.metric)
    layout.folder.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            lock.acquire()
            break
        except StoreLockedError:
            # Another process is creating it: wait, and use that index.
            if (stored := describe_index(layout, read_only=False)) is not None:
                return stored
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
    try:
        if (stored := describe_index(layout, read_only=False)) is not None:
            lock.release()
            return stored
        VectorsFile(layout.vectors(1, encoding), meta.dim * encoding.stored.itemsize).close()
        # The marker of a previous index would make this one look outdated.
        layout.marker.unlink(missing_ok=True)
        connection = connect(layout.database, create=True)
        try:
            schema.create(connection, meta, dtype)
            note_commit(connection, layout)
        finally:
            connection.close()
        sync_folder(layout.folder)
        sync_folder(layout.folder.parent)
    except BaseException:
        lock.release()
        raise
    return meta


def migrate_index(layout: Layout, lock: WriterLock, *, read_only: bool) -> None:
    """Migrate an older format; acquires the writer's lock only if needed.

    Raises:
        UnsupportedOperationError: It is too old to be read with `read_only`.
        StoreLockedError: It needs migration, and another process writes to it.
        sqlite3.Error, OSError: It cannot be changed.
    """

    def read(connection: sqlite3.Connection) -> int:
        return schema.check_format(connection, layout.folder)

    format = read_database(layout.database, read, read_only=read_only)
    if format == schema.FORMAT or (read_only and format >= schema.READABLE):
        return
    if read_only:
        raise UnsupportedOperationError(
            f"the index at {layout.folder} has the older format {format}; open it once "
            "without read_only to bring it up to date"
        )
    lock.acquire()
    connection = connect(layout.database)
    try:
        migrate(connection, schema.check_format(connection, layout.folder), layout)
        note_commit(connection, layout)
    finally:
        connection.close()
