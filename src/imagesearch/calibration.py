"""Calibration: learn a score threshold with a stated precision from judged hits."""

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
"""How hits were judged."""

QueryKind: TypeAlias = Literal["image", "text"]
"""Kind of the queries; scores of texts and images are not comparable."""

_WORDS: Mapping[str, str] = {
    "labels": "records of the index and their labels",
    "queries": "labelled queries",
    "pairs": "queries with their relevant records",
    "duplicates": "copies within the index",
}


@dataclass(frozen=True, slots=True)
class Calibration:
    """A score threshold whose hits reach a stated precision.

    Attributes:
        threshold: The minimum score.
        wanted: The target precision.
        precision: Share of relevant hits among those that reach the threshold.
        precision_low: Lower bound of the precision at 95 % confidence, ≥ `wanted`.
        recall: Share of the relevant hits, among the first `k` of each query, that reach the
            threshold.
        queries: Number of queries with a judged hit.
        pairs: Number of judged hits.
        skipped: Number of queries without a usable judgement.
        learned_from: How hits were judged.
        kind: Kind of the queries.
        k: Hits of each query that were judged.
        records: Number of records in the index.
        fingerprint: Fingerprint of the embedder.
        projection: Fingerprint of the index's projection, or None.
        metric: The index's metric.

    Example:
        >>> calibration = Calibration(
        ...     0.71, 0.9, 0.95, 0.91, 0.8, 200, 2000, 0, "labels", "image", 10, 500, "v1", None,
        ...     "cosine")
        >>> print(calibration)
        score >= 0.7100: 95.0 % of the hits are relevant (at least 91.0 %, with 95 % confidence), and
        80.0 % of the relevant hits are kept; learned from 200 records of the index and their labels,
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
        """Return a calibration from the data of `to_dict`.

        Raises:
            QueryError: The data are invalid.
        """
        try:
            values = {field.name: data[field.name] for field in fields(cls)}
            values["threshold"] = float(values["threshold"])
            return cls(**values)
        except (KeyError, TypeError, ValueError) as error:
            raise QueryError(
                f"the saved calibration cannot be read ({error!r}); create a new one with "
                "index.calibrate()"
            ) from error

    def require_fits(self, meta: IndexMeta) -> None:
        """Refuse an index with other scores.

        Raises:
            QueryError: Embedder, projection or metric differ from those of the calibration.

        Example:
            >>> from imagesearch.types import EmbeddingSpec
            >>> calibration = Calibration(
            ...     0.7, 0.9, 1, 1, 1, 99, 99, 0, "pairs", "image", 1, 9, "v1", None, "cosine")
            >>> calibration.require_fits(IndexMeta(EmbeddingSpec("mine", 4, True, "v1")))
        """
        projection = None if meta.projection is None else meta.projection.fingerprint
        for name, learned, present in (
            ("embedder", self.fingerprint, meta.embedding.fingerprint),
            ("projection", self.projection, projection),
            ("metric", self.metric, meta.metric),
        ):
            if learned != present:
                raise QueryError(
                    f"the calibration was learned with {name} {_short(learned)} and this index has "
                    f"{name} {_short(present)}, so scores are not comparable; create one for this "
                    "index with index.calibrate()"
                )

    def __str__(self) -> str:
        return (
            f"score >= {self.threshold:.4f}: {100 * self.precision:.1f} % of the hits are relevant "
            f"(at least {100 * self.precision_low:.1f} %, with 95 % confidence), and "
            f"{100 * self.recall:.1f} % of the relevant hits are kept; learned from {self.queries} "
            f"{_WORDS[self.learned_from]}, {self.k} hits each, in an index of {self.records} images"
        )


def _short(name: str | None) -> str:
    return "none" if name is None else repr(name[:12])


CONFIDENCE = 0.95
"""Confidence level of a stated precision, over all candidate thresholds."""

_CANDIDATES = 64
_MIN_HITS = 30

# Positions in the list of candidates, as shares, where the tests start: high thresholds have too few
# hits to prove a precision, low ones have irrelevant hits.
_STARTS = (0.1, 0.25, 0.4, 0.55, 0.7, 1.0)
_HALVINGS = 60

# Below this precision, hits above the threshold are more likely irrelevant than relevant.
_USEFUL_PRECISION = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class JudgedHits:
    """Hits of many queries, each judged relevant or not.

    Attributes:
        scores: Scores, float64 of shape (n,).
        relevant: Whether each hit is relevant, bool of shape (n,).
        queries: Number of the query of each hit, int64 of shape (n,).

    Example:
        >>> JudgedHits.of([0.9, 0.2], [True, False], [0, 0]).query_count
        1
    """

    scores: NDArray[np.float64]
    relevant: NDArray[np.bool_]
    queries: NDArray[np.int64]

    @classmethod
    def of(cls, scores: ArrayLike, relevant: ArrayLike, queries: ArrayLike) -> JudgedHits:
        """Return judged hits from three sequences of equal length."""
        return cls(
            np.asarray(scores, np.float64),
            np.asarray(relevant, np.bool_),
            np.asarray(queries, np.int64),
        )

    @property
    def query_count(self) -> int:
        """Number of queries with a judged hit."""
        return len(np.unique(self.queries))


@dataclass(frozen=True, slots=True)
class Threshold:
    """A minimum score, and the quality of the hits that reach it.

    Attributes:
        score: The minimum score.
        precision: Share of relevant hits among those that reach it.
        precision_low: Lower bound of the precision at 95 % confidence.
        recall: Share of all relevant hits that reach it.
    """

    score: float
    precision: float
    precision_low: float
    recall: float


def least_share(share: float, count: float, error: float) -> float:
    """Return a lower bound of a probability, given a share of `count` observations.

    Chernoff's bound as Hoeffding proved it for independent values in [0, 1] (1963, theorem 1):
    the mean of n of them reaches `share` with a probability of at most exp(-n KL(share, p)). For
    ``share=1`` that is the bound of Clopper and Pearson (1934), error ** (1 / n).

    Args:
        share: 0 to 1.
        count: Number of independent observations, > 0; may be fractional.
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
    """Return the lowest score whose hits are relevant with at least that probability.

    Up to 64 candidates are chosen from the scores alone. From six starting points, candidates are
    tested in descending order until one fails, with an error of 5 % / 6 each, so that the lowest
    that passed is valid (fixed-sequence testing with several starts; "learn then test" of
    Angelopoulos et al., 2021). Hits of one query tend to be relevant together; the design effect of
    that clustering (Kish, 1965; used for exact intervals by Korn and Graubard, 1998) reduces the
    effective number of hits. It is estimated with an added query that has only irrelevant hits.

    Args:
        hits: The judged hits.
        precision: The target precision, above 0 and below 1.

    Raises:
        ConfigError: `precision` is out of range.
        QueryError: No score ensures that precision, or there are too few queries; the message
            contains the best precision available.

    Example:
        >>> relevant = np.arange(400) < 200
        >>> scores = np.where(relevant, 0.9, 0.3) + np.arange(400) / 10_000
        >>> learned = learn(JudgedHits.of(scores, relevant, np.arange(400)), precision=0.9)
        >>> 0.3 < learned.score < 0.9, learned.recall
        (True, 1.0)
    """
    precision = checked_precision(precision)
    if not len(hits.scores):
        raise QueryError("there are no judged hits to learn from")
    if not hits.relevant.any():
        raise QueryError(
            f"none of the {len(hits.scores)} hits are relevant; check the labels or pairs"
        )
    order = np.argsort(-hits.scores, kind="stable")
    scores, relevant, queries = hits.scores[order], hits.relevant[order], hits.queries[order]
    relevant_counts = np.cumsum(relevant)
    counts = _candidates(scores)
    starts = sorted({round(share * (len(counts) - 1)) for share in _STARTS})
    error = (1 - CONFIDENCE) / len(starts)
    tried = []
    for count in counts:
        share = float(relevant_counts[count - 1] / count)
        effective = count / _design_effect(relevant[:count], queries[:count])
        tried.append(
            Threshold(
                _between(scores, count),
                share,
                least_share(share, effective, error),
                float(relevant_counts[count - 1] / relevant_counts[-1]),
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
    first = [tried[start] for start in starts]
    raise QueryError(_unreachable(first, precision, len(scores), hits.query_count, error))


def checked_precision(precision: float) -> float:
    """Return a precision as a float.

    Raises:
        ConfigError: It is not a number above 0 and below 1.

    Example:
        >>> checked_precision(np.float64(0.5))
        0.5
    """
    share = as_real(precision)
    if share is None or not 0 < share < 1:
        raise ConfigError(f"precision must be above 0 and below 1, got {shorten(precision)}")
    return share


def _design_effect(relevant: NDArray[np.bool_], queries: NDArray[np.int64]) -> float:
    """Return how many hits are equivalent to one independent hit, ≥ 1."""
    _, rows = np.unique(queries, return_inverse=True)
    sizes = np.bincount(rows).astype(np.float64)
    good = np.bincount(rows, weights=relevant)
    # Add a query with only irrelevant hits, without which the variance could be zero.
    sizes, good = np.append(sizes, sizes.mean()), np.append(good, 0.0)
    total = sizes.sum()
    share = good.sum() / total
    variance = ((good - share * sizes) ** 2).sum() * len(sizes) / (len(sizes) - 1)
    return max(1.0, float(variance / (total * share * (1 - share)))) if share else 1.0


def _divergence(share: float, chance: float) -> float:
    """Return the Kullback-Leibler divergence of two Bernoulli distributions."""
    if chance <= 0:
        return math.inf if share > 0 else 0.0
    if chance >= 1:
        return math.inf if share < 1 else 0.0
    right = share * math.log(share / chance) if share > 0 else 0.0
    wrong = (1 - share) * math.log((1 - share) / (1 - chance)) if share < 1 else 0.0
    return right + wrong


def _candidates(scores: NDArray[np.float64]) -> list[int]:
    """Return the numbers of best hits to test; none of them separates equal scores."""
    total = len(scores)
    counts = np.geomspace(min(_MIN_HITS, total), total, _CANDIDATES).round().astype(np.int64)
    whole = np.searchsorted(-scores, -scores[np.unique(counts) - 1], side="right")
    return [int(count) for count in np.unique(whole)]


def _between(scores: NDArray[np.float64], count: int) -> float:
    """Return the midpoint between a score and the next lower one."""
    last = float(scores[count - 1])
    if count == len(scores):
        return last
    following = float(scores[count])
    middle = (last + following) / 2
    return middle if following < middle <= last else last


def _unreachable(
    tried: Sequence[Threshold], precision: float, hits: int, queries: int, error: float
) -> str:
    best = max(tried, key=lambda threshold: (threshold.precision_low, threshold.recall))
    needed = math.ceil(math.log(error) / math.log(precision))
    # Rounded down, so that a request for the precision in the message succeeds.
    reachable = math.floor(best.precision_low * 1000) / 1000
    advice = (
        f"the best is precision={reachable:g} at scores from {best.score:.4f}, where "
        f"{best.precision:.1%} of the hits are relevant. Use that, or provide"
        if reachable >= _USEFUL_PRECISION
        else f"the best is {reachable:g}, which is too low to be useful. Provide"
        if reachable > 0
        else "no precision can be ensured yet. Provide"
    )
    return (
        f"precision={precision:g} cannot be ensured by {hits} judged hits of {queries} queries: "
        f"{advice} more queries: at least {needed} of them must have only relevant hits"
    )
