"""The search graph on hnswlib: one node for each distinct vector, in step with the rows."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path

import hnswlib
import numpy as np
from numpy.typing import NDArray

from imagesearch.stores.local._graph_file import GraphState
from imagesearch.stores.local._nodes import NO_NODE, Nodes, digests
from imagesearch.stores.local._snapshot import Snapshot
from imagesearch.types import Metric

__all__ = ["Graph", "HnswIndex"]


class HnswIndex:
    """An HNSW graph of vectors under consecutive labels.

    Args:
        dim: Numbers in a vector.
        metric: ``cosine`` expects vectors of unit length.
        M: Neighbours of a node.
        ef_construction: Breadth of the search while building.

    Example:
        >>> index = HnswIndex(2, "cosine", 16, 200)
        >>> index.add(np.eye(2, dtype=np.float32), np.arange(2))
        >>> index.fit(32)
        >>> index.search(np.array([[0.6, 0.8]], np.float32), 1).tolist()
        [[1]]
    """

    def __init__(self, dim: int, metric: Metric, M: int, ef_construction: int) -> None:  # noqa: N803  # HNSW's own name
        # Unit vectors are as near by distance as by product. The distance of two vectors that are
        # nearly equal keeps its precision, while 1 - product is noise: it would link them with
        # each other only, and cut them off from the rest of the graph.
        self._space = "ip" if metric == "dot" else "l2"
        self._dim = dim
        self._index = hnswlib.Index(self._space, dim)
        self._index.init_index(1024, M, ef_construction)
        self._breadth = 0

    @property
    def count(self) -> int:
        """Vectors, hidden ones among them."""
        return int(self._index.get_current_count())

    @property
    def breadth(self) -> int:
        """What `fit` has set; 0 if nothing."""
        return self._breadth

    def add(self, vectors: NDArray[np.float32], labels: NDArray[np.int64]) -> None:
        """Insert vectors under new labels."""
        needed, room = self.count + len(labels), self._index.get_max_elements()
        if needed > room:
            self._index.resize_index(max(needed, room * 5 // 4))
        self._index.add_items(vectors, labels)

    def hide(self, label: int) -> None:
        """Find a vector no longer; hiding it twice is allowed."""
        # hnswlib refuses the second time. It happens after an interrupt that followed the first.
        with suppress(RuntimeError):
            self._index.mark_deleted(label)

    def show(self, label: int) -> None:
        """Find a hidden vector again; showing it twice is allowed."""
        with suppress(RuntimeError):
            self._index.unmark_deleted(label)

    def fit(self, breadth: int) -> None:
        """Set how many candidates `search` keeps: hnswlib's ef."""
        self._breadth = breadth
        self._index.set_ef(breadth)

    def search(self, queries: NDArray[np.float32], k: int) -> NDArray[np.int64] | None:
        """Return about the k nearest labels of each query, (n, k), best first.

        None when it cannot reach k: deletions can leave parts of a graph out of reach.
        """
        try:
            labels, _ = self._index.knn_query(queries, k, num_threads=1 if len(queries) < 4 else -1)
        except RuntimeError:
            return None
        return np.asarray(labels.astype(np.int64))

    def save(self, path: Path) -> None:
        """Write it to a file.

        Raises:
            OSError: It cannot be written.
        """
        try:
            self._index.save_index(os.fspath(path))
        except RuntimeError as error:
            raise OSError(str(error)) from error
        # hnswlib does not notice a full disk.
        if path.stat().st_size != self._index.index_file_size():
            raise OSError(f"{path} was not written completely; is the disk full?")

    def load(self, path: Path, count: int) -> bool:
        """Read a file of so many vectors; False if it cannot be read or holds another number."""
        # A new one, for hnswlib warns on standard error of loading into one that is ready.
        index = hnswlib.Index(self._space, self._dim)
        try:
            index.load_index(os.fspath(path), count)
        except RuntimeError:
            return False
        if index.get_current_count() != count:
            return False
        self._index, self._breadth = index, 0
        return True


_logger = logging.getLogger("imagesearch")

# Rows inserted before the program may be interrupted.
_CHUNK = 256
# Rows whose vectors are compared with what a saved graph says of them.
_COMPARED = 64


class Graph:
    """An HNSW graph with a node for each different vector, and the rows that belong to it.

    What is searched and what is changed must not happen at the same time: the caller's lock.

    Args:
        dim: Numbers in a vector.
        metric: ``cosine`` expects vectors of unit length.
        M: Neighbours of a node.
        ef_construction: Breadth of the search while building.

    Attributes:
        nodes: Which rows belong to which node.
        generation: Of the vectors file that its rows refer to.
        version: Of the index that nodes and tail agree with; -1 while they may not.
        ef: Breadth that a search for ten hits needs; 0 unknown, -1 if none is enough.
        calibrated_at: Nodes there were when `ef` was measured.
        tail: Live rows that had no node at that version, ascending.
        changed: Whether it holds more than its file.
    """

    def __init__(self, dim: int, metric: Metric, M: int, ef_construction: int) -> None:  # noqa: N803  # HNSW's own name
        self._about = {"M": M, "ef_construction": ef_construction, "dim": dim, "metric": metric}
        self._index = HnswIndex(dim, metric, M, ef_construction)
        self.nodes = Nodes()
        self.generation = 0
        self.ef = 0
        self.calibrated_at = 0
        self.version = -1
        self.tail = np.empty(0, np.int64)
        self.changed = False

    @property
    def whole(self) -> bool:
        """Whether all nodes are known; False after an interrupt at the wrong moment."""
        return self._index.count == len(self.nodes)

    @property
    def live(self) -> int:
        """Nodes that can be found."""
        return self.nodes.found

    def hide_dead(self, snapshot: Snapshot) -> None:
        """Hide the nodes whose rows have all died since."""
        for node in self.nodes.unused(snapshot.alive).tolist():
            self._index.hide(node)
            self.nodes.hidden[node] = True

    def missing(self, snapshot: Snapshot) -> NDArray[np.int64]:
        """Return the live rows that a search of the graph cannot find, ascending."""
        return self.nodes.missing(snapshot.alive)

    def tail_of(self, snapshot: Snapshot) -> NDArray[np.int64]:
        """Return the rows that a search of the graph cannot find, ascending.

        In a snapshot older than the graph these are also the rows that have died since.
        """
        return self.tail if snapshot.version == self.version else self.missing(snapshot)

    def owners(self, snapshot: Snapshot, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return for each of the missing rows the first row with the same stored bytes."""
        stored = snapshot.vectors.rows
        return self.nodes.owners(rows, digests(stored, rows), stored)

    def extend(
        self, snapshot: Snapshot, rows: NDArray[np.int64], owners: NDArray[np.int64]
    ) -> None:
        """Insert missing rows; what is done stays done when interrupted.

        Args:
            snapshot: The state that they belong to.
            rows: Ascending.
            owners: As `owners` gives them; each has a node, or is among `rows`.
        """
        self.generation = snapshot.generation
        self.nodes.reserve(snapshot.rows)
        for first in range(0, len(rows), _CHUNK):
            part = slice(first, first + _CHUNK)
            fresh = rows[part][rows[part] == owners[part]]
            if len(fresh):
                self._insert(fresh, snapshot)
            copies = rows[part] != owners[part]
            self._share(rows[part][copies], owners[part][copies])
            self.changed = True

    def renumber(self, new: NDArray[np.int64], generation: int) -> None:
        """Follow a compaction.

        Args:
            new: For each old row its new number, or -1.
            generation: Number of the new vectors file.
        """
        # The tail still has the old numbers.
        self.version = -1
        self.nodes.renumber(new)
        self.generation = generation
        self.changed = True

    def breadth(self, k: int, ef: int) -> int:
        """Return how broadly to search for k nodes: never below k, and wider for more than ten."""
        return max(ef, k, ef + k - 10)

    def fits(self, k: int, ef: int) -> bool:
        """Tell whether `search` can run without changing the graph's own setting."""
        return self._index.breadth == self.breadth(k, ef)

    def fit(self, k: int, ef: int) -> None:
        """Change the graph's setting for `search`."""
        self._index.fit(self.breadth(k, ef))

    def search(self, queries: NDArray[np.float32], k: int) -> NDArray[np.int64] | None:
        """Return about the k nearest nodes of each query, (n, k), best first.

        None when the graph cannot reach k of them.
        """
        return self._index.search(queries, k) if k <= self.live else None

    def save(self, state: GraphState) -> None:
        """Write the graph beside the index, so that the next program need not build it.

        Raises:
            OSError: It cannot be written; the old one stays.
        """
        about = {
            **self._about,
            "generation": self.generation,
            # What a user chose by hand was not measured.
            "ef": self.ef if self.calibrated_at else 0,
            "calibrated_at": self.calibrated_at,
        }
        state.save(about, self.nodes.arrays(), self._index.save)
        self.changed = False

    def load(self, state: GraphState, snapshot: Snapshot) -> bool:
        """Read a saved graph; False if there is none that fits this index.

        A damaged, foreign or outdated graph file is ignored and rebuilt.
        """
        loaded = state.load()
        if loaded is None:
            return False
        about, arrays, path = loaded
        if any(about.get(name) != value for name, value in self._about.items()) or (
            about["generation"] != snapshot.generation or len(arrays["node_of_row"]) > snapshot.rows
        ):
            return False
        if not self._index.load(path, len(arrays["keys"])):
            _logger.warning("the search graph %s cannot be read and is rebuilt", path)
            return False
        self.nodes.restore(arrays)
        if not self._describes(snapshot):
            _logger.warning("the search graph %s is of other vectors and is rebuilt", path)
            return False
        self.generation = int(about["generation"])
        self.ef, self.calibrated_at = int(about["ef"]), int(about["calibrated_at"])
        self.changed = False
        return True

    def _insert(self, rows: NDArray[np.int64], snapshot: Snapshot) -> None:
        keys = digests(snapshot.vectors.rows, rows)
        labels = np.arange(len(self.nodes), len(self.nodes) + len(rows))
        self._index.add(snapshot.vectors[rows], labels)
        self.nodes.append(rows, keys)

    def _share(self, rows: NDArray[np.int64], owners: NDArray[np.int64]) -> None:
        nodes = np.unique(self.nodes.of_row[owners])
        for node in nodes[self.nodes.hidden[nodes]].tolist():
            self._index.show(node)
            self.nodes.hidden[node] = False
        self.nodes.share(rows, owners)

    def _describes(self, snapshot: Snapshot) -> bool:
        """Compare the last rows: files restored from a backup may be older than the graph."""
        reach = len(self.nodes.of_row)
        rows = np.flatnonzero(snapshot.alive[:reach] & (self.nodes.of_row != NO_NODE))[-_COMPARED:]
        keys = self.nodes.keys[self.nodes.of_row[rows]]
        same = digests(snapshot.vectors.rows, rows) == keys
        # A few may be damaged, which is noticed where they are read.
        return not len(rows) or bool(same.mean() > 0.5)
