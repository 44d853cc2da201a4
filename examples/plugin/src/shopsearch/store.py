"""SQLiteStore: an index in a SQLite file, which may be your application's own."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagesearch import Filter, Hit, IndexMeta, Record, RecordBatch
from imagesearch.errors import StoreError, StoreRequestError
from imagesearch.protocols import Capability
from imagesearch.stores import check_batch, check_queries, note_text, possible_ids, rank
from shopsearch.database import Database

__all__ = ["SQLiteStore"]

_RECORDS = """SELECT id, uri, digest, metadata, CASE ? WHEN 1 THEN vector END
    FROM imagesearch_records WHERE matches(id, uri, metadata) """


class SQLiteStore:
    """A vector store in a SQLite file: exact, durable, with every filter.

    Each search reads all vectors, which is suitable for up to about ten thousand images. Any number of
    threads and processes may use one file at once.

    Args:
        path: The file; it is made when the store is first opened.
        timeout: Seconds to wait while another process writes.
    """

    capabilities = frozenset(Capability)

    def __init__(self, path: str | os.PathLike[str], *, timeout: float = 30.0) -> None:
        self._database = Database(path, timeout)
        self._meta: IndexMeta | None = None

    def describe(self) -> IndexMeta | None:
        meta = self._database.meta()
        return None if meta is None else IndexMeta.from_dict(meta)

    def open(self, meta: IndexMeta) -> None:
        if self.describe() is None:
            self._database.create(meta.to_dict())
        stored = self.describe() or meta
        stored.require_compatible(meta, where=repr(self))
        self._meta = stored

    def close(self) -> None:
        self._meta = None

    def upsert(self, batch: RecordBatch) -> None:
        batch = check_batch(batch, self._opened())
        texts = [json.dumps(fields) for fields in batch.metadata]
        blobs = [vector.tobytes() for vector in np.asarray(batch.vectors, "<f4")]
        rows = zip(batch.ids, batch.uris, batch.digests, texts, blobs, strict=True)
        self._database.write("REPLACE INTO imagesearch_records VALUES (?, ?, ?, ?, ?)", rows)

    def search(
        self, vectors: NDArray[np.float32], *, k: int, where: Filter | None = None
    ) -> list[list[Hit]]:
        meta = self._opened()
        queries = check_queries(vectors, meta, k)
        rows = self._database.read(_RECORDS, True, where=where)
        matrix = np.frombuffer(b"".join(row[4] for row in rows), "<f4").reshape(-1, meta.dim)
        ranked = rank(queries, matrix, [row[0] for row in rows], k=k, metric=meta.metric)
        return [[_hit(rows[row], score) for row, score in best] for best in ranked]

    def get(self, ids: Sequence[str], *, vectors: bool = False) -> dict[str, Record]:
        self._opened()
        question = _RECORDS + "AND id IN (SELECT value FROM json_each(?))"
        rows = self._database.read(question, vectors, json.dumps(possible_ids(ids)))
        return {row[0]: _record(row) for row in rows}

    def delete(self, ids: Sequence[str]) -> int:
        self._opened()
        rows = [(id,) for id in possible_ids(ids)]
        return self._database.write("DELETE FROM imagesearch_records WHERE id = ?", rows)

    def scan(
        self, *, where: Filter | None = None, batch_size: int = 1000, vectors: bool = False
    ) -> Iterator[RecordBatch]:
        self._opened()
        if batch_size < 1:
            raise StoreRequestError(f"batch_size={batch_size}; it must be at least 1")
        page, last = _RECORDS + "AND id > ? ORDER BY id LIMIT ?", ""
        while rows := self._database.read(page, vectors, last, batch_size, where=where):
            yield RecordBatch.of([_record(row) for row in rows])
            last = rows[-1][0]

    def count(self, where: Filter | None = None) -> int:
        self._opened()
        question = f"SELECT count(*) FROM ({_RECORDS})"
        [(number,)] = self._database.read(question, False, where=where)
        return int(number)

    def notes(self) -> dict[str, Any]:
        self._opened()
        rows = self._database.read("SELECT name, value FROM imagesearch_notes")
        return {name: json.loads(text) for name, text in rows}

    def note(self, name: str, value: Any) -> None:
        self._opened()
        text = note_text(name, value)
        if text is None:
            self._database.write("DELETE FROM imagesearch_notes WHERE name = ?", [(name,)])
        else:
            self._database.write("REPLACE INTO imagesearch_notes VALUES (?, ?)", [(name, text)])

    def __repr__(self) -> str:
        return f"<SQLiteStore {str(self._database.path)!r}>"

    def _opened(self) -> IndexMeta:
        if self._meta is None:
            raise StoreError(f"{self!r} is not open; call open(meta) first")
        return self._meta


def _record(row: tuple[str, str, str, str, bytes | None]) -> Record:
    id, uri, digest, text, blob = row
    vector = None if blob is None else np.frombuffer(blob, "<f4").astype(np.float32)
    return Record(id, uri, digest, json.loads(text), vector)


def _hit(row: tuple[str, str, str, str, bytes], score: float) -> Hit:
    id, uri, _, text, _ = row
    return Hit(id, score, uri, json.loads(text))
