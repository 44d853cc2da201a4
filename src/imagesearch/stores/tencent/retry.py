"""Retry: how often and how long to wait before a request is repeated."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Retry"]


@dataclass(frozen=True, slots=True)
class Retry:
    """Exponential backoff with full jitter, so that clients which failed together part.

    The scheme and its name are those of Marc Brooker, "Exponential Backoff And Jitter" (AWS
    Architecture Blog, 2015).

    Attributes:
        retries: Repetitions after the first attempt.
        first: Longest wait before the first repetition, in seconds; it doubles each time.
        longest: Longest wait, in seconds.

    Example:
        >>> len(list(Retry(retries=4).pauses()))
        4
    """

    retries: int = 4
    first: float = 0.1
    longest: float = 3.0

    def pauses(self) -> Iterator[float]:
        """Yield the seconds to wait before each repetition."""
        for attempt in range(self.retries):
            # Spreads load; nothing secret hangs on it.
            yield random.uniform(0.0, min(self.longest, self.first * 2**attempt))  # noqa: S311
