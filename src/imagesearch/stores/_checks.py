"""Argument checks that every store makes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagesearch._printable import shorten
from imagesearch._validation import is_unicode, text, whole
from imagesearch.errors import StoreRequestError
from imagesearch.filters import Filter
from imagesearch.types import (
    IndexMeta,
    Metadata,
    MetadataValue,
    RecordBatch,
    check_id,
    check_metadata,
)
from imagesearch.vectors import check_vectors, unit_or_as_is

__all__ = [
    "check_batch",
    "check_batch_size",
    "check_queries",
    "check_update",
    "note_text",
    "possible_ids",
]


def check_batch(batch: RecordBatch, meta: IndexMeta) -> RecordBatch:
    """Return a batch ready to be stored; `upsert` calls this first.

    Args:
        batch: The caller's batch.
        meta: The meta that the store was opened with.

    Returns:
        A batch with float32 vectors, of unit length under ``cosine``, and with metadata that are
        plain-Python copies.

    Raises:
        StoreRequestError: A vector is missing, of another dimension, not finite, or zero under
            ``cosine``; metadata are not JSON values; a uri or digest is not valid Unicode. Its
            `ids` are the records concerned.

    Example:
        >>> from imagesearch.types import EmbeddingSpec
        >>> meta = IndexMeta(EmbeddingSpec("mine", 2, False, "v1"))
        >>> batch = RecordBatch(("a",), ("/a.jpg",), ("",), ({"t": (1, 2)},), np.ones((1, 2)))
        >>> checked = check_batch(batch, meta)
        >>> checked.metadata, np.linalg.norm(checked.vectors).round(6).item()
        (({'t': [1, 2]},), 1.0)
    """
    if batch.vectors is None:
        raise StoreRequestError("the batch has no vectors", remedy="give one for each record")
    vectors = check_vectors(batch.vectors, meta.dim, meta.metric, ids=batch.ids)
    if meta.metric == "cosine":
        vectors = unit_or_as_is(vectors)
    for id, uri, digest in zip(batch.ids, batch.uris, batch.digests, strict=True):
        if not is_unicode(uri + digest):
            raise StoreRequestError(
                f"the uri of id {id!r} is not valid Unicode: {uri!r}",
                ids=(id,),
                remedy="rename the file",
            )
    metadata = tuple(map(_checked_metadata, batch.ids, batch.metadata))
    return RecordBatch(batch.ids, batch.uris, batch.digests, metadata, vectors)


def check_batch_size(batch_size: int) -> None:
    """Check the batch size of a scan; `scan` calls this first.

    Raises:
        StoreRequestError: batch_size is not a whole number ≥ 1.

    Example:
        >>> check_batch_size(1000)
    """
    whole(batch_size, "batch_size", least=1, error=StoreRequestError)


def check_queries(vectors: object, meta: IndexMeta, k: int) -> NDArray[np.float32]:
    """Return queries ready to be compared; `search` calls this first.

    Args:
        vectors: The caller's queries, (n, dim).
        meta: The meta that the store was opened with.
        k: The number of hits per query.

    Returns:
        float32 of shape (n, dim), of unit length under ``cosine``.

    Raises:
        StoreRequestError: k is not a whole number ≥ 1, or queries are of another dimension, not
            finite, or zero under ``cosine``.

    Example:
        >>> from imagesearch.types import EmbeddingSpec
        >>> check_queries([[0, 2]], IndexMeta(EmbeddingSpec("mine", 2, False, "v1")), 10).tolist()
        [[0.0, 1.0]]
    """
    whole(k, "k", least=1, error=StoreRequestError)
    queries = check_vectors(vectors, meta.dim, meta.metric)
    return unit_or_as_is(queries) if meta.metric == "cosine" else queries


def check_update(
    fields: Metadata, ids: Sequence[str] | None, where: Filter | None
) -> dict[str, MetadataValue]:
    """Return the fields of an update ready to be stored; `update_metadata` calls this first.

    Raises:
        StoreRequestError: Neither or both of `ids` and `where` are given, or `fields` are not JSON
            values.

    Example:
        >>> check_update({"tags": ("new",)}, ["a"], None)
        {'tags': ['new']}
    """
    if (ids is None) == (where is None):
        raise StoreRequestError(
            f"update_metadata takes either ids or where, got {'neither' if ids is None else 'both'}"
        )
    return check_metadata(fields)


def possible_ids(ids: Sequence[str]) -> list[str]:
    r"""Return the valid ids among those given, each once; `get` and `delete` call this first.

    An engine may confuse an invalid id with a valid one: SQLite's JSON ends a string at a NUL.

    Example:
        >>> possible_ids(["b", "a", "b", "a\0b", ""])
        ['b', 'a']
    """
    return [id for id in dict.fromkeys(ids) if _possible(id)]


def _checked_metadata(id: str, metadata: Metadata) -> dict[str, MetadataValue]:
    try:
        return check_metadata(metadata)
    except StoreRequestError as error:
        raise StoreRequestError(
            f"record {id!r}: {error.problem}", ids=(id,), remedy=error.remedy
        ) from error


def _possible(id: str) -> bool:
    try:
        check_id(id)
    except StoreRequestError:
        return False
    return True


def note_text(name: str, value: Any) -> str | None:
    """Return the JSON text of a note; None if it is to be removed.

    Raises:
        StoreRequestError: The name is empty, or JSON would change the value.

    Example:
        >>> note_text("seen", {"pages": [1, 2]}), note_text("seen", None)
        ('{"pages": [1, 2]}', None)
    """
    text(name, "a note's name", error=StoreRequestError)
    if value is None:
        return None
    try:
        written = json.dumps(value, ensure_ascii=False, allow_nan=False)
        written.encode()  # fails on a lone surrogate
        # Tuples and numeric keys would come back as lists and strings.
        same = json.loads(written) == value
    except (TypeError, ValueError, RecursionError) as error:
        raise StoreRequestError(f"note {shorten(name)} is not a JSON value: {error}") from error
    if not same:
        raise StoreRequestError(
            f"note {shorten(name)} is not a JSON value",
            remedy="use lists instead of tuples, and strings as keys",
        )
    return written
