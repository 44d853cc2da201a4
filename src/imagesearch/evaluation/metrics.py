"""Metrics of one ranking, as pure functions of ranked ids and relevance grades.

Every function takes ids, best first and without repeats, and the grades of all relevant records by
id (1.0 for binary relevance; a grade ≤ 0 is not relevant). A ranking shorter than ``k`` counts as if
padded with irrelevant records. If no record is relevant, every metric is 0.0, as in trec_eval;
`evaluate` leaves such queries out.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence

__all__ = [
    "average_precision",
    "ndcg",
    "precision",
    "r_precision",
    "recall",
    "reciprocal_rank",
    "tutorial_average_precision",
]


def precision(ranked: Sequence[str], relevant: Mapping[str, float], k: int) -> float:
    """Share of the first k records that are relevant: hits / k.

    Example:
        >>> precision(["a", "x", "b"], {"a": 1, "b": 1}, k=2)
        0.5
    """
    return sum(_gains(ranked, relevant, k)) / k


def recall(ranked: Sequence[str], relevant: Mapping[str, float], k: int) -> float:
    """Share of the relevant records that are among the first k: hits / relevant.

    Its mean over queries is the mean hit ratio (mHR) of the reverse image search tutorials.

    Example:
        >>> recall(["a", "x", "b"], {"a": 1, "b": 1}, k=2)
        0.5
    """
    return _over(sum(_gains(ranked, relevant, k)), _count(relevant))


def average_precision(ranked: Sequence[str], relevant: Mapping[str, float], k: int) -> float:
    """Precision at the rank of each hit, summed, over min(relevant, k), the number of possible hits.

    trec_eval's ``map_cut`` divides by all relevant instead, so that a class larger than k can
    never reach 1; the two agree where no more than k records are relevant.

    Example:
        >>> average_precision(["a", "x", "b"], {"a": 1, "b": 1, "c": 1}, k=3)
        0.5555555555555555
    """
    return _over(_summed_precision(ranked, relevant, k), min(_count(relevant), k))


def tutorial_average_precision(
    ranked: Sequence[str], relevant: Mapping[str, float], k: int
) -> float:
    """Precision at the rank of each hit, summed, over the number of hits.

    The definition of the reverse image search tutorials, only for comparison with their published
    figures. It is too high, because records that are not found cost nothing: three hits at ranks 1
    to 3 score 1.0 however many more are relevant.

    Example:
        >>> tutorial_average_precision(["a", "b", "x"], {"a": 1, "b": 1, "c": 1, "d": 1}, k=3)
        1.0
    """
    return _over(_summed_precision(ranked, relevant, k), sum(_gains(ranked, relevant, k)))


def ndcg(ranked: Sequence[str], relevant: Mapping[str, float], k: int) -> float:
    """Discounted grades of the first k, over those of the best possible order.

    Gains are the grades themselves, discounted by log2(rank + 1): Järvelin and Kekäläinen (2002)
    in the form of trec_eval's ``ndcg_cut``.

    Example:
        >>> ndcg(["good", "best"], {"good": 1, "best": 2}, k=2)
        0.859...
        >>> ndcg(["best", "good"], {"good": 1, "best": 2}, k=2)
        1.0
    """
    grades = [max(relevant.get(id, 0.0), 0.0) for id in ranked[:k]]
    ideal = heapq.nlargest(k, (grade for grade in relevant.values() if grade > 0))
    return _over(_discounted(grades), _discounted(ideal))


def reciprocal_rank(ranked: Sequence[str], relevant: Mapping[str, float], k: int) -> float:
    """1 / rank of the first relevant record; 0.0 if there is none among the first k.

    Example:
        >>> reciprocal_rank(["x", "a"], {"a": 1}, k=10)
        0.5
    """
    gains = _gains(ranked, relevant, k)
    return 1.0 / (gains.index(1) + 1) if 1 in gains else 0.0


def r_precision(ranked: Sequence[str], relevant: Mapping[str, float]) -> float:
    """Share of the first R records that are relevant, where R is the number of relevant records.

    The fairest single number if classes differ in size. `ranked` must have R ids or more.

    Example:
        >>> r_precision(["a", "x", "b"], {"a": 1, "b": 1})
        0.5
    """
    count = _count(relevant)
    return _over(sum(_gains(ranked, relevant, count)), count)


def _gains(ranked: Sequence[str], relevant: Mapping[str, float], k: int) -> list[int]:
    return [int(relevant.get(id, 0.0) > 0) for id in ranked[:k]]


def _count(relevant: Mapping[str, float]) -> int:
    return sum(grade > 0 for grade in relevant.values())


def _summed_precision(ranked: Sequence[str], relevant: Mapping[str, float], k: int) -> float:
    total, hits = 0.0, 0
    for rank, gain in enumerate(_gains(ranked, relevant, k), 1):
        hits += gain
        total += gain * hits / rank
    return total


def _discounted(grades: Sequence[float]) -> float:
    return sum(grade / math.log2(rank + 1) for rank, grade in enumerate(grades, 1))


def _over(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
