"""Results of an evaluation, and how they are printed and written."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imagesearch._rendering import Tile, render, text_table
from imagesearch.evaluation.intervals import Estimate, bootstrap
from imagesearch.evaluation.judgements import Gallery
from imagesearch.sources import open_thumbnail
from imagesearch.types import Failure, Hit, ImageSource

__all__ = [
    "Comparison",
    "Evaluation",
    "Latency",
    "QueryResult",
    "Unjudgeable",
    "html_report",
    "text_report",
]


@dataclass(frozen=True, slots=True)
class Latency:
    """How long one query took, in milliseconds.

    Attributes:
        p50: Half of the queries were answered in this time or less.
        p95: 95 % of them.
        p99: 99 % of them.

    Example:
        >>> print(Latency.of([0.010, 0.030, 0.020]))
        20.0 / 29.0 / 29.8
    """

    p50: float
    p95: float
    p99: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Latency:
        """Take percentiles of at least one duration in seconds, interpolated linearly."""
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
    """One query that was asked and judged.

    Attributes:
        position: Of the query among all that were given.
        name: The query in words.
        label: Its label, or None when its answers were named.
        relevant: How many records are relevant.
        hits: What was found, best first, without the query itself.
        correct: For each hit whether it is relevant.
        values: Every metric of this query.
        embedding_seconds: Reading, decoding and embedding; None when it was not measured apart.
        searching_seconds: The search.
        image: The query image, for pictures.
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
        """Return JSON values; hits as their ids, scores and whether they are relevant."""
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
class Unjudgeable:
    """A query without any right answer in the index; it was not asked and does not count.

    Attributes:
        name: The query in words.
        reason: Why.
    """

    name: str
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """What was measured of one index. ``print`` shows it as a table.

    Attributes:
        name: What was measured.
        embedder: Name of its embedder.
        dim: Length of its vectors.
        store: Its store in words.
        gallery: What was searched.
        metrics: Mean over queries and 95 % interval, by the metric's name.
        embedding: Reading, decoding and embedding one query; None when not measured apart.
        searching: One search.
        ann_recall: Share of the true neighbours that the store finds; None when not measured.
        queries: Every query that was judged.
        unjudgeable: Queries without any right answer in the index.
        failed: Queries that could not be read or asked.
        missing: Names of relevant records that the index does not hold.
        k: The depths that were measured.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.
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
    unjudgeable: tuple[Unjudgeable, ...]
    failed: tuple[Failure, ...]
    missing: tuple[str, ...]
    k: tuple[int, ...]
    resamples: int
    seed: int

    def __getitem__(self, metric: str) -> float:
        """Return the mean of a metric, such as ``evaluation["mAP@10"]``."""
        return self.metrics[metric].value

    def __str__(self) -> str:
        return Comparison((self,)).to_table()

    def worst(self, count: int = 12) -> list[QueryResult]:
        """Return the queries that were answered worst, by average precision, then nDCG."""
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
            queries: Whether with every query's own values and hits.
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
            "unjudgeable": [
                {"query": query.name, "reason": query.reason} for query in self.unjudgeable
            ],
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
        """Return how much each evaluation after the first gains over the first, by metric.

        Paired: only queries that both judged, each with its own difference, so that the intervals
        are much narrower than those of the two means. One that holds 0 shows no difference.
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
            width: Columns to fit into; None for as wide as needed.
        """
        return text_report(self, width=width)

    def to_dict(self, *, queries: bool = True) -> dict[str, Any]:
        """Return JSON values.

        Args:
            queries: Whether with every query's own values and hits.
        """
        return {
            "evaluations": [each.to_dict(queries=queries) for each in self.evaluations],
            "differences": {
                name: {metric: gain.to_dict() for metric, gain in gains.items()}
                for name, gains in self.differences().items()
            },
        }

    def save_html(self, path: str | os.PathLike[str], *, worst: int = 12) -> Path:
        """Write one HTML page with the tables and the worst queries as pictures.

        Pictures are inside the page; it loads nothing else.

        Args:
            path: Where to.
            worst: How many queries of each evaluation to show.

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
    """Return all that was measured as text tables; see `Comparison.to_table`."""
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
    for each in comparison.evaluations:
        sizes = (
            f"{each.gallery.smallest}"
            if each.gallery.smallest == each.gallery.largest
            else f"{each.gallery.smallest} to {each.gallery.largest}"
        )
        text = (
            f"{each.name}: {len(each.queries)} queries judged, {len(each.unjudgeable)} "
            f"unjudgeable, {len(each.failed)} failed; {each.gallery.records} records"
        )
        if any(query.label is not None for query in each.queries):
            text += f" of {each.gallery.labels} labels, {sizes} each"
        text += f"; {each.embedder}, dim {each.dim}"
        if each.missing:
            text += f"; {len(each.missing)} relevant records are missing from the index"
        lines.append(text)
    first = comparison.evaluations[0]
    lines.append(
        f"means over queries with 95 % intervals ({first.resamples} bootstrap resamples, seed "
        f"{first.seed})"
    )
    return lines


def _table(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    evaluations = comparison.evaluations
    names = list(dict.fromkeys(name for each in evaluations for name in each.metrics))
    rows = [
        [name, *(str(each.metrics[name]) if name in each.metrics else "" for each in evaluations)]
        for name in names
    ]
    if any(each.ann_recall for each in evaluations):
        title = f"ANN recall@{max(evaluations[0].k)} of exact"
        rows.append([title, *(str(each.ann_recall or "not measured") for each in evaluations)])
    rows += [
        ["embedding ms p50/p95/p99", *(str(each.embedding or "") for each in evaluations)],
        ["searching ms p50/p95/p99", *(str(each.searching) for each in evaluations)],
    ]
    return ["metric", *(each.name for each in evaluations)], rows


def _gains_title(comparison: Comparison) -> str:
    return f"gain over {comparison.evaluations[0].name}, paired by query"


def _gains(comparison: Comparison) -> tuple[list[str], list[list[str]]] | None:
    gains = comparison.differences()
    if not gains:
        return None
    names = list(dict.fromkeys(name for of_one in gains.values() for name in of_one))
    rows = [
        [
            name,
            *(
                f"{gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"
                for of_one in gains.values()
                if (gain := of_one.get(name)) is not None
            ),
        ]
        for name in names
    ]
    return ["metric", *gains], rows


def _heading(evaluation: Evaluation, query: QueryResult) -> str:
    depth = max(evaluation.k)
    found = sum(query.correct[:depth])
    words = f"{query.label}: " if query.label is not None else ""
    return (
        f"{words}{found} of {query.relevant} relevant in the first {depth}, "
        f"AP@{depth} {query.values[f'mAP@{depth}']:.3f}"
    )


def _tiles(query: QueryResult) -> Iterator[Tile]:
    picture = open_thumbnail(query.image) if query.image is not None else None
    yield Tile(picture, "query", Path(query.name).name, query.label or "", is_query=True)
    for hit, correct in list(zip(query.hits, query.correct, strict=True))[:_HITS_SHOWN]:
        folder = Path(hit.uri).parent.name
        yield Tile(
            open_thumbnail(hit.uri),
            f"{'✓' if correct else '✗'} {hit.score:.3f}",
            Path(hit.uri).name or hit.id,
            ", ".join(f"{key}: {value}" for key, value in hit.metadata.items()) or folder,
        )


def _lists(evaluation: Evaluation) -> Iterator[dict[str, Any]]:
    unjudgeable = [f"{query.name}: {query.reason}" for query in evaluation.unjudgeable]
    failed = [f"{failure.source}: {failure.error}" for failure in evaluation.failed]
    for title, lines in (
        ("unjudgeable", unjudgeable),
        ("failed", failed),
        ("relevant, but not in the index", list(evaluation.missing)),
    ):
        if lines:
            more = [f"… and {len(lines) - _LISTED} more"] if len(lines) > _LISTED else []
            yield {"title": f"{len(lines)} {title}", "lines": [*lines[:_LISTED], *more]}
