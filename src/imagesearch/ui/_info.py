"""Facts: what an index holds and was made with, for programs and for people."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from imagesearch._rendering import html_text
from imagesearch.index import ImageIndex
from imagesearch.types import IndexMeta
from imagesearch.ui._cards import table_html
from imagesearch.ui._filter_form import FieldSummary, describe_values, sample_fields
from imagesearch.ui._text import counted, phrase

__all__ = ["FieldSample", "facts_html", "facts_of"]


# How long, in seconds, what was learnt about the fields is taken for current.
_FRESH = 60.0


class FieldSample:
    """The fields of an index, looked at once a minute.

    Args:
        index: Open.
    """

    def __init__(self, index: ImageIndex) -> None:
        self._index = index
        self._known: tuple[float, int, list[FieldSummary]] | None = None

    def get(self) -> tuple[int, list[FieldSummary]]:
        """Return how many records were looked at, and the fields that can be filtered by.

        Raises:
            StoreError: The store failed.
        """
        known = self._known
        if known is None or time.monotonic() - known[0] > _FRESH:
            known = self._known = (time.monotonic(), *sample_fields(self._index))
        return known[1], known[2]

    def forget(self) -> None:
        """Look again when asked: something was added."""
        self._known = None


def facts_of(
    index: ImageIndex,
    store: str,
    searches_text: bool,
    sampled: int,
    fields: Sequence[FieldSummary],
) -> dict[str, Any]:
    """Return what an index holds, and what it was made with, as JSON values.

    Args:
        index: Open.
        store: Its store, in words that visitors may read.
        searches_text: Whether the embedder understands words.
        sampled: How many records were looked at for `fields`.
        fields: Those that can be filtered by.

    Raises:
        StoreError: The store failed.
    """
    meta = index.meta
    return {
        "images": index.count(),
        "embedder": meta.embedding.name,
        "dim": meta.dim,
        "projection": _projection(meta),
        "metric": meta.metric,
        "searches_text": searches_text,
        "store": store,
        "sampled": sampled,
        "fields": [
            {
                "name": field.name,
                "kind": field.kind,
                "seen": field.seen,
                "values": list(field.values),
                "low": field.low,
                "high": field.high,
            }
            for field in fields
        ],
    }


def _projection(meta: IndexMeta) -> dict[str, Any] | None:
    if meta.projection is None:
        return None
    return {
        "input_dim": meta.embedding.dim,
        "fitted_on": meta.projection.fitted_on,
        "fingerprint": meta.projection.fingerprint,
    }


def facts_html(
    facts: Mapping[str, Any], sampled: int, fields: Sequence[FieldSummary], language: str
) -> str:
    """Return facts as HTML for people.

    Args:
        facts: As `facts_of` gives them.
        sampled: How many records were looked at for `fields`.
        fields: Those that can be filtered by.
        language: Of the words around them.
    """
    rows = [
        (phrase("facts_images", language), f"<b>{facts['images']:,}</b>"),
        (phrase("facts_embedder", language), f"<code>{html_text(facts['embedder'])}</code>"),
        (phrase("facts_dim", language), str(facts["dim"])),
        *_projection_row(facts["projection"], language),
        (phrase("facts_metric", language), html_text(facts["metric"])),
        (
            phrase("facts_text", language),
            phrase("yes" if facts["searches_text"] else "no", language),
        ),
        (phrase("facts_store", language), f"<code>{html_text(facts['store'])}</code>"),
    ]
    body = table_html(
        (
            field.name,
            f'<span class="is-kind">{phrase("kind_" + field.kind, language)}</span> {html_text(describe_values(field))}',
        )
        for field in fields
    )
    note = counted("facts_sample", sampled, language).format(sampled)
    return (
        f"{table_html(rows)}<h3>{phrase('facts_fields', language)} <small>{note}</small></h3>"
        f"{body if fields else phrase('facts_fields_none', language)}"
    )


def _projection_row(projection: Mapping[str, Any] | None, language: str) -> list[tuple[str, str]]:
    if projection is None:
        return []
    words = phrase("facts_projected", language)
    words = words.format(projection["input_dim"], projection["fitted_on"])
    return [(phrase("facts_projection", language), words)]
