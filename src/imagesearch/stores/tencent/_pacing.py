"""When to send a request: pauses between repetitions, and fewer requests under a rate limit."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Pace", "Retry"]

_FIRST_GAP = 0.02
_LONGEST_GAP = 1.0
_NO_GAP = 0.005
_SHRINK = 0.82


@dataclass(frozen=True, slots=True)
class Retry:
    """Exponential backoff with full jitter, which spreads clients that failed together.

    See Marc Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015).

    Attributes:
        retries: Repetitions after the first attempt; None for any number.
        first: Longest wait before the first repetition, in seconds; it doubles each time.
        longest: Longest wait, in seconds.

    Example:
        >>> len(list(Retry(retries=4).pauses()))
        4
    """

    retries: int | None = None
    first: float = 0.1
    longest: float = 3.0

    def pauses(self) -> Iterator[float]:
        """Yield the seconds to wait before each repetition."""
        wait = self.first
        for _ in itertools.count() if self.retries is None else range(self.retries):
            # Not for cryptography.
            yield random.uniform(0.0, min(self.longest, wait))  # noqa: S311
            wait = min(self.longest, 2 * wait)


class Pace:
    """The rate at which all threads of a store send requests together.

    There is no limit until the service reports one. Each report doubles the gap between requests,
    each success shortens it by 18 %: slower at once and faster again in steps, which settles
    near the rate that the service allows.

    Attributes:
        reached: Whether the instance has ever responded.
    """

    def __init__(self, *, reached: bool = False) -> None:
        self.reached = reached
        self._lock = threading.Lock()
        self._gap = 0.0
        self._next = 0.0
        self._slowed = 0.0

    def wait(self) -> float:
        """Wait until the next request may be sent; returns that time."""
        with self._lock:
            turn = max(time.monotonic(), self._next)
            self._next = turn + self._gap
        pause = turn - time.monotonic()
        if pause > 0:
            time.sleep(pause)
        return turn

    def succeeded(self) -> None:
        """Send requests a little faster."""
        if self._gap:
            with self._lock:
                self._gap = self._gap * _SHRINK if self._gap > _NO_GAP else 0.0

    def limited(self, sent: float) -> None:
        """Send requests at half the rate, because one was over the service's limit.

        Args:
            sent: When it was sent; requests sent before the last change of the rate count once.
        """
        with self._lock:
            if sent >= self._slowed:
                self._gap = min(max(2 * self._gap, _FIRST_GAP), _LONGEST_GAP)
                self._slowed = time.monotonic()

    def hold(self, seconds: float) -> None:
        """Send nothing for some time, as a response has asked for."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)
