"""Run queries one by one through the model and the search, and measure the times."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from imagesearch._pipeline import embed_one
from imagesearch._printable import shorten
from imagesearch._validation import did_you_mean
from imagesearch.errors import (
    ConfigError,
    EmbeddingError,
    ImageSearchError,
    QueryError,
    SourceError,
)
from imagesearch.filters import Filter
from imagesearch.index import ImageIndex
from imagesearch.protocols import Embedder
from imagesearch.qrels import EvaluationQuery
from imagesearch.sources import read
from imagesearch.types import Hit, ImageSource, ImageTerm, Item, Query
from imagesearch.vectors import normalise

__all__ = [
    "QUERY_ERRORS",
    "Prepared",
    "SearchFunction",
    "System",
    "prepare",
    "query_image",
    "read_only",
    "search",
]


SearchFunction: TypeAlias = Callable[[Query, int], Sequence[Hit]]
"""A function of a query and k that returns at most k hits, best first."""

QUERY_ERRORS = (QueryError, SourceError, EmbeddingError)
"""Errors that fail one query only; a failure of the store ends the evaluation."""


@dataclass(frozen=True, slots=True, eq=False)
class System:
    """A search system under evaluation: an index with search options or a search function.

    Attributes:
        index: The index to search; its records are judged.
        name: Its name in reports; empty for the embedder's name.
        options: Arguments for `ImageIndex.search_many` other than k, where and exclude_self.
        search: A function to call instead of `ImageIndex.search_many`. It must not exclude the
            query's own record, and must apply `options` and ``where`` itself.
        embed_first: Whether image queries are embedded before the search and passed as
            `Query.vector`, projected if the index is. False passes the image itself.

    Example:
        >>> from imagesearch import DescriptorEmbedder, MemoryStore
        >>> index = ImageIndex(embedder=DescriptorEmbedder(), store=MemoryStore())
        >>> System(index, "strict", {"min_score": 0.5}).name
        'strict'
    """

    index: ImageIndex
    name: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    search: SearchFunction | None = None
    embed_first: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.index, ImageIndex):
            raise ConfigError(
                f"index must be an ImageIndex, got {shorten(self.index)}; open it with ImageIndex(…)"
            )
        if self.search is not None:
            return
        parameters = inspect.signature(ImageIndex.search_many).parameters
        unknown = sorted(self.options.keys() - parameters.keys())
        if unknown:
            raise ConfigError(
                f"unknown search option {unknown[0]!r}; see ImageIndex.search_many"
                + did_you_mean(unknown[0], parameters)
            )


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A query that is ready to search with.

    Attributes:
        query: The query.
        vector: The embedder's vector of the query image; None if the search embeds.
        digest: Hex SHA-256 of the query image, or empty.
        seconds: Seconds for reading, decoding and embedding; None if the search does it.
        error: Why the query cannot be used.
    """

    query: Query
    vector: NDArray[np.float32] | None = None
    digest: str = ""
    seconds: float | None = None
    error: ImageSearchError | None = None

    def for_index(self, index: ImageIndex) -> Query:
        """Return the query for a search of `index`, with a vector as its store has them.

        Raises:
            EmbeddingError: The projected vector is zero.
        """
        if self.vector is None:
            return self.query
        projection = index.meta.projection
        if projection is None:
            return Query.vector(self.vector)
        return Query.vector(projection.apply(normalise(self.vector[None]))[0])


def query_image(query: Query) -> ImageSource | None:
    """Return the image of a query that is one whole image, or None."""
    match query.terms:
        case (ImageTerm(source=source, weight=1.0, box=None),):
            return source
        case _:
            return None


def prepare(
    queries: Sequence[EvaluationQuery],
    embedder: Callable[[], Embedder],
    advance: Callable[[int], None],
) -> list[Prepared]:
    """Embed the queries that are one image each, as a user's program would: one at a time.

    Args:
        queries: The queries.
        embedder: Returns the embedder; its creation is not timed.
        advance: Called with the number of queries done.
    """
    prepared: list[Prepared] = []
    warm = False
    for query in queries:
        source = query_image(query.query)
        if source is None:
            prepared.append(Prepared(query.query))
        else:
            if not warm:
                # Warm up: the first image creates threads and kernels.
                _embed(query.query, source, embedder())
                warm = True
            prepared.append(_embed(query.query, source, embedder()))
        advance(1)
    return prepared


def read_only(queries: Sequence[EvaluationQuery]) -> list[Prepared]:
    """Read the query images for their digests, and leave the embedding to the search."""
    prepared: list[Prepared] = []
    for query in queries:
        source = query_image(query.query)
        try:
            digest = read(Item(source)).digest if source is not None else ""
            prepared.append(Prepared(query.query, digest=digest))
        except QUERY_ERRORS as error:
            prepared.append(Prepared(query.query, error=error))
    return prepared


def search(
    system: System, prepared: Prepared, *, k: int, where: Filter | str | None
) -> tuple[list[Hit], float]:
    """Search, and return the hits and the duration in seconds.

    Raises:
        ConfigError: The search returned a record twice.
        ImageSearchError: As `ImageIndex.search_many`.
    """
    options: dict[str, Any] = {**system.options, "where": where, "exclude_self": False}
    started = time.perf_counter()
    query = prepared.for_index(system.index)
    if system.search is not None:
        hits = system.search(query, k)
    else:
        [hits] = system.index.search_many([query], k=k, **options)
    seconds = time.perf_counter() - started
    if len({hit.id for hit in hits}) != len(hits):
        raise ConfigError(
            f"{system.name!r} returned one record twice for {query}; return each once"
        )
    return list(hits[:k]), seconds


def _embed(query: Query, source: ImageSource, embedder: Embedder) -> Prepared:
    started = time.perf_counter()
    digest = ""
    try:
        payload = read(Item(source))
        digest = payload.digest
        vector = embed_one(embedder, payload)
        seconds = time.perf_counter() - started
        return Prepared(query, vector, digest, seconds)
    except QUERY_ERRORS as error:
        return Prepared(query, digest=digest, error=error)
