"""Search a collection, and turn the service's scores into those of `Hit`.

The service's scores under COSINE and IP are those of `Hit`. Under L2 it returns a distance, and
whether that is squared is not documented: until it is known, searches request the vectors too, score
by them, and compare with the service's numbers to find out.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from imagesearch._validation import batched
from imagesearch.errors import StoreRequestError, StoreUnavailableError
from imagesearch.stores.tencent._documents import short_floats
from imagesearch.stores.tencent._scan import MAX_PAGE
from imagesearch.stores.tencent._schema import IndexNotReadyError
from imagesearch.stores.tencent._settings import IVF
from imagesearch.types import Hit, Metric

if TYPE_CHECKING:
    from imagesearch.stores.tencent._client import Connection
    from imagesearch.stores.tencent._collection import OpenCollection

__all__ = ["Distances", "score_of", "search_collection"]

_logger = logging.getLogger(__name__)

_VECTORS_PER_SEARCH = 20
# Scores are rounded to five decimals; a distance and its square differ by more than this unless
# the distance is near 0 or 1.
_SIGNIFICANT = 1e-2


class Distances:
    """Whether the service's L2 scores are squared, once that is known."""

    def __init__(self) -> None:
        self._squared: bool | None = None

    @property
    def known(self) -> bool:
        """Whether it is known if they are squared."""
        return self._squared is not None

    def learn(
        self, queries: NDArray[np.float32], answers: Sequence[Sequence[Mapping[str, Any]]]
    ) -> None:
        """Compare the service's scores with distances to the vectors of the same documents."""
        for query, documents in zip(queries, answers, strict=True):
            for document in documents:
                squared = _squared_distance(query, document)
                distance = squared**0.5
                if abs(distance - squared) < _SIGNIFICANT * max(1.0, squared):
                    continue
                score = float(document["score"])
                self._squared = abs(score - squared) < abs(score - distance)
                return

    def score(self, distance: float) -> float:
        """Return the score of `Hit` for the service's score."""
        return 1.0 - (distance if self._squared else distance**2) / 2


def score_of(
    document: Mapping[str, Any], query: NDArray[np.float32], metric: Metric, distances: Distances
) -> float:
    """Return the score of a document that a search returned."""
    score = float(document["score"])
    match metric:
        case "cosine":
            return min(1.0, max(-1.0, score))
        case "dot":
            return score
        case "l2":
            if "vector" in document:
                return 1.0 - _squared_distance(query, document) / 2
            return distances.score(score)


def _squared_distance(query: NDArray[np.float32], document: Mapping[str, Any]) -> float:
    difference = np.asarray(document["vector"], np.float64) - query
    return float(difference @ difference)


def search_collection(
    connection: Connection,
    opened: OpenCollection,
    distances: Distances,
    queries: NDArray[np.float32],
    *,
    k: int,
    filter: str | None,
) -> list[list[Hit]]:
    """Return at most k hits for each query, best first.

    Args:
        connection: The connection of the store.
        opened: Its collection, as it was opened.
        distances: What is known about L2 scores; kept between searches.
        queries: The query vectors, checked.
        k: Number of hits for each query.
        filter: Condition in the service's language.

    Raises:
        StoreRequestError: There are more hits than one response can have, and k asks for them.
        StoreError: The service failed.
    """
    strong = connection.settings.read_consistency == "strong"
    collection = connection.collection(strong=strong)
    metric, mapping = opened.meta.metric, opened.mapping

    def request(part: NDArray[np.float32], *, thorough: bool) -> list[list[Hit]]:
        with_vectors = metric == "l2" and not distances.known
        try:
            answers = collection.search(
                short_floats(part),
                limit=min(k, MAX_PAGE),
                params=opened.index.search_params(k, thorough=thorough),
                filter=filter,
                fields=mapping.output_fields,
                vectors=with_vectors,
                needs_rebuild=isinstance(opened.index, IVF),
            )
        except IndexNotReadyError as error:
            if not isinstance(opened.index, IVF):
                raise
            raise StoreUnavailableError(
                f"{connection.settings.location}: its IVF index is not built",
                remedy="call rebuild_index after loading",
            ) from error
        if with_vectors:
            distances.learn(part, answers)
        return [
            _hits(opened, distances, query, documents)
            for query, documents in zip(part, answers, strict=True)
        ]

    def search(rows: NDArray[np.float32], *, thorough: bool = False) -> list[list[Hit]]:
        parts = batched(rows, _VECTORS_PER_SEARCH)
        answers = connection.map(lambda part: request(part, thorough=thorough), parts)
        return [hits for answer in answers for hits in answer]

    answers = search(queries)
    if k > MAX_PAGE and any(len(hits) == MAX_PAGE for hits in answers):
        raise StoreRequestError(
            f"k={k}: Tencent Cloud VectorDB returns at most {MAX_PAGE} hits, and more match; use a "
            "smaller k, or scan"
        )
    short = [row for row, hits in enumerate(answers) if len(hits) < k]
    if not short or not strong:
        return answers
    matching = min(k, collection.count(filter))
    short = [row for row in short if len(answers[row]) < matching]
    if short and opened.index.search_params(k, thorough=True) != opened.index.search_params(k):
        # A graph search may end before it has found k matching records.
        for row, hits in zip(short, search(queries[short], thorough=True), strict=True):
            answers[row] = hits
        short = [row for row in short if len(answers[row]) < matching]
    if short:
        _logger.warning(
            "%s returned %d hits although %d records match: its vector index lacks records (after "
            "loading an IVF index, call rebuild_index)",
            connection.settings.location,
            min(len(answers[row]) for row in short),
            matching,
        )
    return answers


def _hits(
    opened: OpenCollection,
    distances: Distances,
    query: NDArray[np.float32],
    documents: list[dict[str, Any]],
) -> list[Hit]:
    hits = []
    for document in documents:
        record = opened.mapping.record(document)
        score = score_of(document, query, opened.meta.metric, distances)
        hits.append(Hit(record.id, score, record.uri, record.metadata))
    return sorted(hits, key=lambda hit: (-hit.score, hit.id))
