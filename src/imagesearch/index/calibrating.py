"""Calibrating: an index is asked, its hits are judged, and a threshold is learned from them."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence

from imagesearch._printable import printable
from imagesearch.calibration import Calibration, JudgedHits, LearnedFrom, learn
from imagesearch.calibration.learning import checked_precision
from imagesearch.duplicates import Rules
from imagesearch.errors import ConfigError, QueryError
from imagesearch.index.asking import Asking
from imagesearch.index.assembly import Assembly
from imagesearch.index.copies import find_copies
from imagesearch.index.progress import make_progress
from imagesearch.index.query_vectors import QueryVectors
from imagesearch.index.saved_calibration import require_notes, write_calibration
from imagesearch.qrels import EvaluationQuery, labelled_queries, paired_queries
from imagesearch.quantities import at_least

__all__ = ["calibrate"]

_logger = logging.getLogger("imagesearch")


def calibrate(
    index: Assembly,
    source: object,
    *,
    label: str,
    pairs: str | os.PathLike[str] | None,
    precision: float,
    save: bool,
    k: int,
    sample: int,
    seed: int,
    progress: bool | None,
) -> Calibration:
    """Learn a threshold, and save it if wanted; see `ImageIndex.calibrate`."""
    if source is not None and pairs is not None:
        raise ConfigError("give calibrate either a source of labelled images or pairs")
    if not isinstance(label, str):
        raise ConfigError(f"label={label!r}; give the name of one field")
    if not isinstance(pairs, str | os.PathLike | None):
        raise ConfigError(
            f"pairs is a {type(pairs).__name__}; give the path of a pairs file, or a list of "
            "EvaluationQuery as the source"
        )
    k, sample = at_least(1, k, "k"), at_least(1, sample, "sample")
    precision = checked_precision(precision)
    if save:
        require_notes(index.store)
    queries, unread = _queries(source, pairs, label)
    records = index.store.count()
    bar = make_progress(
        progress, min(sample, records) if queries is None else len(queries), unit="query"
    )
    asking = Asking(
        store=index.store,
        meta=index.meta,
        vectors=QueryVectors(index.store, index.meta, index.embedder),
        k=k,
        sample=sample,
        seed=seed,
        advance=bar.advance,
        skipped=unread,
    )
    try:
        learned_from, hits = _judged(index, asking, queries, label, from_pairs=pairs is not None)
    finally:
        bar.close()
    found = learn(hits, precision=precision)
    projection = index.meta.projection
    calibration = Calibration(
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
        k=k,
        records=records,
        fingerprint=index.meta.embedding.fingerprint,
        projection=None if projection is None else projection.fingerprint,
        metric=index.meta.metric,
    )
    if save:
        write_calibration(index.store, calibration)
    return calibration


def _queries(
    source: object, pairs: str | os.PathLike[str] | None, label: str
) -> tuple[list[EvaluationQuery] | None, int]:
    """Return what to ask, None for the index's own records, and how many could not be read."""
    if pairs is not None:
        return paired_queries(pairs), 0
    if source is None:
        return None, 0
    queries, failures = labelled_queries(source, label=label)
    for failure in failures:
        _logger.warning("calibration leaves out %s: %s", printable(failure.source), failure.error)
    if failures and not queries:
        raise QueryError(f"no query can be read; the first: {failures[0].error}")
    return queries, len(failures)


def _judged(
    index: Assembly,
    asking: Asking,
    queries: Sequence[EvaluationQuery] | None,
    label: str,
    *,
    from_pairs: bool,
) -> tuple[LearnedFrom, JudgedHits]:
    """Ask by what says best which hits are right: queries, else labels, else copies."""
    if queries is not None:
        return "pairs" if from_pairs else "queries", asking.by_queries(queries, label)
    labelled = asking.by_own_labels(label)
    if labelled is not None:
        return "labels", labelled
    _logger.warning(
        "no record has the field %r, so calibration takes copies within the index, and nothing "
        "else, for right; if records have labels, name their field: label",
        label,
    )
    copies = find_copies(index, Rules.of(("exact", "near")), progress=False)
    group_of = {id: number for number, group in enumerate(copies) for id in group.ids}
    if not group_of:
        raise QueryError(
            f"no record has the field {label!r} and no two are copies of each other, so "
            "nothing says which hits are right; give labelled images, pairs, or the field of the labels"
        )
    return "duplicates", asking.by_groups(group_of)
