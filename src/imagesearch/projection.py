"""Fit a projection on the vectors of an index, in one pass and bounded memory."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from imagesearch._validation import whole
from imagesearch.errors import ConfigError, StoreError
from imagesearch.protocols import VectorStore
from imagesearch.types import IndexMeta, Projection

__all__ = ["fit_projection", "require_projectable"]


_BATCH = 1024


def require_projectable(meta: IndexMeta, count: int, dim: int) -> None:
    """Refuse an index that a projection cannot be fitted on, before its vectors are read.

    Args:
        meta: The index's meta.
        count: Number of its records.
        dim: As for `fit_projection`.

    Raises:
        ConfigError: Its metric is not cosine, it is projected itself, or `dim` is not a whole number
            or out of range for it.

    Example:
        >>> from imagesearch.types import EmbeddingSpec
        >>> require_projectable(IndexMeta(EmbeddingSpec("mine", 3, True, "1")), count=9, dim=2)
    """
    if meta.metric != "cosine" or meta.projection is not None:
        raise ConfigError(
            "a projection needs an index with the metric 'cosine' and without a projection; this "
            f"one has the metric {meta.metric!r} and "
            f"{'is projected already' if meta.projection else 'no projection'}"
        )
    _checked(dim, count, meta.dim)


def fit_projection(
    store: VectorStore, dim: int, *, advance: Callable[[int], None] = lambda _: None
) -> Projection:
    """Fit centring and principal axes (PCA) on all vectors of a store.

    Mean and covariance are summed in float64 in one scan, in O(input_dim²) memory for any number of
    records. Axes are not whitened, which would lose quality on small galleries.

    Args:
        store: An open store with at least dim + 1 records.
        dim: Length of a projected vector, 1 ≤ dim < input_dim; the length distinguishes projected
            vectors from others.
        advance: Called with the number of records done.

    Raises:
        ConfigError: `dim` is not a whole number, or out of range for this store.
        StoreError: The store failed.

    Example:
        >>> from imagesearch.stores.memory import MemoryStore
        >>> from imagesearch.types import EmbeddingSpec, IndexMeta, RecordBatch
        >>> store = MemoryStore()
        >>> store.open(IndexMeta(EmbeddingSpec("mine", 3, True, "1")))
        >>> vectors = np.array([[1, 0, 0], [0, 1, 0], [-1, 0.1, 0]], np.float32)
        >>> store.upsert(RecordBatch(tuple("abc"), tuple("abc"), tuple("abc"), ({},) * 3, vectors))
        >>> fit_projection(store, 2).components.shape
        (3, 2)
    """
    count = 0
    total = np.zeros(0)
    products = np.zeros((0, 0))
    for batch in store.scan(batch_size=_BATCH, vectors=True):
        if batch.vectors is None:
            raise StoreError("the store returned records without their vectors")
        vectors = batch.vectors.astype(np.float64)
        if count == 0:
            total = np.zeros(vectors.shape[1])
            products = np.zeros((vectors.shape[1], vectors.shape[1]))
        count += len(vectors)
        total += vectors.sum(axis=0)
        products += vectors.T @ vectors
        advance(len(vectors))
    dim = _checked(dim, count, len(total))
    mean = total / count
    covariance = products / count - np.outer(mean, mean)
    # eigh sorts by ascending variance.
    _, axes = np.linalg.eigh(covariance)
    components = axes[:, ::-1][:, :dim]
    # The sign of an axis is arbitrary; fixing it makes the fingerprint repeatable.
    largest_rows = np.abs(components).argmax(axis=0)
    components = components * np.sign(components[largest_rows, np.arange(dim)])
    return Projection(mean.astype(np.float32), np.ascontiguousarray(components, np.float32), count)


def _checked(dim: int, count: int, input_dim: int) -> int:
    """Return a valid length of projected vectors for that many records."""
    dim = whole(dim, "dim")
    largest = min(count, input_dim) - 1
    if largest < 1:
        raise ConfigError(
            "a projection needs at least two records and two dimensions, got "
            f"{count} records of {input_dim} dimensions"
        )
    if not 1 <= dim <= largest:
        raise ConfigError(
            f"dim must be from 1 to {largest} for {count} records of {input_dim} dimensions, got "
            f"{dim}"
        )
    return dim
