"""What objects must drop or renew when their process forks: threads, sockets, locks.

A forked child gets a copy of the memory of its parent and shares its open files, but has one thread
only. Each class that keeps something which does not survive that registers its objects here.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, Generic, TypeVar

__all__ = ["ForkSafeLock", "notice_fork", "on_fork", "patience"]

T = TypeVar("T")

# Seconds that a fork waits for other threads, altogether: long enough for a search or a small
# write, short enough for a server that replaces a worker.
_PATIENCE_S = 1.0


class _Entry(Generic[T]):
    """One object and what to call for it; holds the object weakly."""

    def __init__(
        self,
        owner: T,
        before: Callable[[T], None] | None,
        in_parent: Callable[[T], None] | None,
        in_child: Callable[[T], None],
    ) -> None:
        number = next(_numbers)
        # In the order of registration; a copy of a dict's values is made in one step.
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
    """Call functions with an object whenever this process forks, as long as the object lives.

    The functions must not raise, and must not wait for other threads without a limit.

    Args:
        owner: The object; it is held weakly.
        in_child: Drops or renews what a child must not use. It must take no lock that another
            thread may hold: that thread does not exist in the child.
        before: Called by the thread that forks, just before.
        in_parent: Called by the same thread, just after, also if the fork failed.

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
    global _process  # noqa: PLW0603  # the registration counts for a process and cannot be undone
    if _process is None:
        _process = os.getpid()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=_before, after_in_parent=_in_parent, after_in_child=notice_fork
            )
    _Entry(owner, before, in_parent, in_child)


def notice_fork() -> None:
    """Call what `on_fork` registered for a child, if this process is one and that was not done.

    Python does so itself after `os.fork`. A server written in C, such as uWSGI, may fork without
    Python; for its sake an object calls this before it uses what a fork spoils.
    """
    global _process  # noqa: PLW0603  # see above
    process = os.getpid()
    if _process is not None and _process != process:
        # First, so that a function that calls this in turn does not start all over.
        _process = process
        for entry in list(_entries.values()):
            entry.call_in_child()


class ForkSafeLock:
    """A reentrant lock that is free in a forked child.

    A fork waits a moment for the thread that holds it, so that what it protects is complete in the
    child. If that takes too long, the child gets a free lock all the same, because no thread of the
    child could release it.

    Attributes:
        lock: The lock. It is entered by itself, because an interrupt may hit a method that has
            acquired it before the caller's block begins.

    Example:
        >>> changing = ForkSafeLock()
        >>> with changing.lock:
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


def patience() -> float:
    """Return for how many more seconds a function may wait that is called before a fork."""
    return max(0.0, _deadline - time.monotonic())


def _before() -> None:
    global _deadline  # noqa: PLW0603  # one thread forks at a time
    _deadline = time.monotonic() + _PATIENCE_S
    # In reverse, as pthread_atfork does it: locks are acquired before those that they stand on.
    for entry in reversed(list(_entries.values())):
        entry.call_before()


def _in_parent() -> None:
    for entry in list(_entries.values()):
        entry.call_in_parent()
