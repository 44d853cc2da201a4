"""Chunks: long sequences, as much of them at a time as one call should get."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, Self, TypeVar

__all__ = ["chunks"]


class _Sliceable(Protocol):
    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> Self: ...


_Parts = TypeVar("_Parts", bound=_Sliceable)


def chunks(sequence: _Parts, size: int) -> Iterator[_Parts]:
    """Cut a list or array into parts.

    Example:
        >>> list(chunks([1, 2, 3], 2))
        [[1, 2], [3]]
    """
    return (sequence[first : first + size] for first in range(0, len(sequence), size))
