"""Progress: one bar on standard error, or none."""

from __future__ import annotations

import sys
from typing import Protocol

__all__ = ["Progress", "make_progress"]


class Progress(Protocol):
    """What ingestion tells about its progress."""

    def advance(self, inputs: int) -> None:
        """Count inputs that are accounted for."""
        ...

    def close(self) -> None:
        """End the bar."""
        ...


class _Silent:
    def advance(self, inputs: int) -> None:
        """Count nothing."""

    def close(self) -> None:
        """End nothing."""


class _Bar:
    def __init__(self, total: int | None, unit: str) -> None:
        from tqdm import tqdm

        self._bar = tqdm(total=total, unit=unit, file=sys.stderr, dynamic_ncols=True)

    def advance(self, inputs: int) -> None:
        self._bar.update(inputs)

    def close(self) -> None:
        self._bar.close()


def make_progress(wanted: bool | None, total: int | None, *, unit: str = "image") -> Progress:
    """Make a bar.

    Args:
        wanted: True or False; None shows it when standard error is a terminal.
        total: How many inputs there are, if known.
        unit: What is counted.
    """
    if wanted is None:
        wanted = sys.stderr is not None and sys.stderr.isatty()
    return _Bar(total, unit) if wanted else _Silent()
