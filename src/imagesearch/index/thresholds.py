"""Thresholds: the score that hits must have, as a number or as it was calibrated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from reprlib import repr as shorten
from typing import Literal, TypeAlias

import numpy as np

from imagesearch.errors import QueryError
from imagesearch.index.assembly import Assembly
from imagesearch.index.grouping import GroupScore
from imagesearch.index.query_kinds import has_text, is_plain
from imagesearch.index.saved_calibration import read_calibration
from imagesearch.protocols import noting
from imagesearch.types import Query

__all__ = ["MinScore", "least_score"]

MinScore: TypeAlias = float | Literal["calibrated"] | None
"""The least score of a hit; ``"calibrated"``: the threshold that is saved with the index."""


def least_score(
    wanted: MinScore, queries: Sequence[Query], index: Assembly, group_score: GroupScore | None
) -> float | None:
    """Return the score that hits must have.

    Args:
        wanted: What the caller gave.
        queries: What is asked.
        index: Of whom.
        group_score: How groups are scored, if hits are groups.

    Raises:
        QueryError: It is no number, there is no calibration, or that speaks of other scores than
            these.
        StoreError: The store failed.
    """
    if wanted is None:
        return None
    if not isinstance(wanted, str):
        # No score is above NaN, which would look like an index without any match.
        try:
            least = math.nan if isinstance(wanted, bool | np.bool_) else float(wanted)
        except (TypeError, ValueError, OverflowError):
            least = math.nan
        if math.isnan(least):
            raise QueryError(f"min_score must be a number or 'calibrated', got {shorten(wanted)}")
        return least
    if wanted != "calibrated":
        raise QueryError(f"min_score={wanted!r}; give a number or 'calibrated'")
    calibration = read_calibration(index.store)
    if calibration is None:
        raise QueryError(
            "min_score='calibrated' needs a calibration, and this index has none"
            + (
                "; learn one with index.calibrate(), or imagesearch calibrate"
                if noting(index.store) is not None
                else ", and its store cannot keep one: give a number"
            )
        )
    calibration.require_fits(index.meta)
    if group_score == "mean":
        raise QueryError(
            "the calibration speaks of single records, not of the mean score of a group; use "
            "group_score='best', or a number as min_score"
        )
    for query in queries:
        if not is_plain(query, index.meta.metric):
            raise QueryError(
                "the calibration was learned with one whole image, record, vector or text at a "
                f"time, and scores of {query} do not compare with theirs; give a number as "
                "min_score"
            )
        if has_text(query) != (calibration.kind == "text"):
            raise QueryError(
                f"the calibration was learned with {calibration.kind} queries, and scores of "
                f"{query} do not compare with theirs; give a number as min_score"
            )
    return calibration.threshold
