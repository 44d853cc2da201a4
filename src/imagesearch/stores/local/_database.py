"""Database: connections to the SQLite file of an index, for many readers and one writer."""

from __future__ import annotations

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
from imagesearch.stores.local._fork_safety import pool_lock
from imagesearch.stores.local._paths import Layout
from imagesearch.stores.local._schema import (
    State,
    check_format,
    read_identity,
    read_state,
    seal_state,
)
from imagesearch.stores.local._verification import write_marker

__all__ = ["Database"]


class Database:
    """A pool of connections for reading, and one for writing, all to the same SQLite file.

    Every read is a transaction and sees one state of the index, regardless of concurrent writes. If
    the path no longer leads to the file that was opened, reading and writing are refused. One
    connection stays open, so that no other file gets its inode number; all are closed before a fork,
    and connections opened afterwards compare the identity of the index.

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
        self._closed = False
        self._retired = False
        self._writer: ReadConnection | None = None
        self._idle: list[ReadConnection] = []
        connection, self.file = connect_to_read(path, read_only=read_only)
        self._identity = _index_identity(connection, path)
        self._give_back(connection)

    @contextmanager
    def reading(self) -> Iterator[ReadConnection]:
        """Yield a connection in a read transaction.

        Raises:
            ReplacedError: The path no longer leads to the opened file.
            OvertakenError: The result is invalid; read again.
            InheritedError: This process was forked while the index was in use.
            StoreError: The database was closed.
        """
        connection, failed = self._borrow(), False
        try:
            connection.execute("BEGIN")
            yield connection
            connection.require_settled()
        except Exception as error:
            failed = isinstance(error, sqlite3.OperationalError)
            # Apparent damage may be pages of two states.
            if not isinstance(error, OvertakenError):
                try:
                    connection.require_settled()
                except OvertakenError as overtaken:
                    raise overtaken from error
            raise
        finally:
            self._give_back(connection)
            if failed:
                self._close_unused()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection in a write transaction; commits, or rolls back on an error.

        Raises:
            ReplacedError: The path no longer leads to the opened file; nothing was written.
            InheritedError: This process was forked while the index was in use.
            StoreError: The database was closed.
        """
        with self._exclusively() as connection:
            # A damaged state must not get a valid checksum.
            read_state(connection)
            yield connection
            state = seal_state(connection)
            self.require_in_place()
            connection.execute("COMMIT")
        with suppress(ReplacedError):
            # The marker may belong to an index that replaced this one.
            self.require_in_place()
            write_marker(self._marker, self._identity, state)

    @contextmanager
    def holding_off_writers(self) -> Iterator[State]:
        """Yield the newest state, which no other process can change before the block ends.

        Raises:
            StoreError: As `writing`; or the state is damaged.
        """
        with self._exclusively() as connection:
            yield read_state(connection)
            connection.execute("ROLLBACK")

    @contextmanager
    def _exclusively(self) -> Iterator[ReadConnection]:
        try:
            connection = self._writing_connection()
            self.require_in_place()
            try:
                _begin_writing(connection)
            except sqlite3.OperationalError:
                self._disconnect()
                connection = self._writing_connection()
                _begin_writing(connection)
            yield connection
            connection.user = None
        except BaseException:
            # An interrupt may have left it in any state; the next write gets a new one.
            self.drop_writer()
            raise

    def drop_writer(self) -> None:
        """Roll back and close the writing connection, if there is one."""
        connection, self._writer = self._writer, None
        if connection is not None:
            _discard(connection)

    def newest_state(self) -> State:
        """Return the state as the writing connection sees it; only the writer may call it.

        Raises:
            ReplacedError: The path no longer leads to the opened file.
            StoreError: The database was closed, or is damaged.
        """
        try:
            self.require_in_place()
            connection = self._writing_connection()
            try:
                state = read_state(connection)
            except sqlite3.OperationalError:
                self._disconnect()
                connection = self._writing_connection()
                state = read_state(connection)
            connection.user = None
        except BaseException:
            self.drop_writer()
            raise
        return state

    def require_in_place(self) -> None:
        """Verify that the path leads to the file that was opened.

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
        """Refuse new transactions; running ones continue, and their connections close afterwards."""
        self._retired = True
        self.close()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def close(self) -> None:
        """Close all connections; those in use close when they are returned."""
        self._closed = True
        self._disconnect()

    def _borrow(self) -> ReadConnection:
        connection = None
        while connection is None:
            with pool_lock().lock:
                self._require_open()
                if not self._idle:
                    break
                idle = self._idle.pop()
                if idle.usable:
                    idle.user = threading.get_ident()
            if not idle.usable:
                continue
            if idle.settled:
                connection = idle
            else:
                # Closed only once the next one is open, because it keeps the inode number.
                connection = self._connected()
                idle.close()
        if connection is None:
            connection = self._connected()
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

    def _writing_connection(self) -> ReadConnection:
        with pool_lock().lock:
            self._require_open()
            connection = self._writer
            if connection is not None and connection.usable:
                connection.user = threading.get_ident()
                return connection
        connection = connect(self._path)
        try:
            self._require_same(connection, file_identity(self._path))
        except BaseException:
            connection.close()
            raise
        self._writer = connection
        return connection

    def _require_same(self, connection: sqlite3.Connection, file: FileIdentity) -> None:
        if file != self.file or _index_identity(connection, self._path) != self._identity:
            raise ReplacedError(self._watched)

    def _disconnect(self) -> None:
        """Close all connections that are not in use, and the writing one."""
        self._close_unused()
        self.drop_writer()

    def _close_unused(self) -> None:
        """Close all connections that are not in use.

        SQLite opens a file for reading if it fails to open it for writing, and keeps a lock that it
        fails to release; both last until the connection is closed.
        """
        with pool_lock().lock:
            connections, self._idle = self._idle, []
            if self._writer is not None and self._writer.user is None:
                connections.append(self._writer)
                self._writer = None
        for connection in connections:
            _discard(connection)

    def _require_open(self) -> None:
        if self._retired:
            raise ReplacedError(self._watched)
        if self._closed:
            raise StoreError("the index was closed")

    def _give_back(self, connection: ReadConnection) -> None:
        if not connection.usable:
            return
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            connection.close()
            return
        # From here on a fork closes it.
        connection.user = None
        with pool_lock().lock:
            if not self._closed:
                self._idle.append(connection)
                return
        connection.close()


def _begin_writing(connection: ReadConnection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    # SQLite also begins one on a file that it could only open for reading; this update fails then.
    connection.execute("UPDATE state SET version = version")


def _discard(connection: ReadConnection) -> None:
    """Roll back and close a connection, unless it belongs to a parent process."""
    if connection.usable:
        with suppress(sqlite3.Error):
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        with suppress(sqlite3.Error):
            connection.close()


def _index_identity(connection: sqlite3.Connection, path: Path) -> str:
    connection.execute("BEGIN")
    try:
        return read_identity(connection, check_format(connection, path.parent))
    finally:
        connection.execute("ROLLBACK")
