"""HnswIndex: all that is used of hnswlib; labels and breadths, no rows and no records."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import hnswlib
import numpy as np
from numpy.typing import NDArray

from imagesearch.types import Metric

__all__ = ["HnswIndex"]


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
