"""Encoding: how the numbers of a vector are kept on the disk, and what comes back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from imagesearch.errors import ConfigError, StoreRequestError
from imagesearch.types import Metric

__all__ = ["Dtype", "Encoding"]

Dtype: TypeAlias = Literal["float32", "float16", "int8"]

_STORED: dict[str, np.dtype[Any]] = {
    "float32": np.dtype("<f4"),
    "float16": np.dtype("<f2"),
    "int8": np.dtype("i1"),
}
_SUFFIXES = {"float32": "f32", "float16": "f16", "int8": "i8"}
# What the largest element of a direction is scaled to.
_PEAKS = {"float16": 1.0, "int8": 127.0}
# A float16 whose bits stand in a float32 is 2**112 times too small: exponents count from -15 there
# and from -127 here. The mask keeps the sign and the fifteen bits below it.
_HALF_MASK = np.int32(-0x70002000)
_HALF_SCALE = np.float32(2.0**112)


@dataclass(frozen=True, slots=True)
class Encoding:
    """How one index keeps its vectors.

    Under ``cosine`` only directions count, and float16 and int8 keep nothing else: a row is
    scaled so that its largest element is 1 or 127, then rounded, and decoded to unit length. The
    peak is rounded to itself, so encoding what was decoded gives the same bytes: copies do not
    drift. Under ``dot`` and ``l2`` float16 rounds the elements as they are.

    Args:
        dtype: What an element becomes.
        metric: The index's metric.

    Raises:
        ConfigError: int8 under another metric than ``cosine``.

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
        """Return vectors as they stand in the file.

        Args:
            vectors: (n, dim), finite; of unit length under ``cosine``.
            ids: Names of the rows, for the message.

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
            first = int(np.flatnonzero(~fits)[0])
            name = f"id {ids[first]!r}" if first < len(ids) else f"row {first}"
            raise StoreRequestError(
                f"the vector of {name} holds {np.abs(vectors[first]).max():g}, and this index "
                "keeps float16, which ends at 65504; nothing was written: scale the vectors, or "
                "use an index with dtype='float32'"
            )
        return halves

    def decode(self, stored: NDArray[Any]) -> NDArray[np.float32]:
        """Return rows of the file, (n, dim), as float32; float32 itself is not copied."""
        if self.dtype == "float32":
            return stored
        wide = _widen(stored) if self.dtype == "float16" else stored.astype(np.float32)
        if self.metric == "cosine":
            # A file that was damaged may hold zeros; they stay zeros.
            squared = np.einsum("ij,ij->i", wide, wide)
            scale = np.divide(1, np.sqrt(squared), out=np.zeros_like(squared), where=squared > 0)
            wide *= scale[:, None]
        return wide


def _widen(halves: NDArray[Any]) -> NDArray[np.float32]:
    """Convert finite float16 exactly; numpy's own conversion takes twice as long or more."""
    bits = halves.view("<i2").astype(np.int32)
    bits <<= 13
    bits &= _HALF_MASK
    wide: NDArray[np.float32] = bits.view(np.float32)
    wide *= _HALF_SCALE
    return wide
