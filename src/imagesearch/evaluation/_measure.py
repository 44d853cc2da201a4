"""Measure what queries find: metrics, times, and the recall of the approximate search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagesearch._validation import batched
from imagesearch.errors import QueryError
from imagesearch.evaluation import metrics
from imagesearch.evaluation._relevance import Gallery, Qrels, find_relevant
from imagesearch.evaluation._run import QUERY_ERRORS, Prepared, System, query_image, search
from imagesearch.evaluation.intervals import Estimate, bootstrap
from imagesearch.evaluation.results import Evaluation, Latency, QueryResult, UnjudgedQuery
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

    Scores are computed here, not taken from the store. Records that score as high as the k-th true
    neighbour count as found, so ties cost nothing. Memory is one batch of vectors, its scores, and
    k scores for each query.

    Args:
        index: An index; its store is scanned with vectors once for every 256 queries.
        queries: The queries.
        k: Number of neighbours, ≥ 1.
        where: Only matching records.
        batch_size: Records in one block of the scan, ≥ 1.

    Returns:
        float64 of shape (n,): the share of the min(k, matching records) true neighbours that the
        store's own search returned; 1.0 if no record matches.

    Raises:
        QueryError: A query does not suit this index.
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
    parts = [_recalls(index, batch, k, filter, batch_size) for batch in batched(vectors, _QUERIES)]
    return np.concatenate(parts) if parts else np.empty(0)


def _recalls(
    index: ImageIndex, vectors: NDArray[np.float32], k: int, filter: Filter | None, batch_size: int
) -> NDArray[np.float64]:
    results = index.store.search(vectors, k=k, where=filter)
    queries_of: dict[str, list[int]] = {}
    for query, hits in enumerate(results):
        for hit in hits:
            queries_of.setdefault(hit.id, []).append(query)
    best = np.full((len(vectors), 0), -np.inf, np.float32)
    returned: list[list[float]] = [[] for _ in results]
    metric = index.meta.metric
    for batch in index.scan(where=filter, batch_size=batch_size, vectors=True):
        stored = unit_or_as_is(batch.vectors) if metric == "cosine" else batch.vectors
        block = scores(vectors, stored, metric)
        for row, id in enumerate(batch.ids):
            for query in queries_of.get(id, ()):
                returned[query].append(float(block[query, row]))
        merged = np.concatenate([best, block], axis=1)
        best = merged if merged.shape[1] <= k else np.partition(merged, -k, axis=1)[:, -k:]
    if best.shape[1] == 0:
        return np.ones(len(vectors))
    lowest = best.min(axis=1)
    lowest -= _SLACK * np.maximum(1.0, np.abs(lowest))
    counts = [
        sum(score >= limit for score in of_query)
        for of_query, limit in zip(returned, lowest.tolist(), strict=True)
    ]
    return np.minimum(np.asarray(counts, np.float64) / best.shape[1], 1.0)


_EXACT_UP_TO = 200_000
"""Records up to which the exact scan runs by default: seconds, not minutes, at 2048 dimensions."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Options that all systems have in common; see `evaluate`."""

    k: tuple[int, ...]
    label: str
    where: Filter | str | None
    exclude_self: bool
    r_precision: bool
    exact: bool | None
    resamples: int
    seed: int


def measure(
    system: System,
    queries: Sequence[EvaluationQuery],
    prepared: Sequence[Prepared],
    *,
    failures: Sequence[Failure],
    settings: Settings,
    progress: Progress,
) -> Evaluation:
    """Find relevant records, search with all queries, and compute the metrics.

    Args:
        system: The system to measure.
        queries: The queries.
        prepared: The same queries, embedded for this system.
        failures: Failures of invalid query inputs, for the report.
        settings: Options that all systems have in common.
        progress: Advanced for every query.

    Raises:
        QueryError: No query can be judged.
        ImageSearchError: As `evaluate`.
    """
    all_qrels, gallery = find_relevant(
        system.index,
        queries,
        [ready.digest for ready in prepared],
        label=settings.label,
        where=settings.where,
        exclude_self=settings.exclude_self,
    )
    answers = _Answers([], [], list(failures))
    depth = _depth(settings, all_qrels)
    for position, (query, ready, qrels) in enumerate(
        zip(queries, prepared, all_qrels, strict=True)
    ):
        progress.advance(1)
        if ready.error is not None:
            answers.failed.append(Failure(query.name, ready.error))
        elif qrels.problem:
            answers.unjudged.append(UnjudgedQuery(query.name, qrels.problem))
        else:
            try:
                result = _search(
                    system,
                    ready,
                    qrels,
                    depth=depth,
                    where=settings.where,
                    first=not answers.judged,
                )
            except QUERY_ERRORS as error:
                answers.failed.append(Failure(query.name, error))
                continue
            answers.judged.append(
                _result(position, query, ready, qrels, found=result, settings=settings)
            )
    if not answers.judged:
        raise answers.nothing_judged(system.name)
    missing = tuple(dict.fromkeys(name for qrels in all_qrels for name in qrels.missing))
    return _summary(system, answers, prepared, gallery=gallery, missing=missing, settings=settings)


@dataclass(frozen=True, slots=True)
class _Answers:
    """The outcome of every query."""

    judged: list[QueryResult]
    unjudged: list[UnjudgedQuery]
    failed: list[Failure]

    def nothing_judged(self, name: str) -> QueryError:
        reasons = [
            *(f"{query.name}: {query.reason}" for query in self.unjudged[:2]),
            *(f"{failure.source}: {failure.error}" for failure in self.failed[:2]),
        ]
        return QueryError(
            f"{name}: no query can be judged ({len(self.unjudged)} unjudged, "
            f"{len(self.failed)} failed): {'; '.join(reasons)}. Queries and records must have "
            "labels in common: name the field with the labels, or use one folder for each label"
        )


def _depth(settings: Settings, all_qrels: Sequence[Qrels]) -> int:
    depth = max(settings.k)
    if settings.r_precision:
        depth = max([depth, *(len(qrels.relevant) for qrels in all_qrels)])
    return depth


def _search(
    system: System,
    ready: Prepared,
    qrels: Qrels,
    *,
    depth: int,
    where: Filter | str | None,
    first: bool,
) -> tuple[list[Hit], float]:
    # Enough to fill the depth after the query's own records are excluded.
    k = depth + len(qrels.own)
    if first:
        # Warm up: the first search opens files and loads graphs.
        search(system, ready, k=k, where=where)
    hits, seconds = search(system, ready, k=k, where=where)
    return [hit for hit in hits if hit.id not in qrels.own][:depth], seconds


def _values(hits: Sequence[Hit], qrels: Qrels, settings: Settings) -> dict[str, float]:
    ranked = [hit.id for hit in hits]
    relevant = qrels.relevant
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
    qrels: Qrels,
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
        relevant=len(qrels.relevant),
        hits=tuple(shown),
        correct=tuple(hit.id in qrels.relevant for hit in shown),
        values=_values(hits, qrels, settings),
        embedding_seconds=ready.seconds,
        searching_seconds=seconds,
        image=query_image(query.query),
    )


def _summary(
    system: System,
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
    embedding = [
        result.embedding_seconds for result in judged if result.embedding_seconds is not None
    ]
    exact = settings.exact if settings.exact is not None else gallery.records <= _EXACT_UP_TO
    meta = system.index.meta
    return Evaluation(
        name=system.name,
        embedder=meta.embedding.name,
        dim=meta.dim,
        store=repr(system.index.store),
        gallery=gallery,
        metrics=dict(zip(names, means, strict=True)),
        embedding=Latency.of(embedding) if embedding else None,
        searching=Latency.of([result.searching_seconds for result in judged]),
        ann_recall=_compare_with_exact(system, judged, prepared, settings) if exact else None,
        queries=tuple(judged),
        unjudged=tuple(answers.unjudged),
        failed=tuple(answers.failed),
        missing=missing,
        k=settings.k,
        resamples=settings.resamples,
        seed=settings.seed,
    )


def _compare_with_exact(
    system: System,
    judged: Sequence[QueryResult],
    prepared: Sequence[Prepared],
    settings: Settings,
) -> Estimate:
    recalls = ann_recall(
        system.index,
        [prepared[result.position].for_index(system.index) for result in judged],
        k=max(settings.k),
        where=settings.where,
    )
    [estimate] = bootstrap(recalls[:, None], resamples=settings.resamples, seed=settings.seed)
    return estimate
