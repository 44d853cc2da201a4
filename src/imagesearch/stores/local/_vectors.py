"""The vectors file of an index: encoding, appending, memory mapping."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from imagesearch.errors import ConfigError, StoreCorruptError, StoreRequestError
from imagesearch.stores._blocks import Block, RowLengths
from imagesearch.stores.local._connections import RESTORE
from imagesearch.types import Metric

__all__ = ["Dtype", "Encoding", "Rows", "StoredVectors", "VectorsFile", "map_vectors"]


Dtype: TypeAlias = Literal["float32", "float16", "int8"]

_STORED: dict[str, np.dtype[Any]] = {
    "float32": np.dtype("<f4"),
    "float16": np.dtype("<f2"),
    "int8": np.dtype("i1"),
}
_SUFFIXES = {"float32": "f32", "float16": "f16", "int8": "i8"}
# The largest element of a direction is scaled to this.
_PEAKS = {"float16": 1.0, "int8": 127.0}
# The bits of a float16, shifted into a float32, are a number 2**112 times too small: the bias of
# exponents is 15 in one and 127 in the other. The mask removes copies of the sign bit.
_HALF_MASK = np.int32(-0x70002000)
_HALF_SCALE = np.float32(2.0**112)


@dataclass(frozen=True, slots=True)
class Encoding:
    """How the vectors of an index are stored.

    Under ``cosine`` float16 and int8 store only directions: a row is scaled so that its largest
    element is 1 or 127, then rounded, and decoded to unit length. Encoding a decoded row gives the
    same bytes, so copies do not drift. Under ``dot`` and ``l2`` float16 rounds the elements as they
    are.

    Args:
        dtype: Type of a stored element.
        metric: Metric of the index.

    Raises:
        ConfigError: int8 with a metric other than ``cosine``.

    Example:
        >>> kept = Encoding("int8", "cosine").encode(np.array([[0.6, 0.8]], np.float32))
        >>> kept.tolist()
        [[95, 127]]
        >>> Encoding("int8", "cosine").decode(kept).round(3).tolist()
        [[0.5989999771118164, 0.8009999990463257]]
    """

    dtype: Dtype
    metric: Metric

    def __post_init__(self) -> None:
        if self.dtype == "int8" and self.metric != "cosine":
            raise ConfigError(
                f"dtype='int8' keeps directions alone, and metric {self.metric!r} needs lengths; "
                "use dtype='float16' or 'float32', or the metric 'cosine'"
            )

    @property
    def stored(self) -> np.dtype[Any]:
        """Type of an element in the file, little-endian."""
        return _STORED[self.dtype]

    @property
    def suffix(self) -> str:
        """Ending of the file's name."""
        return _SUFFIXES[self.dtype]

    def encode(self, vectors: NDArray[np.float32], ids: Sequence[str] = ()) -> NDArray[Any]:
        """Return vectors as they are stored in the file.

        Args:
            vectors: (n, dim), finite; of unit length under ``cosine``.
            ids: The records that the rows belong to, for the error.

        Raises:
            StoreRequestError: An element is too large for float16 (65504).
        """
        if self.dtype == "float32":
            return np.ascontiguousarray(vectors, self.stored)
        if self.metric == "cosine":
            peak = np.max(np.abs(vectors), axis=1, keepdims=True, initial=0)
            scaled = vectors * (_PEAKS[self.dtype] / peak)
            if self.dtype == "int8":
                np.rint(scaled, out=scaled)
            directions: NDArray[Any] = scaled.astype(self.stored)
            return directions
        with np.errstate(over="ignore"):
            halves: NDArray[Any] = vectors.astype(self.stored)
        fits = np.isfinite(halves).all(axis=1)
        if not fits.all():
            rows = np.flatnonzero(~fits).tolist()
            refused = [ids[row] for row in rows if row < len(ids)]
            name = f"id {refused[0]!r}" if refused else f"row {rows[0]}"
            raise StoreRequestError(
                f"the vector of {name} holds {np.abs(vectors[rows[0]]).max():g}, more than the "
                "65504 that float16, the dtype of this index, can hold",
                ids=refused,
                remedy="scale the vectors, or use an index with dtype='float32'",
            )
        return halves

    @property
    def gain(self) -> float:
        """Factor by which elements that `widen` returns must be multiplied."""
        return float(_HALF_SCALE) if self.dtype == "float16" else 1.0

    @property
    def unit(self) -> bool:
        """Whether decoded vectors have length 1, regardless of the stored length."""
        return self.metric == "cosine" and self.dtype != "float32"

    def widen(self, stored: NDArray[Any], out: NDArray[np.float32]) -> NDArray[np.float32]:
        """Convert elements to float32 without scaling, into `out`; see `gain`."""
        if self.dtype == "float16":
            _widen_bits(stored, out.view(np.int32))
        else:
            out[...] = stored
        return out

    def decode(self, stored: NDArray[Any]) -> NDArray[np.float32]:
        """Return rows of the file, (n, dim), as float32; float32 itself is not copied."""
        if self.dtype == "float32":
            return stored
        wide = _widen(stored) if self.dtype == "float16" else stored.astype(np.float32)
        if self.metric == "cosine":
            # A damaged file may hold zeros; they stay zeros.
            squared = np.einsum("ij,ij->i", wide, wide)
            scale = np.divide(1, np.sqrt(squared), out=np.zeros_like(squared), where=squared > 0)
            wide *= scale[:, None]
        return wide


def _widen(halves: NDArray[Any]) -> NDArray[np.float32]:
    """Convert finite float16 exactly; NumPy's own conversion takes at least twice as long."""
    bits = np.empty(halves.shape, np.int32)
    _widen_bits(halves, bits)
    wide: NDArray[np.float32] = bits.view(np.float32)
    wide *= _HALF_SCALE
    return wide


def _widen_bits(halves: NDArray[Any], bits: NDArray[np.int32]) -> None:
    bits[...] = halves.view("<i2")
    bits <<= 13
    bits &= _HALF_MASK


Rows: TypeAlias = slice | NDArray[np.int64]


class StoredVectors:
    """Rows of a vectors file, decoded to float32 when they are read.

    Args:
        rows: (n, dim), as stored in the file.
        encoding: How to decode them.
        require: Raises for rows that do not match their checksums; None if there are no checksums.
        lengths: Lengths of rows computed so far.

    Example:
        >>> vectors = StoredVectors(np.array([[127, 0], [95, 127]], np.int8), Encoding("int8", "cosine"))
        >>> vectors[:1].tolist()
        [[1.0, 0.0]]
    """

    __slots__ = ("_encoding", "_require", "lengths", "rows")

    def __init__(
        self,
        rows: NDArray[Any],
        encoding: Encoding,
        require: Callable[[Rows], None] | None = None,
        lengths: RowLengths | None = None,
    ) -> None:
        self.rows = rows
        self.lengths = RowLengths() if lengths is None else lengths
        self._encoding = encoding
        self._require = require

    @property
    def dim(self) -> int:
        """Elements of a vector."""
        return int(self.rows.shape[1])

    def __getitem__(self, rows: Rows) -> NDArray[np.float32]:
        self.require(rows)
        return self._encoding.decode(self.rows[rows])

    def require(self, rows: Rows) -> None:
        """Compare rows with their checksums, unless they were compared before.

        Raises:
            StoreCorruptError: A row is damaged.
        """
        if self._require is not None:
            self._require(rows)

    def block(self, rows: Rows) -> Block:
        """Return rows to be scored; pass the rows that count to `require` first."""
        codec = None if self._encoding.dtype == "float32" else self._encoding
        return Block(self.rows, rows, codec, self.lengths)

    def requiring(self, require: Callable[[Rows], None]) -> StoredVectors:
        """Return the same vectors, verified by `require`."""
        return StoredVectors(self.rows, self._encoding, require, self.lengths)


def map_vectors(
    path: Path, rows: int, dim: int, encoding: Encoding, lengths: RowLengths | None = None
) -> StoredVectors:
    """Map the first rows of a vectors file into memory, without reading them.

    Raises:
        FileNotFoundError: The file is gone.
        StoreCorruptError: The file is too short.
    """
    size = path.stat().st_size
    needed = rows * dim * encoding.stored.itemsize
    if size < needed:
        raise StoreCorruptError(
            f"{path} has {size} bytes, but the index counts {rows} vectors of {dim} numbers in it "
            f"({needed} bytes)",
            remedy=RESTORE,
        )
    if not rows:
        return StoredVectors(np.empty((0, dim), encoding.stored), encoding)
    mapped = np.memmap(path, encoding.stored, "r", shape=(rows, dim))
    # A plain array over the same memory: slices of np.memmap cost microseconds each.
    return StoredVectors(mapped.view(np.ndarray), encoding, lengths=lengths)


class VectorsFile:
    """The one handle that appends to a vectors file.

    Args:
        path: The file; created if missing.
        row_bytes: Bytes of a row.
    """

    def __init__(self, path: Path, row_bytes: int) -> None:
        # A file object closes its descriptor exactly once, even if it is interrupted.
        io.FileIO(path, "a").close()
        self._file = io.FileIO(path, "r+")
        self._row_bytes = row_bytes

    def append(self, row: int, rows: NDArray[Any]) -> None:
        """Write encoded rows from `row` on, and wait until they are on the disk.

        Rows that exist there belong to a write that was never acknowledged; they are overwritten.

        Raises:
            OSError: The write failed; the file is truncated to `row`.
            StoreCorruptError: The file ends before `row`; nothing was written.
        """
        data = memoryview(np.ascontiguousarray(rows).view(np.uint8).data).cast("B")
        size = os.fstat(self._file.fileno()).st_size
        if size < row * self._row_bytes:
            # Writing would fill the gap with zeros.
            raise StoreCorruptError(
                f"the vectors file ends at byte {size}, but the index counts {row} vectors "
                f"({row * self._row_bytes} bytes) in it",
                remedy=RESTORE,
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
