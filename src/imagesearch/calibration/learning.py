"""Learning: the lowest score from which on enough hits are right, with room for bad luck."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imagesearch.errors import ConfigError, QueryError

__all__ = ["CONFIDENCE", "JudgedHits", "Threshold", "learn", "least_share"]

CONFIDENCE = 0.95
"""How sure a stated precision is, all scores that were tried taken together."""

_CANDIDATES = 32
_FEWEST_HITS = 30
_HALVINGS = 60


@dataclass(frozen=True, slots=True, eq=False)
class JudgedHits:
    """Hits of many queries, each of them right or wrong.

    Attributes:
        scores: float64 of shape (n,).
        right: bool of shape (n,).
        queries: int64 of shape (n,), the number of the query that each hit answers.

    Example:
        >>> JudgedHits.of([0.9, 0.2], [True, False], [0, 0]).asked
        1
    """

    scores: NDArray[np.float64]
    right: NDArray[np.bool_]
    queries: NDArray[np.int64]

    @classmethod
    def of(cls, scores: ArrayLike, right: ArrayLike, queries: ArrayLike) -> JudgedHits:
        """Make them from three sequences of equal length."""
        return cls(
            np.asarray(scores, np.float64),
            np.asarray(right, np.bool_),
            np.asarray(queries, np.int64),
        )

    @property
    def asked(self) -> int:
        """How many queries have a judged hit."""
        return len(np.unique(self.queries))


@dataclass(frozen=True, slots=True)
class Threshold:
    """A score, and what is known about the hits that reach it.

    Attributes:
        score: The threshold.
        precision: Share of the hits with at least this score that are right.
        precision_low: What the precision is at least, with 95 % confidence.
        recall: Share of all right hits that reach the score.
    """

    score: float
    precision: float
    precision_low: float
    recall: float


def least_share(share: float, count: float, error: float) -> float:
    """Return what a probability is at least, after a share of `count` observations was seen.

    Chernoff's bound as Hoeffding proved it for independent values in [0, 1] (1963, theorem 1):
    the mean of n of them reaches `share` with a probability of at most exp(-n KL(share, p)). For
    ``share=1`` that is the bound of Clopper and Pearson (1934), error ** (1 / n).

    Args:
        share: 0 to 1.
        count: Independent observations, > 0; need not be whole.
        error: Probability that the bound is wrong, 0 to 1.

    Example:
        >>> round(least_share(1.0, 59, 0.05), 3), round(least_share(0.97, 500, 0.05), 3)
        (0.95, 0.947)
    """
    evidence = -math.log(error) / count
    low, high = 0.0, share
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _divergence(share, middle) > evidence:
            low = middle
        else:
            high = middle
    return low


def learn(hits: JudgedHits, *, precision: float) -> Threshold:
    """Return the lowest score from which on hits are right with at least that probability.

    At most 32 candidates are chosen by the scores alone, and each is judged with an error of
    5 % / 32 (Bonferroni), so that picking the lowest that passes is no luck: "learn then test" of
    Angelopoulos et al. (2021). Hits of one query are right or wrong together, so they count as
    one observation: what counts is Kish's (1965) effective number (Σm)² / Σm² for m hits a query.

    Args:
        hits: Judged.
        precision: 0 to 1, both excluded.

    Raises:
        ConfigError: `precision` is out of range.
        QueryError: No score gives that precision, or there are too few queries to be sure of it;
            the message names the best that can be had.

    Example:
        >>> right = np.arange(400) < 200
        >>> scores = np.where(right, 0.9, 0.3) + np.arange(400) / 10_000
        >>> found = learn(JudgedHits.of(scores, right, np.arange(400)), precision=0.9)
        >>> 0.3 < found.score < 0.9, found.recall
        (True, 1.0)
    """
    if not isinstance(precision, int | float) or not 0 < precision < 1:
        raise ConfigError(f"precision={precision!r}; it must be above 0 and below 1, such as 0.95")
    if not len(hits.scores):
        raise QueryError("there is no judged hit to learn from")
    if not hits.right.any():
        raise QueryError(
            f"none of the {len(hits.scores)} hits is right, so there is nothing to learn: check "
            "labels and pairs"
        )
    order = np.argsort(-hits.scores, kind="stable")
    scores, right, queries = hits.scores[order], hits.right[order], hits.queries[order]
    found = np.cumsum(right)
    counts = _candidates(scores)
    error = (1 - CONFIDENCE) / len(counts)
    tried = []
    for count in counts:
        share = float(found[count - 1] / count)
        _, sizes = np.unique(queries[:count], return_counts=True)
        effective = count**2 / float((sizes.astype(np.float64) ** 2).sum())
        tried.append(
            Threshold(
                _between(scores, count),
                share,
                least_share(share, effective, error),
                float(found[count - 1] / found[-1]),
            )
        )
    passed = [one for one in tried if one.precision_low >= precision]
    if passed:
        return min(passed, key=lambda one: one.score)
    raise QueryError(_unreachable(tried, precision, len(scores), hits.asked, error))


def _divergence(share: float, chance: float) -> float:
    """Kullback-Leibler divergence of two coins."""
    if chance <= 0:
        return math.inf if share > 0 else 0.0
    if chance >= 1:
        return math.inf if share < 1 else 0.0
    right = share * math.log(share / chance) if share > 0 else 0.0
    wrong = (1 - share) * math.log((1 - share) / (1 - chance)) if share < 1 else 0.0
    return right + wrong


def _candidates(scores: NDArray[np.float64]) -> list[int]:
    """Numbers of best hits to look at, such that none cuts through equal scores."""
    total = len(scores)
    wanted = np.geomspace(min(_FEWEST_HITS, total), total, _CANDIDATES).round().astype(np.int64)
    whole = np.searchsorted(-scores, -scores[np.unique(wanted) - 1], side="right")
    return [int(count) for count in np.unique(whole)]


def _between(scores: NDArray[np.float64], count: int) -> float:
    """Half way to the next lower score, as far as possible from both."""
    last = float(scores[count - 1])
    if count == len(scores):
        return last
    following = float(scores[count])
    middle = (last + following) / 2
    return middle if following < middle <= last else last


def _unreachable(
    tried: Sequence[Threshold], precision: float, hits: int, asked: int, error: float
) -> str:
    best = max(tried, key=lambda one: (one.precision_low, one.recall))
    needed = math.ceil(math.log(error) / math.log(precision))
    # Rounded down, so that asking for what the message names succeeds.
    reachable = math.floor(best.precision_low * 1000) / 1000
    return (
        f"precision={precision:g} cannot be assured by {hits} judged hits of {asked} queries: the "
        f"best is precision={reachable:g} at scores from {best.score:.4f}, where "
        f"{best.precision:.1%} of the hits are right. Ask for that, or give more queries: at least "
        f"{needed} of them must have hits that are all right"
    )
