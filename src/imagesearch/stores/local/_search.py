"""Searcher: decides for each search between the exact scan and the graph."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from imagesearch.stores._ranking import Candidates, exact_scores, nearest
from imagesearch.stores.local._create import Options
from imagesearch.stores.local._ef_tuning import (
    BROADEST,
    breadth_of,
    scan_exactly,
)
from imagesearch.stores.local._graph import Graph
from imagesearch.stores.local._graph_builder import GraphBuilder
from imagesearch.stores.local._graph_file import (
    engine_of,
    warn_that_graphs_are_missing,
)
from imagesearch.stores.local._nodes import RowsByNode
from imagesearch.stores.local._paths import Layout
from imagesearch.stores.local._snapshot import Snapshot
from imagesearch.types import Metric

__all__ = ["Searcher"]

# Filters that leave less than this share are scanned exactly: the graph would have to fetch seven
# times as many hits as are wanted, and the scan reads only what matches.
_NARROW = 0.15
# Bytes of vectors that are compared with queries at a time.
_RESCORED_BYTES = 16 * 2**20
# So few elements are compared in float64 at once; of more, float32 chooses first.
_FEW_ELEMENTS = 150_000


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """What a graph found.

    Attributes:
        nodes: (queries, n), best first; -1 for none.
        table: Their rows.
        tail: Rows of the snapshot that the graph cannot find.
    """

    nodes: NDArray[np.int64]
    table: RowsByNode
    tail: NDArray[np.int64]


class Searcher:
    """Finds the nearest rows of a snapshot.

    Args:
        layout: Where the saved graph is.
        dim: Numbers in a vector.
        metric: How to compare.
        options: What the user chose.

    Attributes:
        builder: Keeps the graph.
    """

    def __init__(self, layout: Layout, dim: int, metric: Metric, options: Options) -> None:
        self._metric = metric
        self._options = options
        self.builder = GraphBuilder(layout, dim, metric, options)

    def find(
        self,
        queries: NDArray[np.float32],
        snapshot: Snapshot,
        k: int,
        allowed: NDArray[np.bool_] | None,
    ) -> Iterator[Candidates]:
        """Give for each query the k nearest rows with exact scores, and ties with the k-th.

        Args:
            queries: (n, dim), of unit length under ``cosine``.
            snapshot: What to search.
            k: How many, ≥ 1.
            allowed: Which rows may be found; None for all that are alive.
        """
        matching = snapshot.live if allowed is None else int(np.count_nonzero(allowed))
        mask = snapshot.alive if allowed is None else allowed
        found = None
        if self._graph_pays(snapshot, matching):
            wanted = k if allowed is None else math.ceil(1.3 * k * snapshot.live / matching) + 10
            found = self._by_graph(queries, snapshot, wanted)
        if found is None:
            yield from scan_exactly(queries, snapshot, mask, k, self._metric)
            return
        tail = found.tail[mask[found.tail]] if len(found.tail) else found.tail
        late: Iterator[Candidates] = repeat(_NOTHING)
        if len(tail):
            late = nearest(
                queries,
                lambda: [(tail, snapshot.rows_of(tail))],
                snapshot.vectors.__getitem__,
                k=k,
                metric=self._metric,
            )
        in_graph = min(k, matching - len(tail))
        rescored = rescore(
            queries, snapshot, found.nodes, found.table, mask, k=k, metric=self._metric
        )
        for number, (old, new) in enumerate(zip(rescored, late, strict=False)):
            if len(old[0]) < in_graph:
                # The records of the tail do not count here: they say nothing about the graph.
                alone = queries[number : number + 1]
                yield from scan_exactly(alone, snapshot, mask, k, self._metric)
            elif len(tail):
                yield _best([old, new], k)
            else:
                yield old

    def _graph_pays(self, snapshot: Snapshot, matching: int) -> bool:
        if self._options.engine == "exact" or snapshot.live <= self._options.exact_below:
            return False
        if matching <= self._options.exact_below or matching < _NARROW * snapshot.live:
            return False
        if engine_of(self._options.engine) is None:
            warn_that_graphs_are_missing()
            return False
        return True

    def _by_graph(
        self, queries: NDArray[np.float32], snapshot: Snapshot, wanted: int
    ) -> _Found | None:
        """Search the graph for `wanted` live nodes; None if a scan is needed."""
        builder = self.builder
        for loaded in (False, True):
            with builder.guard.shared():
                graph = builder.graph
                if graph is not None and graph.generation == snapshot.generation:
                    missing = graph.missing(snapshot)
                    if loaded or graph.changed or len(missing) <= builder.tail:
                        builder.wanted |= len(missing) > builder.tail or not graph.ef
                        return _searched(graph, queries, snapshot, wanted, missing)
            if not loaded:
                builder.load(snapshot)
        builder.wanted = True
        return None


def _searched(
    graph: Graph,
    queries: NDArray[np.float32],
    snapshot: Snapshot,
    wanted: int,
    missing: NDArray[np.int64],
) -> _Found | None:
    live = graph.live(snapshot)
    breadth = breadth_of(graph, wanted, live)
    if not 0 < breadth <= max(BROADEST * snapshot.live, breadth_of(graph, 10, live)):
        return None
    nodes = graph.search(graph.encode(queries), breadth)
    return _Found(nodes, graph.nodes.rows_by_node(), missing)


def rescore(
    queries: NDArray[np.float32],
    snapshot: Snapshot,
    nodes: NDArray[np.int64],
    table: RowsByNode,
    mask: NDArray[np.bool_],
    *,
    k: int,
    metric: Metric,
) -> Iterator[Candidates]:
    """Give for each query the k best rows of its nodes with exact scores, and ties with the k-th.

    Args:
        queries: (n, dim).
        snapshot: The state that rows belong to.
        nodes: (n, m), what a graph found for each query; -1 for none.
        table: The rows of the nodes; it may know rows that the snapshot does not.
        mask: (rows,), which rows may be found.
        k: How many, ≥ 1.
        metric: How to compare.
    """
    step = max(1, _RESCORED_BYTES // (4 * snapshot.vectors.dim * max(1, nodes.shape[1])))
    for first in range(0, len(queries), step):
        part = nodes[first : first + step]
        query_of = np.repeat(np.arange(len(part)), part.shape[1])
        flat = part.ravel()
        if flat.min(initial=0) < 0:
            query_of, flat = query_of[flat >= 0], flat[flat >= 0]
        rows, counts = table.expand(flat)
        node_of = np.repeat(np.arange(len(flat)), counts)
        good = rows < snapshot.rows
        good[good] = mask[rows[good]]
        rows, node_of = rows[good], node_of[good]
        # Equal vectors are scored once.
        scored = np.ones(len(rows), np.bool_)
        scored[1:] = (node_of[1:] != node_of[:-1]) | table.mixed[flat[node_of[1:]]]
        vectors = snapshot.vectors[rows[scored]]
        group = np.cumsum(scored) - 1
        numbers = np.arange(len(part) + 1)
        starts = np.searchsorted(query_of[node_of], numbers)
        ends = np.searchsorted(query_of[node_of[scored]], numbers)
        for number, query in enumerate(queries[first : first + step]):
            own = vectors[ends[number] : ends[number + 1]]
            if not len(own):
                yield _NOTHING
                continue
            positions, scores = _best_of(query, own, k, metric)
            members = rows[starts[number] : starts[number + 1]]
            if len(members) == len(own):
                yield members[positions], scores
                continue
            groups = group[starts[number] : starts[number + 1]] - ends[number]
            table_of_scores = np.full(len(own), np.nan)
            table_of_scores[positions] = scores
            kept = np.isin(groups, positions)
            yield members[kept], table_of_scores[groups[kept]]


def _best_of(
    query: NDArray[np.float32], vectors: NDArray[np.float32], k: int, metric: Metric
) -> Candidates:
    """Return the positions of the k best vectors, and ties with the k-th, with exact scores."""
    if vectors.size > _FEW_ELEMENTS:
        everything = np.arange(len(vectors))
        return next(
            nearest(
                query[None],
                lambda: [(everything, vectors)],
                vectors.__getitem__,
                k=k,
                metric=metric,
            )
        )
    scores = exact_scores(query, vectors, metric)
    if len(scores) <= k:
        return np.arange(len(scores)), scores
    positions = np.flatnonzero(scores >= np.partition(scores, len(scores) - k)[len(scores) - k])
    return positions, scores[positions]


_NOTHING: Candidates = (np.empty(0, np.int64), np.empty(0))


def _best(parts: list[Candidates], k: int) -> Candidates:
    """Return the k best of all candidates, and ties with the k-th."""
    rows = np.concatenate([rows for rows, _ in parts])
    scores = np.concatenate([scores for _, scores in parts])
    if len(rows) <= k:
        return rows, scores
    best = scores >= np.partition(scores, len(rows) - k)[len(rows) - k]
    return rows[best], scores[best]
