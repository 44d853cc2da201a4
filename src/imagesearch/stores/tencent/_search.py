"""Scoring: the service's scores as `Hit` defines them.

COSINE and IP scores are what `Hit` wants. The L2 score is a distance, and whether it is squared is
not documented: as long as that is not known, L2 searches ask for the vectors too and score by
those, and compare with the service's own numbers to find out.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from imagesearch._validation import chunks
from imagesearch.errors import StoreRequestError
from imagesearch.stores.tencent._clients import SideBySide
from imagesearch.stores.tencent._collection import OpenCollection
from imagesearch.stores.tencent._documents import short_floats
from imagesearch.stores.tencent._scan import MAX_PAGE
from imagesearch.stores.tencent._settings import Settings
from imagesearch.types import Hit, Metric

if TYPE_CHECKING:
    from imagesearch.stores.tencent._client import TencentClient

__all__ = ["Distances", "Searcher", "score_of"]


# Scores are rounded to five decimals; a distance and its square differ by more than this unless
# the distance is near 0 or 1.
_TELLING = 1e-2


class Distances:
    """What is known about the service's L2 scores."""

    def __init__(self) -> None:
        self._squared: bool | None = None

    @property
    def known(self) -> bool:
        """Whether it is known if they are squared."""
        return self._squared is not None

    def learn(
        self, queries: NDArray[np.float32], found: Sequence[Sequence[Mapping[str, Any]]]
    ) -> None:
        """Compare the service's scores with distances to the vectors that came along."""
        for query, documents in zip(queries, found, strict=True):
            for document in documents:
                squared = _squared_distance(query, document)
                distance = squared**0.5
                if abs(distance - squared) < _TELLING * max(1.0, squared):
                    continue
                score = float(document["score"])
                self._squared = abs(score - squared) < abs(score - distance)
                return

    def score(self, distance: float) -> float:
        """Return the score that `Hit` defines, from the service's."""
        return 1.0 - (distance if self._squared else distance**2) / 2


def score_of(
    document: Mapping[str, Any], query: NDArray[np.float32], metric: Metric, distances: Distances
) -> float:
    """Return the score of a document that a search found."""
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


_logger = logging.getLogger(__name__)

_VECTORS_PER_SEARCH = 20
_MAX_EF = 32_768
_DEFAULT_EF = 128


@dataclass(frozen=True, slots=True)
class Searcher:
    """Searches one open collection.

    Attributes:
        opened: The collection.
        settings: How to search.
        client: Reads as consistently as `settings` say.
        strong: Reads what was acknowledged, to count with.
        side_by_side: Runs requests.
        distances: What is known about L2 scores; kept from search to search.
    """

    opened: OpenCollection
    settings: Settings
    client: TencentClient
    strong: TencentClient
    side_by_side: SideBySide
    distances: Distances

    def search(
        self, queries: NDArray[np.float32], *, k: int, filter: str | None
    ) -> list[list[Hit]]:
        """Return at most k hits for each query, best first.

        Raises:
            StoreRequestError: More hits are there, and wanted, than one answer may have.
            StoreError: The service failed.
        """
        ef = max(self.settings.ef or _DEFAULT_EF, k)
        answers = self._ask(queries, k=k, filter=filter, ef=ef)
        if k > MAX_PAGE and any(len(hits) == MAX_PAGE for hits in answers):
            raise StoreRequestError(
                f"k={k}: Tencent Cloud VectorDB gives at most {MAX_PAGE} hits, and there are more; "
                "ask for fewer, or use scan"
            )
        self._complete(answers, queries, k=k, filter=filter, ef=ef)
        return answers

    def _ask(
        self, queries: NDArray[np.float32], *, k: int, filter: str | None, ef: int
    ) -> list[list[Hit]]:
        opened = self.opened
        params = {"ef": min(ef, _MAX_EF)} if opened.index == "HNSW" else {}
        if opened.index.startswith("IVF"):
            params = {"nprobe": self.settings.nprobe}

        def ask(part: NDArray[np.float32]) -> list[list[Hit]]:
            with_vectors = opened.meta.metric == "l2" and not self.distances.known
            found = self.client.search(
                self.settings.database,
                self.settings.collection,
                short_floats(part),
                limit=min(k, MAX_PAGE),
                params=params,
                filter=filter,
                fields=opened.mapping.output_fields,
                vectors=with_vectors,
            )
            if with_vectors:
                self.distances.learn(part, found)
            return [
                self._hits(query, documents) for query, documents in zip(part, found, strict=True)
            ]

        parts = chunks(queries, _VECTORS_PER_SEARCH)
        return [hits for answer in self.side_by_side.each(ask, parts) for hits in answer]

    def _hits(self, query: NDArray[np.float32], documents: list[dict[str, Any]]) -> list[Hit]:
        hits = []
        for document in documents:
            record = self.opened.mapping.record(document)
            score = score_of(document, query, self.opened.meta.metric, self.distances)
            hits.append(Hit(record.id, score, record.uri, record.metadata))
        return sorted(hits, key=lambda hit: (-hit.score, hit.id))

    def _complete(
        self,
        answers: list[list[Hit]],
        queries: NDArray[np.float32],
        *,
        k: int,
        filter: str | None,
        ef: int,
    ) -> None:
        """Look again where a graph search gave fewer than k hits, and more are there."""
        short = [row for row, hits in enumerate(answers) if len(hits) < k]
        if not short or self.settings.read_consistency != "strong":
            return
        counted = self.strong.count(self.settings.database, self.settings.collection, filter)
        there = min(k, counted)
        short = [row for row in short if len(answers[row]) < there]
        if short and self.opened.index == "HNSW" and ef < _MAX_EF:
            again = self._ask(queries[short], k=k, filter=filter, ef=_MAX_EF)
            for row, hits in zip(short, again, strict=True):
                answers[row] = hits
            short = [row for row in short if len(answers[row]) < there]
        if short:
            _logger.warning(
                "%s gave %d hits where %d are there: its vector index lacks records (after loading "
                "an IVF index, call rebuild_index)",
                self.settings.place,
                min(len(answers[row]) for row in short),
                there,
            )
