"""Searching: queries into vectors, vectors into hits, and the hits that are wanted."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from reprlib import repr as shorten

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from imagesearch.errors import QueryError
from imagesearch.filters import Filter
from imagesearch.index.assembly import Assembly
from imagesearch.index.grouping import GroupScore, search_groups
from imagesearch.index.query_vectors import QueryVectors
from imagesearch.index.refinement import Refinement
from imagesearch.index.thresholds import MinScore, least_score
from imagesearch.index.thumbnails import query_thumbnail, thumbnail
from imagesearch.quantities import as_whole
from imagesearch.types import Hit, Hits, ImageSource, Item, Query

__all__ = ["Search", "as_queries", "as_query", "combined"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What is wanted of a search, for any number of queries; see `ImageIndex.search`.

    Raises:
        QueryError: An option is out of range.
    """

    k: int
    where: Filter | None
    min_score: MinScore
    exclude_self: bool
    group_by: str | None
    group_score: GroupScore
    refinement: Refinement

    def __post_init__(self) -> None:
        whole = as_whole(self.k)
        if whole is None or whole < 1:
            raise QueryError(f"k={self.k!r}; ask for a whole number of hits, at least one")
        object.__setattr__(self, "k", whole)
        if self.group_score not in ("best", "mean"):
            raise QueryError(f"group_score={self.group_score!r}; use 'best' or 'mean'")
        if self.group_by is not None and not (isinstance(self.group_by, str) and self.group_by):
            raise QueryError(f"group_by={self.group_by!r}; give the name of one metadata field")

    def answer(self, index: Assembly, queries: Sequence[Query]) -> list[Hits]:
        """Return the hits of each query.

        Raises:
            QueryError: A query cannot be asked of this index, or options do not go together.
            SourceError: A query image cannot be read.
            FilterError: The store cannot express the filter.
            StoreError: The store failed.
        """
        self.refinement.check(index.meta.metric, self.group_by, self.min_score)
        group_score = self.group_score if self.group_by is not None else None
        least = least_score(self.min_score, queries, index, group_score)
        vectors = QueryVectors(index.store, index.meta, index.embedder).of(queries)
        without = [query.ids if self.exclude_self else frozenset[str]() for query in queries]
        found = self._found(index, vectors, without)
        return [
            Hits(
                [
                    hit
                    for hit in hits
                    if hit.id not in ids and (least is None or hit.score >= least)
                ][: self.k],
                query=str(query),
                load=thumbnail,
                load_query=query_thumbnail(query),
            )
            for query, hits, ids in zip(queries, found, without, strict=True)
        ]

    def _found(
        self, index: Assembly, vectors: NDArray[np.float32], without: Sequence[frozenset[str]]
    ) -> list[list[Hit]]:
        """Return at least the k best hits of each query that may be kept, best first."""
        store, where = index.store, self.where
        vectors = self.refinement.expanded(store, vectors, where=where, without=without)
        if self.refinement.augment:
            return self.refinement.ranked(store, vectors, k=self.k, where=where, without=without)
        if self.group_by is None:
            spare = max(map(len, without), default=0)
            return store.search(vectors, k=self.k + spare, where=where) if len(vectors) else []
        return [
            search_groups(
                store,
                vector,
                field=self.group_by,
                score=self.group_score,
                k=self.k,
                where=where,
                without=ids,
                metric=index.meta.metric,
            )
            for vector, ids in zip(vectors, without, strict=True)
        ]


def as_query(query: Query | ImageSource) -> Query:
    """Return a query; what is none yet is an image source."""
    return query if isinstance(query, Query) else Query.image(query)


def as_queries(queries: Iterable[Query | ImageSource]) -> list[Query]:
    """Return many queries.

    Raises:
        QueryError: One query is given, and not several, or something that holds none.
    """
    one = isinstance(queries, str | bytes | Query | Item | os.PathLike | Image.Image) or (
        isinstance(queries, np.ndarray) and queries.ndim < 4
    )
    if one or not isinstance(queries, Iterable):
        raise QueryError(
            f"search_many takes a list of queries, not {shorten(queries)}; for one query use search"
        )
    return [as_query(query) for query in queries]


def combined(
    query: Query | ImageSource | None, text: str | None, id: str | None, vector: ArrayLike | None
) -> Query:
    """Add up all that was given into one query.

    Raises:
        QueryError: Nothing was given, or something that cannot be asked for.
    """
    parts = [
        as_query(query) if query is not None else None,
        Query.text(text) if text is not None else None,
        Query.id(id) if id is not None else None,
        Query.vector(vector) if vector is not None else None,
    ]
    terms = tuple(term for part in parts if part is not None for term in part.terms)
    if not terms:
        raise QueryError("search needs a query: an image, text=, id=, vector= or a Query")
    return Query(terms)
