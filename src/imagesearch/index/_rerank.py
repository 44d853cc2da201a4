"""Query expansion and database-side augmentation: neighbours improve a ranking."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from imagesearch._validation import batched, whole
from imagesearch.errors import QueryError
from imagesearch.filters import Filter
from imagesearch.protocols import VectorStore
from imagesearch.types import Hit, Metric
from imagesearch.vectors import normalise

__all__ = ["Rerank"]

# Neighbours are weighted with the cube of their similarity, so that near copies count and unrelated
# records do not (alpha query expansion with alpha = 3; Radenović, Tolias and Chum, 2018).
_ALPHA = 3

# Candidates that augmentation ranks: this many times k, but at least so many.
_CANDIDATES = 5
_LEAST_CANDIDATES = 50

# Queries whose candidates' vectors are in memory at a time.
_BATCH = 32


@dataclass(frozen=True, slots=True)
class Rerank:
    """Alpha query expansion (AQE) and database-side augmentation (DBA), under the cosine metric.

    Attributes:
        expand: Number of nearest records added to the query before the search (AQE); 0 for none.
        augment: Number of neighbours added to each candidate before ranking (DBA); 0 for none.

    Raises:
        QueryError: A number is negative or not whole.

    Example:
        >>> Rerank(expand=3, augment=3).active
        True
    """

    expand: int = 0
    augment: int = 0

    def __post_init__(self) -> None:
        for name in ("expand", "augment"):
            number = whole(getattr(self, name), name, least=0, error=QueryError)
            object.__setattr__(self, name, number)

    @property
    def active(self) -> bool:
        """Whether either number is positive."""
        return self.expand > 0 or self.augment > 0

    def check(self, metric: Metric, group_by: str | None, min_score: float | str | None) -> None:
        """Refuse options that cannot be combined.

        Raises:
            QueryError: The metric is not cosine, `augment` is combined with `group_by`, or either
                number with a calibrated minimum score, which was learned without.
        """
        if self.active and metric != "cosine":
            raise QueryError(
                "expand and augment need the metric 'cosine', and this index has the metric "
                f"{metric!r}; leave them out, or build the index with metric 'cosine'"
            )
        if self.augment and group_by is not None:
            raise QueryError("augment cannot be combined with group_by; use expand instead")
        if self.active and isinstance(min_score, str):
            raise QueryError(
                f"min_score={min_score!r} cannot be combined with expand or augment, which raise "
                "scores; leave them out, or use a number as min_score"
            )

    def expanded(
        self,
        store: VectorStore,
        vectors: NDArray[np.float32],
        *,
        where: Filter | None,
        excluded: Sequence[frozenset[str]],
    ) -> NDArray[np.float32]:
        """Add the nearest records to each query, with one search and one `get`.

        Args:
            store: An open store.
            vectors: Query vectors of shape (n, dim), of unit length.
            where: Only matching records are added.
            excluded: For each query, ids of records that are not added.

        Returns:
            float32 of shape (n, dim), of unit length.
        """
        if not self.expand or not len(vectors):
            return vectors
        results = _search(store, vectors, k=self.expand, where=where, excluded=excluded)
        rows = [
            normalise(query + _weights(near @ query) @ near) if len(near) else query
            for query, (_, near) in zip(vectors, _with_vectors(store, results), strict=True)
        ]
        return np.stack(rows)

    def ranked(
        self,
        store: VectorStore,
        vectors: NDArray[np.float32],
        *,
        k: int,
        where: Filter | None,
        excluded: Sequence[frozenset[str]],
    ) -> list[list[Hit]]:
        """Search, and rank max(5 k, 50) candidates by their augmented vectors.

        Args:
            store: An open store.
            vectors: Query vectors of shape (n, dim), of unit length.
            k: Number of hits, ≥ 1.
            where: Only matching records are found, or added to others.
            excluded: For each query, ids of records that are neither found nor added to others.

        Returns:
            For each query at most k hits, best first, then by id. A score is the cosine
            similarity of the query to the candidate averaged with its neighbours.
        """
        if not len(vectors):
            return []
        candidates = max(_CANDIDATES * k, _LEAST_CANDIDATES)
        results = _search(store, vectors, k=candidates, where=where, excluded=excluded)
        return [
            self._rank(query, hits, near)[:k]
            for query, (hits, near) in zip(vectors, _with_vectors(store, results), strict=True)
        ]

    def _rank(
        self, query: NDArray[np.float32], hits: list[Hit], vectors: NDArray[np.float32]
    ) -> list[Hit]:
        if not hits:
            return []
        count = min(self.augment, len(hits) - 1)
        if count:
            similarity = vectors @ vectors.T
            np.fill_diagonal(similarity, -np.inf)
            neighbours = np.argsort(-similarity, axis=1, kind="stable")[:, :count]
            weights = _weights(np.take_along_axis(similarity, neighbours, axis=1))
            vectors = normalise(
                vectors + np.einsum("ij,ijd->id", weights, vectors[neighbours], optimize=True)
            )
        scores = np.clip(vectors @ query, -1.0, 1.0)
        ranked = [replace(hit, score=float(score)) for hit, score in zip(hits, scores, strict=True)]
        return sorted(ranked, key=lambda hit: (-hit.score, hit.id))


def _weights(similarities: NDArray[np.float32]) -> NDArray[np.float32]:
    weights: NDArray[np.float32] = np.clip(similarities, 0.0, 1.0) ** _ALPHA
    return weights


def _search(
    store: VectorStore,
    vectors: NDArray[np.float32],
    *,
    k: int,
    where: Filter | None,
    excluded: Sequence[frozenset[str]],
) -> list[list[Hit]]:
    spare = max(map(len, excluded), default=0)
    results = store.search(vectors, k=k + spare, where=where)
    return [
        [hit for hit in hits if hit.id not in ids][:k]
        for hits, ids in zip(results, excluded, strict=True)
    ]


def _with_vectors(
    store: VectorStore, results: list[list[Hit]]
) -> Iterator[tuple[list[Hit], NDArray[np.float32]]]:
    """Yield the hits of each query with their (m, dim) unit vectors.

    Records that were deleted since the search are left out.
    """
    for batch in batched(results, _BATCH):
        records = store.get(list({hit.id for hits in batch for hit in hits}), vectors=True)
        for hits in batch:
            kept: list[Hit] = []
            rows: list[NDArray[np.float32]] = []
            for hit in hits:
                record = records.get(hit.id)
                if record is not None and record.vector is not None:
                    kept.append(hit)
                    rows.append(record.vector)
            yield kept, normalise(np.stack(rows)) if rows else np.empty((0, 0), np.float32)
