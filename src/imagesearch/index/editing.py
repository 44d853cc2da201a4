"""Editing: records that are there already are changed or deleted, by id or by filter."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from reprlib import repr as shorten

from imagesearch.chunks import chunks
from imagesearch.errors import QueryError
from imagesearch.filters import Filter
from imagesearch.protocols import VectorStore
from imagesearch.types import Metadata, Record, RecordBatch, check_metadata

__all__ = ["as_ids", "delete_records", "update_records"]

_BATCH = 1000


def as_ids(ids: str | Iterable[str]) -> list[str]:
    """Return one id, or many, as a list.

    Raises:
        QueryError: Something else than text is given as an id.
    """
    wanted = list(ids) if isinstance(ids, Iterable) and not isinstance(ids, str) else [ids]
    for id in wanted:
        if not isinstance(id, str):
            raise QueryError(f"ids are text, not {shorten(id)}; give one id or a list of ids")
    return [str.__str__(id) for id in wanted]


def delete_records(
    store: VectorStore, ids: str | Iterable[str] | None, where: Filter | None
) -> int:
    """Delete records; see `ImageIndex.delete`."""
    doomed = _named(store, ids, where, "delete")
    return sum(map(store.delete, chunks(doomed, _BATCH)))


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
    written = 0
    for some in chunks(_named(store, ids, where, "update"), _BATCH):
        records = store.get(some, vectors=True).values()
        changed = [_with_fields(record, fields, keep=keep) for record in records]
        if changed:
            store.upsert(RecordBatch.of(changed))
        written += len(changed)
    return written


def _named(
    store: VectorStore, ids: str | Iterable[str] | None, where: Filter | None, verb: str
) -> list[str]:
    if (ids is None) == (where is None):
        raise QueryError(f"say what to {verb}: either ids or where=")
    if ids is not None:
        return as_ids(ids)
    return [id for batch in store.scan(where=where, batch_size=_BATCH) for id in batch.ids]


def _with_fields(record: Record, fields: Metadata, *, keep: bool) -> Record:
    kept = {name: record.metadata[name] for name in record.metadata if keep and name not in fields}
    changed = {name: value for name, value in fields.items() if value is not None}
    return replace(record, metadata={**kept, **changed})
