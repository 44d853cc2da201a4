"""SharedLock: many may search the graph at once, or one may change it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["SharedLock"]


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
