"""Fork handlers: objects drop or renew their threads, sockets and locks when the process forks.

A forked child has a copy of its parent's memory and shares its open files, but has only one thread.
Classes with state that does not survive a fork register their objects here.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, Generic, TypeVar

__all__ = ["ForkGate", "ForkSafeLock", "notice_fork", "on_fork", "patience"]

T = TypeVar("T")

# Total seconds that a fork waits for other threads: long enough for a search or a small write, short
# enough for a server that replaces a worker.
_PATIENCE_S = 1.0
_POLL_S = 0.0005


class _Entry(Generic[T]):
    """The handlers of one object, which is held weakly."""

    def __init__(
        self,
        owner: T,
        before: Callable[[T], None] | None,
        in_parent: Callable[[T], None] | None,
        in_child: Callable[[T], None],
    ) -> None:
        number = next(_numbers)
        # A dict keeps the order of registration, and copying its values is atomic.
        self._owner = weakref.ref(owner, lambda _: _entries.pop(number, None))
        self._before, self._in_parent, self._in_child = before, in_parent, in_child
        _entries[number] = self

    def call_before(self) -> None:
        self._call(self._before)

    def call_in_parent(self) -> None:
        self._call(self._in_parent)

    def call_in_child(self) -> None:
        self._call(self._in_child)

    def _call(self, function: Callable[[T], None] | None) -> None:
        owner = self._owner()
        if function is not None and owner is not None:
            function(owner)


_numbers = itertools.count()
_entries: dict[int, _Entry[Any]] = {}
_process: int | None = None
_deadline = 0.0


def on_fork(
    owner: T,
    *,
    in_child: Callable[[T], None],
    before: Callable[[T], None] | None = None,
    in_parent: Callable[[T], None] | None = None,
) -> None:
    """Register functions to be called with an object when this process forks, while it exists.

    The functions must not raise, nor wait for other threads without a timeout.

    Args:
        owner: The object; it is held weakly.
        in_child: Drops or renews what a child must not use. It must not acquire a lock that another
            thread may hold, because that thread does not exist in the child.
        before: Called in the forking thread before the fork.
        in_parent: Called in the forking thread after the fork, even if it failed.

    Example:
        >>> class Pool:
        ...     def __init__(self):
        ...         self.threads = []
        ...         on_fork(self, in_child=Pool.drop)
        ...
        ...     def drop(self):
        ...         self.threads = []
        >>> pool = Pool()
    """
    global _process  # noqa: PLW0603  # registration is per process and cannot be undone
    if _process is None:
        _process = os.getpid()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=_before, after_in_parent=_in_parent, after_in_child=notice_fork
            )
    _Entry(owner, before, in_parent, in_child)


def notice_fork() -> None:
    """Call the `in_child` functions if this process is a forked child and they were not called yet.

    Python calls them after `os.fork`. A server written in C, such as uWSGI, may fork without Python,
    so objects call this before they use state that does not survive a fork.
    """
    global _process  # noqa: PLW0603  # see above
    process = os.getpid()
    if _process is not None and _process != process:
        # Set first, because the functions may call this one.
        _process = process
        for entry in list(_entries.values()):
            entry.call_in_child()


class ForkSafeLock:
    """A reentrant lock that is free in a forked child.

    A fork waits briefly for the thread that holds it, so that the protected state is consistent in
    the child. After a timeout the child gets a free lock nevertheless, because no thread in the
    child could release it.

    Attributes:
        lock: The lock. It is used directly: in a method that acquires it, an interrupt could occur
            before the caller's block begins.

    Example:
        >>> guard = ForkSafeLock()
        >>> with guard.lock:
        ...     pass
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._acquired = False
        on_fork(
            self,
            before=ForkSafeLock._acquire,
            in_parent=ForkSafeLock._release,
            in_child=ForkSafeLock._renew,
        )

    def _acquire(self) -> None:
        self._acquired = self.lock.acquire(timeout=patience())

    def _release(self) -> None:
        if self._acquired:
            self._acquired = False
            self.lock.release()

    def _renew(self) -> None:
        self.lock, self._acquired = threading.RLock(), False


class ForkGate:
    """A block of code that any number of threads may run, but not while the process forks.

    OpenBLAS stops its threads when the process forks, and another thread that is computing with them
    then waits forever. So a fork waits briefly for the threads inside, and new ones wait for the fork.

    Example:
        >>> gate = ForkGate()
        >>> with gate:
        ...     pass
    """

    def __init__(self) -> None:
        self._entrance = threading.Lock()
        self._acquired = False
        # Changed by single operations, which are atomic, so that leaving needs no lock.
        self._inside: list[int] = []
        on_fork(self, before=ForkGate._close, in_parent=ForkGate._open, in_child=ForkGate._renew)

    def __enter__(self) -> None:
        with self._entrance:
            self._inside.append(1)

    def __exit__(self, *_: object) -> None:
        self._inside.pop()

    def _close(self) -> None:
        self._acquired = self._entrance.acquire(timeout=patience())
        while self._inside and patience():
            time.sleep(_POLL_S)

    def _open(self) -> None:
        if self._acquired:
            self._acquired = False
            self._entrance.release()

    def _renew(self) -> None:
        self._entrance, self._acquired, self._inside = threading.Lock(), False, []


def patience() -> float:
    """Return the remaining seconds that a `before` function may wait."""
    return max(0.0, _deadline - time.monotonic())


def _before() -> None:
    global _deadline  # noqa: PLW0603  # one thread forks at a time
    _deadline = time.monotonic() + _PATIENCE_S
    # In reverse order, as with pthread_atfork: outer locks are acquired before inner ones.
    for entry in reversed(list(_entries.values())):
        entry.call_before()


def _in_parent() -> None:
    for entry in list(_entries.values()):
        entry.call_in_parent()
