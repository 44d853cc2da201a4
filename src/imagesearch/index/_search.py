"""Search: from queries and options to hits."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from imagesearch._printable import shorten
from imagesearch._validation import elements, flag, text, whole
from imagesearch.calibration import Calibration
from imagesearch.errors import QueryError
from imagesearch.filters import Filter
from imagesearch.index._open import OpenIndex
from imagesearch.index._query_vectors import QueryVectors
from imagesearch.index._rerank import Rerank
from imagesearch.protocols import SupportsNotes, VectorStore, supports
from imagesearch.sources import open_thumbnail
from imagesearch.types import Hit, Hits, ImageSource, ImageTerm, Item, Metric, Query, TextTerm

__all__ = [
    "CALIBRATION_NOTE",
    "MinScore",
    "Search",
    "as_queries",
    "combined",
    "has_text",
    "is_plain",
    "read_calibration",
    "resolve_min_score",
]

CALIBRATION_NOTE = "calibration"
"""Name of the note that holds an index's calibration."""

# Hits fetched for the first look at groups: this many times k, but at least so many.
_FIRST_FETCH = 4
_LEAST_FETCH = 32

MinScore: TypeAlias = float | Literal["calibrated"] | None
"""Minimum score of a hit; ``"calibrated"`` is the threshold that is saved in the index."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """The options of a search, for any number of queries; see `ImageIndex.search`.

    Raises:
        QueryError: An option is out of range.
    """

    k: int
    where: Filter | None
    min_score: MinScore
    exclude_self: bool
    group_by: str | None
    rerank: Rerank

    def __post_init__(self) -> None:
        object.__setattr__(self, "k", whole(self.k, "k", least=1, error=QueryError))
        object.__setattr__(self, "exclude_self", flag(self.exclude_self, "exclude_self"))
        if self.group_by is not None:
            text(self.group_by, "group_by", error=QueryError)

    def run(self, index: OpenIndex, queries: Sequence[Query]) -> list[Hits]:
        """Return the hits of each query.

        Raises:
            QueryError: A query does not suit this index, or options cannot be combined.
            SourceError: A query image cannot be read.
            FilterError: The store does not support the filter.
            StoreError: The store failed.
        """
        self.rerank.check(index.meta.metric, self.group_by, self.min_score)
        least = resolve_min_score(self.min_score, queries, index)
        vectors = QueryVectors(index.store, index.meta, index.embedder).of(queries)
        excluded = [query.ids if self.exclude_self else frozenset[str]() for query in queries]
        results = self._candidates(index.store, vectors, excluded)
        return [
            Hits(
                [
                    hit
                    for hit in hits
                    if hit.id not in ids and (least is None or hit.score >= least)
                ][: self.k],
                query=str(query),
                load=open_thumbnail,
                load_query=_query_thumbnail(query),
            )
            for query, hits, ids in zip(queries, results, excluded, strict=True)
        ]

    def _candidates(
        self,
        store: VectorStore,
        vectors: NDArray[np.float32],
        excluded: Sequence[frozenset[str]],
    ) -> list[list[Hit]]:
        """Return, for each query, at least the k best hits that are not excluded, best first."""
        vectors = self.rerank.expanded(store, vectors, where=self.where, excluded=excluded)
        if self.rerank.augment:
            return self.rerank.ranked(store, vectors, k=self.k, where=self.where, excluded=excluded)
        if self.group_by is None:
            spare = max(map(len, excluded), default=0)
            return store.search(vectors, k=self.k + spare, where=self.where) if len(vectors) else []
        return [
            self._best_of_groups(store, vector, self.group_by, ids)
            for vector, ids in zip(vectors, excluded, strict=True)
        ]

    def _best_of_groups(
        self, store: VectorStore, vector: NDArray[np.float32], field: str, excluded: frozenset[str]
    ) -> list[Hit]:
        """Return the best hit of each of the k best groups.

        Hits are fetched in growing numbers until no unseen group can be among the best k, because
        the last hit fetched scores no more than the k-th group (the threshold algorithm of Fagin,
        Lotem and Naor, 2003).
        """
        count = max(_LEAST_FETCH, _FIRST_FETCH * self.k) + len(excluded)
        while True:
            [hits] = store.search(vector[None], k=count, where=self.where)
            groups: dict[Hashable, Hit] = {}
            for hit in hits:
                if hit.id not in excluded:
                    groups.setdefault(_group_key(hit, field), hit)
            best = sorted(groups.values(), key=lambda hit: (-hit.score, hit.id))[: self.k]
            complete = len(hits) < count
            if complete or (len(best) == self.k and best[-1].score >= hits[-1].score):
                return best
            count *= 2


def _group_key(hit: Hit, field: str) -> Hashable:
    """Return what equal values of a field have in common; a record without it is its own group."""
    value = hit.metadata.get(field)
    return hit.id if value is None else _identity(value)


def _identity(value: Any) -> tuple[type, Hashable]:
    # Equal as filters see it: 1 and 1.0 are, 1 and True are not.
    match value:
        case list():
            return list, tuple(map(_identity, value))
        case dict():
            return dict, frozenset((name, _identity(part)) for name, part in value.items())
        case bool() | str() | None:
            return type(value), value
        case _:
            return float, value


def combined(
    query: Query | ImageSource | None, text: str | None, id: str | None, vector: ArrayLike | None
) -> Query:
    """Return one query, the sum of all arguments that are given.

    Raises:
        QueryError: None is given, or one is invalid.
    """
    parts = [
        _as_query(query) if query is not None else None,
        Query.text(text) if text is not None else None,
        Query.id(id) if id is not None else None,
        Query.vector(vector) if vector is not None else None,
    ]
    terms = tuple(term for part in parts if part is not None for term in part.terms)
    if not terms:
        raise QueryError("search needs a query: an image, text=, id=, vector= or a Query")
    return Query(terms)


def as_queries(queries: Iterable[Query | ImageSource]) -> list[Query]:
    """Return many queries as a list.

    Raises:
        QueryError: A single query is given, or something that is not iterable.
    """
    single = isinstance(queries, str | bytes | Query | Item | os.PathLike | Image.Image) or (
        isinstance(queries, np.ndarray) and queries.ndim < 4
    )
    several = None if single else elements(queries)
    if several is None:
        raise QueryError(
            f"search_many takes a list of queries, got {shorten(queries)}; use search for one query"
        )
    return [_as_query(query) for query in several]


def _as_query(query: Query | ImageSource) -> Query:
    return query if isinstance(query, Query) else Query.image(query)


def has_text(query: Query) -> bool:
    """Return whether a query contains text."""
    return any(isinstance(term, TextTerm) for term in query.terms)


def is_plain(query: Query, metric: Metric) -> bool:
    """Return whether a query is one whole image, record, vector or text.

    Only scores of such queries compare with those of a calibration: a sum lies between its terms
    and scores higher than each, a region is searched for in its context, and weights change scores
    unless vectors are compared by direction.

    Example:
        >>> is_plain(2 * Query.text("a"), "cosine"), is_plain(2 * Query.text("a"), "dot")
        (True, False)
        >>> is_plain(Query.image("a.jpg", box=(0, 0, 5, 5)), "cosine")
        False
    """
    match query.terms:
        case (ImageTerm(box=(_, _, _, _), focus=focus),) if focus > 0:
            return False
        case (term,):
            return term.weight > 0 if metric == "cosine" else term.weight == 1
        case _:
            return False


def resolve_min_score(
    min_score: MinScore, queries: Sequence[Query], index: OpenIndex
) -> float | None:
    """Return the minimum score of hits, or None.

    Raises:
        QueryError: `min_score` is neither a number nor ``"calibrated"``, or there is no
            calibration that applies to these queries.
        StoreError: The store failed.
    """
    if min_score is None:
        return None
    if isinstance(min_score, str) and min_score == "calibrated":
        return _calibrated_threshold(queries, index)
    # NaN would exclude every hit, as if the index had no match.
    number = math.nan
    if not isinstance(min_score, str | bool | np.bool_):
        try:
            number = float(min_score)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
    if math.isnan(number):
        raise QueryError(f"min_score must be a number or 'calibrated', got {shorten(min_score)}")
    return number


def _calibrated_threshold(queries: Sequence[Query], index: OpenIndex) -> float:
    calibration = read_calibration(index.store)
    if calibration is None:
        raise QueryError(
            "min_score='calibrated' needs a calibration, and this index has none"
            + (
                "; create one with index.calibrate() or imagesearch calibrate"
                if supports(index.store, SupportsNotes)
                else ", and its store cannot save one: use a number"
            )
        )
    calibration.require_fits(index.meta)
    for query in queries:
        if not is_plain(query, index.meta.metric):
            raise QueryError(
                "the calibration applies to queries of one whole image, record, vector or text, "
                f"and the scores of {query} are not comparable; use a number as min_score"
            )
        if has_text(query) != (calibration.kind == "text"):
            raise QueryError(
                f"the calibration was learned from {calibration.kind} queries, and the scores of "
                f"{query} are not comparable; use a number as min_score"
            )
    return calibration.threshold


def read_calibration(store: VectorStore) -> Calibration | None:
    """Return the calibration that is saved in an index, or None.

    Raises:
        QueryError: It cannot be read.
        StoreError: The store failed.
    """
    data = store.notes().get(CALIBRATION_NOTE) if supports(store, SupportsNotes) else None
    return None if data is None else Calibration.from_dict(data)


def _query_thumbnail(query: Query) -> Callable[[], Image.Image | None] | None:
    """Return a function that opens the first image of a query; None if it has none."""
    images = [term.source for term in query.terms if isinstance(term, ImageTerm)]
    return functools.partial(open_thumbnail, images[0]) if images else None
