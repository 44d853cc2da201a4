"""Calibration: from judged scores to a threshold with a stated precision."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imagesearch._printable import shorten
from imagesearch._validation import as_real
from imagesearch.errors import ConfigError, QueryError
from imagesearch.types import IndexMeta

__all__ = [
    "Calibration",
    "JudgedHits",
    "LearnedFrom",
    "QueryKind",
    "Threshold",
    "learn",
    "least_share",
]


LearnedFrom: TypeAlias = Literal["labels", "queries", "pairs", "duplicates"]
"""What said which hits are right."""

QueryKind: TypeAlias = Literal["image", "text"]
"""What was asked; scores of texts are not those of images."""

_WORDS: Mapping[str, str] = {
    "labels": "records of the index and their labels",
    "queries": "labelled queries",
    "pairs": "queries with their relevant records",
    "duplicates": "copies within the index",
}


@dataclass(frozen=True, slots=True)
class Calibration:
    """A score from which on hits are right, as far as the stated precision goes.

    Attributes:
        threshold: The score.
        wanted: The precision that was asked for.
        precision: Share of right ones among the hits that reach the threshold.
        precision_low: What the precision is at least, with 95 % confidence; ≥ `wanted`.
        recall: Share of the right hits, among the first `k` of each query, that reach the
            threshold.
        queries: How many queries had a judged hit.
        pairs: How many hits were judged.
        skipped: Queries that could not be asked or judged.
        learned_from: What said which hits are right.
        kind: What was asked.
        k: How many hits of a query were looked at.
        records: How many records the index held.
        fingerprint: Of the embedder.
        projection: Fingerprint of the index's projection, or None.
        metric: How vectors are compared.

    Example:
        >>> calibration = Calibration(
        ...     0.71, 0.9, 0.95, 0.91, 0.8, 200, 2000, 0, "labels", "image", 10, 500, "v1", None,
        ...     "cosine")
        >>> print(calibration)
        score >= 0.7100: 95.0 % of the hits are right (at least 91.0 %, with 95 % confidence), and
        80.0 % of the right ones are kept; learned from 200 records of the index and their labels,
        10 hits each, in an index of 500 images
        >>> Calibration.from_dict(calibration.to_dict()) == calibration
        True
    """

    threshold: float
    wanted: float
    precision: float
    precision_low: float
    recall: float
    queries: int
    pairs: int
    skipped: int
    learned_from: LearnedFrom
    kind: QueryKind
    k: int
    records: int
    fingerprint: str
    projection: str | None
    metric: str

    def to_dict(self) -> dict[str, Any]:
        """Return this calibration as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Calibration:
        """Read back what `to_dict` gave.

        Raises:
            QueryError: The data are no calibration that this version understands.
        """
        try:
            values = {one.name: data[one.name] for one in fields(cls)}
            values["threshold"] = float(values["threshold"])
            return cls(**values)
        except (KeyError, TypeError, ValueError) as error:
            raise QueryError(
                f"the saved calibration cannot be read ({error!r}); learn it anew with "
                "index.calibrate()"
            ) from error

    def require_fits(self, meta: IndexMeta) -> None:
        """Refuse an index whose scores mean something else.

        Raises:
            QueryError: Embedder, projection or metric are not those it was learned with.

        Example:
            >>> from imagesearch.types import EmbeddingSpec
            >>> calibration = Calibration(
            ...     0.7, 0.9, 1, 1, 1, 99, 99, 0, "pairs", "image", 1, 9, "v1", None, "cosine")
            >>> calibration.require_fits(IndexMeta(EmbeddingSpec("mine", 4, True, "v1")))
        """
        projection = None if meta.projection is None else meta.projection.fingerprint
        for what, learned, present in (
            ("embedder", self.fingerprint, meta.embedding.fingerprint),
            ("projection", self.projection, projection),
            ("metric", self.metric, meta.metric),
        ):
            if learned != present:
                raise QueryError(
                    f"the calibration was learned with {what} {_short(learned)} and this index "
                    f"has {what} {_short(present)}, so its scores mean something else; learn one "
                    "for this index with index.calibrate()"
                )

    def __str__(self) -> str:
        return (
            f"score >= {self.threshold:.4f}: {100 * self.precision:.1f} % of the hits are right "
            f"(at least {100 * self.precision_low:.1f} %, with 95 % confidence), and "
            f"{100 * self.recall:.1f} % of the right ones are kept; learned from {self.queries} "
            f"{_WORDS[self.learned_from]}, {self.k} hits each, in an index of {self.records} images"
        )


def _short(name: str | None) -> str:
    return "none" if name is None else repr(name[:12])


CONFIDENCE = 0.95
"""How sure a stated precision is, all scores that were tried taken together."""

_CANDIDATES = 64
_FEWEST_HITS = 30

# Where walks down the candidates start, as shares of their number: sharp thresholds have few hits
# to prove themselves with, low ones have wrong hits.
_STARTS = (0.1, 0.25, 0.4, 0.55, 0.7, 1.0)
_HALVINGS = 60

# Below, a hit above the threshold is more likely wrong than right.
_WORTH_ASKING = 0.5


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

    At most 64 candidates are chosen by the scores alone. From six of them a walk goes down the
    candidates until one fails, each walk with an error of 5 % / 6, so that picking the lowest that
    passed is no luck (fixed sequence testing with several starts; "learn then test" of Angelopoulos
    et al., 2021). Hits of one query tend to be right or wrong together; they count as fewer, by the
    design effect that their scatter shows (Kish, 1965; used for exact intervals by Korn and
    Graubard, 1998), estimated as though one more query had been wrong in all its hits.

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
    precision = checked_precision(precision)
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
    starts = sorted({round(share * (len(counts) - 1)) for share in _STARTS})
    error = (1 - CONFIDENCE) / len(starts)
    tried = []
    for count in counts:
        share = float(found[count - 1] / count)
        effective = count / _design_effect(right[:count], queries[:count])
        tried.append(
            Threshold(
                _between(scores, count),
                share,
                least_share(share, effective, error),
                float(found[count - 1] / found[-1]),
            )
        )
    lowest = -1
    for start in starts:
        passed = start
        while passed < len(tried) and tried[passed].precision_low >= precision:
            passed += 1
        if passed > start:
            lowest = max(lowest, passed - 1)
    if lowest >= 0:
        return tried[lowest]
    begun = [tried[start] for start in starts]
    raise QueryError(_unreachable(begun, precision, len(scores), hits.asked, error))


def checked_precision(precision: float) -> float:
    """Return a precision that can be asked for.

    Raises:
        ConfigError: It is not a number above 0 and below 1.

    Example:
        >>> checked_precision(np.float64(0.5))
        0.5
    """
    share = as_real(precision)
    if share is None or not 0 < share < 1:
        raise ConfigError(
            f"precision={shorten(precision)}; it must be above 0 and below 1, such as 0.95"
        )
    return share


def _design_effect(right: NDArray[np.bool_], queries: NDArray[np.int64]) -> float:
    """Return how many hits tell as much as one independent hit would, ≥ 1."""
    _, rows = np.unique(queries, return_inverse=True)
    sizes = np.bincount(rows).astype(np.float64)
    good = np.bincount(rows, weights=right)
    # Where all is right nothing scatters, and a query that is all wrong may just not have come.
    sizes, good = np.append(sizes, sizes.mean()), np.append(good, 0.0)
    total = sizes.sum()
    share = good.sum() / total
    scatter = ((good - share * sizes) ** 2).sum() * len(sizes) / (len(sizes) - 1)
    return max(1.0, float(scatter / (total * share * (1 - share)))) if share else 1.0


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
    advice = (
        f"the best is precision={reachable:g} at scores from {best.score:.4f}, where "
        f"{best.precision:.1%} of the hits are right. Ask for that, or give"
        if reachable >= _WORTH_ASKING
        else f"the best is {reachable:g}, which would tell little. Give"
        if reachable > 0
        else "they assure nothing yet. Give"
    )
    return (
        f"precision={precision:g} cannot be assured by {hits} judged hits of {asked} queries: "
        f"{advice} more queries: at least {needed} of them must have hits that are all right"
    )
