"""WriterLock: one writer at a time, known by its process id, never held by the dead."""

from __future__ import annotations

import os
import sys
import weakref
from contextlib import suppress
from pathlib import Path

from imagesearch.errors import StoreLockedError

__all__ = ["WriterLock"]


class WriterLock:
    """An advisory lock on a file; the system releases it when its process dies.

    Args:
        path: The lock file; it is created, and stays.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     lock = WriterLock(Path(folder) / "writer.lock")
        ...     lock.acquire()
        ...     lock.release()
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._descriptor is not None

    def acquire(self) -> None:
        """Take the lock, or raise at once.

        Raises:
            StoreLockedError: Another writer has it; names its process where known.
            OSError: The lock file cannot be made.
        """
        if self._descriptor is not None:
            return
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        try:
            _lock(descriptor)
        except OSError as error:
            owner = os.read(descriptor, 20).decode("ascii", "replace").strip()
            os.close(descriptor)
            process = f"process {owner}" if owner.isdigit() else "another process"
            raise StoreLockedError(
                f"the index at {self._path.parent} is being written by {process}; wait until it "
                "closes the index, or open it only to search"
            ) from error
        self._descriptor = descriptor
        # Only words of a message depend on it, and a full disk must not leave the lock to nobody.
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
        _remember(self)

    def release(self) -> None:
        """Give the lock back; does nothing when it is not held."""
        if self._descriptor is not None:
            with suppress(OSError):
                os.ftruncate(self._descriptor, 0)
            # Closing releases it: nobody else has this open file.
            os.close(self._descriptor)
            self._descriptor = None

    def __del__(self) -> None:
        # An index that was dropped without being closed must not lock out its own program.
        with suppress(Exception):
            self.release()

    def abandon(self) -> None:
        """Let go of the descriptor in a forked child, without releasing the parent's lock."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


_held: weakref.WeakSet[WriterLock] = weakref.WeakSet()
_watching_forks = False


def _remember(lock: WriterLock) -> None:
    # A child inherits the open file; were it to keep it, the lock would outlive its parent.
    global _watching_forks  # noqa: PLW0603  # one registration for a process, it cannot be undone
    _held.add(lock)
    if not _watching_forks and hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_abandon_all)
        _watching_forks = True


def _abandon_all() -> None:
    for lock in list(_held):
        lock.abandon()


if sys.platform == "win32":
    import msvcrt

    # Locked bytes cannot be read on Windows, so the lock stands behind the process id.
    _LOCKED_BYTE = 2**20

    def _lock(descriptor: int) -> None:
        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)
else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
