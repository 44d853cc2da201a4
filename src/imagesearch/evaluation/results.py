"""Results of an evaluation, and how they are printed and written."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imagesearch._deprecation import warn_deprecated
from imagesearch._rendering import Tile, render, text_table
from imagesearch.evaluation._relevance import Gallery
from imagesearch.evaluation.intervals import Estimate, bootstrap
from imagesearch.sources import open_thumbnail
from imagesearch.types import Failure, Hit, ImageSource

__all__ = [
    "Comparison",
    "Evaluation",
    "Latency",
    "QueryResult",
    "UnjudgedQuery",
    "html_report",
    "text_report",
]


@dataclass(frozen=True, slots=True)
class Latency:
    """Percentiles of the time of one query, in milliseconds.

    Attributes:
        p50: The median.
        p95: The 95th percentile.
        p99: The 99th percentile.

    Example:
        >>> print(Latency.of([0.010, 0.030, 0.020]))
        20.0 / 29.0 / 29.8
    """

    p50: float
    p95: float
    p99: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Latency:
        """Return the percentiles of one or more durations in seconds, interpolated linearly."""
        p50, p95, p99 = np.percentile(np.asarray(seconds) * 1000, [50, 95, 99])
        return cls(float(p50), float(p95), float(p99))

    def __str__(self) -> str:
        digits = 1 if self.p50 >= 1 else 3
        return " / ".join(f"{value:.{digits}f}" for value in (self.p50, self.p95, self.p99))

    def to_dict(self) -> dict[str, float]:
        """Return the percentiles in milliseconds."""
        return {"p50": self.p50, "p95": self.p95, "p99": self.p99}


@dataclass(frozen=True, slots=True, eq=False)
class QueryResult:
    """The result of one query.

    Attributes:
        position: Position of the query in the input.
        name: The query's name.
        label: Its label, or None if its relevant records were listed.
        relevant: Number of relevant records.
        hits: The hits, best first, without the query itself.
        correct: Whether each hit is relevant.
        values: The query's metrics by name.
        embedding_seconds: Seconds for reading, decoding and embedding; None if not measured
            separately.
        searching_seconds: Seconds for the search.
        image: The query image, for thumbnails.
    """

    position: int
    name: str
    label: str | None
    relevant: int
    hits: tuple[Hit, ...]
    correct: tuple[bool, ...]
    values: dict[str, float]
    embedding_seconds: float | None
    searching_seconds: float
    image: ImageSource | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values; hits with their ids, scores, URIs and relevance."""
        return {
            "query": self.name,
            "label": self.label,
            "relevant": self.relevant,
            "values": self.values,
            "hits": [
                {"id": hit.id, "score": hit.score, "uri": hit.uri, "relevant": correct}
                for hit, correct in zip(self.hits, self.correct, strict=True)
            ],
        }


@dataclass(frozen=True, slots=True)
class UnjudgedQuery:
    """A query without relevant records in the index; it was not run and does not count.

    Attributes:
        name: The query's name.
        reason: Why it could not be judged.
    """

    name: str
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """The measurements of one system; ``print`` shows them as a table.

    Attributes:
        name: The system's name.
        embedder: Name of its embedder.
        dim: Length of its vectors.
        store: Its store, as text.
        gallery: The records that were searched.
        metrics: Mean over queries with 95 % interval, by the metric's name.
        embedding: Time to read, decode and embed a query; None if not measured separately.
        searching: Time of a search.
        ann_recall: Share of the true neighbours that the store finds; None if not measured.
        queries: The judged queries.
        unjudged: Queries without relevant records in the index.
        failed: Queries that could not be read or run.
        missing: Names of relevant records that are not in the index.
        k: The depths of the metrics.
        resamples: Number of bootstrap resamples.
        seed: Seed of the bootstrap.
    """

    name: str
    embedder: str
    dim: int
    store: str
    gallery: Gallery
    metrics: dict[str, Estimate]
    embedding: Latency | None
    searching: Latency
    ann_recall: Estimate | None
    queries: tuple[QueryResult, ...]
    unjudged: tuple[UnjudgedQuery, ...]
    failed: tuple[Failure, ...]
    missing: tuple[str, ...]
    k: tuple[int, ...]
    resamples: int
    seed: int

    def __getitem__(self, metric: str) -> float:
        """Return the mean of a metric, such as ``evaluation["mAP@10"]``."""
        return self.metrics[metric].value

    @property
    def unjudgeable(self) -> tuple[UnjudgedQuery, ...]:
        """Deprecated: use `unjudged`."""
        warn_deprecated("Evaluation.unjudgeable", "Evaluation.unjudged")
        return self.unjudged

    def __str__(self) -> str:
        return Comparison((self,)).to_table()

    def worst(self, count: int = 12) -> list[QueryResult]:
        """Return the worst queries, by average precision, then nDCG."""
        depth = max(self.k)
        return sorted(
            self.queries,
            key=lambda query: (query.values[f"mAP@{depth}"], query.values[f"nDCG@{depth}"]),
        )[:count]

    def save_html(self, path: str | os.PathLike[str], *, worst: int = 12) -> Path:
        """Write one HTML page; see `Comparison.save_html`."""
        return Comparison((self,)).save_html(path, worst=worst)

    def to_dict(self, *, queries: bool = True) -> dict[str, Any]:
        """Return JSON values.

        Args:
            queries: Whether to include the values and hits of every query.
        """
        facts: dict[str, Any] = {
            "name": self.name,
            "embedder": self.embedder,
            "dim": self.dim,
            "store": self.store,
            "records": self.gallery.records,
            "labels": self.gallery.labels,
            "smallest_label": self.gallery.smallest,
            "largest_label": self.gallery.largest,
            "judged": len(self.queries),
            "metrics": {name: estimate.to_dict() for name, estimate in self.metrics.items()},
            "embedding_ms": self.embedding.to_dict() if self.embedding else None,
            "searching_ms": self.searching.to_dict(),
            "ann_recall": self.ann_recall.to_dict() if self.ann_recall else None,
            "confidence": 0.95,
            "resamples": self.resamples,
            "seed": self.seed,
            "unjudged": [{"query": query.name, "reason": query.reason} for query in self.unjudged],
            "failed": [
                {"query": failure.source, "reason": str(failure.error)} for failure in self.failed
            ],
            "missing": list(self.missing),
        }
        if queries:
            facts["queries"] = [query.to_dict() for query in self.queries]
        return facts


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Several evaluations of the same queries, side by side. ``print`` shows a table.

    Attributes:
        evaluations: At least one; the others are compared with the first.
    """

    evaluations: tuple[Evaluation, ...]

    def __getitem__(self, name: str) -> Evaluation:
        """Return the evaluation of that name.

        Raises:
            KeyError: There is none.
        """
        for evaluation in self.evaluations:
            if evaluation.name == name:
                return evaluation
        raise KeyError(name)

    def __str__(self) -> str:
        return self.to_table()

    def differences(self) -> dict[str, dict[str, Estimate]]:
        """Return the gain of each evaluation over the first, by metric.

        Gains are paired by query, over the queries that both judged, so their intervals are much
        narrower than those of the means. An interval that contains 0 shows no difference.
        """
        first, *others = self.evaluations
        before = {query.position: query.values for query in first.queries}
        gains: dict[str, dict[str, Estimate]] = {}
        for other in others:
            pairs = [
                (before[query.position], query.values)
                for query in other.queries
                if query.position in before
            ]
            shared = [name for name in first.metrics if name in other.metrics]
            if pairs:
                estimates = bootstrap(
                    [[new[name] - old[name] for name in shared] for old, new in pairs],
                    resamples=first.resamples,
                    seed=first.seed,
                )
                gains[other.name] = dict(zip(shared, estimates, strict=True))
        return gains

    def to_table(self, *, width: int | None = None) -> str:
        """Return a text table: one row for each metric, one column for each evaluation.

        Args:
            width: Maximum width in columns; None for no limit.
        """
        return text_report(self, width=width)

    def to_dict(self, *, queries: bool = True) -> dict[str, Any]:
        """Return JSON values.

        Args:
            queries: Whether to include the values and hits of every query.
        """
        return {
            "evaluations": [evaluation.to_dict(queries=queries) for evaluation in self.evaluations],
            "differences": {
                name: {metric: gain.to_dict() for metric, gain in gains.items()}
                for name, gains in self.differences().items()
            },
        }

    def save_html(self, path: str | os.PathLike[str], *, worst: int = 12) -> Path:
        """Write one HTML page with the tables and the worst queries, with thumbnails.

        Images are embedded in the page, which loads nothing else.

        Args:
            path: Path of the page.
            worst: Number of queries of each evaluation to show.

        Returns:
            The absolute path of the page.

        Raises:
            OSError: The file cannot be written.
        """
        target = Path(path).absolute()
        target.write_text(html_report(self, worst=worst), encoding="utf-8")
        return target


_HITS_SHOWN = 10
_LISTED = 10


def text_report(comparison: Comparison, *, width: int | None = None) -> str:
    """Return the measurements as text tables; see `Comparison.to_table`."""
    header, rows = _table(comparison)
    parts = [*_facts(comparison), "", text_table(header, rows, width=width)]
    gains = _gains(comparison)
    if gains is not None:
        parts += ["", _gains_title(comparison), text_table(*gains, width=width)]
    return "\n".join(parts)


def html_report(comparison: Comparison, *, worst: int) -> str:
    """Return one HTML page; see `Comparison.save_html`."""
    header, rows = _table(comparison)
    evaluations = []
    for evaluation in comparison.evaluations:
        shown = evaluation.worst(worst)
        evaluations.append(
            {
                "title": f"{evaluation.name}: the {len(shown)} worst queries" if shown else "",
                "queries": [
                    {"heading": _heading(evaluation, query), "tiles": _tiles(query)}
                    for query in shown
                ],
                "lists": _lists(evaluation),
            }
        )
    return render(
        "templates/comparison.html",
        title="How well images are found",
        lines=_facts(comparison),
        header=header,
        rows=rows,
        gains=_gains(comparison),
        gains_title=_gains_title(comparison),
        evaluations=evaluations,
    )


def _facts(comparison: Comparison) -> list[str]:
    lines = []
    for evaluation in comparison.evaluations:
        gallery = evaluation.gallery
        sizes = (
            f"{gallery.smallest}"
            if gallery.smallest == gallery.largest
            else f"{gallery.smallest} to {gallery.largest}"
        )
        text = (
            f"{evaluation.name}: {len(evaluation.queries)} queries judged, {len(evaluation.unjudged)} "
            f"unjudged, {len(evaluation.failed)} failed; {gallery.records} records"
        )
        if any(query.label is not None for query in evaluation.queries):
            text += f" of {gallery.labels} labels, {sizes} each"
        text += f"; {evaluation.embedder}, dim {evaluation.dim}"
        if evaluation.missing:
            text += f"; {len(evaluation.missing)} relevant records are missing from the index"
        lines.append(text)
    first = comparison.evaluations[0]
    lines.append(
        f"means over queries with 95 % intervals ({first.resamples} bootstrap resamples, seed "
        f"{first.seed})"
    )
    return lines


def _table(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    evaluations = comparison.evaluations
    names = list(dict.fromkeys(name for evaluation in evaluations for name in evaluation.metrics))
    rows = [
        [
            name,
            *(
                str(evaluation.metrics[name]) if name in evaluation.metrics else ""
                for evaluation in evaluations
            ),
        ]
        for name in names
    ]
    if any(evaluation.ann_recall for evaluation in evaluations):
        title = f"ANN recall@{max(evaluations[0].k)} of exact"
        rows.append(
            [title, *(str(evaluation.ann_recall or "not measured") for evaluation in evaluations)]
        )
    rows += [
        [
            "embedding ms p50/p95/p99",
            *(str(evaluation.embedding or "") for evaluation in evaluations),
        ],
        ["searching ms p50/p95/p99", *(str(evaluation.searching) for evaluation in evaluations)],
    ]
    return ["metric", *(evaluation.name for evaluation in evaluations)], rows


def _gains_title(comparison: Comparison) -> str:
    return f"gain over {comparison.evaluations[0].name}, paired by query"


def _gains(comparison: Comparison) -> tuple[list[str], list[list[str]]] | None:
    gains = comparison.differences()
    if not gains:
        return None
    names = list(dict.fromkeys(name for by_metric in gains.values() for name in by_metric))
    rows = [
        [
            name,
            *(
                f"{gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"
                for by_metric in gains.values()
                if (gain := by_metric.get(name)) is not None
            ),
        ]
        for name in names
    ]
    return ["metric", *gains], rows


def _heading(evaluation: Evaluation, query: QueryResult) -> str:
    depth = max(evaluation.k)
    count = sum(query.correct[:depth])
    words = f"{query.label}: " if query.label is not None else ""
    return (
        f"{words}{count} of {query.relevant} relevant in the first {depth}, "
        f"AP@{depth} {query.values[f'mAP@{depth}']:.3f}"
    )


def _tiles(query: QueryResult) -> Iterator[Tile]:
    thumbnail = open_thumbnail(query.image) if query.image is not None else None
    yield Tile(thumbnail, "query", Path(query.name).name, query.label or "", is_query=True)
    for hit, correct in list(zip(query.hits, query.correct, strict=True))[:_HITS_SHOWN]:
        folder = Path(hit.uri).parent.name
        yield Tile(
            open_thumbnail(hit.uri),
            f"{'✓' if correct else '✗'} {hit.score:.3f}",
            Path(hit.uri).name or hit.id,
            ", ".join(f"{key}: {value}" for key, value in hit.metadata.items()) or folder,
        )


def _lists(evaluation: Evaluation) -> Iterator[dict[str, Any]]:
    unjudged = [f"{query.name}: {query.reason}" for query in evaluation.unjudged]
    failed = [f"{failure.source}: {failure.error}" for failure in evaluation.failed]
    for title, lines in (
        ("unjudged", unjudged),
        ("failed", failed),
        ("relevant, but not in the index", list(evaluation.missing)),
    ):
        if lines:
            more = [f"… and {len(lines) - _LISTED} more"] if len(lines) > _LISTED else []
            yield {"title": f"{len(lines)} {title}", "lines": [*lines[:_LISTED], *more]}
