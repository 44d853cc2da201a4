"""Reports: a comparison as a text table and as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from imagesearch.errors import ImageSearchError
from imagesearch.rendering import (
    Tile,
    html_document,
    html_table,
    html_text,
    notebook_html,
    text_table,
)
from imagesearch.sources import open_image
from imagesearch.types import ImageSource

if TYPE_CHECKING:
    from imagesearch.evaluation.results import Comparison, Evaluation, QueryResult

__all__ = ["html_report", "text_report"]

_THUMBNAIL = 200
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
    parts = [f"<p>{html_text(line)}</p>" for line in _facts(comparison)]
    parts.append(html_table(*_table(comparison)))
    gains = _gains(comparison)
    if gains is not None:
        parts += [f"<h2>{html_text(_gains_title(comparison))}</h2>", html_table(*gains)]
    for evaluation in comparison.evaluations:
        shown = evaluation.worst(worst)
        if shown:
            title = f"{evaluation.name}: the {len(shown)} queries answered worst"
            parts.append(f"<h2>{html_text(title)}</h2>")
        for query in shown:
            parts.append(f"<h3>{html_text(_heading(evaluation, query))}</h3>")
            parts.append(notebook_html(_tiles(query)))
        parts += _lists(evaluation)
    return html_document("How well images are found", "\n".join(parts))


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
    picture = _thumbnail(query.image) if query.image is not None else None
    yield Tile(picture, "query", Path(query.name).name, query.label or "", is_query=True)
    for hit, correct in list(zip(query.hits, query.correct, strict=True))[:_HITS_SHOWN]:
        folder = Path(hit.uri).parent.name
        yield Tile(
            _thumbnail(hit.uri),
            f"{'✓' if correct else '✗'} {hit.score:.3f}",
            Path(hit.uri).name or hit.id,
            ", ".join(f"{key}: {value}" for key, value in hit.metadata.items()) or folder,
        )


def _lists(evaluation: Evaluation) -> Iterator[str]:
    unjudgeable = [f"{query.name}: {query.reason}" for query in evaluation.unjudgeable]
    failed = [f"{failure.source}: {failure.error}" for failure in evaluation.failed]
    for title, lines in (
        ("unjudgeable", unjudgeable),
        ("failed", failed),
        ("relevant, but not in the index", list(evaluation.missing)),
    ):
        if lines:
            listed = "".join(f"<li>{html_text(line)}</li>" for line in lines[:_LISTED])
            more = f"<li>… and {len(lines) - _LISTED} more</li>" if len(lines) > _LISTED else ""
            yield f"<h3>{len(lines)} {title}</h3><ul>{listed}{more}</ul>"


def _thumbnail(source: ImageSource) -> Image.Image | None:
    try:
        return open_image(source, shrink_to=_THUMBNAIL)
    except ImageSearchError:
        return None
