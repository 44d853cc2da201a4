"""The vectors of an index: one raw file of rows, appended to and mapped into memory."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from imagesearch.errors import StoreCorruptError
from imagesearch.stores.local.encoding import Encoding

__all__ = ["Rows", "StoredVectors", "VectorsFile", "map_vectors"]

Rows: TypeAlias = slice | NDArray[np.int64]


class StoredVectors:
    """Rows of a vectors file as float32 vectors, decoded when they are read.

    Args:
        rows: (n, dim), as they stand in the file.
        encoding: How to decode them.
        require: Raises for rows that do not have their checksums; None where there are none.

    Example:
        >>> vectors = StoredVectors(np.array([[127, 0], [95, 127]], np.int8), Encoding("int8", "cosine"))
        >>> vectors[:1].tolist()
        [[1.0, 0.0]]
    """

    __slots__ = ("_encoding", "_require", "rows")

    def __init__(
        self,
        rows: NDArray[Any],
        encoding: Encoding,
        require: Callable[[Rows], None] | None = None,
    ) -> None:
        self.rows = rows
        self._encoding = encoding
        self._require = require

    @property
    def dim(self) -> int:
        """Numbers in a vector."""
        return int(self.rows.shape[1])

    @property
    def decoded(self) -> bool:
        """Whether reading makes new arrays; float32 is read where it lies."""
        return self._encoding.dtype != "float32"

    def __getitem__(self, rows: Rows) -> NDArray[np.float32]:
        self.require(rows)
        return self._encoding.decode(self.rows[rows])

    def require(self, rows: Rows) -> None:
        """Compare rows with their checksums, unless that has been done.

        Raises:
            StoreCorruptError: A row is damaged.
        """
        if self._require is not None:
            self._require(rows)

    def unverified(self, rows: slice) -> NDArray[np.float32]:
        """Return a span of rows of which `require` has seen those that count."""
        return self._encoding.decode(self.rows[rows])

    def requiring(self, require: Callable[[Rows], None]) -> StoredVectors:
        """Return the same vectors, verified in this way."""
        return StoredVectors(self.rows, self._encoding, require)


def map_vectors(path: Path, rows: int, dim: int, encoding: Encoding) -> StoredVectors:
    """Map the first rows of a vectors file into memory, without reading them.

    Raises:
        FileNotFoundError: The file is gone.
        StoreCorruptError: The file is shorter than its rows.
    """
    size = path.stat().st_size
    needed = rows * dim * encoding.stored.itemsize
    if size < needed:
        raise StoreCorruptError(
            f"{path} has {size} bytes, but the index counts {rows} vectors of {dim} numbers in it "
            f"({needed} bytes); restore it from a backup, or build a new index"
        )
    if not rows:
        return StoredVectors(np.empty((0, dim), encoding.stored), encoding)
    mapped = np.memmap(path, encoding.stored, "r", shape=(rows, dim))
    # A plain array over the same memory: slices of np.memmap cost microseconds each.
    return StoredVectors(mapped.view(np.ndarray), encoding)


class VectorsFile:
    """The one handle that appends to a vectors file.

    Args:
        path: The file; it is created if it is missing.
        row_bytes: Size of a row.
    """

    def __init__(self, path: Path, row_bytes: int) -> None:
        # A file object closes its descriptor once, whatever interrupts it.
        io.FileIO(path, "a").close()
        self._file = io.FileIO(path, "r+")
        self._row_bytes = row_bytes

    def append(self, row: int, rows: NDArray[Any]) -> None:
        """Write encoded rows from `row` on and wait until they are on the disk.

        What stood there belongs to a write that was never acknowledged.

        Raises:
            OSError: Disk full, or any other failure; the file is cut back to `row`.
            StoreCorruptError: The file ends before `row`; nothing was written.
        """
        data = memoryview(np.ascontiguousarray(rows).view(np.uint8).data).cast("B")
        size = os.fstat(self._file.fileno()).st_size
        if size < row * self._row_bytes:
            # Writing would fill the gap with zeros, as if they were vectors.
            raise StoreCorruptError(
                f"the vectors file ends at byte {size}, but the index counts {row} vectors "
                f"({row * self._row_bytes} bytes) in it; restore it from a backup, or build a new "
                "index"
            )
        try:
            self._file.seek(row * self._row_bytes)
            while data:
                data = data[self._file.write(data) :]
            os.fsync(self._file.fileno())
        except OSError:
            self._file.truncate(row * self._row_bytes)
            raise

    def close(self) -> None:
        """Close the handle."""
        self._file.close()
