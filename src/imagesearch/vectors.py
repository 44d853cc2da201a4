"""Vectors: check them, normalise them, score them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from imagesearch._validation import as_float32
from imagesearch.errors import StoreRequestError
from imagesearch.types import Metric

__all__ = ["check_vectors", "normalise", "scores", "unit_or_as_is"]

# float32 rounding moves the length of a unit vector of 4096 elements by less than this.
_UNIT_TOLERANCE = 1e-5


def check_vectors(
    vectors: object, dim: int, metric: Metric, *, ids: Sequence[str] = ()
) -> NDArray[np.float32]:
    """Return vectors as a C-contiguous float32 matrix that can be stored or searched for.

    Args:
        vectors: Numeric, shape (n, dim).
        dim: The index's dimension.
        metric: The index's metric; ``cosine`` refuses zero vectors, which have no direction.
        ids: The records that the rows belong to, for the error.

    Raises:
        StoreRequestError: Another shape, NaN, infinity (in float32), or zero under ``cosine``; its
            `ids` are those of the rows concerned.

    Example:
        >>> check_vectors([[3, 4]], 2, "cosine").dtype
        dtype('float32')
    """
    try:
        matrix = np.ascontiguousarray(as_float32(vectors))
    except ValueError as error:
        raise StoreRequestError(f"vectors must be real numbers: {error}") from error
    if matrix.size == 0 and matrix.ndim <= 2 and (matrix.ndim < 2 or matrix.shape[0] == 0):
        return np.empty((0, dim), np.float32)
    if matrix.ndim != 2 or matrix.shape[1] != dim:
        raise StoreRequestError(
            f"vectors must have shape (n, {dim}) for this index, got {matrix.shape}",
            remedy="make them with the index's own embedder",
        )
    finite = np.asarray(np.isfinite(matrix).all(axis=1))
    if not finite.all():
        raise _refusal(~finite, ids, "holds NaN or infinity")
    if metric == "cosine":
        nonzero = np.asarray(matrix.any(axis=1))
        if not nonzero.all():
            raise _refusal(
                ~nonzero,
                ids,
                "is zero and has no direction to compare",
                remedy="leave it out, or use metric 'dot' or 'l2'",
            )
    return matrix


def normalise(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale vectors to unit L2 length along the last axis; zero vectors stay zero.

    Example:
        >>> normalise(np.array([[3.0, 4.0]], np.float32)).tolist()
        [[0.6000000238418579, 0.800000011920929]]
    """
    # Scaling by the largest element first keeps squares of huge and tiny values in range.
    peak = np.max(np.abs(vectors), axis=-1, keepdims=True)
    scaled = np.divide(vectors, peak, out=np.zeros_like(vectors), where=peak > 0)
    length = np.linalg.norm(scaled, axis=-1, keepdims=True)
    unit: NDArray[np.float32] = np.divide(scaled, length, out=scaled, where=length > 0)
    return unit


def unit_or_as_is(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Normalise, but leave rows that already have unit length unchanged.

    Example:
        >>> row = np.array([[0.6, 0.8]], np.float32)
        >>> np.array_equal(unit_or_as_is(row), row)
        True
    """
    with np.errstate(over="ignore"):
        squared = np.einsum("ij,ij->i", vectors, vectors)
    off = np.abs(squared - 1.0) > _UNIT_TOLERANCE
    if not off.any():
        return vectors
    result = vectors.copy()
    result[off] = normalise(vectors[off])
    return result


def scores(
    queries: NDArray[np.float32], vectors: NDArray[np.float32], metric: Metric
) -> NDArray[np.float32]:
    """Score every vector for every query; see `Hit.score` for the meaning.

    Args:
        queries: (n, dim); of unit length under ``cosine``.
        vectors: (m, dim); of unit length under ``cosine``.
        metric: The metric.

    Returns:
        float32 of shape (n, m), higher is better; clipped to [-1, 1] under ``cosine``.

    Example:
        >>> unit = np.eye(2, dtype=np.float32)
        >>> scores(unit, unit, "l2").tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    products: NDArray[np.float32] = queries @ vectors.T
    match metric:
        case "cosine":
            return np.clip(products, -1.0, 1.0, out=products)
        case "dot":
            return products
        case "l2":
            # 1 - |q-v|²/2 = 1 + q·v - (|q|²+|v|²)/2
            lengths = np.einsum("ij,ij->i", queries, queries)[:, None] + np.einsum(
                "ij,ij->i", vectors, vectors
            )
            result: NDArray[np.float32] = np.minimum(1.0 + products - lengths / 2, 1.0)
            return result


def _refusal(
    bad: NDArray[np.bool_], ids: Sequence[str], reason: str, *, remedy: str | None = None
) -> StoreRequestError:
    rows = np.flatnonzero(bad).tolist()
    refused = [ids[row] for row in rows if row < len(ids)]
    name = f"id {refused[0]!r}" if refused else f"row {rows[0]}"
    others = f" (and of {len(rows) - 1} more)" if len(rows) > 1 else ""
    return StoreRequestError(f"the vector of {name}{others} {reason}", ids=refused, remedy=remedy)
