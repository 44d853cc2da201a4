"""Requests side by side, in a bounded pool of threads."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

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
        self._process = os.getpid()

    def each(self, function: Callable[[_In], _Out], parts: Iterable[_In]) -> list[_Out]:
        """Return the results in order; the first error ends it."""
        todo = list(parts)
        if len(todo) < 2 or self._threads == 1:
            return [function(part) for part in todo]
        self._forget_the_parents_threads()
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
        self._forget_the_parents_threads()
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown()

    def _forget_the_parents_threads(self) -> None:
        """Begin anew in a forked process, where the pool has no threads and the lock may be held."""
        if self._process != os.getpid():
            self._lock, self._pool, self._process = threading.Lock(), None, os.getpid()
