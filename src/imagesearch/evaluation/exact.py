"""Exact neighbours: what a store's approximate search should have found, computed beside it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from imagesearch.filters import Filter, as_filter
from imagesearch.index import ImageIndex
from imagesearch.index.query_vectors import QueryVectors
from imagesearch.types import Query
from imagesearch.vectors import scores, unit_or_as_is

__all__ = ["ann_recall"]

_BATCH = 1000
_QUERIES = 256

# Equal vectors in two blocks of a float32 product differ by less than this share of their score.
_SLACK = 1e-5


def ann_recall(
    index: ImageIndex,
    queries: Sequence[Query],
    *,
    k: int = 10,
    where: Filter | str | None = None,
    batch_size: int = _BATCH,
) -> NDArray[np.float64]:
    """Compare the store's search with an exact scan of its vectors.

    Scores are computed here, not taken from the store. What scores as well as the k-th true
    neighbour counts as found, so that ties cost nothing. Memory is one batch of vectors, its
    scores, and k scores for each query.

    Args:
        index: Its store is scanned once for every 256 queries, vectors included.
        queries: What is asked.
        k: Neighbours wanted, ≥ 1.
        where: Only records that match.
        batch_size: Records in one block of the scan, ≥ 1.

    Returns:
        float64 of shape (n,): the share of the min(k, matching records) true neighbours that the
        store's own search returned; 1.0 where no record matches.

    Raises:
        QueryError: A query cannot be asked of this index.
        StoreError: The store failed.

    Example:
        >>> from PIL import Image
        >>> from imagesearch import DescriptorEmbedder, MemoryStore
        >>> index = ImageIndex(embedder=DescriptorEmbedder(), store=MemoryStore())
        >>> _ = index.add([Image.new("RGB", (9, 9), colour) for colour in ("red", "blue")])
        >>> ann_recall(index, [Query.image(Image.new("RGB", (9, 9), "navy"))], k=1).tolist()
        [1.0]
    """
    filter = as_filter(where)
    vectors = QueryVectors(index.store, index.meta, lambda: index.embedder).of(queries)
    parts = [
        _of_some(index, vectors[first : first + _QUERIES], k, filter, batch_size)
        for first in range(0, len(vectors), _QUERIES)
    ]
    return np.concatenate(parts) if parts else np.empty(0)


def _of_some(
    index: ImageIndex, vectors: NDArray[np.float32], k: int, filter: Filter | None, batch_size: int
) -> NDArray[np.float64]:
    answers = index.store.search(vectors, k=k, where=filter)
    places: dict[str, list[int]] = {}
    for query, answer in enumerate(answers):
        for hit in answer:
            places.setdefault(hit.id, []).append(query)
    best = np.full((len(vectors), 0), -np.inf, np.float32)
    returned: list[list[float]] = [[] for _ in answers]
    metric = index.meta.metric
    for batch in index.scan(where=filter, batch_size=batch_size, vectors=True):
        if batch.vectors is None:
            continue
        stored = unit_or_as_is(batch.vectors) if metric == "cosine" else batch.vectors
        block = scores(vectors, stored, metric)
        for row, id in enumerate(batch.ids):
            for query in places.get(id, ()):
                returned[query].append(float(block[query, row]))
        merged = np.concatenate([best, block], axis=1)
        best = merged if merged.shape[1] <= k else np.partition(merged, -k, axis=1)[:, -k:]
    if best.shape[1] == 0:
        return np.ones(len(vectors))
    lowest = best.min(axis=1)
    lowest -= _SLACK * np.maximum(1.0, np.abs(lowest))
    found = [
        sum(score >= limit for score in of_query)
        for of_query, limit in zip(returned, lowest.tolist(), strict=True)
    ]
    return np.minimum(np.asarray(found, np.float64) / best.shape[1], 1.0)
