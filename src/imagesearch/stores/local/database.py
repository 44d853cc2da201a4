"""Database: connections to the SQLite file of an index, for many readers and one writer."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from imagesearch.errors import StoreError
from imagesearch.stores.local._connections import (
    FileIdentity,
    OvertakenError,
    ReadConnection,
    ReplacedError,
    connect,
    connect_to_read,
    file_identity,
)
from imagesearch.stores.local._marker import write_marker
from imagesearch.stores.local.layout import Layout
from imagesearch.stores.local.schema import (
    State,
    check_format,
    read_identity,
    read_state,
    seal_state,
)

__all__ = ["Database"]

# Connections of a parent process: SQLite forbids a forked child to use or even to close them.
_inherited: list[sqlite3.Connection] = []


class Database:
    """A pool of connections for reading, and one for writing, all to the same SQLite file.

    Every read is a transaction and sees one state of the index, whatever is written meanwhile. When
    the path leads to another file than the one that was opened, reading and writing are refused.
    One connection stays open, so that no other file gets the inode number of this one.

    Args:
        path: The SQLite file, complete with its tables, without symbolic links.
        watched: The path that must lead to it.
        read_only: Never write.

    Attributes:
        file: Device and inode number of the SQLite file.

    Raises:
        sqlite3.Error, OSError: It cannot be opened.
        StoreUnavailableError: This user lacks a permission.
    """

    def __init__(self, path: Path, watched: Path, *, read_only: bool) -> None:
        self._path, self._watched = path, watched
        self._marker = Layout(path.parent).marker
        self._read_only = read_only
        self._lock = threading.Lock()
        self._closed = False
        self._retired = False
        self._process = os.getpid()
        self._writer: sqlite3.Connection | None = None
        connection, self.file = connect_to_read(path, read_only=read_only)
        self._idle: list[ReadConnection] = [connection]
        self._identity = _index_identity(connection, path)

    @contextmanager
    def reading(self) -> Iterator[ReadConnection]:
        """Give a connection inside a read transaction.

        Raises:
            ReplacedError: The path leads to another file now.
            OvertakenError: What was read is worthless; read again.
            StoreError: The database was closed.
        """
        connection = self._borrow()
        try:
            connection.execute("BEGIN")
            yield connection
            connection.require_settled()
        except Exception as error:
            # What looks like damage may be pages of two states.
            if not isinstance(error, OvertakenError):
                try:
                    connection.require_settled()
                except OvertakenError as overtaken:
                    raise overtaken from error
            raise
        finally:
            self._give_back(connection)

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Give a connection inside a write transaction; commits, or on an error rolls back.

        Raises:
            ReplacedError: The path leads to another file now; nothing was written.
            StoreError: The database was closed.
        """
        connection = self._writing_connection()
        self.require_in_place()
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_READONLY:
                raise
            # SQLite opens a file only for reading where it fails to open it for writing, and all
            # connections of a process share that.
            self._disconnect()
            connection = self._writing_connection()
            connection.execute("BEGIN IMMEDIATE")
        try:
            # What is damaged must not be sealed as if it were sound.
            read_state(connection)
            yield connection
            state = seal_state(connection)
            self.require_in_place()
            connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            raise
        with suppress(ReplacedError):
            # The marker of the index that took the place of this one is not ours.
            self.require_in_place()
            write_marker(self._marker, self._identity, state)

    def newest_state(self) -> State:
        """Return the state as the writing connection sees it; only the writer may call it.

        Raises:
            ReplacedError: The path leads to another file now.
            StoreError: The database was closed, or is damaged.
        """
        connection = self._writing_connection()
        self.require_in_place()
        return read_state(connection)

    def require_in_place(self) -> None:
        """Make sure that the path leads to the file that was opened.

        Raises:
            ReplacedError: It leads to another file, or to none.
        """
        if not self.in_place:
            raise ReplacedError(self._watched)

    @property
    def in_place(self) -> bool:
        """Whether the path leads to the file that was opened."""
        return not self._retired and file_identity(self._watched) == self.file

    @property
    def retired(self) -> bool:
        """Whether `retire` was called."""
        return self._retired

    def retire(self) -> None:
        """Refuse new transactions; those that run go on, and their connections close afterwards."""
        self._retired = True
        self.close()

    def close(self) -> None:
        """Close all connections; those in use close when they come back."""
        with self._lock:
            self._leave_parent()
            self._closed = True
        self._disconnect()

    def _borrow(self) -> ReadConnection:
        stale = []
        try:
            with self._lock:
                self._leave_parent()
                self._require_open()
                connection = None
                while self._idle and connection is None:
                    idle = self._idle.pop()
                    if idle.settled:
                        connection = idle
                    else:
                        stale.append(idle)
            if connection is None:
                connection = self._connected()
        finally:
            # Only now, for they keep the inode number.
            for old in stale:
                old.close()
        try:
            self.require_in_place()
        except BaseException:
            self._give_back(connection)
            raise
        return connection

    def _connected(self) -> ReadConnection:
        self.require_in_place()
        try:
            connection, file = connect_to_read(self._path, read_only=self._read_only)
        except (sqlite3.Error, OSError):
            self.require_in_place()
            raise
        try:
            self._require_same(connection, file)
        except BaseException:
            connection.close()
            raise
        return connection

    def _writing_connection(self) -> sqlite3.Connection:
        with self._lock:
            self._leave_parent()
            self._require_open()
            if self._writer is None:
                connection = connect(self._path)
                try:
                    self._require_same(connection, file_identity(self._path))
                except BaseException:
                    connection.close()
                    raise
                self._writer = connection
            return self._writer

    def _require_same(self, connection: sqlite3.Connection, file: FileIdentity) -> None:
        if file != self.file or _index_identity(connection, self._path) != self._identity:
            raise ReplacedError(self._watched)

    def _disconnect(self) -> None:
        """Close all connections that are not in use."""
        with self._lock:
            connections = [*self._idle, *([self._writer] if self._writer else [])]
            self._idle, self._writer = [], None
        for connection in connections:
            connection.close()

    def _require_open(self) -> None:
        if self._retired:
            raise ReplacedError(self._watched)
        if self._closed:
            raise StoreError("the index was closed")

    def _give_back(self, connection: ReadConnection) -> None:
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


def _index_identity(connection: sqlite3.Connection, path: Path) -> str:
    connection.execute("BEGIN")
    try:
        return read_identity(connection, check_format(connection, path.parent))
    finally:
        connection.execute("ROLLBACK")
