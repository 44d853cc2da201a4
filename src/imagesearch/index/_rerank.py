"""Refinement: a first search's own answers make the second one better."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from imagesearch._printable import shorten
from imagesearch.errors import QueryError
from imagesearch.filters import Filter
from imagesearch.protocols import VectorStore
from imagesearch.types import Hit, Metric
from imagesearch.vectors import normalise

__all__ = ["Refinement"]


# Neighbours are weighted with the cube of their similarity, so that a copy counts and a stranger
# does not (alpha query expansion with alpha = 3; Radenović, Tolias and Chum, 2018).
_ALPHA = 3

# Candidates whose order augmentation settles: hits wanted, times this, but at least so many.
_CANDIDATES = 5
_LEAST_CANDIDATES = 50

# Queries whose candidates' vectors are in memory at a time.
_GROUP = 32


@dataclass(frozen=True, slots=True)
class Refinement:
    """What neighbours do for a query and for the candidates that answer it.

    Under the cosine metric only; every store can serve it.

    Attributes:
        expand: How many of the nearest records are added to the query before the search that
            counts; 0: none.
        augment: How many of its nearest fellow candidates are added to every candidate before
            they are ranked; 0: none.

    Raises:
        QueryError: A number is negative, or none.

    Example:
        >>> Refinement(expand=3, augment=3).wanted
        True
    """

    expand: int = 0
    augment: int = 0

    def __post_init__(self) -> None:
        for name, number in (("expand", self.expand), ("augment", self.augment)):
            if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < 0:
                raise QueryError(f"{name}={shorten(number)}; give a whole number ≥ 0, 0 for none")

    @property
    def wanted(self) -> bool:
        """Whether there is anything to do."""
        return self.expand > 0 or self.augment > 0

    def check(self, metric: Metric, group_by: str | None, min_score: float | str | None) -> None:
        """Refuse what cannot be combined.

        Raises:
            QueryError: The metric is not cosine, candidates are to be augmented and grouped, or
                the refined scores compared with a calibration, which was learned without.
        """
        if self.wanted and metric != "cosine":
            raise QueryError(
                f"expand and augment weigh neighbours by cosine similarity; this index has metric "
                f"{metric!r}, so leave them out, or build it with metric 'cosine'"
            )
        if self.augment and group_by is not None:
            raise QueryError(
                "augment ranks single records and cannot be combined with group_by; use expand, "
                "which can"
            )
        if self.wanted and isinstance(min_score, str):
            raise QueryError(
                f"min_score={shorten(min_score)} was learned from plain scores, which expand and augment "
                "raise; leave them out, or give a number as min_score"
            )

    def expanded(
        self,
        store: VectorStore,
        vectors: NDArray[np.float32],
        *,
        where: Filter | None,
        without: Sequence[frozenset[str]],
    ) -> NDArray[np.float32]:
        """Move queries towards their nearest records: one search and one `get`.

        Args:
            store: Open.
            vectors: (n, dim), of unit length.
            where: Only records that match are added.
            without: For each query the ids that are not.

        Returns:
            float32 of shape (n, dim), of unit length.
        """
        if not self.expand or not len(vectors):
            return vectors
        answers = _search(store, vectors, k=self.expand, where=where, without=without)
        rows = [
            normalise(query + _weights(near @ query) @ near) if len(near) else query
            for query, (_, near) in zip(vectors, _with_vectors(store, answers), strict=True)
        ]
        return np.stack(rows)

    def ranked(
        self,
        store: VectorStore,
        vectors: NDArray[np.float32],
        *,
        k: int,
        where: Filter | None,
        without: Sequence[frozenset[str]],
    ) -> list[list[Hit]]:
        """Search, and rank max(5 k, 50) candidates by their augmented vectors.

        Args:
            store: Open.
            vectors: (n, dim), of unit length, expanded or not.
            k: Hits wanted, ≥ 1.
            where: Only records that match are found, or added to others.
            without: For each query the ids that are left out, and are added to no other.

        Returns:
            For each query at most k hits, best first, then by id. A score is the cosine
            similarity of the query to the candidate averaged with its neighbours.
        """
        if not len(vectors):
            return []
        candidates = max(_CANDIDATES * k, _LEAST_CANDIDATES)
        answers = _search(store, vectors, k=candidates, where=where, without=without)
        return [
            self._rank(query, hits, near)[:k]
            for query, (hits, near) in zip(vectors, _with_vectors(store, answers), strict=True)
        ]

    def _rank(
        self, query: NDArray[np.float32], hits: list[Hit], vectors: NDArray[np.float32]
    ) -> list[Hit]:
        if not hits:
            return []
        count = min(self.augment, len(hits) - 1)
        if count:
            likeness = vectors @ vectors.T
            np.fill_diagonal(likeness, -np.inf)
            neighbours = np.argsort(-likeness, axis=1, kind="stable")[:, :count]
            weights = _weights(np.take_along_axis(likeness, neighbours, axis=1))
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
    without: Sequence[frozenset[str]],
) -> list[list[Hit]]:
    spare = max(map(len, without), default=0)
    found = store.search(vectors, k=k + spare, where=where)
    return [
        [hit for hit in hits if hit.id not in ids][:k]
        for hits, ids in zip(found, without, strict=True)
    ]


def _with_vectors(
    store: VectorStore, answers: list[list[Hit]]
) -> Iterator[tuple[list[Hit], NDArray[np.float32]]]:
    """Give each answer with its (m, dim) unit vectors, without records that are gone since."""
    for first in range(0, len(answers), _GROUP):
        some = answers[first : first + _GROUP]
        records = store.get(list({hit.id for hits in some for hit in hits}), vectors=True)
        for hits in some:
            kept: list[Hit] = []
            rows: list[NDArray[np.float32]] = []
            for hit in hits:
                record = records.get(hit.id)
                if record is not None and record.vector is not None:
                    kept.append(hit)
                    rows.append(record.vector)
            yield kept, normalise(np.stack(rows)) if rows else np.empty((0, 0), np.float32)
