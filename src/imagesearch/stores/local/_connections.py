"""Connections to the SQLite file of an index, and what their failures mean."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from imagesearch.errors import (
    StoreCorruptError,
    StoreError,
    StoreUnavailableError,
    UnsupportedFilterError,
)
from imagesearch.stores.local._fork_safety import (
    FileIdentity,
    ForkSafeConnection,
    InheritedError,
    file_identity,
)

__all__ = [
    "RESTORE",
    "FileIdentity",
    "OvertakenError",
    "ReadConnection",
    "ReplacedError",
    "connect",
    "connect_to_read",
    "file_identity",
    "read_database",
    "require_settled",
    "translated",
]


RESTORE = "restore it from a backup, or build a new index"
"""The remedy for damage that cannot be repaired."""

_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT}
_BUSY = ("another process holds its database for too long", "try again")
# The kinds of error that say nothing about the data: what happened, and what to do.
_UNAVAILABLE = {
    sqlite3.SQLITE_FULL: ("the disk is full", "free some space and repeat the call"),
    sqlite3.SQLITE_IOERR: ("the disk cannot be read or written", "check that it is not full"),
    sqlite3.SQLITE_CANTOPEN: (
        "its files cannot be opened",
        "check that they exist and are readable",
    ),
    sqlite3.SQLITE_READONLY: ("its files are not writable", "check the permissions"),
    sqlite3.SQLITE_PERM: ("its files cannot be opened", "check the permissions"),
    sqlite3.SQLITE_BUSY: _BUSY,
    sqlite3.SQLITE_LOCKED: _BUSY,
    sqlite3.SQLITE_PROTOCOL: _BUSY,
    sqlite3.SQLITE_NOMEM: ("memory is exhausted", "free memory, or use a smaller batch"),
}
_TOO_LARGE = ("too large", "too deep", "too many SQL variables", "stack overflow", "too big")


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raise errors of SQLite and of the file system as `StoreError`.

    Args:
        path: The index, for the message.

    Raises:
        StoreCorruptError: The database is damaged, or is none.
        StoreUnavailableError: Disk full, no permission, held by another process.
        UnsupportedFilterError: A filter has more terms than SQLite takes.
        StoreError: Anything else.

    Example:
        >>> with translated(Path("photos.idx")):
        ...     raise OSError(errno.ENOSPC, "No space left on device")
        Traceback (most recent call last):
        imagesearch.errors.StoreUnavailableError: the index at photos.idx cannot be used now: ...
    """
    try:
        yield
    except sqlite3.Error as error:
        raise _of_sqlite(error, path) from error
    except StoreError:
        raise
    except json.JSONDecodeError as error:
        raise StoreCorruptError(
            f"the index at {path} contains damaged JSON ({error})", remedy=RESTORE
        ) from error
    except OSError as error:
        reason = error.strerror or str(error)
        remedy = "free some space and repeat the call" if error.errno == errno.ENOSPC else None
        if isinstance(error, PermissionError) and error.filename is not None:
            reason += f" for {error.filename}"
            remedy = "grant this user permission to read it, or to write"
        raise StoreUnavailableError(
            f"the index at {path} cannot be used now: {reason}", remedy=remedy, retryable=False
        ) from error


def _of_sqlite(error: sqlite3.Error, path: Path) -> Exception:
    # The low byte is the kind; the rest says which system call failed.
    code = getattr(error, "sqlite_errorcode", None)
    kind = None if code is None else code & 0xFF
    # Python itself raises one without a code, for text that is not UTF-8.
    if kind in _CORRUPT or (kind is None and isinstance(error, sqlite3.OperationalError)):
        return StoreCorruptError(
            f"the database of the index at {path} is damaged ({error})", remedy=RESTORE
        )
    if kind in _UNAVAILABLE:
        reason, remedy = _UNAVAILABLE[kind]
        return StoreUnavailableError(
            f"the index at {path} cannot be used now: {reason} ({error})",
            remedy=remedy,
            retryable=_UNAVAILABLE[kind] is _BUSY,
        )
    if any(words in str(error) for words in _TOO_LARGE):
        return UnsupportedFilterError(
            f"the filter has more terms than SQLite accepts ({error}); use is_in([...]) for many "
            "values, or split the query"
        )
    return StoreError(f"the index at {path} failed: {error}")


T = TypeVar("T")

# Attempts to read between writes of other processes, and the pause between them in seconds.
_ATTEMPTS = 40
_PAUSE_S = 0.025
# Attempts to connect while the write-ahead log holds writes: closing an index removes the shared
# memory shortly before the log.
_CLOSING = 8

# File systems store times in steps of up to 10 ms (a tick of the kernel's clock): a file that was
# changed more recently could change again without a new time.
_TICK_NS = 50_000_000

# SQLite's errors if its shared memory cannot be created: no permission, or a full disk.
_UNSHARED = {
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
}


class ReplacedError(StoreError):
    """The path of an index no longer leads to the file that was opened."""

    def __init__(self, database: Path) -> None:
        super().__init__(
            f"the index at {database.parent} was replaced or removed after it was opened",
            remedy="close it and open it again",
        )


class OvertakenError(StoreUnavailableError):
    """The index was written to while it was read without SQLite's locks."""

    def __init__(self, database: Path) -> None:
        super().__init__(
            f"the index at {database.parent} was written to while it was read, and this process "
            "cannot create the shared memory that SQLite needs for reading beside a writer",
            remedy="repeat the call, or grant this user write permission on the folder",
        )


@dataclass(frozen=True, slots=True)
class _Stamp:
    """Status of a SQLite file whose write-ahead log is empty."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int


class ReadConnection(ForkSafeConnection):
    """A connection for reading.

    If SQLite's shared memory cannot be created, the file is read without locks (``immutable=1``).
    That is correct while no process writes; such a connection detects changes by the file's status.
    """

    _stamp: _Stamp | None = None

    def read_without_locks(self, stamp: _Stamp) -> None:
        """Restrict the connection to this state of the file."""
        self._stamp = stamp

    @property
    def settled(self) -> bool:
        """Whether everything read so far belongs to one state, the newest one at the start."""
        return self._stamp is None or _stamp(self.path) == self._stamp

    def require_settled(self) -> None:
        """Verify that everything read so far belongs to one state.

        Raises:
            OvertakenError: The file was written to in the meantime.
            InheritedError: The process was forked in the meantime, and this is the child.
        """
        if self.inherited:
            raise InheritedError(self.path)
        if not self.settled:
            raise OvertakenError(self.path)


def require_settled(connection: sqlite3.Connection) -> None:
    """Verify that everything read so far belongs to one state; see `ReadConnection`.

    Raises:
        OvertakenError: The file was written to in the meantime.
        InheritedError: The process was forked in the meantime, and this is the child.
    """
    if isinstance(connection, ReadConnection):
        connection.require_settled()


def connect(path: Path, *, create: bool = False) -> ReadConnection:
    """Open a SQLite file for writing.

    Args:
        path: The file.
        create: Create the file if it is missing.

    Raises:
        sqlite3.Error: It cannot be opened, or is damaged.
    """
    return _probed(path, f"mode={'rwc' if create else 'rw'}")


def connect_to_read(path: Path, *, read_only: bool) -> tuple[ReadConnection, FileIdentity]:
    """Open a SQLite file for reading, and return the identity of the file.

    Args:
        path: The file.
        read_only: Do not remove SQLite's side files when closing.

    Raises:
        sqlite3.Error, OSError: It cannot be opened, or is damaged.
        StoreUnavailableError: This user lacks a permission, or other processes write constantly.
    """
    mode = "ro" if read_only else "rw"
    for attempt in range(_ATTEMPTS):
        before = file_identity(path)
        try:
            connection = _connected_to_read(path, mode)
        except OvertakenError:
            if attempt == _ATTEMPTS - 1:
                raise
        else:
            if file_identity(path) == before:
                return connection, before
            connection.close()
        time.sleep(_PAUSE_S)
    raise ReplacedError(path)


def read_database(path: Path, work: Callable[[sqlite3.Connection], T], *, read_only: bool) -> T:
    """Read one state of a SQLite file, and return the result of `work`.

    Args:
        path: The file.
        work: Reads; called again after a concurrent write.
        read_only: As for `connect_to_read`.

    Raises:
        sqlite3.Error, OSError: It cannot be read, or is damaged.
        StoreUnavailableError: This user lacks a permission, or other processes write constantly.
    """
    for _ in range(_ATTEMPTS):
        connection, _file = connect_to_read(path, read_only=read_only)
        try:
            # A transaction, because `work` may run several statements while an index is created.
            connection.execute("BEGIN")
            result = work(connection)
        except Exception:
            if connection.settled:
                raise
        else:
            if connection.settled:
                return result
        finally:
            connection.close()
    raise OvertakenError(path)


def _connected_to_read(path: Path, mode: str) -> ReadConnection:
    for attempt in range(_CLOSING):
        try:
            return _probed(path, f"mode={mode}")
        except sqlite3.OperationalError as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code not in _UNSHARED or not path.exists():
                raise
            stamp = _settled_stamp(path)
            if stamp is not None:
                return _connected_without_locks(path, stamp)
            if attempt == _CLOSING - 1 or not _may(path, os.R_OK):
                raise (_refusal(path) or error) from error
        time.sleep(_PAUSE_S)
    raise OvertakenError(path)


def _connected_without_locks(path: Path, stamp: _Stamp) -> ReadConnection:
    try:
        connection = _probed(path, "mode=ro&immutable=1")
    except sqlite3.Error:
        if _stamp(path) != stamp:
            raise OvertakenError(path) from None
        raise
    connection.read_without_locks(stamp)
    if not connection.settled:
        connection.close()
        raise OvertakenError(path)
    return connection


def _settled_stamp(path: Path) -> _Stamp | None:
    """Return a stamp that every later write changes; None if the log holds writes."""
    for _ in range(_ATTEMPTS):
        stamp = _stamp(path)
        if stamp is None:
            return None
        age = time.time_ns() - max(stamp.modified_ns, stamp.changed_ns)
        if not 0 <= age < _TICK_NS:
            return stamp
        time.sleep(_PAUSE_S)
    raise OvertakenError(path)


def _stamp(path: Path) -> _Stamp | None:
    """Return the status of the file; None if its log holds writes, or the file is missing."""
    # The file before its log: a write in between leaves a log, or changes the next stamp.
    try:
        status = path.stat()
        log = _beside(path, "-wal").stat().st_size
    except FileNotFoundError as error:
        if error.filename is not None and Path(error.filename) == path:
            return None
        log = 0
    if log:
        return None
    return _Stamp(
        status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
    )


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _refusal(path: Path) -> StoreUnavailableError | None:
    """Return the error for a missing permission; None if that is not the reason."""
    folder, log, shared = path.parent, _beside(path, "-wal"), _beside(path, "-shm")
    if _may(folder, os.W_OK):
        return None
    for file in (path, log, shared):
        if file.exists() and not _may(file, os.R_OK):
            return StoreUnavailableError(
                f"the index at {folder} cannot be read without read permission on {file.name}; "
                "grant this user read permission on all files of the folder"
            )
    if shared.exists():
        return None
    return StoreUnavailableError(
        f"the index at {folder} has writes in {log.name} that cannot be read without {shared.name}, "
        "which this user may not create; open and close the index once as a user with write "
        "permission on the folder, or grant this user that permission"
    )


def _may(path: Path, mode: int) -> bool:
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


def _probed(path: Path, options: str) -> ReadConnection:
    connection = ReadConnection(path, options)
    try:
        # FULL makes every commit wait for the disk, so that it survives a power loss.
        connection.execute("PRAGMA synchronous = FULL")
        # Damaged pages are reported when they are read.
        connection.execute("PRAGMA cell_size_check = ON")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection
