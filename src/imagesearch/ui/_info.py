"""What an index contains and how it was made, for programs and for people."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from imagesearch.index import ImageIndex
from imagesearch.types import IndexMeta
from imagesearch.ui._cards import render_in
from imagesearch.ui._filter_form import FieldSummary, describe_values, sample_fields
from imagesearch.ui._text import phrase_for

__all__ = ["FieldSample", "index_info", "info_html"]


_MAX_AGE = 60.0
"""Seconds after which the fields are sampled again."""


class FieldSample:
    """The fields of an index, sampled at most once a minute.

    Args:
        index: An open index.
    """

    def __init__(self, index: ImageIndex) -> None:
        self._index = index
        self._sample: tuple[float, int, list[FieldSummary]] | None = None

    def get(self) -> tuple[int, list[FieldSummary]]:
        """Return the number of records in the sample, and the fields that can be filtered by.

        Raises:
            StoreError: The store failed.
        """
        sample = self._sample
        if sample is None or time.monotonic() - sample[0] > _MAX_AGE:
            sample = self._sample = (time.monotonic(), *sample_fields(self._index))
        return sample[1], sample[2]

    def forget(self) -> None:
        """Sample again on the next call, because records were added."""
        self._sample = None


def index_info(
    index: ImageIndex,
    store: str,
    searches_text: bool,
    sampled: int,
    fields: Sequence[FieldSummary],
) -> dict[str, Any]:
    """Return what an index contains and how it was made, as JSON values.

    Args:
        index: An open index.
        store: The description of its store that visitors may see.
        searches_text: Whether the embedder embeds text.
        sampled: The number of records in the sample.
        fields: The fields that can be filtered by.

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


def info_html(
    info: Mapping[str, Any], sampled: int, fields: Sequence[FieldSummary], language: str
) -> str:
    """Return the information as HTML.

    Args:
        info: The values of `index_info`.
        sampled: The number of records in the sample.
        fields: The fields that can be filtered by.
        language: ``"en"`` or ``"zh"``.
    """
    rows = [
        {"name": field.name, "kind": field.kind, "description": describe_values(field)}
        for field in fields
    ]
    note = phrase_for("info_sample", sampled, language).format(sampled)
    return render_in(language, "info", info=info, fields=rows, note=note)
