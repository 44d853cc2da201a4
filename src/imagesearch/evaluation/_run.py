"""Asking: queries through the model and through the search, one by one, with a clock."""

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
    "Contender",
    "Prepared",
    "SearchFunction",
    "ask",
    "prepare",
    "query_image",
    "read_only",
]


SearchFunction: TypeAlias = Callable[[Query, int], Sequence[Hit]]
"""Takes a query and k, and returns at most k hits, best first."""

QUERY_ERRORS = (QueryError, SourceError, EmbeddingError)
"""What spoils one query only; a store that fails ends the evaluation."""


@dataclass(frozen=True, slots=True, eq=False)
class Contender:
    """One way of searching that is to be measured.

    Attributes:
        index: What is searched; the judgements come from its records.
        name: In reports; empty for the embedder's name.
        options: Arguments for `ImageIndex.search_many`, beside k, where and exclude_self.
        search: Searches in place of `ImageIndex.search_many`; it must return the query's own
            record too, should the index hold it, and heeds `options` and ``where`` by itself.
        embed_first: Whether an image query is embedded before, apart from the search, and handed
            over as `Query.vector`, projected if the index is; False hands it over as it was asked, for a search that looks
            at the image itself.

    Example:
        >>> from imagesearch import DescriptorEmbedder, MemoryStore
        >>> index = ImageIndex(embedder=DescriptorEmbedder(), store=MemoryStore())
        >>> Contender(index, "strict", {"min_score": 0.5}).name
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
                f"{shorten(self.index)} is no ImageIndex; open what shall be measured: ImageIndex(…)"
            )
        if self.search is not None:
            return
        known = inspect.signature(ImageIndex.search_many).parameters
        unknown = sorted(self.options.keys() - known.keys())
        if unknown:
            raise ConfigError(f"a search has no option {unknown[0]!r}; see ImageIndex.search_many")


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A query that is ready to be searched for.

    Attributes:
        query: What was asked.
        vector: The embedder's own vector of the query image; None when the search embeds.
        digest: Hex SHA-256 of the query image, or empty.
        seconds: Reading, decoding and embedding; None when the search does it.
        error: Why the query cannot be asked.
    """

    query: Query
    vector: NDArray[np.float32] | None = None
    digest: str = ""
    seconds: float | None = None
    error: ImageSearchError | None = None

    def for_index(self, index: ImageIndex) -> Query:
        """Return what to hand to a search of `index`: a vector as its store holds them.

        Raises:
            EmbeddingError: The vector has no direction after the index's projection.
        """
        if self.vector is None:
            return self.query
        projection = index.meta.projection
        if projection is None:
            return Query.vector(self.vector)
        return Query.vector(projection.apply(normalise(self.vector[None]))[0])


def query_image(query: Query) -> ImageSource | None:
    """Return the image of a query that is nothing but one whole image."""
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
        queries: What will be asked.
        embedder: Gives the embedder when a query needs it; making it is not timed.
        advance: Called for every query.
    """
    prepared: list[Prepared] = []
    warm = False
    for query in queries:
        source = query_image(query.query)
        if source is None:
            prepared.append(Prepared(query.query))
        else:
            if not warm:
                # The first image pays for what is made once, such as threads and kernels.
                _embed(query.query, source, embedder())
                warm = True
            prepared.append(_embed(query.query, source, embedder()))
        advance(1)
    return prepared


def read_only(queries: Sequence[EvaluationQuery]) -> list[Prepared]:
    """Read the query images to know who they are, and leave the embedding to the search."""
    prepared: list[Prepared] = []
    for query in queries:
        source = query_image(query.query)
        try:
            digest = read(Item(source)).digest if source is not None else ""
            prepared.append(Prepared(query.query, digest=digest))
        except QUERY_ERRORS as error:
            prepared.append(Prepared(query.query, error=error))
    return prepared


def ask(
    contender: Contender, prepared: Prepared, *, k: int, where: Filter | str | None
) -> tuple[list[Hit], float]:
    """Search, and return the hits with the seconds that it took.

    Raises:
        ConfigError: One record came back twice, which would count twice.
        ImageSearchError: As `ImageIndex.search_many`.
    """
    options: dict[str, Any] = {**contender.options, "where": where, "exclude_self": False}
    started = time.perf_counter()
    query = prepared.for_index(contender.index)
    if contender.search is not None:
        hits = contender.search(query, k)
    else:
        [hits] = contender.index.search_many([query], k=k, **options)
    seconds = time.perf_counter() - started
    if len({hit.id for hit in hits}) != len(hits):
        raise ConfigError(
            f"{contender.name!r} returned one record twice for {query}; return each once"
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
