"""SQLite connections and forks: idle ones are closed before a fork, files in use become unusable.

SQLite keeps the locks of a file in the memory of the process, shared by all connections to it. A
forked child inherits that memory but not the locks, so parent and child could remove each other's
write-ahead log. Therefore no connection may be open when a process forks
(https://sqlite.org/howtocorrupt.html, 2.6). If one is in use at that moment, its file cannot be used
in the child, not even through new connections.
"""

from __future__ import annotations

import ctypes
import sqlite3
import threading
import time
import weakref
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias
from urllib.parse import quote

from imagesearch._forks import ForkSafeLock, notice_fork, on_fork, patience
from imagesearch.errors import UnsupportedOperationError

__all__ = ["FileIdentity", "ForkSafeConnection", "InheritedError", "file_identity", "pool_lock"]

FileIdentity: TypeAlias = tuple[int, int] | None
"""Device and inode number of a file; None where there is none."""

# Seconds to wait for a checkpoint or a commit of another process.
_TIMEOUT_S = 30.0
_POLL_S = 0.002


class InheritedError(UnsupportedOperationError):
    """The index was in use in the parent process at the moment of the fork."""

    def __init__(self, database: Path) -> None:
        super().__init__(
            f"the index at {database.parent} was being read or written at the moment when this "
            "process was forked, and SQLite cannot be used for it in a child of such a fork; fork "
            "while no search, scan or write is running, or start processes with the 'spawn' or "
            "'forkserver' method, and open the index there"
        )


def file_identity(path: Path) -> FileIdentity:
    """Return the identity of a file among those that exist at the same time.

    Raises:
        OSError: Its status cannot be read.
    """
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_dev, status.st_ino


class ForkSafeConnection(sqlite3.Connection):
    """A connection to a SQLite file that is closed before a fork, unless it is in use.

    Args:
        path: The file.
        options: Options of the URI, such as ``mode=ro``.

    Attributes:
        user: The thread that uses it; None while it is idle.
        inherited: Whether it belongs to a parent process and must not be used or closed.

    Raises:
        InheritedError: This process was forked while the file was in use.
        sqlite3.Error: It cannot be opened.
    """

    def __init__(self, path: Path, options: str) -> None:
        self.path = path
        self.user: int | None = threading.get_ident()
        self.inherited = False
        self._opening = True
        with pool_lock().lock:
            # Registered before it is opened, so that no fork can come in between.
            self.file = file_identity(path)
            _registry().add(self)
        try:
            super().__init__(
                f"file:{quote(str(path.absolute()))}?{options}",
                uri=True,
                timeout=_TIMEOUT_S,
                isolation_level=None,
                check_same_thread=False,
            )
        finally:
            self._opening = False

    @property
    def is_open(self) -> bool:
        """Whether it is open or being opened."""
        if self._opening:
            return True
        try:
            # The cheapest access that fails on a closed connection.
            return self.total_changes >= 0
        except sqlite3.ProgrammingError:
            return False

    @property
    def usable(self) -> bool:
        """Whether this process may use it."""
        return not self.inherited and self.is_open


class _Registry:
    """All connections of this process, and files that an ancestor was using when it forked."""

    def __init__(self) -> None:
        self._connections: set[weakref.ref[ForkSafeConnection]] = set()
        self._out_of_bounds: dict[FileIdentity, Path] = {}
        on_fork(self, before=_Registry._close_idle, in_child=_Registry._leave_to_parent)
        # Registered last: it is acquired before idle connections are closed, and held until the
        # fork is done, so that no thread opens or borrows a connection meanwhile.
        self.lock = ForkSafeLock()

    def add(self, connection: ForkSafeConnection) -> None:
        if connection.file in self._out_of_bounds:
            raise InheritedError(connection.path)
        self._connections.add(weakref.ref(connection, self._connections.discard))

    def _open_connections(self) -> list[ForkSafeConnection]:
        found = (reference() for reference in list(self._connections))
        return [one for one in found if one is not None and one.is_open]

    def _close_idle(self) -> None:
        this = threading.get_ident()
        connections = self._open_connections()
        while patience() and any(one.user not in (None, this) for one in connections):
            time.sleep(_POLL_S)
            connections = self._open_connections()
        for connection in connections:
            if connection.user is None:
                with suppress(sqlite3.Error):
                    connection.close()

    def _leave_to_parent(self) -> None:
        for connection in self._open_connections():
            connection.inherited = True
            _keep_forever(connection)
            # The path may lead to another file by now; neither may be used.
            files = [connection.file]
            with suppress(OSError):
                files.append(file_identity(connection.path))
            for file in files:
                if file is not None:
                    self._out_of_bounds[file] = connection.path
        self._connections.clear()


_registries: list[_Registry] = []
_making = threading.Lock()


def _registry() -> _Registry:
    if not _registries:
        with _making:
            if not _registries:
                _registries.append(_Registry())
    notice_fork()
    return _registries[0]


def pool_lock() -> ForkSafeLock:
    """Return the lock to hold while connections are taken from a pool or put back.

    Forks wait for it, and it waits for forks: never hold it while waiting for anything else.
    """
    return _registry().lock


def _keep_forever(connection: ForkSafeConnection) -> None:
    # Python closes a connection with its last reference, at exit at the latest.
    with suppress(Exception):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
