"""Database: connections to the SQLite file of an index, for many readers and one writer."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from imagesearch.errors import StoreError
from imagesearch.stores.local._marker import write_marker
from imagesearch.stores.local.layout import Layout
from imagesearch.stores.local.schema import FORMAT, read_identity, read_state, seal_state

__all__ = ["Database", "connect"]

# Milliseconds to wait for a checkpoint or a commit of another process.
_PATIENCE = 30_000

# Connections of a parent process: SQLite forbids a forked child to use or even to close them.
_inherited: list[sqlite3.Connection] = []


def connect(path: Path, *, read_only: bool = False, create: bool = False) -> sqlite3.Connection:
    """Open a SQLite file.

    Args:
        path: The file.
        read_only: Write nothing, not even beside the file if the folder forbids it.
        create: Make the file if it is missing.

    Raises:
        sqlite3.Error: It cannot be opened, or is damaged.
    """
    mode = "ro" if read_only else "rwc" if create else "rw"
    try:
        return _probed(path, f"mode={mode}")
    except sqlite3.OperationalError:
        wal = path.with_name(path.name + "-wal")
        if create or not path.exists() or (wal.exists() and wal.stat().st_size):
            raise
        # A folder that may not be written has no room for shared memory; all is in the main file.
        return _probed(path, "mode=ro&immutable=1")


def _probed(path: Path, options: str) -> sqlite3.Connection:
    connection = _open(path, options)
    try:
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _open(path: Path, options: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?{options}",
        uri=True,
        timeout=_PATIENCE / 1000,
        isolation_level=None,
        check_same_thread=False,
    )
    # FULL makes every commit wait for the disk, so that it survives a power loss.
    connection.execute("PRAGMA synchronous = FULL")
    return connection


class Database:
    """A pool of connections for reading, and one for writing.

    Every read is a transaction and sees one state of the index, whatever is written meanwhile.

    Args:
        path: The SQLite file, complete with its tables.
        read_only: Never write.
    """

    def __init__(self, path: Path, *, read_only: bool) -> None:
        self._path = path
        self._marker = Layout(path.parent).marker
        self._read_only = read_only
        self._lock = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._writer: sqlite3.Connection | None = None
        self._closed = False
        self._process = os.getpid()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give a connection inside a read transaction.

        Raises:
            StoreError: The database was closed.
        """
        connection = self._borrow()
        try:
            connection.execute("BEGIN")
            yield connection
        finally:
            self._give_back(connection)

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Give a connection inside a write transaction; commits, or on an error rolls back.

        Raises:
            StoreError: The database was closed.
        """
        with self._lock:
            self._leave_parent()
            if self._closed:
                raise StoreError("the index was closed")
            if self._writer is None:
                self._writer = connect(self._path)
            connection = self._writer
        connection.execute("BEGIN IMMEDIATE")
        try:
            # What is damaged must not be sealed as if it were sound.
            read_state(connection)
            identity = read_identity(connection, FORMAT)
            yield connection
            state = seal_state(connection)
            connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            raise
        write_marker(self._marker, identity, state)

    def close(self) -> None:
        """Close all connections; those in use close when they come back."""
        with self._lock:
            self._leave_parent()
            self._closed = True
            connections = [*self._idle, *([self._writer] if self._writer else [])]
            self._idle, self._writer = [], None
        for connection in connections:
            connection.close()

    def _borrow(self) -> sqlite3.Connection:
        with self._lock:
            self._leave_parent()
            if self._closed:
                raise StoreError("the index was closed")
            if self._idle:
                return self._idle.pop()
        return connect(self._path, read_only=self._read_only)

    def _give_back(self, connection: sqlite3.Connection) -> None:
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            connection.close()
            return
        with self._lock:
            if not self._closed and self._process == os.getpid():
                self._idle.append(connection)
                return
        connection.close()

    def _leave_parent(self) -> None:
        if self._process != os.getpid():
            _inherited.extend([*self._idle, *([self._writer] if self._writer else [])])
            self._idle, self._writer = [], None
            self._process = os.getpid()
