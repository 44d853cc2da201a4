"""The search graph: one node for each distinct code, in step with the rows."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagesearch.stores.local._engines import ENGINES, GraphEngine
from imagesearch.stores.local._graph_file import GraphState, SavedGraph
from imagesearch.stores.local._nodes import NO_NODE, Nodes, digests
from imagesearch.stores.local._snapshot import Snapshot
from imagesearch.types import Metric

__all__ = ["Graph"]

_logger = logging.getLogger("imagesearch")

# Rows whose vectors are compared with what a saved graph says of them.
_COMPARED = 64
_HASHED_ROWS = 1024


class Graph:
    """An HNSW graph with a node for each different code, and the rows that belong to it.

    Nothing is ever removed from it: nodes whose rows have all died are found and skipped. What is
    searched and what is changed must not happen at the same time: the caller's lock.

    Args:
        engine: Name of the graph library.
        dim: Numbers in a vector.
        metric: ``cosine`` expects vectors of unit length.
        M: Neighbours of a node.
        ef_construction: Breadth of the search while building.

    Attributes:
        nodes: Which rows belong to which node.
        generation: Of the vectors file that its rows refer to.
        ef: Breadth that a search for ten hits needs; 0 unknown, -1 if none is enough.
        calibrated_at: Nodes there were when `ef` was measured.
        saved: What its file holds; None if that is less, or there is none.
        saved_nodes: Nodes in its file.
        verified: Whether the codes in its file have their checksum, or there is no file.
        changed: Whether it or its nodes hold more than its file.
    """

    def __init__(
        self,
        engine: str,
        dim: int,
        metric: Metric,
        M: int,  # noqa: N803  # HNSW's own name
        ef_construction: int,
    ) -> None:
        self._about: dict[str, Any] = {
            "engine": engine,
            "M": M,
            "ef_construction": ef_construction,
            "dim": dim,
            "metric": metric,
        }
        self._index: GraphEngine = ENGINES[engine](dim, metric, M, ef_construction)
        self.nodes = Nodes()
        self.generation = 0
        self.ef = 0
        self.calibrated_at = 0
        self.saved: SavedGraph | None = None
        self.saved_nodes = 0
        self.verified = True
        self.changed = False
        # Of the last snapshot that was asked about: its version, its missing rows, live nodes.
        self._state: tuple[int, NDArray[np.int64], int] | None = None

    @property
    def whole(self) -> bool:
        """Whether all nodes are known; False after an interrupt at the wrong moment."""
        return self._index.count == len(self.nodes)

    def missing(self, snapshot: Snapshot) -> NDArray[np.int64]:
        """Return the live rows of a snapshot that a search of the graph cannot find, ascending."""
        return self._state_of(snapshot)[0]

    def live(self, snapshot: Snapshot) -> int:
        """Return how many nodes have a live row in a snapshot."""
        return self._state_of(snapshot)[1]

    def _state_of(self, snapshot: Snapshot) -> tuple[NDArray[np.int64], int]:
        state = self._state
        if state is None or state[0] != snapshot.version:
            alive = snapshot.alive
            state = snapshot.version, self.nodes.missing(alive), self.nodes.live(alive)
            self._state = state
        return state[1:]

    def codes(self, snapshot: Snapshot, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return what the graph holds of rows."""
        return self._index.encode(snapshot.vectors[rows])

    def keys(self, snapshot: Snapshot, rows: NDArray[np.int64]) -> NDArray[np.uint64]:
        """Return hashes of the codes of rows."""
        parts = [
            digests(self.codes(snapshot, rows[first : first + _HASHED_ROWS]))
            for first in range(0, len(rows), _HASHED_ROWS)
        ]
        return np.concatenate([*parts, np.empty(0, np.uint64)])

    def owners(
        self, snapshot: Snapshot, rows: NDArray[np.int64], codes: NDArray[Any]
    ) -> NDArray[np.int64]:
        """Return for each missing row the first row with the same code, which may be itself."""
        return self.nodes.owners(
            rows, digests(codes), lambda some: self.codes(snapshot, some), snapshot.rows
        )

    def insert(
        self,
        snapshot: Snapshot,
        rows: NDArray[np.int64],
        codes: NDArray[Any],
        owners: NDArray[np.int64],
        *,
        threads: int = 1,
    ) -> None:
        """Insert missing rows.

        Args:
            snapshot: The state that they belong to.
            rows: Ascending.
            codes: As `codes` gives them.
            owners: As `owners` gives them; each has a node, or is among `rows`.
            threads: How many insert.
        """
        self._state = None
        self.generation, self.changed, self.saved = snapshot.generation, True, None
        self.nodes.reserve(snapshot.rows)
        fresh = rows == owners
        if fresh.any():
            labels = np.arange(len(self.nodes), len(self.nodes) + np.count_nonzero(fresh))
            self._index.add(codes[fresh], labels, threads=threads)
            self.nodes.append(rows[fresh], digests(codes[fresh]))
        if not fresh.all():
            copies, originals = rows[~fresh], owners[~fresh]
            stored = snapshot.vectors.rows
            differ = (stored[copies] != stored[originals]).any(axis=1)
            self.nodes.share(copies, originals, differ)
        self._state = None

    def renumber(self, new: NDArray[np.int64], generation: int) -> None:
        """Follow a compaction.

        Args:
            new: For each old row its new number, or -1.
            generation: Number of the new vectors file.
        """
        self._state = None
        self.nodes.renumber(new)
        self.generation = generation
        self.changed = True

    def encode(self, queries: NDArray[np.float32]) -> NDArray[Any]:
        """Return the codes of queries, for `search`."""
        return self._index.encode(queries)

    def search(self, codes: NDArray[Any], breadth: int) -> NDArray[np.int64]:
        """Return the nearest nodes, (n, breadth), best first, dead ones too; -1 for none."""
        return self._index.search(codes, min(breadth, len(self.nodes)))

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
        arrays = self.nodes.arrays()
        if self.saved is not None and self.saved.path.exists():
            state.save_again(self.saved, about, arrays)
        else:
            state.save(about, arrays, self._index.save, unverified=self._index.unverified)
        self.saved_nodes, self.changed = len(self.nodes), False

    def load(self, state: GraphState, snapshot: Snapshot) -> bool:
        """Use a saved graph; False if there is none that fits this index.

        A damaged, foreign or outdated graph file is ignored and rebuilt.
        """
        saved = state.load()
        if saved is None:
            return False
        about, arrays = saved.about, saved.arrays
        if any(about.get(name) != value for name, value in self._about.items()) or (
            about["generation"] != snapshot.generation or len(arrays["node_of_row"]) > snapshot.rows
        ):
            return False
        if not self._index.open(saved.path, saved.data, len(arrays["keys"])):
            _logger.warning("the search graph %s cannot be read and is rebuilt", saved.path)
            return False
        self.nodes.restore(arrays)
        if not self._describes(snapshot):
            _logger.warning("the search graph %s is of other vectors and is rebuilt", saved.path)
            return False
        self.generation = int(about["generation"])
        self.ef, self.calibrated_at = int(about["ef"]), int(about["calibrated_at"])
        self.saved, self.changed = saved, False
        self.saved_nodes, self.verified = len(self.nodes), not saved.size
        return True

    def _describes(self, snapshot: Snapshot) -> bool:
        """Compare the last rows: files restored from a backup may be older than the graph."""
        reach = len(self.nodes.of_row)
        rows = np.flatnonzero(snapshot.alive[:reach] & (self.nodes.of_row != NO_NODE))[-_COMPARED:]
        if not len(rows):
            return True
        stored = snapshot.vectors.requiring(lambda _: None)
        keys = self.nodes.keys[self.nodes.of_row[rows]]
        # A few may be damaged, which is noticed where they are read.
        with np.errstate(all="ignore"):
            codes = self._index.encode(stored[rows])
        return bool((digests(codes) == keys).mean() > 0.5)
