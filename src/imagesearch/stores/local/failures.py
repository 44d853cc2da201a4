"""What SQLite and the file system raise, told in the words of our own errors."""

from __future__ import annotations

import errno
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imagesearch.errors import (
    StoreCorruptError,
    StoreError,
    StoreUnavailableError,
    UnsupportedFilterError,
)

__all__ = ["translated"]

_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT}
_UNAVAILABLE = {
    sqlite3.SQLITE_FULL: "the disk is full: free some space and repeat the call",
    sqlite3.SQLITE_IOERR: "the disk cannot be read or written; is it full, or unplugged?",
    sqlite3.SQLITE_CANTOPEN: "its files cannot be opened: check that they exist and may be read",
    sqlite3.SQLITE_READONLY: "its files may not be written: check the permissions",
    sqlite3.SQLITE_PERM: "its files may not be opened: check the permissions",
    sqlite3.SQLITE_BUSY: "another process holds its database for too long; try again",
    sqlite3.SQLITE_LOCKED: "another process holds its database for too long; try again",
    sqlite3.SQLITE_PROTOCOL: "another process holds its database for too long; try again",
    sqlite3.SQLITE_NOMEM: "memory is exhausted",
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
            f"the index at {path} holds damaged JSON ({error}); restore it from a backup, or build "
            "a new index"
        ) from error
    except OSError as error:
        reason = error.strerror or str(error)
        remedy = "; free some space and repeat the call" if error.errno == errno.ENOSPC else ""
        if isinstance(error, PermissionError) and error.filename is not None:
            remedy = f" for {error.filename}; grant this user permission to read it, or to write"
        raise StoreUnavailableError(
            f"the index at {path} cannot be used now: {reason}{remedy}"
        ) from error


def _of_sqlite(error: sqlite3.Error, path: Path) -> Exception:
    # The low byte is the kind; the rest says which system call failed.
    code = getattr(error, "sqlite_errorcode", None)
    kind = None if code is None else code & 0xFF
    # Python itself raises one without a code, for text that is not UTF-8.
    if kind in _CORRUPT or (kind is None and isinstance(error, sqlite3.OperationalError)):
        return StoreCorruptError(
            f"the database of the index at {path} is damaged ({error}); restore it from a backup, "
            "or build a new index"
        )
    if kind in _UNAVAILABLE:
        return StoreUnavailableError(
            f"the index at {path} cannot be used now: {_UNAVAILABLE[kind]} ({error})"
        )
    if any(words in str(error) for words in _TOO_LARGE):
        return UnsupportedFilterError(
            f"the filter has more terms than SQLite takes ({error}); use is_in([...]) for many "
            "values, or split the query"
        )
    return StoreError(f"the index at {path} failed: {error}")
