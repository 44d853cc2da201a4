"""Graph: hnswlib over the rows of an index, kept in step with replacing, deleting, compacting."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import hnswlib
import numpy as np
from numpy.typing import NDArray

from imagesearch.stores.local.graph_file import GraphState
from imagesearch.stores.local.snapshot import Snapshot
from imagesearch.types import Metric

__all__ = ["Graph"]

_logger = logging.getLogger("imagesearch")

# Rows inserted before the program may be interrupted.
_CHUNK = 256
_NONE = -1


class Graph:
    """An HNSW graph and the way between its labels and the rows of the vectors file.

    Labels are given in the order of insertion and never change; rows change with compaction.
    What is searched and what is changed must not happen at the same time: the caller's lock.

    Args:
        dim: Numbers in a vector.
        metric: ``cosine`` expects vectors of unit length.
        M: Neighbours of a node.
        ef_construction: Breadth of the search while building.

    Attributes:
        generation: Of the vectors file that its rows refer to.
        version: Of the index that nodes and tail agree with; -1 while they may not.
        ef: Breadth that a search for ten hits needs; 0 unknown, -1 if none is enough.
        calibrated_at: Nodes there were when `ef` was measured.
        tail: Live rows that had no node at that version, ascending.
        changed: Whether it holds more than its file.
    """

    def __init__(self, dim: int, metric: Metric, M: int, ef_construction: int) -> None:  # noqa: N803  # HNSW's own name
        self._dim, self._metric = dim, metric
        self._parameters = {"M": M, "ef_construction": ef_construction}
        self._index = self._uninitialised()
        self._index.init_index(1024, M, ef_construction)
        # Slots beyond the labels and rows that exist hold -1.
        self._row_of = np.empty(0, np.int64)
        self._label_of = np.empty(0, np.int64)
        self._dead = 0
        self._breadth = 0
        self.generation = 0
        self.ef = 0
        self.calibrated_at = 0
        self.version = -1
        self.tail = np.empty(0, np.int64)
        self.changed = False

    @property
    def covered(self) -> int:
        """Rows from this number on have no node."""
        return len(self._label_of)

    @property
    def labels(self) -> int:
        """Nodes, dead ones among them."""
        return len(self._row_of)

    @property
    def whole(self) -> bool:
        """Whether all nodes are known; False after an interrupt at the wrong moment."""
        return bool(self._index.get_current_count() == self.labels)

    @property
    def live(self) -> int:
        """Nodes that can be found."""
        return len(self._row_of) - self._dead

    def bury(self, snapshot: Snapshot) -> None:
        """Mark the nodes of rows that have died since."""
        reach = min(self.covered, snapshot.rows)
        labels = self._label_of[:reach][~snapshot.alive[:reach]]
        for label in labels[labels != _NONE]:
            self._index.mark_deleted(int(label))
            self._label_of[self._row_of[label]] = _NONE
            self._row_of[label] = _NONE
            self._dead += 1

    def missing(self, snapshot: Snapshot) -> NDArray[np.int64]:
        """Return the live rows that have no node."""
        without = snapshot.alive.copy()
        reach = min(self.covered, snapshot.rows)
        without[:reach] &= self._label_of[:reach] == _NONE
        return np.flatnonzero(without)

    def tail_of(self, snapshot: Snapshot) -> NDArray[np.int64]:
        """Return the rows that a search of the graph cannot find, ascending.

        In a snapshot older than the graph these are also the rows that have died since.
        """
        return self.tail if snapshot.version == self.version else self.missing(snapshot)

    def extend(self, snapshot: Snapshot, rows: NDArray[np.int64]) -> None:
        """Insert rows that have no node; what is done stays done when interrupted."""
        self.generation = snapshot.generation
        needed = self.labels + len(rows)
        if needed > self._index.get_max_elements():
            self._index.resize_index(max(needed, self._index.get_max_elements() * 5 // 4))
        for first in range(0, len(rows), _CHUNK):
            some = rows[first : first + _CHUNK]
            self._insert(some, snapshot.vectors[some])

    def renumber(self, new: NDArray[np.int64], generation: int) -> None:
        """Follow a compaction.

        Args:
            new: For each old row its new number, or -1.
            generation: Number of the new vectors file.
        """
        covered = int((new[: self.covered] != _NONE).sum())
        known = self._row_of != _NONE
        self._row_of[known] = new[self._row_of[known]]
        self._label_of = np.full(covered, _NONE, np.int64)
        labels = np.flatnonzero(self._row_of != _NONE)
        self._label_of[self._row_of[labels]] = labels
        self.generation = generation
        # The tail still has the old numbers.
        self.version = -1
        self.changed = True

    def breadth(self, k: int, ef: int) -> int:
        """Return hnswlib's ef for k hits: never below k, and wider for more hits than ten."""
        return max(ef, k, ef + k - 10)

    def fits(self, k: int, ef: int) -> bool:
        """Tell whether `search` can run without changing the graph's own setting."""
        return self._breadth == self.breadth(k, ef)

    def fit(self, k: int, ef: int) -> None:
        """Change the graph's setting for `search`."""
        self._breadth = self.breadth(k, ef)
        self._index.set_ef(self._breadth)

    def search(self, queries: NDArray[np.float32], k: int) -> NDArray[np.int64] | None:
        """Find about the k nearest rows of each query.

        Returns:
            (n, k) rows, best first; None when the graph cannot reach k of them.
        """
        if k > self.live:
            return None
        try:
            labels, _ = self._index.knn_query(queries, k, num_threads=1 if len(queries) < 4 else -1)
        except RuntimeError:
            # Deletions can leave parts of a graph out of reach.
            return None
        return np.asarray(self._row_of[labels.astype(np.int64)])

    def save(self, state: GraphState) -> None:
        """Write the graph beside the index, so that the next program need not build it.

        Raises:
            OSError: It cannot be written; the old one stays.
        """

        def write(path: Path) -> None:
            try:
                self._index.save_index(os.fspath(path))
            except RuntimeError as error:
                raise OSError(str(error)) from error
            # hnswlib does not notice a full disk.
            if path.stat().st_size != self._index.index_file_size():
                raise OSError(f"{path} was not written completely; is the disk full?")

        about = {
            **self._parameters,
            "dim": self._dim,
            "metric": self._metric,
            "generation": self.generation,
            # What a user chose by hand was not measured.
            "ef": self.ef if self.calibrated_at else 0,
            "calibrated_at": self.calibrated_at,
        }
        state.save(about, {"row_of": self._row_of, "label_of": self._label_of}, write)
        self.changed = False

    def load(self, state: GraphState, snapshot: Snapshot) -> bool:
        """Read a saved graph; False if there is none that fits this index.

        A damaged, foreign or outdated file is as good as none: the graph can be rebuilt.
        """
        loaded = state.load()
        if loaded is None:
            return False
        about, arrays, path = loaded
        wanted = {**self._parameters, "dim": self._dim, "metric": self._metric}
        row_of, label_of = arrays["row_of"], arrays["label_of"]
        if any(about.get(name) != value for name, value in wanted.items()) or (
            about["generation"] != snapshot.generation or len(label_of) > snapshot.rows
        ):
            return False
        # A new one, for hnswlib warns on standard error of loading into one that is ready.
        index = self._uninitialised()
        try:
            index.load_index(os.fspath(path), len(row_of))
        except RuntimeError as error:
            _logger.warning("the search graph %s cannot be read and is rebuilt: %s", path, error)
            return False
        if index.get_current_count() != len(row_of):
            return False
        self._index = index
        self._row_of, self._label_of = row_of.copy(), label_of.copy()
        self._dead = int((row_of == _NONE).sum())
        self.generation = int(about["generation"])
        self.ef, self.calibrated_at = int(about["ef"]), int(about["calibrated_at"])
        self.changed = False
        return True

    def _uninitialised(self) -> hnswlib.Index:
        return hnswlib.Index("l2" if self._metric == "l2" else "ip", self._dim)

    def _insert(self, rows: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        labels = np.arange(self.labels, self.labels + len(rows))
        row_of = np.concatenate([self._row_of, rows])
        label_of = np.full(max(self.covered, int(rows.max()) + 1), _NONE, np.int64)
        label_of[: self.covered] = self._label_of
        label_of[rows] = labels
        self._index.add_items(vectors, labels)
        self._row_of, self._label_of, self.changed = row_of, label_of, True
