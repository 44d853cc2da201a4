"""Grouping: the best groups of records, where several pictures show one thing."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from imagesearch._printable import shorten
from imagesearch.errors import QueryError
from imagesearch.filters import And, Compare, Filter, Operator
from imagesearch.protocols import VectorStore
from imagesearch.types import Hit, Metric
from imagesearch.vectors import scores

__all__ = ["GroupScore", "search_groups"]


GroupScore = Literal["best", "mean"]

_FIRST_FETCH = 4
_LEAST_FETCH = 32


def search_groups(
    store: VectorStore,
    vector: NDArray[np.float32],
    *,
    field: str,
    score: GroupScore,
    k: int,
    where: Filter | None,
    without: frozenset[str],
    metric: Metric,
) -> list[Hit]:
    """Return the best hit of each of the k best groups.

    Hits are fetched in growing numbers until no group that was not seen can be among the best k:
    neither the best nor the mean score of an unseen group exceeds the score of the last hit that
    was fetched (the threshold algorithm of Fagin, Lotem and Naor, 2003).

    Args:
        store: Open.
        vector: The query, (dim,).
        field: Metadata field whose equal values make a group; equal as filters see it, so that 1
            and 1.0 are, and 1 and True are not. A record without it is a group of its own.
        score: A group's score: that of its best record, or the mean over all its records.
        k: Groups wanted, ≥ 1.
        where: Only records that match count.
        without: Ids to leave out.
        metric: The store's, to score the records that were not fetched.

    Returns:
        At most k hits, one for each group, best group first; ``Hit.score`` is the group's score.

    Raises:
        QueryError: A record holds a list or an object there, by which no filter finds its group;
            only ``"mean"`` needs to.
        FilterError: The store cannot filter on `field`; only ``"mean"`` needs to.
    """
    fetch = max(_LEAST_FETCH, _FIRST_FETCH * k) + len(without)
    means: dict[Hashable, float] = {}
    while True:
        [found] = store.search(vector[None], k=fetch, where=where)
        complete = len(found) < fetch
        groups: dict[Hashable, Hit] = {}
        for hit in found:
            if hit.id not in without:
                groups.setdefault(_key(hit, field), hit)
        if score == "mean":
            for key, hit in groups.items():
                if key not in means:
                    means[key] = _mean(
                        store, vector, hit, field=field, where=where, without=without, metric=metric
                    )
            groups = {key: replace(hit, score=means[key]) for key, hit in groups.items()}
        best = sorted(groups.values(), key=lambda hit: (-hit.score, hit.id))[:k]
        if complete or (len(best) == k and best[-1].score >= found[-1].score):
            return best
        fetch *= 2


def _key(hit: Hit, field: str) -> Hashable:
    value = hit.metadata.get(field)
    return hit.id if value is None else _identity(value)


def _identity(value: Any) -> tuple[type, Hashable]:
    match value:
        case list():
            return list, tuple(map(_identity, value))
        case dict():
            return dict, frozenset((name, _identity(part)) for name, part in value.items())
        case bool() | str() | None:
            return type(value), value
        case _:
            return float, value


def _mean(
    store: VectorStore,
    vector: NDArray[np.float32],
    hit: Hit,
    *,
    field: str,
    where: Filter | None,
    without: frozenset[str],
    metric: Metric,
) -> float:
    value = hit.metadata.get(field)
    if value is None:
        return hit.score
    if not isinstance(value, str | int | float):
        raise QueryError(
            f"group_by={field!r}: record {hit.id!r} has {shorten(value)} there, and the mean is taken over "
            "groups that share one text, number or truth value; use group_score='best'"
        )
    same = Compare(field, Operator.EQ, value)
    total, count = 0.0, 0
    for batch in store.scan(where=same if where is None else And((same, where)), vectors=True):
        if batch.vectors is None:
            continue
        kept = [row for row, id in enumerate(batch.ids) if id not in without]
        total += float(scores(vector[None], batch.vectors[kept], metric).sum())
        count += len(kept)
    return total / count if count else hit.score
