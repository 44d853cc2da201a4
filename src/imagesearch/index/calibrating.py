"""Calibrating: learning a threshold from an index, saving it there, and using it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeAlias

from imagesearch.calibration import Calibration, LearnedFrom, learn
from imagesearch.errors import ConfigError, QueryError, UnsupportedOperationError
from imagesearch.groundtruth import EvaluationQuery
from imagesearch.index.asking import Asking, has_text
from imagesearch.index.grouping import GroupScore
from imagesearch.protocols import Capability, NotingStore, VectorStore
from imagesearch.types import IndexMeta, Query

__all__ = [
    "MinScore",
    "calibrate",
    "check_options",
    "least_score",
    "noting",
    "saved_calibration",
    "write_calibration",
]

MinScore: TypeAlias = float | Literal["calibrated"] | None
"""The least score of a hit; ``"calibrated"``: the threshold that is saved with the index."""

_NOTE = "calibration"


def check_options(*, precision: float, k: int, sample: int) -> None:
    """Refuse options that are out of range, before anything is read.

    Raises:
        ConfigError: One is.
    """
    for name, number in (("k", k), ("sample", sample)):
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise ConfigError(f"{name}={number!r}; it must be a whole number ≥ 1")
    if not isinstance(precision, int | float) or not 0 < precision < 1:
        raise ConfigError(f"precision={precision!r}; it must be above 0 and below 1, such as 0.95")


def calibrate(
    asking: Asking,
    queries: Sequence[EvaluationQuery] | None,
    *,
    label: str,
    learned_from: LearnedFrom,
    copies: Callable[[], Mapping[str, int]],
    precision: float,
) -> Calibration:
    """Ask, judge and learn.

    Args:
        asking: Ready to ask an index.
        queries: What to ask; None: records of the index, by their labels, or where no record has
            one by `copies`.
        label: Field with the label.
        learned_from: Where `queries` come from, if there are any.
        copies: Gives the group of each record that has copies, by id.
        precision: As for `learn`.

    Raises:
        QueryError: Nothing says what is right, or no score assures the precision.
    """
    records = asking.store.count()
    if queries is not None:
        hits = asking.by_queries(queries, label)
    else:
        learned_from = "labels"
        labelled = asking.by_own_labels(label)
        if labelled is None:
            learned_from = "duplicates"
            group_of = copies()
            if not group_of:
                raise QueryError(
                    f"no record has the field {label!r} and no two are copies of each other, so "
                    "nothing says which hits are right; give labelled images, pairs= or label="
                )
            labelled = asking.by_groups(group_of)
        hits = labelled
    found = learn(hits, precision=precision)
    meta = asking.meta
    return Calibration(
        threshold=found.score,
        wanted=precision,
        precision=found.precision,
        precision_low=found.precision_low,
        recall=found.recall,
        queries=hits.asked,
        pairs=len(hits.scores),
        skipped=asking.skipped,
        learned_from=learned_from,
        kind=asking.kind,
        k=asking.k,
        records=records,
        fingerprint=meta.embedding.fingerprint,
        projection=None if meta.projection is None else meta.projection.fingerprint,
        metric=meta.metric,
    )


def noting(store: VectorStore) -> NotingStore | None:
    """Return the store if it keeps notes."""
    keeps = Capability.NOTES in store.capabilities
    return store if keeps and isinstance(store, NotingStore) else None


def saved_calibration(store: VectorStore) -> Calibration | None:
    """Return what is saved with the index, or None.

    Raises:
        QueryError: It cannot be read.
    """
    keeper = noting(store)
    data = None if keeper is None else keeper.notes().get(_NOTE)
    return None if data is None else Calibration.from_dict(data)


def write_calibration(store: VectorStore, calibration: Calibration | None) -> None:
    """Save a calibration with the index; None only makes sure that one could be saved.

    Raises:
        UnsupportedOperationError: The store keeps no notes, or may not be written.
    """
    keeper = noting(store)
    if keeper is None:
        raise UnsupportedOperationError(
            f"{store!r} keeps no notes, so a calibration cannot be saved with it: use "
            "calibrate(…, save=False) and search with min_score=calibration.threshold"
        )
    if calibration is None:
        # Removing what is not there takes the same lock as writing, before the work is done.
        keeper.note(f"{_NOTE} attempt", None)
    else:
        keeper.note(_NOTE, calibration.to_dict())


def least_score(
    wanted: MinScore,
    queries: Sequence[Query],
    store: VectorStore,
    meta: IndexMeta,
    group_score: GroupScore | None,
) -> float | None:
    """Return the score that hits must have.

    Args:
        wanted: What the caller gave.
        queries: What is asked.
        store: Open.
        meta: What the store was opened with.
        group_score: How groups are scored, if hits are groups.

    Raises:
        QueryError: There is no calibration, or it speaks of other scores than these.
    """
    if not isinstance(wanted, str):
        return wanted
    if wanted != "calibrated":
        raise QueryError(f"min_score={wanted!r}; give a number or 'calibrated'")
    calibration = saved_calibration(store)
    if calibration is None:
        lacks = "" if noting(store) else ", and its store cannot keep one: give a number"
        raise QueryError(
            "min_score='calibrated' needs a calibration, and this index has none"
            + (lacks or "; learn one with index.calibrate(), or imagesearch calibrate")
        )
    calibration.require_fits(meta)
    if group_score == "mean":
        raise QueryError(
            "the calibration speaks of single records, not of the mean score of a group; use "
            "group_score='best', or a number as min_score"
        )
    for query in queries:
        if has_text(query) != (calibration.kind == "text"):
            raise QueryError(
                f"the calibration was learned with {calibration.kind} queries, and scores of "
                f"{query} do not compare with theirs; give a number as min_score"
            )
    return calibration.threshold
