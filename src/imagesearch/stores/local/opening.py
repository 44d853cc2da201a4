"""Describing, creating and migrating the folder of an index."""

from __future__ import annotations

import sqlite3
import time

from imagesearch.errors import (
    IncompatibleIndexError,
    StoreCorruptError,
    StoreLockedError,
    UnsupportedOperationError,
)
from imagesearch.stores.local import schema
from imagesearch.stores.local._connections import connect, read_database
from imagesearch.stores.local._marker import read_marker, write_marker
from imagesearch.stores.local._migrations import migrate
from imagesearch.stores.local.encoding import Dtype, Encoding
from imagesearch.stores.local.layout import Layout, sync_folder
from imagesearch.stores.local.lock import WriterLock
from imagesearch.stores.local.vectors_file import VectorsFile
from imagesearch.types import IndexMeta

__all__ = [
    "create_index",
    "describe_index",
    "migrate_index",
    "note_commit",
    "stored_encoding",
    "stored_identity",
]

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
    """Return how the vectors of an existing index are kept.

    Args:
        layout: Where the index is.
        meta: What it holds.
        wanted: What the user asked for; None takes what there is.
        read_only: Whether the database may not be written.

    Raises:
        ConfigError: The metric allows no such dtype.
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
    """Return what tells an index from all others; empty for formats without checksums.

    Raises:
        StoreCorruptError: The database is not that of the marker beside it.
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
    """Make the marker say what the database has."""
    identity = schema.read_identity(connection, schema.FORMAT)
    write_marker(layout.marker, identity, schema.read_state(connection))


def create_index(layout: Layout, lock: WriterLock, meta: IndexMeta, dtype: Dtype) -> IndexMeta:
    """Create an index and keep the writer's lock; or return the meta of one made meanwhile.

    Raises:
        ConfigError: The metric allows no such dtype; nothing was created.
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
            # Somebody creates it at this moment: wait for that, and use it together.
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
        # One of an index that was here before would call the new one too old.
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
    """Bring an older format up to date; takes the writer's lock only if there is something to do.

    Raises:
        UnsupportedOperationError: It is too old to read, and `read_only` forbids to change it.
        StoreLockedError: It is older, and another process writes to it.
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
