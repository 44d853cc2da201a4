"""Measure what queries find: metrics, times, and the recall of the approximate search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagesearch.errors import QueryError
from imagesearch.evaluation import metrics
from imagesearch.evaluation._run import QUERY_ERRORS, Contender, Prepared, ask, query_image
from imagesearch.evaluation.intervals import Estimate, bootstrap
from imagesearch.evaluation.judgements import Gallery, Judgement, judge
from imagesearch.evaluation.results import Evaluation, Latency, QueryResult, Unjudgeable
from imagesearch.filters import Filter, as_filter
from imagesearch.index import ImageIndex
from imagesearch.index._ingest import Progress
from imagesearch.index._query_vectors import QueryVectors
from imagesearch.qrels import EvaluationQuery
from imagesearch.types import Failure, Hit, Query
from imagesearch.vectors import scores, unit_or_as_is

__all__ = ["Settings", "ann_recall", "measure"]


_BATCH = 1000
_QUERIES = 256

# Equal vectors in two blocks of a float32 product differ by less than this share of their score.
_SLACK = 1e-5


def ann_recall(
    index: ImageIndex,
    queries: Sequence[Query],
    *,
    k: int = 10,
    where: Filter | str | None = None,
    batch_size: int = _BATCH,
) -> NDArray[np.float64]:
    """Compare the store's search with an exact scan of its vectors.

    Scores are computed here, not taken from the store. What scores as well as the k-th true
    neighbour counts as found, so that ties cost nothing. Memory is one batch of vectors, its
    scores, and k scores for each query.

    Args:
        index: Its store is scanned once for every 256 queries, vectors included.
        queries: What is asked.
        k: Neighbours wanted, ≥ 1.
        where: Only records that match.
        batch_size: Records in one block of the scan, ≥ 1.

    Returns:
        float64 of shape (n,): the share of the min(k, matching records) true neighbours that the
        store's own search returned; 1.0 where no record matches.

    Raises:
        QueryError: A query cannot be asked of this index.
        StoreError: The store failed.

    Example:
        >>> from PIL import Image
        >>> from imagesearch import DescriptorEmbedder, MemoryStore
        >>> index = ImageIndex(embedder=DescriptorEmbedder(), store=MemoryStore())
        >>> _ = index.add([Image.new("RGB", (9, 9), colour) for colour in ("red", "blue")])
        >>> ann_recall(index, [Query.image(Image.new("RGB", (9, 9), "navy"))], k=1).tolist()
        [1.0]
    """
    filter = as_filter(where)
    vectors = QueryVectors(index.store, index.meta, lambda: index.embedder).of(queries)
    parts = [
        _of_some(index, vectors[first : first + _QUERIES], k, filter, batch_size)
        for first in range(0, len(vectors), _QUERIES)
    ]
    return np.concatenate(parts) if parts else np.empty(0)


def _of_some(
    index: ImageIndex, vectors: NDArray[np.float32], k: int, filter: Filter | None, batch_size: int
) -> NDArray[np.float64]:
    answers = index.store.search(vectors, k=k, where=filter)
    places: dict[str, list[int]] = {}
    for query, answer in enumerate(answers):
        for hit in answer:
            places.setdefault(hit.id, []).append(query)
    best = np.full((len(vectors), 0), -np.inf, np.float32)
    returned: list[list[float]] = [[] for _ in answers]
    metric = index.meta.metric
    for batch in index.scan(where=filter, batch_size=batch_size, vectors=True):
        stored = unit_or_as_is(batch.vectors) if metric == "cosine" else batch.vectors
        block = scores(vectors, stored, metric)
        for row, id in enumerate(batch.ids):
            for query in places.get(id, ()):
                returned[query].append(float(block[query, row]))
        merged = np.concatenate([best, block], axis=1)
        best = merged if merged.shape[1] <= k else np.partition(merged, -k, axis=1)[:, -k:]
    if best.shape[1] == 0:
        return np.ones(len(vectors))
    lowest = best.min(axis=1)
    lowest -= _SLACK * np.maximum(1.0, np.abs(lowest))
    found = [
        sum(score >= limit for score in of_query)
        for of_query, limit in zip(returned, lowest.tolist(), strict=True)
    ]
    return np.minimum(np.asarray(found, np.float64) / best.shape[1], 1.0)


_EXACT_UP_TO = 200_000
"""Records up to which the exact scan runs unasked: seconds, not minutes, at 2048 dimensions."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What all contenders have in common; see `evaluate` for the meaning."""

    k: tuple[int, ...]
    label: str
    where: Filter | str | None
    exclude_self: bool
    r_precision: bool
    exact: bool | None
    resamples: int
    seed: int


def measure(
    contender: Contender,
    queries: Sequence[EvaluationQuery],
    prepared: Sequence[Prepared],
    *,
    failures: Sequence[Failure],
    settings: Settings,
    progress: Progress,
) -> Evaluation:
    """Judge, search, and sum up.

    Args:
        contender: What is measured.
        queries: What is asked.
        prepared: The same queries, embedded for this contender.
        failures: What gave no query, for the record.
        settings: What all contenders have in common.
        progress: Called for every query.

    Raises:
        QueryError: No query can be judged.
        ImageSearchError: As `evaluate`.
    """
    judgements, gallery = judge(
        contender.index,
        queries,
        [ready.digest for ready in prepared],
        label=settings.label,
        where=settings.where,
        exclude_self=settings.exclude_self,
    )
    answers = _Answers([], [], list(failures))
    depth = _depth(settings, judgements)
    for position, (query, ready, judgement) in enumerate(
        zip(queries, prepared, judgements, strict=True)
    ):
        progress.advance(1)
        if ready.error is not None:
            answers.failed.append(Failure(query.name, ready.error))
        elif judgement.problem:
            answers.unjudgeable.append(Unjudgeable(query.name, judgement.problem))
        else:
            try:
                found = _search(
                    contender,
                    ready,
                    judgement,
                    depth=depth,
                    where=settings.where,
                    first=not answers.judged,
                )
            except QUERY_ERRORS as error:
                answers.failed.append(Failure(query.name, error))
                continue
            answers.judged.append(
                _result(position, query, ready, judgement, found=found, settings=settings)
            )
    if not answers.judged:
        raise answers.nothing_judged(contender.name)
    missing = tuple(dict.fromkeys(name for one in judgements for name in one.missing))
    return _summed_up(
        contender, answers, prepared, gallery=gallery, missing=missing, settings=settings
    )


@dataclass(frozen=True, slots=True)
class _Answers:
    """What became of every query."""

    judged: list[QueryResult]
    unjudgeable: list[Unjudgeable]
    failed: list[Failure]

    def nothing_judged(self, name: str) -> QueryError:
        reasons = [
            *(f"{query.name}: {query.reason}" for query in self.unjudgeable[:2]),
            *(f"{failure.source}: {failure.error}" for failure in self.failed[:2]),
        ]
        return QueryError(
            f"{name}: no query can be judged ({len(self.unjudgeable)} unjudgeable, "
            f"{len(self.failed)} failed): {'; '.join(reasons)}. Queries and records must have "
            "labels in common: name the field that holds them, or keep each label in a folder of "
            "its own"
        )


def _depth(settings: Settings, judgements: Sequence[Judgement]) -> int:
    depth = max(settings.k)
    if settings.r_precision:
        depth = max([depth, *(len(judgement.relevant) for judgement in judgements)])
    return depth


def _search(
    contender: Contender,
    ready: Prepared,
    judgement: Judgement,
    *,
    depth: int,
    where: Filter | str | None,
    first: bool,
) -> tuple[list[Hit], float]:
    # Its own records are fetched on top, so that as many others remain as without them.
    wanted = depth + len(judgement.own)
    if first:
        # The first search pays for what is opened once, such as files and graphs.
        ask(contender, ready, k=wanted, where=where)
    hits, seconds = ask(contender, ready, k=wanted, where=where)
    return [hit for hit in hits if hit.id not in judgement.own][:depth], seconds


def _values(hits: Sequence[Hit], judgement: Judgement, settings: Settings) -> dict[str, float]:
    ranked = [hit.id for hit in hits]
    relevant = judgement.relevant
    values = {"P@1": metrics.precision(ranked, relevant, 1)}
    for k in settings.k:
        values[f"precision@{k}"] = metrics.precision(ranked, relevant, k)
        values[f"recall@{k}"] = metrics.recall(ranked, relevant, k)
        values[f"mHR@{k}"] = values[f"recall@{k}"]
        values[f"mAP@{k}"] = metrics.average_precision(ranked, relevant, k)
        values[f"mAP@{k} (tutorial)"] = metrics.tutorial_average_precision(ranked, relevant, k)
        values[f"nDCG@{k}"] = metrics.ndcg(ranked, relevant, k)
        values[f"MRR@{k}"] = metrics.reciprocal_rank(ranked, relevant, k)
    if settings.r_precision:
        values["R-precision"] = metrics.r_precision(ranked, relevant)
    return values


def _result(
    position: int,
    query: EvaluationQuery,
    ready: Prepared,
    judgement: Judgement,
    *,
    found: tuple[list[Hit], float],
    settings: Settings,
) -> QueryResult:
    hits, seconds = found
    shown = hits[: max(settings.k)]
    return QueryResult(
        position=position,
        name=query.name,
        label=query.label if query.relevant is None else None,
        relevant=len(judgement.relevant),
        hits=tuple(shown),
        correct=tuple(hit.id in judgement.relevant for hit in shown),
        values=_values(hits, judgement, settings),
        embedding_seconds=ready.seconds,
        searching_seconds=seconds,
        image=query_image(query.query),
    )


def _summed_up(
    contender: Contender,
    answers: _Answers,
    prepared: Sequence[Prepared],
    *,
    gallery: Gallery,
    missing: tuple[str, ...],
    settings: Settings,
) -> Evaluation:
    judged = answers.judged
    names = list(judged[0].values)
    table = [[result.values[name] for name in names] for result in judged]
    means = bootstrap(table, resamples=settings.resamples, seed=settings.seed)
    embedding = [one.embedding_seconds for one in judged if one.embedding_seconds is not None]
    exact = settings.exact if settings.exact is not None else gallery.records <= _EXACT_UP_TO
    meta = contender.index.meta
    return Evaluation(
        name=contender.name,
        embedder=meta.embedding.name,
        dim=meta.dim,
        store=repr(contender.index.store),
        gallery=gallery,
        metrics=dict(zip(names, means, strict=True)),
        embedding=Latency.of(embedding) if embedding else None,
        searching=Latency.of([result.searching_seconds for result in judged]),
        ann_recall=_compare_with_exact(contender, judged, prepared, settings) if exact else None,
        queries=tuple(judged),
        unjudgeable=tuple(answers.unjudgeable),
        failed=tuple(answers.failed),
        missing=missing,
        k=settings.k,
        resamples=settings.resamples,
        seed=settings.seed,
    )


def _compare_with_exact(
    contender: Contender,
    judged: Sequence[QueryResult],
    prepared: Sequence[Prepared],
    settings: Settings,
) -> Estimate:
    recalls = ann_recall(
        contender.index,
        [prepared[result.position].for_index(contender.index) for result in judged],
        k=max(settings.k),
        where=settings.where,
    )
    [estimate] = bootstrap(recalls[:, None], resamples=settings.resamples, seed=settings.seed)
    return estimate
