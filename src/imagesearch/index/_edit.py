"""Editing: records that are there already are changed or deleted, by id or by filter."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from imagesearch._printable import shorten
from imagesearch._validation import chunks, elements
from imagesearch.errors import QueryError
from imagesearch.filters import Filter
from imagesearch.protocols import (
    SupportsFilterDeletion,
    SupportsMetadataUpdate,
    VectorStore,
    supports,
)
from imagesearch.types import Metadata, RecordBatch, check_metadata, updated_metadata

__all__ = ["as_ids", "delete_records", "update_records"]


_BATCH = 1000


def as_ids(ids: str | Iterable[str]) -> list[str]:
    """Return one id, or many, as a list.

    Raises:
        QueryError: Something else than text is given as an id.
    """
    several = None if isinstance(ids, str) else elements(ids)
    wanted = [ids] if several is None else several
    for id in wanted:
        if not isinstance(id, str):
            raise QueryError(f"ids are text, not {shorten(id)}; give one id or a list of ids")
    return [str.__str__(id) for id in wanted]


def delete_records(
    store: VectorStore, ids: str | Iterable[str] | None, where: Filter | None
) -> int:
    """Delete records; see `ImageIndex.delete`."""
    chosen = _chosen(ids, where, "delete")
    if where is not None and supports(store, SupportsFilterDeletion):
        return store.delete_where(where)
    return sum(map(store.delete, chunks(_found(store, chosen, where), _BATCH)))


def update_records(
    store: VectorStore,
    ids: str | Iterable[str] | None,
    metadata: Metadata,
    where: Filter | None,
    *,
    keep: bool,
) -> int:
    """Set fields of records, and keep the other ones or not; see `ImageIndex.update_metadata`."""
    fields = check_metadata(metadata)
    chosen = _chosen(ids, where, "update")
    if supports(store, SupportsMetadataUpdate):
        return store.update_metadata(fields, ids=chosen, where=where, replace=not keep)
    written = 0
    for some in chunks(_found(store, chosen, where), _BATCH):
        records = store.get(some, vectors=True).values()
        changed = [
            replace(record, metadata=updated_metadata(record.metadata, fields, replace=not keep))
            for record in records
        ]
        if changed:
            store.upsert(RecordBatch.of(changed))
        written += len(changed)
    return written


def _chosen(ids: str | Iterable[str] | None, where: Filter | None, verb: str) -> list[str] | None:
    if (ids is None) == (where is None):
        raise QueryError(f"say what to {verb}: either ids or where=")
    return None if ids is None else as_ids(ids)


def _found(store: VectorStore, chosen: list[str] | None, where: Filter | None) -> list[str]:
    if chosen is not None:
        return chosen
    return [id for batch in store.scan(where=where, batch_size=_BATCH) for id in batch.ids]
