"""Requests side by side, in a bounded pool of threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from imagesearch._forks import notice_fork, on_fork

__all__ = ["SideBySide"]

_In = TypeVar("_In")
_Out = TypeVar("_Out")


class SideBySide:
    """Calls a function for many parts, several at once; also after a fork, with new threads.

    Args:
        threads: How many at once; 1 uses no threads at all.

    Example:
        >>> SideBySide(1).each(len, ["a", "bc"])
        [1, 2]
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        on_fork(self, in_child=SideBySide._leave_threads)

    def each(self, function: Callable[[_In], _Out], parts: Iterable[_In]) -> list[_Out]:
        """Return the results in order; the first error ends it."""
        todo = list(parts)
        if len(todo) < 2 or self._threads == 1:
            return [function(part) for part in todo]
        notice_fork()
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._threads, "tencent-store")
            futures = [self._pool.submit(function, part) for part in todo]
        try:
            return [future.result() for future in futures]
        finally:
            # Nothing of a call may still be under way when it has returned.
            for future in futures:
                future.cancel()
            for future in futures:
                if not future.cancelled():
                    future.exception()

    def close(self) -> None:
        """Wait for what is under way, and end the threads."""
        notice_fork()
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown()

    def _leave_threads(self) -> None:
        # Threads do not survive a fork, and one of them may have held the lock.
        self._lock, self._pool = threading.Lock(), None
