"""Searcher: decides for each search between the exact scan and the graph, and keeps the graph."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from imagesearch._forks import on_fork
from imagesearch.errors import StoreError
from imagesearch.stores._ranking import Candidates, nearest
from imagesearch.stores.local._create import Options
from imagesearch.stores.local._ef_tuning import (
    BROADEST,
    breadth_of,
    measure_breadth,
    reaches_all,
    scan_exactly,
)
from imagesearch.stores.local._graph import Graph
from imagesearch.stores.local._graph_file import (
    GraphState,
    engine_of,
    warn_that_graphs_are_missing,
)
from imagesearch.stores.local._lock import SharedLock
from imagesearch.stores.local._nodes import RowsByNode
from imagesearch.stores.local._paths import Layout
from imagesearch.stores.local._snapshot import Snapshot
from imagesearch.types import Metric

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
# Rows inserted before the program may be interrupted.
_CHUNK = 256
# Bytes of vectors that are compared with queries at a time.
_RESCORED_BYTES = 16 * 2**20


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
            return f"graph of {len(graph.nodes)} nodes, ef={graph.ef}"
        if self._options.engine == "exact" or live <= self._options.exact_below:
            return "exact"
        if engine_of(self._options.engine) is None:
            return "exact, because usearch is not installed"
        return "graph, not loaded yet"

    def _leave_to_parent(self) -> None:
        # A thread of the parent may have stopped in the middle of the graph, with the library's locks.
        if self._guard.busy:
            self._graph = None
        self._guard, self._building = SharedLock(), False

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
        """Search the graph for so many live nodes; None if it is no help here."""
        while True:
            if self._building:
                # Another thread builds for minutes; a scan takes milliseconds.
                return None
            with self._guard.shared():
                graph = self._graph
                if graph is not None and self._is_current(graph, snapshot):
                    breadth = breadth_of(graph, wanted, graph.live(snapshot))
                    least = breadth_of(graph, 10, graph.live(snapshot))
                    if not 0 < breadth <= max(BROADEST * snapshot.live, least):
                        return None
                    nodes = graph.search(graph.encode(queries), breadth)
                    return _Found(nodes, graph.nodes.rows_by_node(), graph.missing(snapshot))
            with self._guard.exclusive():
                if self._current(snapshot) is None:
                    return None

    def _is_current(self, graph: Graph, snapshot: Snapshot) -> bool:
        return (
            graph.generation == snapshot.generation
            and graph.ef != 0
            and len(graph.missing(snapshot)) <= _TAIL
            and 2 * graph.live(snapshot) >= len(graph.nodes)
        )

    def _current(self, snapshot: Snapshot) -> Graph | None:
        """Return the graph brought up to date; None for a snapshot that it has left behind."""
        graph = self._graph
        if graph is not None and graph.generation > snapshot.generation:
            return None
        if graph is None or graph.generation != snapshot.generation:
            graph = self._loaded(snapshot)
        if graph is not None and (not graph.whole or 2 * graph.live(snapshot) < len(graph.nodes)):
            graph = None
        if graph is None:
            graph = self._new_graph()
            graph.generation = snapshot.generation
        # Kept before it is extended: an interrupted build goes on where it stopped.
        self._graph = graph
        if not self._is_current(graph, snapshot):
            self._building = True
            try:
                self._extend(graph, snapshot)
            finally:
                self._building = False
        return graph

    def _extend(self, graph: Graph, snapshot: Snapshot) -> None:
        """Insert rows, and measure with some of them, before they are in, what new images need."""
        missing = graph.missing(snapshot)
        _logger.info("inserting %d vectors into the search graph", len(missing))
        measuring = self._options.ef is None
        keys = np.empty(0, np.uint64)
        late = np.zeros(len(missing), np.bool_)
        if measuring and len(graph.nodes) + len(missing) > _GROWTH * graph.calibrated_at:
            keys = graph.keys(snapshot, missing)
            new = np.setdiff1d(keys, graph.nodes.keys)
            sample = min(_SAMPLE, len(new) // 10)
            # With their copies, which would be no new images.
            late = np.isin(keys, np.random.default_rng(0).choice(new, sample, replace=False))
        self._insert(graph, snapshot, missing[~late])
        if late.any():
            _, first = np.unique(keys[late], return_index=True)
            measure_breadth(graph, snapshot, missing[late][first], self._metric)
        self._insert(graph, snapshot, missing[late])
        if not measuring:
            graph.ef = int(self._options.ef or 0)
        elif not (graph.ef and reaches_all(graph, snapshot, self._metric)):
            measure_breadth(graph, snapshot, missing[:0], self._metric)

    def _insert(self, graph: Graph, snapshot: Snapshot, rows: NDArray[np.int64]) -> None:
        for first in range(0, len(rows), _CHUNK):
            part = rows[first : first + _CHUNK]
            codes = graph.codes(snapshot, part)
            owners = graph.owners(snapshot, part, codes)
            graph.insert(snapshot, part, codes, owners)

    def _new_graph(self) -> Graph:
        options, engine = self._options, engine_of(self._options.engine)
        if engine is None:
            raise StoreError("this store has no graph engine")
        return Graph(engine, self._dim, self._metric, options.M, options.ef_construction)

    def _loaded(self, snapshot: Snapshot) -> Graph | None:
        graph = self._new_graph()
        if not graph.load(self._state, snapshot):
            return None
        if self._options.ef is not None:
            graph.ef = self._options.ef
        return graph

    def _save(self, graph: Graph) -> None:
        try:
            graph.save(self._state)
        except OSError as error:
            # The graph is a cache: without its file the next program builds it again.
            _logger.warning("the search graph of %s was not saved: %s", self._layout.folder, error)


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
            positions, scores = next(
                nearest(query[None], partial(_whole, own), own.__getitem__, k=k, metric=metric)
            )
            members = rows[starts[number] : starts[number + 1]]
            if len(members) == len(own):
                yield members[positions], scores
                continue
            groups = group[starts[number] : starts[number + 1]] - ends[number]
            table_of_scores = np.full(len(own), np.nan)
            table_of_scores[positions] = scores
            kept = np.isin(groups, positions)
            yield members[kept], table_of_scores[groups[kept]]


def _whole(
    vectors: NDArray[np.float32],
) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    return [(np.arange(len(vectors)), vectors)]


_NOTHING: Candidates = (np.empty(0, np.int64), np.empty(0))


def _best(parts: list[Candidates], k: int) -> Candidates:
    """Return the k best of all candidates, and ties with the k-th."""
    rows = np.concatenate([rows for rows, _ in parts])
    scores = np.concatenate([scores for _, scores in parts])
    if len(rows) <= k:
        return rows, scores
    best = scores >= np.partition(scores, len(rows) - k)[len(rows) - k]
    return rows[best], scores[best]
