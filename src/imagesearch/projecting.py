"""Projecting: fit a projection on the vectors of an index, in one pass and bounded memory."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from imagesearch.errors import ConfigError, StoreError
from imagesearch.protocols import VectorStore
from imagesearch.types import Projection

__all__ = ["fit_projection"]

_BATCH = 1024


def fit_projection(
    store: VectorStore, dim: int, *, advance: Callable[[int], None] = lambda _: None
) -> Projection:
    """Fit centring and principal axes (PCA) on all vectors of a store.

    Mean and covariance are summed up in float64 in one scan, so that memory is O(input_dim²)
    whatever the number of records. Axes are not whitened: dividing by the spread loses quality on
    small galleries.

    Args:
        store: Open, with at least dim + 1 records.
        dim: Length of a projected vector, 1 ≤ dim ≤ input_dim.
        advance: Told how many more records are dealt with.

    Raises:
        ConfigError: `dim` is out of range for this store.
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
            raise StoreError("the store gave records without their vectors")
        vectors = batch.vectors.astype(np.float64)
        if count == 0:
            total = np.zeros(vectors.shape[1])
            products = np.zeros((vectors.shape[1], vectors.shape[1]))
        count += len(vectors)
        total += vectors.sum(axis=0)
        products += vectors.T @ vectors
        advance(len(vectors))
    largest = min(count - 1, len(total))
    if not 1 <= dim <= largest:
        raise ConfigError(
            f"dim={dim} cannot be fitted on {count} records of {len(total)} dimensions; use 1 to "
            f"{largest}"
            if largest >= 1
            else f"a projection needs at least two records to be fitted on; there are {count}"
        )
    mean = total / count
    covariance = products / count - np.outer(mean, mean)
    # eigh sorts by ascending variance.
    _, axes = np.linalg.eigh(covariance)
    components = axes[:, ::-1][:, :dim]
    # The sign of an axis is arbitrary; fixing it makes the fingerprint repeatable.
    largest_rows = np.abs(components).argmax(axis=0)
    components = components * np.sign(components[largest_rows, np.arange(dim)])
    return Projection(mean.astype(np.float32), np.ascontiguousarray(components, np.float32), count)
