"""The exact scan: every row that counts is scored."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from imagesearch.stores._ranking import Candidates, nearest
from imagesearch.stores.local.snapshot import Snapshot
from imagesearch.types import Metric

__all__ = ["scan_exactly"]


def scan_exactly(
    queries: NDArray[np.float32],
    snapshot: Snapshot,
    mask: NDArray[np.bool_],
    k: int,
    metric: Metric,
) -> Iterator[Candidates]:
    """Give for each query the k nearest rows, and ties with the k-th.

    Args:
        queries: (n, dim), of unit length under ``cosine``.
        snapshot: What to search.
        mask: (rows,), which rows may be found.
        k: How many, ≥ 1.
        metric: How to compare.
    """
    return nearest(
        queries,
        lambda: snapshot.blocks(mask),
        snapshot.vectors.__getitem__,
        k=k,
        metric=metric,
    )
