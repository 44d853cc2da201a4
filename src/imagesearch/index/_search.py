"""Search: from queries and options to hits."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from imagesearch._printable import shorten
from imagesearch._validation import as_whole, elements, flag, is_one_of
from imagesearch.calibration import Calibration
from imagesearch.errors import QueryError, UnsupportedOperationError
from imagesearch.filters import Filter
from imagesearch.index._grouping import GroupScore, search_groups
from imagesearch.index._open import Assembly
from imagesearch.index._query_vectors import QueryVectors
from imagesearch.index._rerank import Refinement
from imagesearch.protocols import SupportsNotes, VectorStore, supports
from imagesearch.sources import open_thumbnail
from imagesearch.types import Hit, Hits, ImageSource, ImageTerm, Item, Metric, Query, TextTerm

__all__ = [
    "MinScore",
    "Search",
    "as_queries",
    "as_query",
    "combined",
    "has_text",
    "is_plain",
    "least_score",
    "query_thumbnail",
    "read_calibration",
    "require_notes",
    "write_calibration",
]


def query_thumbnail(query: Query) -> Callable[[], Image.Image | None] | None:
    """Return what opens the first image of a query; None if it has none."""
    images = [term.source for term in query.terms if isinstance(term, ImageTerm)]
    return functools.partial(open_thumbnail, images[0]) if images else None


def has_text(query: Query) -> bool:
    """Tell whether a query is made of texts, at least in part."""
    return any(isinstance(term, TextTerm) for term in query.terms)


def is_plain(query: Query, metric: Metric) -> bool:
    """Tell whether a query is one whole image, record, vector or text, as a calibration asks them.

    A sum lies between its terms and scores higher than each, a region is looked for in its
    context, and weights change scores unless vectors are compared by direction.

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


_NOTE = "calibration"


def read_calibration(store: VectorStore) -> Calibration | None:
    """Return what is saved with the index, or None.

    Raises:
        QueryError: It cannot be read.
        StoreError: The store failed.
    """
    data = store.notes().get(_NOTE) if supports(store, SupportsNotes) else None
    return None if data is None else Calibration.from_dict(data)


def require_notes(store: VectorStore) -> None:
    """Make sure that a calibration could be saved, before the work of learning one.

    Raises:
        UnsupportedOperationError: The store keeps no notes, or may not be written.
        StoreError: The store failed.
    """
    # Removing what is not there takes the same lock as writing.
    _required(store).note(f"{_NOTE} attempt", None)


def write_calibration(store: VectorStore, calibration: Calibration) -> None:
    """Save a calibration with the index, in place of an earlier one.

    Raises:
        UnsupportedOperationError: The store keeps no notes, or may not be written.
        StoreError: The store failed.
    """
    _required(store).note(_NOTE, calibration.to_dict())


def _required(store: VectorStore) -> SupportsNotes:
    if not supports(store, SupportsNotes):
        raise UnsupportedOperationError(
            f"{store!r} keeps no notes, so a calibration cannot be saved with it: "
            "learn one without saving it, and give its threshold as the minimum score"
        )
    return store


MinScore: TypeAlias = float | Literal["calibrated"] | None
"""The least score of a hit; ``"calibrated"``: the threshold that is saved with the index."""


def least_score(
    wanted: MinScore, queries: Sequence[Query], index: Assembly, group_score: GroupScore | None
) -> float | None:
    """Return the score that hits must have.

    Args:
        wanted: What the caller gave.
        queries: What is asked.
        index: The index being searched.
        group_score: How groups are scored, if hits are groups.

    Raises:
        QueryError: It is not a number, there is no calibration, or that speaks of other scores than
            these.
        StoreError: The store failed.
    """
    if wanted is None:
        return None
    if not isinstance(wanted, str):
        # No score is above NaN, which would look like an index without any match.
        try:
            least = math.nan if isinstance(wanted, bool | np.bool_) else float(wanted)
        except (TypeError, ValueError, OverflowError):
            least = math.nan
        if math.isnan(least):
            raise QueryError(f"min_score must be a number or 'calibrated', got {shorten(wanted)}")
        return least
    if wanted != "calibrated":
        raise QueryError(f"min_score={shorten(wanted)}; give a number or 'calibrated'")
    calibration = read_calibration(index.store)
    if calibration is None:
        raise QueryError(
            "min_score='calibrated' needs a calibration, and this index has none"
            + (
                "; learn one with index.calibrate(), or imagesearch calibrate"
                if supports(index.store, SupportsNotes)
                else ", and its store cannot keep one: give a number"
            )
        )
    calibration.require_fits(index.meta)
    if group_score == "mean":
        raise QueryError(
            "the calibration speaks of single records, not of the mean score of a group; use "
            "group_score='best', or a number as min_score"
        )
    for query in queries:
        if not is_plain(query, index.meta.metric):
            raise QueryError(
                "the calibration was learned with one whole image, record, vector or text at a "
                f"time, and scores of {query} do not compare with theirs; give a number as "
                "min_score"
            )
        if has_text(query) != (calibration.kind == "text"):
            raise QueryError(
                f"the calibration was learned with {calibration.kind} queries, and scores of "
                f"{query} do not compare with theirs; give a number as min_score"
            )
    return calibration.threshold


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
            raise QueryError(f"k={shorten(self.k)}; ask for a whole number of hits, at least one")
        object.__setattr__(self, "k", whole)
        object.__setattr__(self, "exclude_self", flag(self.exclude_self, "exclude_self"))
        if not is_one_of(self.group_score, ("best", "mean")):
            raise QueryError(f"group_score={shorten(self.group_score)}; use 'best' or 'mean'")
        if self.group_by is not None and not (isinstance(self.group_by, str) and self.group_by):
            raise QueryError(
                f"group_by={shorten(self.group_by)}; give the name of one metadata field"
            )

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
                load=open_thumbnail,
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
    several = None if one else elements(queries)
    if several is None:
        raise QueryError(
            f"search_many takes a list of queries, not {shorten(queries)}; for one query use search"
        )
    return [as_query(query) for query in several]


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
