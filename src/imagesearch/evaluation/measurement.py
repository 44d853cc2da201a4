"""Measurement: one contender's answers to all queries, judged and summed up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from imagesearch.errors import QueryError
from imagesearch.evaluation import metrics
from imagesearch.evaluation.asking import QUERY_ERRORS, Contender, Prepared, ask, query_image
from imagesearch.evaluation.exact import ann_recall
from imagesearch.evaluation.intervals import Estimate, bootstrap
from imagesearch.evaluation.judging import Gallery, Judgement, judge
from imagesearch.evaluation.results import Evaluation, Latency, QueryResult, Unjudgeable
from imagesearch.filters import Filter
from imagesearch.groundtruth import EvaluationQuery
from imagesearch.index.progress import Progress
from imagesearch.types import Failure, Hit

__all__ = ["Settings", "measure"]

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
        progress: Told about every query.

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
