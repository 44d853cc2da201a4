"""Graph engines: usearch and hnswlib behind the same few methods."""

from __future__ import annotations

import mmap
import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from imagesearch._cpus import available_cpus
from imagesearch.stores.local._vectors import Encoding
from imagesearch.types import Metric

__all__ = ["ENGINES", "GraphEngine", "HnswlibEngine", "UsearchEngine"]

Codes: TypeAlias = NDArray[Any]

# Below this many queries a search is done by the calling thread alone.
_QUERIES_FOR_THREADS = 4


class GraphEngine(Protocol):
    """An HNSW graph of codes under consecutive labels.

    Searches may run at the same time, but not beside `add`.

    Attributes:
        name: Of the library, in `LocalStore` options and in saved graphs.
    """

    name: ClassVar[str]

    @property
    def count(self) -> int:
        """Codes in the graph."""

    @property
    def unverified(self) -> int:
        """Bytes at the start of its file where damage costs recall and nothing else."""

    def encode(self, vectors: NDArray[np.float32]) -> Codes:
        """Return what the graph holds of vectors, (n, dim)."""

    def add(self, codes: Codes, labels: NDArray[np.int64], *, threads: int) -> None:
        """Insert codes under new labels."""

    def search(self, codes: Codes, breadth: int) -> NDArray[np.int64]:
        """Return the nearest labels of each code, (n, breadth), best first; -1 where it has none."""

    def save(self, path: Path) -> None:
        """Write the graph to a file.

        Raises:
            OSError: It cannot be written.
        """

    def open(self, path: Path, data: mmap.mmap, count: int) -> bool:
        """Use a saved graph whose links are undamaged; False if it is not of `count` codes.

        Args:
            path: The file.
            data: The same file, mapped into memory.
            count: Codes that it must hold.
        """


class UsearchEngine:
    """A graph of usearch: int8 codes under cosine, bfloat16 under the other metrics.

    A saved graph is searched where it lies on the disk, and read into memory when it has to grow.

    Args:
        dim: Numbers in a vector.
        metric: ``cosine`` expects vectors of unit length.
        M: Neighbours of a node.
        ef_construction: Breadth of the search while building.

    Example:
        >>> index = UsearchEngine(2, "cosine", 16, 200)
        >>> index.add(index.encode(np.eye(2, dtype=np.float32)), np.arange(2), threads=1)
        >>> index.search(index.encode(np.array([[0.6, 0.8]], np.float32)), 2).tolist()
        [[1, 0]]
    """

    name: ClassVar[str] = "usearch"

    def __init__(self, dim: int, metric: Metric, M: int, ef_construction: int) -> None:  # noqa: N803  # HNSW's own name
        import usearch  # noqa: F401  # loads the library of kernels that `usearch.compiled` needs
        from usearch.compiled import Index, MetricKind, ScalarKind

        self._cosine = metric == "cosine"
        # Scaled by each row's peak, not by its norm as usearch does it: a norm would leave about
        # three of the 127 steps to an element of a vector of 2048.
        self._int8 = Encoding("int8", "cosine")
        self._scalar = ScalarKind.I8 if self._cosine else ScalarKind.BF16
        kinds = {"cosine": MetricKind.Cos, "dot": MetricKind.IP, "l2": MetricKind.L2sq}
        self._make: Callable[[], Any] = lambda: Index(
            ndim=dim,
            dtype=self._scalar,
            metric_kind=kinds[metric],
            connectivity=M,
            expansion_add=ef_construction,
            # A search is as broad as the number of neighbours it asks for.
            expansion_search=1,
            enable_key_lookups=False,
        )
        self._row_bytes = dim * (1 if self._cosine else 2)
        self._index = self._make()
        # usearch does one search at a time in an index, but several may share a file.
        self._data: mmap.mmap | None = None
        self._views: deque[Any] = deque()
        self._spare_views = 0

    @property
    def count(self) -> int:
        """Codes in the graph."""
        return len(self._index)

    @property
    def unverified(self) -> int:
        """The matrix of codes at the start of the file."""
        return 8 + self.count * self._row_bytes

    def encode(self, vectors: NDArray[np.float32]) -> Codes:
        """Return int8, or bfloat16 as the uint16 with the same bits."""
        if self._cosine:
            return self._int8.encode(vectors)
        bits = np.ascontiguousarray(vectors, np.float32).view(np.uint32)
        # To the nearest, and to even in the middle.
        rounded: Codes = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
        return rounded.astype(np.uint16)

    def add(self, codes: Codes, labels: NDArray[np.int64], *, threads: int) -> None:
        """Insert codes under new labels.

        Raises:
            KeyboardInterrupt: A signal interrupted it; some of the codes are in the graph.
        """
        if self._data is not None:
            index = self._make()
            index.load_index_from_buffer(self._data)
            self._index, self._data = index, None
            self._views.clear()
        try:
            self._index.add_many(
                labels.astype(np.uint64),
                np.ascontiguousarray(codes),
                threads=threads,
                dtype=self._scalar,
            )
        except RuntimeError as error:
            raise _interrupt(error) from None

    def search(self, codes: Codes, breadth: int) -> NDArray[np.int64]:
        """Return the nearest labels of each code, (n, breadth), best first; -1 where it has none.

        Raises:
            KeyboardInterrupt: A signal interrupted it.
        """
        index = self._borrowed()
        threads = 1 if len(codes) < _QUERIES_FOR_THREADS else available_cpus()
        try:
            keys, _, counts, *_ = index.search_many(
                np.ascontiguousarray(codes), breadth, threads=threads, dtype=self._scalar
            )
        except RuntimeError as error:
            raise _interrupt(error) from None
        if index is not self._index:
            self._views.append(index)
        labels: NDArray[np.int64] = keys.astype(np.int64)
        if counts.min(initial=breadth) < breadth:
            labels[np.arange(breadth) >= counts[:, None]] = -1
        return labels

    def save(self, path: Path) -> None:
        """Write the graph to a file.

        Raises:
            OSError: It cannot be written.
        """
        try:
            self._index.save_index_to_path(os.fspath(path))
        except (RuntimeError, ValueError) as error:
            raise OSError(f"{path} was not written ({error}); is the disk full?") from error
        if path.stat().st_size != self._index.serialized_length:
            raise OSError(f"{path} was not written completely; is the disk full?")

    def open(self, path: Path, data: mmap.mmap, count: int) -> bool:
        """Use a saved graph without reading its codes; False if it is not of `count` codes."""
        del path
        index = self._make()
        try:
            index.view_index_from_buffer(data)
        except (RuntimeError, ValueError):
            return False
        if len(index) != count or index.dtype != self._scalar:
            return False
        self._index, self._data = index, data
        self._views.clear()
        self._spare_views = available_cpus() - 1
        return True

    def _borrowed(self) -> Any:
        """Return an index that no other thread is searching, if that is possible."""
        with suppress(IndexError):
            return self._views.pop()
        if self._data is None or self._spare_views <= 0:
            return self._index
        self._spare_views -= 1
        index = self._make()
        index.view_index_from_buffer(self._data)
        return index


def _interrupt(error: RuntimeError) -> BaseException:
    """Return what to raise for an error of usearch.

    A signal whose handler raises ends a call of usearch, which loses the handler's exception and
    raises a RuntimeError of its own.
    """
    return KeyboardInterrupt() if str(error) == "Operation has been terminated" else error


class HnswlibEngine:
    """A graph of hnswlib, which holds the vectors themselves and is read into memory as a whole.

    Args:
        dim: Numbers in a vector.
        metric: ``cosine`` expects vectors of unit length.
        M: Neighbours of a node.
        ef_construction: Breadth of the search while building.

    Example:
        >>> index = HnswlibEngine(2, "cosine", 16, 200)
        >>> index.add(np.eye(2, dtype=np.float32), np.arange(2), threads=1)
        >>> index.search(np.array([[0.6, 0.8]], np.float32), 1).tolist()
        [[1]]
    """

    name: ClassVar[str] = "hnswlib"
    unverified: ClassVar[int] = 0

    def __init__(self, dim: int, metric: Metric, M: int, ef_construction: int) -> None:  # noqa: N803  # HNSW's own name
        import hnswlib

        # Unit vectors are as near by distance as by product. The distance of two vectors that are
        # nearly equal keeps its precision, while 1 - product is noise: it would link them with
        # each other only, and cut them off from the rest of the graph.
        space = "ip" if metric == "dot" else "l2"
        self._make: Callable[[], Any] = lambda: hnswlib.Index(space, dim)
        self._index = self._make()
        self._index.init_index(1024, M, ef_construction)

    @property
    def count(self) -> int:
        """Vectors in the graph."""
        return int(self._index.get_current_count())

    def encode(self, vectors: NDArray[np.float32]) -> Codes:
        """Return the vectors."""
        return vectors

    def add(self, codes: Codes, labels: NDArray[np.int64], *, threads: int) -> None:
        """Insert vectors under new labels."""
        needed, room = self.count + len(labels), self._index.get_max_elements()
        if needed > room:
            self._index.resize_index(max(needed, room * 5 // 4))
        self._index.add_items(codes, labels, num_threads=threads)

    def search(self, codes: Codes, breadth: int) -> NDArray[np.int64]:
        """Return the nearest labels of each vector; all -1 if hnswlib cannot reach so many."""
        threads = 1 if len(codes) < _QUERIES_FOR_THREADS else available_cpus()
        try:
            labels, _ = self._index.knn_query(codes, breadth, num_threads=threads)
        except RuntimeError:
            return np.full((len(codes), breadth), -1, np.int64)
        return np.asarray(labels.astype(np.int64))

    def save(self, path: Path) -> None:
        """Write the graph to a file.

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

    def open(self, path: Path, data: mmap.mmap, count: int) -> bool:
        """Read a file of `count` vectors; False if it cannot be read or holds another number."""
        del data
        # A new one, for hnswlib warns on standard error of loading into one that is ready.
        index = self._make()
        try:
            index.load_index(os.fspath(path), count)
        except RuntimeError:
            return False
        if index.get_current_count() != count:
            return False
        self._index = index
        return True


ENGINES: dict[str, type[UsearchEngine | HnswlibEngine]] = {
    engine.name: engine for engine in (UsearchEngine, HnswlibEngine)
}
"""The engines by name."""
