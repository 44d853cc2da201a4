"""Scoring: the service's scores as `Hit` defines them.

COSINE and IP scores are what `Hit` wants. The L2 score is a distance, and whether it is squared is
not documented: as long as that is not known, L2 searches ask for the vectors too and score by
those, and compare with the service's own numbers to find out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagesearch.types import Metric

__all__ = ["Distances", "score_of"]

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
