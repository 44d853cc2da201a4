"""Pieces: long lists of ids, as many at a time as one call of a store should get."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

__all__ = ["pieces"]


def pieces(ids: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Cut ids into parts of at most `size`.

    Example:
        >>> list(pieces(["a", "b", "c"], 2))
        [['a', 'b'], ['c']]
    """
    return (ids[start : start + size] for start in range(0, len(ids), size))
