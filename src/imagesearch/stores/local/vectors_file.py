"""The vectors of an index: one raw float32 file, appended to and mapped into memory."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imagesearch.errors import StoreCorruptError

__all__ = ["VectorsFile", "map_vectors"]

_DTYPE = np.dtype("<f4")


def map_vectors(path: Path, rows: int, dim: int) -> NDArray[np.float32]:
    """Map the first rows of a vectors file into memory, without reading them.

    Raises:
        FileNotFoundError: The file is gone.
        StoreCorruptError: The file is shorter than its rows.
    """
    size = path.stat().st_size
    needed = rows * dim * _DTYPE.itemsize
    if size < needed:
        raise StoreCorruptError(
            f"{path} has {size} bytes, but the index counts {rows} vectors of {dim} numbers in it "
            f"({needed} bytes); restore it from a backup, or build a new index"
        )
    if not rows:
        return np.empty((0, dim), np.float32)
    mapped = np.memmap(path, _DTYPE, "r", shape=(rows, dim))
    # A plain array over the same memory: slices of np.memmap cost microseconds each.
    return mapped.view(np.ndarray)


class VectorsFile:
    """The one handle that appends to a vectors file.

    Args:
        path: The file; it is created if it is missing.
        dim: Numbers in a row.
    """

    def __init__(self, path: Path, dim: int) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        self._file = io.FileIO(descriptor, "r+b")
        self._row_bytes = dim * _DTYPE.itemsize

    def append(self, row: int, vectors: NDArray[np.float32]) -> None:
        """Write vectors from `row` on and wait until they are on the disk.

        What stood there belongs to a write that was never acknowledged.

        Raises:
            OSError: Disk full, or any other failure; the file is cut back to `row`.
        """
        data = memoryview(np.ascontiguousarray(vectors, _DTYPE).view(np.uint8).data).cast("B")
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
