"""MemoryStore: exact search in memory, the reference for all other stores."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from dataclasses import replace as replaced
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagesearch._forks import ForkSafeLock
from imagesearch._validation import batched
from imagesearch.errors import StoreError
from imagesearch.filters import Filter, matches
from imagesearch.protocols import Capability
from imagesearch.stores._blocks import Block
from imagesearch.stores._checks import (
    check_batch,
    check_batch_size,
    check_queries,
    check_update,
    note_text,
)
from imagesearch.stores._ranking import nearest, order
from imagesearch.types import Hit, IndexMeta, Metadata, Record, RecordBatch, updated_metadata

__all__ = ["MemoryStore"]


@dataclass(frozen=True, slots=True)
class _Entry:
    row: int
    uri: str
    digest: str
    metadata: Metadata


class MemoryStore:
    """A vector store in memory, always exact.

    For tests, notebooks and small temporary indexes; other stores are tested against it. Several
    threads may use it at once.

    Example:
        >>> from imagesearch.types import EmbeddingSpec, IndexMeta, RecordBatch
        >>> store = MemoryStore()
        >>> store.open(IndexMeta(EmbeddingSpec("mine", 2, True, "v1")))
        >>> store.upsert(RecordBatch(("a",), ("/a.jpg",), ("",), ({},), np.eye(2)[:1]))
        >>> store.search(np.array([[3.0, 4.0]], np.float32), k=5)
        [[Hit(id='a', score=0.6..., uri='/a.jpg', metadata={})]]
    """

    capabilities = frozenset(
        {
            Capability.EXACT,
            Capability.FILTER_ANY_FIELD,
            Capability.FILTER_IDENTITY,
            Capability.ORDER_TEXT,
        }
    )

    def __init__(self) -> None:
        self._lock = ForkSafeLock()
        self._meta: IndexMeta | None = None
        self._entries: dict[str, _Entry] = {}
        self._id_of_row: list[str] = []
        self._notes: dict[str, str] = {}
        self._vectors = np.empty((0, 0), np.float32)

    def describe(self) -> IndexMeta | None:
        """Return the meta this store was opened with, or None."""
        return self._meta

    def open(self, meta: IndexMeta) -> None:
        """Create an empty collection; on an open store, verify that `meta` is compatible.

        Raises:
            IncompatibleIndexError: The open collection has another embedder, dimension or metric.
        """
        with self._lock.lock:
            if self._meta is not None:
                self._meta.require_compatible(meta, where="the memory store")
                return
            self._meta = meta
            self._vectors = np.empty((0, meta.dim), np.float32)

    def upsert(self, batch: RecordBatch) -> None:
        """Insert records, replacing as a whole those whose id exists.

        Raises:
            StoreRequestError: Vectors are missing, have another dimension, are not finite or, under
                ``cosine``, zero; or metadata are not JSON values. Nothing was written.
        """
        with self._lock.lock:
            meta = self._opened()
            checked = check_batch(batch, meta)
            self._reserve(len(self._entries) + len(checked))
            for record in checked:
                entry = self._entries.get(record.id)
                if entry is None:
                    row = len(self._id_of_row)
                    self._id_of_row.append(record.id)
                else:
                    row = entry.row
                self._entries[record.id] = _Entry(row, record.uri, record.digest, record.metadata)
                self._vectors[row] = record.vector

    def search(
        self, vectors: NDArray[np.float32], *, k: int, where: Filter | None = None
    ) -> list[list[Hit]]:
        """Compare the queries with every record that matches; see `VectorStore.search`.

        Raises:
            StoreRequestError: k < 1, or queries of another dimension, not finite, or zero under
                ``cosine``.
        """
        with self._lock.lock:
            meta = self._opened()
            queries = check_queries(vectors, meta, k)
            everything = np.arange(len(self._id_of_row))
            rows = everything
            if where is not None:
                matching = [self._entries[id].row for id in self._matching(where)]
                rows = np.sort(np.array(matching, np.int64))
            vectors = self._vectors[: len(everything)]
            block = Block(vectors, slice(None) if len(rows) == len(everything) else rows)
            nearest_rows = nearest(
                queries,
                lambda: [(rows, block)],
                self._vectors.__getitem__,
                k=k,
                metric=meta.metric,
            )
            return [self._hits(best, scores, k) for best, scores in nearest_rows]

    def get(self, ids: Sequence[str], *, vectors: bool = False) -> dict[str, Record]:
        """Return the records that exist among `ids`."""
        with self._lock.lock:
            self._opened()
            return {id: self._record(id, vectors) for id in ids if id in self._entries}

    def update_metadata(
        self,
        fields: Metadata,
        *,
        ids: Sequence[str] | None = None,
        where: Filter | None = None,
        replace: bool = False,
    ) -> int:
        """Set fields of records that exist; see `SupportsMetadataUpdate.update_metadata`.

        Raises:
            StoreRequestError: Neither or both of `ids` and `where` are given, or `fields` are not
                JSON values. Nothing was written.
        """
        checked = check_update(fields, ids, where)
        with self._lock.lock:
            self._opened()
            chosen = list(self._matching(where)) if ids is None else dict.fromkeys(ids)
            existing = [id for id in chosen if id in self._entries]
            for id in existing:
                entry = self._entries[id]
                metadata = updated_metadata(entry.metadata, checked, replace=replace)
                self._entries[id] = replaced(entry, metadata=metadata)
            return len(existing)

    def delete_where(self, where: Filter) -> int:
        """Delete all records that match; returns how many."""
        with self._lock.lock:
            return self.delete(list(self._matching(where)))

    def delete(self, ids: Sequence[str]) -> int:
        """Delete records; returns how many existed."""
        with self._lock.lock:
            self._opened()
            gone = 0
            for id in ids:
                entry = self._entries.pop(id, None)
                if entry is None:
                    continue
                gone += 1
                # The last row moves into the gap.
                last = self._id_of_row.pop()
                if last != id:
                    moved = self._entries[last]
                    self._vectors[entry.row] = self._vectors[moved.row]
                    self._id_of_row[entry.row] = last
                    self._entries[last] = _Entry(entry.row, moved.uri, moved.digest, moved.metadata)
            return gone

    def scan(
        self, *, where: Filter | None = None, batch_size: int = 1000, vectors: bool = False
    ) -> Iterator[RecordBatch]:
        """Yield the records that match when the scan begins; see `VectorStore.scan`.

        Raises:
            StoreRequestError: batch_size < 1.
        """
        with self._lock.lock:
            self._opened()
            check_batch_size(batch_size)
            ids = list(self._matching(where))
        return self._batches(ids, batch_size, vectors)

    def count(self, where: Filter | None = None) -> int:
        """Return how many records there are, or how many match."""
        with self._lock.lock:
            self._opened()
            return sum(1 for _ in self._matching(where))

    def notes(self) -> dict[str, Any]:
        """Return all notes by name."""
        with self._lock.lock:
            self._opened()
            return {name: json.loads(text) for name, text in self._notes.items()}

    def note(self, name: str, value: Any) -> None:
        """Store a note, replacing one of that name; None removes it.

        Raises:
            StoreRequestError: The name is empty, or the value is not a JSON value.
        """
        text = note_text(name, value)
        with self._lock.lock:
            self._opened()
            if text is None:
                self._notes.pop(name, None)
            else:
                self._notes[name] = text

    def close(self) -> None:
        """Drop all records; closing twice is allowed."""
        with self._lock.lock:
            self._meta = None
            self._entries = {}
            self._id_of_row = []
            self._notes = {}
            self._vectors = np.empty((0, 0), np.float32)

    def __repr__(self) -> str:
        if not hasattr(self, "_entries"):
            return "<MemoryStore: construction failed>"
        state = "not open" if self._meta is None else f"{len(self._entries)} records"
        return f"<MemoryStore: {state}>"

    def _opened(self) -> IndexMeta:
        if self._meta is None:
            raise StoreError(
                "the memory store is not open; open it, or if it was closed, open it again"
            )
        return self._meta

    def _matching(self, where: Filter | None) -> Iterator[str]:
        if where is None:
            return iter(self._entries)
        return (
            id
            for id, entry in self._entries.items()
            if matches(where, entry.metadata, id=id, uri=entry.uri)
        )

    def _reserve(self, rows: int) -> None:
        if rows > len(self._vectors):
            larger = np.empty((max(rows, 2 * len(self._vectors)), self._vectors.shape[1]), "f4")
            larger[: len(self._id_of_row)] = self._vectors[: len(self._id_of_row)]
            self._vectors = larger

    def _hits(self, rows: NDArray[np.int64], scores: NDArray[np.float64], k: int) -> list[Hit]:
        scored = order(
            (float(score), self._id_of_row[row]) for row, score in zip(rows, scores, strict=True)
        )
        hits = []
        for score, id in scored[:k]:
            entry = self._entries[id]
            hits.append(Hit(id, score, entry.uri, deepcopy(dict(entry.metadata))))
        return hits

    def _record(self, id: str, vectors: bool) -> Record:
        entry = self._entries[id]
        vector = self._vectors[entry.row].copy() if vectors else None
        return Record(id, entry.uri, entry.digest, deepcopy(dict(entry.metadata)), vector)

    def _batches(self, ids: list[str], size: int, vectors: bool) -> Iterator[RecordBatch]:
        for batch in batched(ids, size):
            with self._lock.lock:
                self._opened()
                records = [self._record(id, vectors) for id in batch if id in self._entries]
            if records:
                yield RecordBatch.of(records)
