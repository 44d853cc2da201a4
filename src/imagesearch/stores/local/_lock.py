"""Locks: one writer of an index among processes, many readers of a graph among threads."""

from __future__ import annotations

import errno
import io
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from imagesearch._forks import notice_fork, on_fork
from imagesearch.errors import StoreLockedError

__all__ = ["SharedLock", "WriterLock", "writer_of"]


# Another program may remove the file between opening and locking it, but not time after time.
_ATTEMPTS = 100
_LOCKED_BY_OTHERS = {errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK}


class WriterLock:
    """An advisory lock on a file; the system releases it when its process exits.

    A lock on a file that was removed or replaced excludes no other program. So the file is compared with the
    one in the folder, when the lock is acquired and before each write.

    Args:
        path: The lock file; it is created, and stays.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     lock = WriterLock(Path(folder) / "writer.lock")
        ...     lock.acquire()
        ...     lock.require_in_place()
        ...     lock.release()
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # A file object closes its descriptor once, and never one that belongs to others by then.
        self._file: io.FileIO | None = None
        self._held = False
        on_fork(self, in_child=WriterLock._leave_to_parent)

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        notice_fork()
        return self._held

    def acquire(self) -> None:
        """Take the lock, or raise at once.

        Raises:
            StoreLockedError: Another writer has it; names its process where known.
            OSError: The lock file cannot be made.
        """
        if self.held:
            return
        for _ in range(_ATTEMPTS):
            # An interrupted call may have left a file, locked or not.
            self.release()
            self._file = file = io.FileIO(self._path, "a+")
            try:
                _lock(file.fileno())
            except OSError as error:
                owner = _owner(file)
                self.release()
                if error.errno not in _LOCKED_BY_OTHERS:
                    raise
                process = f"process {owner}" if owner.isdigit() else "another process"
                raise StoreLockedError(
                    f"the index at {self._path.parent} is being written by {process}",
                    remedy="wait until it closes the index, or open the index only to search",
                ) from error
            if self._in_place(file):
                self._held = True
                break
        else:
            raise StoreLockedError(
                f"the index at {self._path.parent} cannot be locked, because another program keeps "
                f"removing {self._path.name}",
                remedy="stop that program",
                retryable=False,
            )
        # Only the text of a message depends on it, and a full disk must not leave the lock orphaned.
        with suppress(OSError):
            file.truncate(0)
            file.write(f"{os.getpid()}\n".encode())

    def require_in_place(self) -> None:
        """Make sure that the lock, if it is held, is on the file that is in the folder.

        Raises:
            StoreLockedError: The file was removed or replaced; the lock is given back.
        """
        if self.held and not self._in_place(self._file):
            self.release()
            raise StoreLockedError(
                f"{self._path} was removed or replaced while this program was writing to the "
                "index, so that another program could start writing to it, and nothing was written "
                "now",
                remedy="leave that file alone, and repeat the call",
            )

    def release(self) -> None:
        """Release the lock, if it is held."""
        notice_fork()
        # Forgotten before it is released: after an interrupt this process must not write unlocked.
        held, self._held = self._held, False
        file = self._file
        if file is not None and not file.closed:
            if held:
                with suppress(OSError):
                    file.truncate(0)
            # A child that was forked a moment ago may still share the open file.
            with suppress(OSError):
                _unlock(file.fileno())
            file.close()
        self._file = None

    def __del__(self) -> None:
        # An index that was dropped without being closed must not lock out its own program.
        with suppress(Exception):
            self.release()

    def _leave_to_parent(self) -> None:
        # The lock belongs to the open file, which is shared: unlocking would release the parent's.
        file, self._file, self._held = self._file, None, False
        if file is not None:
            file.close()

    def _in_place(self, file: io.FileIO | None) -> bool:
        if sys.platform == "win32":
            # An open file can be neither removed nor replaced there.
            return True
        try:
            return file is not None and os.path.samestat(os.fstat(file.fileno()), self._path.stat())
        except (FileNotFoundError, NotADirectoryError):
            return False


def _owner(file: io.FileIO) -> str:
    with suppress(OSError):
        file.seek(0)
        return file.read(20).decode("ascii", "replace").strip()
    return ""


def writer_of(lock: Path) -> str:
    """Name the process that writes; the lock file is empty after its release."""
    try:
        with lock.open("rb") as file:
            owner = file.read(20).decode("ascii", "replace").strip()
            if not owner or _is_free(file.fileno()):
                return ""
    except OSError:
        return ""
    return f"process {owner}" if owner.isdigit() else "another process"


if sys.platform == "win32":
    import msvcrt

    # Locked bytes cannot be read on Windows, so the lock stands behind the process id.
    _LOCKED_BYTE = 2**20

    def _lock(descriptor: int) -> None:
        _change(descriptor, msvcrt.LK_NBLCK)

    def _unlock(descriptor: int) -> None:
        _change(descriptor, msvcrt.LK_UNLCK)

    def _change(descriptor: int, mode: int) -> None:
        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, mode, 1)
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)

    def _is_free(descriptor: int) -> bool:
        """Trust the file: on Windows the lock cannot be tested without taking it."""
        del descriptor
        return False
else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)

    def _is_free(descriptor: int) -> bool:
        # A shared lock, and only if a process died with the lock, so that no writer is kept out.
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return False
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        return True


class SharedLock:
    """A lock that is held by many readers, or by one writer; a waiting writer goes first.

    It is not reentrant. That makes it safe from interrupts: where a thread asks for it that has it
    already, an exception has left the block at a moment when the lock could not be given back.

    Example:
        >>> lock = SharedLock()
        >>> with lock.shared():
        ...     pass
        >>> with lock.exclusive():
        ...     pass
    """

    def __init__(self) -> None:
        # Entered by itself: the methods of a condition can be interrupted in between.
        self._lock = threading.RLock()
        self._condition = threading.Condition(self._lock)
        self._readers: set[int] = set()
        self._waiting: set[int] = set()
        self._writer: int | None = None

    @property
    def busy(self) -> bool:
        """Whether any thread holds it."""
        return bool(self._readers) or self._writer is not None

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Hold it together with others."""
        this = threading.get_ident()
        try:
            with self._lock:
                self._forget(this)
                self._condition.wait_for(lambda: self._writer is None and not self._waiting)
                self._readers.add(this)
            yield
        finally:
            with self._lock:
                self._forget(this)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold it alone."""
        this = threading.get_ident()
        try:
            with self._lock:
                self._forget(this)
                self._waiting.add(this)
                self._condition.wait_for(lambda: self._writer is None and not self._readers)
                self._writer = this
                self._waiting.discard(this)
                self._condition.notify_all()
            yield
        finally:
            with self._lock:
                self._forget(this)

    def _forget(self, thread: int) -> None:
        self._readers.discard(thread)
        self._waiting.discard(thread)
        if self._writer == thread:
            self._writer = None
        self._condition.notify_all()
