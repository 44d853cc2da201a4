"""Searcher: decides for each search between the exact scan and the graph, and keeps the graph."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from imagesearch._forks import on_fork
from imagesearch.stores._ranking import Candidates, exact_scores, nearest
from imagesearch.stores.local._create import Options
from imagesearch.stores.local._ef_tuning import BROADEST, measure_breadth, reaches_all, scan_exactly
from imagesearch.stores.local._graph_file import (
    GraphState,
    graphs_available,
    tell_that_graphs_are_missing,
)
from imagesearch.stores.local._lock import SharedLock
from imagesearch.stores.local._nodes import RowsByNode
from imagesearch.stores.local._paths import Layout
from imagesearch.stores.local._snapshot import Snapshot
from imagesearch.types import Metric

if TYPE_CHECKING:
    from imagesearch.stores.local._graph import Graph

__all__ = ["Searcher"]


_logger = logging.getLogger("imagesearch")

# Filters that leave less than this share are scanned exactly: the graph would have to fetch seven
# times as many hits as are wanted, and the scan reads only what matches.
_NARROW = 0.15
# New rows are scanned exactly until there are so many that inserting them pays.
_TAIL = 1000
_SAMPLE = 200
# How many times as many nodes there must be before the breadth is measured with new images again.
_GROWTH = 1.5
_NO_VERSION = -1


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """What a graph found.

    Attributes:
        nodes: (queries, n), best first.
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
    """

    def __init__(self, layout: Layout, dim: int, metric: Metric, options: Options) -> None:
        self._layout = layout
        self._dim, self._metric = dim, metric
        self._options = options
        self._state = GraphState(layout)
        self._graph: Graph | None = None
        self._guard = SharedLock()
        self._building = False
        on_fork(self, in_child=Searcher._leave_to_parent)

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
        tail = found.tail[mask[found.tail]]
        in_graph = matching - len(tail)
        late = nearest(
            queries,
            lambda: [(tail, snapshot.rows_of(tail))],
            snapshot.vectors.__getitem__,
            k=k,
            metric=self._metric,
        )
        for number, (nodes, new) in enumerate(zip(found.nodes, late, strict=True)):
            old = self._candidates(queries[number], snapshot, mask, nodes, found.table)
            if len(old[0]) < min(k, in_graph):
                # The records of the tail do not count here: they say nothing about the graph.
                alone = queries[number : number + 1]
                yield from scan_exactly(alone, snapshot, mask, k, self._metric)
                continue
            yield _best([old, new], k)

    def prepare(self, snapshot: Snapshot) -> None:
        """Bring the graph up to date, if this index is large enough to need one."""
        if self._graph_pays(snapshot, snapshot.live):
            with self._guard.exclusive():
                self._current(snapshot)

    def follow(self, old: Snapshot, new: NDArray[np.int64], generation: int) -> None:
        """Follow a compaction, so that the graph need not be built again."""
        with self._guard.exclusive():
            if self._graph is None and self._graph_pays(old, old.live):
                self._graph = self._loaded(old)
            if self._graph is not None and self._graph.generation == generation:
                # A search that saw the new generation first has built the graph of it.
                return
            if self._graph is None or self._graph.generation != old.generation:
                self._graph = None
                return
            self._graph.hide_dead(old)
            self._graph.renumber(new, generation)
            self._save(self._graph)

    def save(self, snapshot: Snapshot) -> None:
        """Write the graph, if it holds more than its file; only the writer may call it."""
        with self._guard.exclusive():
            graph = self._graph
            if graph is not None and graph.changed and graph.generation == snapshot.generation:
                self._save(graph)

    @property
    def unsaved(self) -> bool:
        """Whether `save` would write."""
        return self._graph is not None and self._graph.changed

    def describe(self, live: int) -> str:
        """Say in a few words how searches among so many live vectors are done."""
        graph = self._graph
        if graph is not None:
            return f"graph of {graph.live} different vectors, ef={graph.ef}"
        if self._options.engine == "exact" or live <= self._options.exact_below:
            return "exact"
        return "graph, not loaded yet" if graphs_available() else "exact, for lack of hnswlib"

    def _leave_to_parent(self) -> None:
        # A thread of the parent may have stopped in the middle of the graph, with hnswlib's locks.
        if self._guard.busy:
            self._graph = None
        self._guard, self._building = SharedLock(), False

    def _graph_pays(self, snapshot: Snapshot, matching: int) -> bool:
        if self._options.engine == "exact" or snapshot.live <= self._options.exact_below:
            return False
        if matching <= self._options.exact_below or matching < _NARROW * snapshot.live:
            return False
        if self._options.engine == "auto" and not graphs_available():
            tell_that_graphs_are_missing()
            return False
        return True

    def _by_graph(
        self, queries: NDArray[np.float32], snapshot: Snapshot, wanted: int
    ) -> _Found | None:
        """Search the graph for so many nodes; None if it is no help here."""
        while True:
            if self._building:
                # Another thread builds for minutes; a scan takes milliseconds.
                return None
            with self._guard.shared():
                graph = self._graph
                if graph is not None and self._is_current(graph, snapshot):
                    if not self._worthwhile(graph, wanted, snapshot):
                        return None
                    if graph.fits(wanted, graph.ef):
                        nodes = graph.search(queries, min(wanted, graph.live))
                        if nodes is None:
                            return None
                        return _Found(nodes, graph.nodes.rows_by_node(), graph.tail_of(snapshot))
            with self._guard.exclusive():
                graph = self._current(snapshot)
                if graph is None or not self._worthwhile(graph, wanted, snapshot):
                    return None
                graph.fit(wanted, graph.ef)

    def _candidates(
        self,
        query: NDArray[np.float32],
        snapshot: Snapshot,
        mask: NDArray[np.bool_],
        nodes: NDArray[np.int64],
        table: RowsByNode,
    ) -> Candidates:
        """Return the rows of nodes that may be found, with their scores."""
        rows, counts = table.expand(nodes)
        number = np.repeat(np.arange(len(nodes)), counts)
        # The graph may be newer than the snapshot.
        good = rows < snapshot.rows
        good[good] = mask[rows[good]]
        rows = rows[good]
        if len(rows) <= 1 or counts.max() == 1:
            return rows, exact_scores(query, snapshot.vectors[rows], self._metric)
        # Equal vectors are scored once.
        _, first, same = np.unique(number[good], return_index=True, return_inverse=True)
        return rows, exact_scores(query, snapshot.vectors[rows[first]], self._metric)[same]

    def _worthwhile(self, graph: Graph, wanted: int, snapshot: Snapshot) -> bool:
        return graph.ef > 0 and (
            graph.breadth(wanted, graph.ef) <= max(BROADEST * snapshot.live, graph.ef)
        )

    def _is_current(self, graph: Graph, snapshot: Snapshot) -> bool:
        return graph.generation == snapshot.generation and graph.version >= snapshot.version

    def _current(self, snapshot: Snapshot) -> Graph | None:
        """Return the graph brought up to date; None for a snapshot that it has left behind."""
        from imagesearch.stores.local._graph import Graph

        graph = self._graph
        if graph is not None and self._is_current(graph, snapshot):
            return graph
        if graph is not None and graph.generation > snapshot.generation:
            return None
        if graph is None or graph.generation != snapshot.generation:
            graph = self._loaded(snapshot)
        if graph is not None:
            # An interrupt must not leave a tail that does not match the nodes.
            graph.version = _NO_VERSION
            graph.hide_dead(snapshot)
            if graph.live < len(graph.nodes) / 2 or not graph.whole:
                graph = None
        if graph is None:
            graph = Graph(self._dim, self._metric, self._options.M, self._options.ef_construction)
        # Kept before it is extended: an interrupted build goes on where it stopped.
        self._graph = graph
        missing = graph.missing(snapshot)
        unmeasured = not graph.ef and self._options.ef is None
        if not graph.live or len(missing) > _TAIL or unmeasured:
            self._building = True
            try:
                self._extend(graph, snapshot, missing)
            finally:
                self._building = False
            missing = graph.missing(snapshot)
        if self._options.ef is not None:
            graph.ef = self._options.ef
        graph.tail, graph.version = missing, snapshot.version
        return graph

    def _extend(self, graph: Graph, snapshot: Snapshot, missing: NDArray[np.int64]) -> None:
        """Insert rows, and measure with some of them, before they are in, what new images need."""
        owners = graph.owners(snapshot, missing)
        different = missing[owners == missing]
        _logger.info("inserting %d vectors into the search graph", len(different))
        measuring = self._options.ef is None
        held = np.empty(0, np.int64)
        if measuring and len(graph.nodes) + len(different) > _GROWTH * graph.calibrated_at:
            sample = min(_SAMPLE, len(different) // 10)
            held = np.random.default_rng(0).choice(different, sample, replace=False)
        late = np.isin(owners, held)
        graph.extend(snapshot, missing[~late], owners[~late])
        if len(held):
            measure_breadth(graph, snapshot, held, self._metric)
        graph.extend(snapshot, missing[late], owners[late])
        if measuring and not (graph.ef and reaches_all(graph, snapshot, self._metric)):
            measure_breadth(graph, snapshot, held[:0], self._metric)

    def _loaded(self, snapshot: Snapshot) -> Graph | None:
        from imagesearch.stores.local._graph import Graph

        graph = Graph(self._dim, self._metric, self._options.M, self._options.ef_construction)
        return graph if graph.load(self._state, snapshot) else None

    def _save(self, graph: Graph) -> None:
        try:
            graph.save(self._state)
        except OSError as error:
            # The graph is a cache: without its file the next program builds it again.
            _logger.warning("the search graph of %s was not saved: %s", self._layout.folder, error)


def _best(parts: list[Candidates], k: int) -> Candidates:
    """Return the k best of all candidates, and ties with the k-th."""
    rows = np.concatenate([rows for rows, _ in parts])
    scores = np.concatenate([scores for _, scores in parts])
    if len(rows) <= k:
        return rows, scores
    best = scores >= np.partition(scores, len(rows) - k)[len(rows) - k]
    return rows[best], scores[best]
