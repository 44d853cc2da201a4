"""Breadth: how broadly a graph must be searched, measured on the index itself."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from imagesearch.stores.local.exact import scan_exactly
from imagesearch.stores.local.snapshot import Snapshot
from imagesearch.types import Metric

if TYPE_CHECKING:
    from imagesearch.stores.local.graph import Graph

__all__ = ["BROADEST", "measure_breadth"]

_logger = logging.getLogger("imagesearch")

BROADEST = 0.1
"""A search through this share of the nodes, in random order, is no faster than a scan."""

_BREADTHS = (32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
_RECALL = 0.99


def measure_breadth(
    graph: Graph, snapshot: Snapshot, unseen: NDArray[np.int64], metric: Metric
) -> None:
    """Set the graph's ef to the smallest with which new images find their nearest; -1 if none is.

    Args:
        graph: Searched with rows that it does not hold.
        snapshot: The state that it belongs to.
        unseen: Those rows, ≥ 1.
        metric: How to compare.
    """
    queries = snapshot.vectors[unseen]
    mask = snapshot.alive.copy()
    mask[graph.missing(snapshot)] = False
    k = min(10, graph.live)
    truth = [best for best, _ in scan_exactly(queries, snapshot, mask, k, metric)]
    graph.ef, graph.calibrated_at = -1, graph.labels + len(unseen)
    recall = 0.0
    for ef in _BREADTHS:
        if ef > max(_BREADTHS[0], BROADEST * graph.live):
            break
        graph.fit(k, ef)
        found = graph.search(queries, k)
        if found is None:
            continue
        shares = [
            len(np.intersect1d(rows, best)) / k for rows, best in zip(found, truth, strict=True)
        ]
        recall = float(np.mean(shares))
        if recall >= _RECALL:
            graph.ef = ef
            _logger.info("searching with ef=%d: recall@10 %.3f in a sample", ef, recall)
            return
    _logger.info("the search graph finds too little (recall@10 %.3f); scanning exactly", recall)
