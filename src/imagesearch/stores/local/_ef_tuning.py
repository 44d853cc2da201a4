"""The breadth (ef) that the graph needs, measured against the exact scan."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from imagesearch.stores._blocks import computing
from imagesearch.stores._ranking import Candidates, exact_scores, nearest
from imagesearch.stores.local._graph import Graph
from imagesearch.stores.local._snapshot import Snapshot
from imagesearch.types import Metric

T = TypeVar("T")

__all__ = [
    "BROADEST",
    "StoppedError",
    "breadth_of",
    "measure_breadth",
    "reaches_all",
    "scan_exactly",
]


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


_logger = logging.getLogger("imagesearch")

BROADEST = 0.1
"""A search through this share of the rows, in random order, is no faster than a scan."""

_BREADTHS = (40, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
_RECALL = 0.99
# A part of the graph that is cut off shows in few of the images far apart.
_RECALL_FAR_APART = 0.995
# Nodes that lie far apart, and among how many they are chosen.
_SPREAD = 200
_POOL = 10_000
_ROUND = 20
_SEARCHED = 8
# Scores of nearly equal vectors are in no certain order in float32. Relative, see `_least`.
_SAME = 1e-6


def breadth_of(graph: Graph, wanted: int, live: int) -> int:
    """Return the breadth of a search for `wanted` live nodes; 0 if a scan is faster.

    The breadth measured for ten hits, plus four nodes more for each further one, and more by the
    share of nodes that are dead.

    Args:
        graph: What is searched.
        wanted: Live nodes to find.
        live: How many there are.
    """
    if graph.ef <= 0 or not live:
        return 0
    return math.ceil((graph.ef + 4 * max(0, wanted - 10)) * len(graph.nodes) / live)


class StoppedError(Exception):
    """A measurement was given up."""


def measure_breadth(
    graph: Graph,
    snapshot: Snapshot,
    unseen: NDArray[np.int64],
    metric: Metric,
    stop: Callable[[], bool],
) -> int:
    """Return the smallest ef with which images find their nearest; -1 if none is enough.

    Every vector counts once, however many records have it. Two kinds of queries must both find
    enough: new images, and images far apart, so that thousands of images that look nearly the
    same do not outvote the rest.

    Args:
        graph: What is searched.
        snapshot: The state that it belongs to.
        unseen: Rows that the graph does not hold.
        metric: How to compare.
        stop: Whether to give up; called every few milliseconds.

    Raises:
        StoppedError: `stop` returned True.
    """
    live = graph.nodes.live_rows(snapshot.alive)
    samples = [
        (_Sample(graph, snapshot, some, live, metric=metric, stop=stop), required)
        for some, required in ((unseen, _RECALL), (_far_apart(snapshot, live), _RECALL_FAR_APART))
        if len(some)
    ]
    worst = 0.0
    for ef in _BREADTHS:
        if ef > max(_BREADTHS[0], BROADEST * snapshot.live):
            break
        worst = 1.0
        for sample, required in samples:
            recall = sample.recall(ef)
            worst = min(worst, recall)
            if recall < required:
                break
        else:
            _logger.info("searching with ef=%d: recall@10 %.3f in a sample", ef, worst)
            return ef
    _logger.info("the search graph finds too little (recall@10 %.3f); scanning exactly", worst)
    return -1


def reaches_all(graph: Graph, snapshot: Snapshot, metric: Metric) -> bool:
    """Tell whether images in all parts of the graph find themselves, which is quick to see."""
    if graph.ef < 0:
        # It is known that they do not.
        return True
    live = graph.nodes.live_rows(snapshot.alive)
    rows = _far_apart(snapshot, live)
    queries = snapshot.vectors[rows]
    breadth = breadth_of(graph, 10, int(np.count_nonzero(live >= 0)))
    reached = 0
    for query, row, nodes in zip(queries, rows, _searched(graph, queries, breadth), strict=True):
        hits = live[nodes[nodes >= 0]]
        # The graph may be newer than the snapshot, and a hit without a row in it.
        near = np.append(hits[hits >= 0], row)
        scores = exact_scores(query, snapshot.vectors[near], metric)
        reached += bool((scores[:-1] >= _least(query, scores[-1], metric)).any())
    return reached >= _RECALL * len(rows)


def _searched(
    graph: Graph, queries: NDArray[np.float32], breadth: int
) -> Iterator[NDArray[np.int64]]:
    """Give the nodes of each query; a few at a time, for searches of users wait meanwhile."""
    for first in range(0, len(queries), _SEARCHED):
        yield from graph.search(graph.encode(queries[first : first + _SEARCHED]), breadth)


def _least(query: NDArray[np.float32], score: float, metric: Metric) -> float:
    """Return the lowest score that counts as equal to `score`, whatever the vectors' lengths."""
    wide = query.astype(np.float64)
    size = abs(score - 1) if metric == "l2" else abs(score)
    return score - _SAME * max(float(wide @ wide), size)


class _Sample:
    """Queries with their exact neighbours.

    Args:
        graph: What is searched.
        snapshot: The state that it belongs to.
        queries: Rows whose vectors are the queries; a query is not its own neighbour.
        live: (nodes,), a live row of each node, or -1.
        metric: How to compare.
        stop: Whether to give up.
    """

    def __init__(
        self,
        graph: Graph,
        snapshot: Snapshot,
        queries: NDArray[np.int64],
        live: NDArray[np.int64],
        *,
        metric: Metric,
        stop: Callable[[], bool],
    ) -> None:
        rows = live[live >= 0]
        self._live = live
        self._graph, self._snapshot, self._metric, self._stop = graph, snapshot, metric, stop
        self._rows = queries
        self._vectors = snapshot.vectors[queries]
        inside = len(np.intersect1d(queries, rows)) > 0
        self._k = min(10 + inside, len(rows))
        mask = np.zeros(snapshot.rows, np.bool_)
        mask[rows] = True
        exact = nearest(
            self._vectors,
            lambda: self._unless_stopped(snapshot.blocks(mask)),
            snapshot.vectors.__getitem__,
            k=self._k,
            metric=metric,
        )
        self._kth = [float(scores.min()) for _, scores in exact]

    def recall(self, ef: int) -> float:
        """Search so broadly; the share of hits, without the query itself, that are near enough."""
        graph, snapshot = self._graph, self._snapshot
        live = int(np.count_nonzero(self._live >= 0))
        breadth = math.ceil(ef * len(self._live) / max(1, live))
        found = self._unless_stopped(_searched(graph, self._vectors, breadth))
        near = wanted = 0
        for query, row, nodes, kth in zip(self._vectors, self._rows, found, self._kth, strict=True):
            hits = self._live[nodes[nodes >= 0]]
            hits = hits[hits >= 0]
            scores = exact_scores(query, snapshot.vectors[hits], self._metric)
            best = np.argsort(-scores)[: self._k]
            good = scores[best] >= _least(query, kth, self._metric)
            near += int(np.count_nonzero(good & (hits[best] != row)))
            wanted += self._k - (row in hits)
        return near / max(1, wanted)

    def _unless_stopped(self, steps: Iterator[T]) -> Iterator[T]:
        for step in steps:
            if self._stop():
                raise StoppedError
            yield step


def _far_apart(snapshot: Snapshot, live: NDArray[np.int64]) -> NDArray[np.int64]:
    """Choose rows of nodes, each with a chance that grows with its squared distance from those chosen.

    This is the seeding of k-means++ (Arthur and Vassilvitskii, 2007), some rows at a time.
    """
    random = np.random.default_rng(0)
    rows = live[live >= 0]
    if len(rows) > _POOL:
        rows = np.sort(random.choice(rows, _POOL, replace=False))
    vectors = snapshot.vectors[rows]
    # By a power of two, which changes nothing but keeps squares of huge and tiny values in range.
    vectors = np.ldexp(vectors, -np.frexp(np.abs(vectors).max(initial=0))[1])
    squared = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
    chosen = random.integers(len(rows), size=1)
    nearest = np.full(len(rows), np.inf)
    while True:
        with computing:
            products = vectors @ vectors[chosen[-_ROUND:]].T
        distances = squared[:, None] - 2 * products + squared[chosen[-_ROUND:]]
        np.minimum(nearest, distances.min(axis=1), out=nearest)
        nearest[chosen] = 0
        weights = np.maximum(nearest, 0)
        possible = int(np.count_nonzero(weights))
        if len(chosen) >= _SPREAD or not possible:
            return rows[chosen]
        size = min(_ROUND, possible)
        more = random.choice(len(rows), size, replace=False, p=weights / weights.sum())
        chosen = np.concatenate([chosen, more])
