"""Drawing: a random sample of an index's records, the same for everybody."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable

__all__ = ["draw"]


def draw(ids: Iterable[str], most: int, seed: int) -> list[str]:
    """Draw ids by a hash of each, so that the order of the records does not matter.

    Args:
        ids: To draw from; `most` of them are in memory at a time.
        most: How many to draw, ≥ 1.
        seed: Which ones.

    Returns:
        The ids, sorted.

    Example:
        >>> draw("abcd", 2, 0) == draw("dcba", 2, 0)
        True
    """
    drawn: list[tuple[int, str]] = []
    for id in ids:
        text = f"{seed}:{id}".encode()
        lot = -int.from_bytes(hashlib.blake2b(text, digest_size=8).digest())
        if len(drawn) < most:
            heapq.heappush(drawn, (lot, id))
        elif lot > drawn[0][0]:
            heapq.heapreplace(drawn, (lot, id))
    return sorted(id for _, id in drawn)
