"""TencentStore: a collection of Tencent Cloud VectorDB as a vector store."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace as replaced
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagesearch._forks import ForkSafeLock
from imagesearch._validation import chunks
from imagesearch.errors import StoreError, UnsupportedOperationError
from imagesearch.filters import Filter
from imagesearch.protocols import Capability
from imagesearch.stores._checks import (
    check_batch_size,
    check_queries,
    check_update,
    note_text,
    possible_ids,
)
from imagesearch.stores.tencent._auxiliary import read_notes, write_note
from imagesearch.stores.tencent._clients import Clients, SideBySide
from imagesearch.stores.tencent._collection import OpenCollection, open_collection, read_manifest
from imagesearch.stores.tencent._filters import Compiled, compile_filter
from imagesearch.stores.tencent._scan import IDS_PER_REQUEST, DocumentReader, scan_records
from imagesearch.stores.tencent._schema import REVISION, FieldType
from imagesearch.stores.tencent._search import Distances, Searcher
from imagesearch.stores.tencent._settings import Consistency, IndexType, Settings, Transport, secret
from imagesearch.stores.tencent._write import Updater, write_records
from imagesearch.types import (
    Hit,
    IndexMeta,
    Metadata,
    Metric,
    Record,
    RecordBatch,
    Secret,
    updated_metadata,
)

__all__ = ["TencentStore"]

_DOCUMENTS_PER_UPSERT = 1000


class TencentStore:
    """A vector store on Tencent Cloud VectorDB.

    Database and collection are created by `open` where they are absent. Several threads may use
    one store. Writes are durable when the call returns; `get`, `count` and `scan` see every
    acknowledged write, and so does `search` unless `read_consistency` is ``"eventual"``.

    Scores come from the service, which rounds them to five decimals; hits that are equal after
    rounding are sorted by id.

    Args:
        url: ``http://HOST:PORT`` or ``https://HOST:PORT``, as the console shows it.
        key: API key of the account; ``env:NAME`` reads it from the environment.
        database: Name of the database.
        collection: Name of the collection; unique in the whole instance, across databases.
        username: Account.
        shards: Parts that a new collection is divided into, 1 to 100.
        replicas: Further copies of a new collection: 0 in one zone, at least 1 in two zones, at
            least 2 in three, and fewer than there are nodes.
        index: Vector index of a new collection. ``IVF_…`` indexes hold nothing until
            `rebuild_index` is called after loading.
        M: HNSW: links of a node, 4 to 64.
        ef_construction: HNSW: candidates while building, 8 to 512.
        nlist: IVF: cells.
        metric: Pins the metric; None takes that of the index.
        ef: HNSW: candidates of a search, at least; None for 128. Never fewer than k.
        nprobe: IVF: cells that a search looks into.
        read_consistency: ``"eventual"`` lets `search` read from any replica: faster, and a little
            behind.
        fields: Metadata fields that filters may name, with their types: ``"string"``,
            ``"double"``, ``"int64"``, ``"uint64"``, ``"bool"``, or ``"array"`` for lists of texts.
            Decided when the collection is made; None takes what it was made with.
        uri_field: Column that holds the record's URI; None for what the collection was made with,
            or ``"path"``.
        adopt: Name or fingerprint of the embedder that made the vectors of a collection which
            another program made; allows to write to it. Without, it opens read-only.
        read_only: Refuse to write and to create.
        transport: ``"http"`` or ``"grpc"``.
        timeout: Seconds for connecting, and for each answer.
        ca_cert: Certificate to verify https with; None for the system's.
        batch_size: Documents in one upsert, at most; bodies are kept under 8 MB, too.
        connections: Requests that may run side by side.
        retries: How often a request is repeated that failed for the moment.

    Raises:
        ConfigError: An option is out of range.
        MissingDependencyError: The package ``tcvectordb`` is not installed.

    Example:
        >>> store = TencentStore(url="http://127.0.0.1:8100", key="secret", database="photos",
        ...                      collection="all", fields={"label": "string", "price": "double"})
        >>> store
        <TencentStore: photos/all at http://127.0.0.1:8100, not open>
    """

    def __init__(
        self,
        *,
        url: str,
        key: Secret | str,
        database: str,
        collection: str,
        username: str = "root",
        shards: int = 1,
        replicas: int = 0,
        index: IndexType = "HNSW",
        M: int = 16,  # noqa: N803  # HNSW's own name
        ef_construction: int = 200,
        nlist: int = 128,
        metric: Metric | None = None,
        ef: int | None = None,
        nprobe: int = 16,
        read_consistency: Consistency = "strong",
        fields: Mapping[str, FieldType] | None = None,
        uri_field: str | None = None,
        adopt: str | None = None,
        read_only: bool = False,
        transport: Transport = "http",
        timeout: float = 30.0,
        ca_cert: str | os.PathLike[str] | None = None,
        batch_size: int = _DOCUMENTS_PER_UPSERT,
        connections: int = 4,
        retries: int = 5,
    ) -> None:
        self._settings = Settings(
            url=url.rstrip("/"),
            username=username,
            key=secret(key, "key"),
            database=database,
            collection=collection,
            shards=shards,
            replicas=replicas,
            index=index,
            M=M,
            ef_construction=ef_construction,
            nlist=nlist,
            metric=metric,
            ef=ef,
            nprobe=nprobe,
            read_consistency=read_consistency,
            fields=None if fields is None else dict(fields),
            uri_field=uri_field,
            adopt=adopt,
            read_only=read_only,
            transport=transport,
            timeout=timeout,
            ca_cert=None if ca_cert is None else Path(ca_cert),
            batch_size=batch_size,
            connections=connections,
            retries=retries,
        )
        self._clients = Clients(self._settings)
        self._lock = ForkSafeLock()
        self._side_by_side = SideBySide(connections)
        self._opened: OpenCollection | None = None
        self._distances = Distances()

    @property
    def capabilities(self) -> frozenset[Capability]:
        """It is persistent and keeps notes; filters name declared fields, and order only numbers."""
        return frozenset({Capability.PERSISTENT, Capability.NOTES})

    def describe(self) -> IndexMeta | None:
        """Return the meta of the collection; None if it is absent, or another program made it."""
        client = self._clients.get()
        info = client.describe(*self._name)
        manifest = None if info is None else read_manifest(client, self._settings, info)
        return None if manifest is None else manifest.meta

    def open(self, meta: IndexMeta) -> None:
        """Create the collection, or verify the one that is there.

        A collection without meta of ours was made by another program: its dimension and metric
        are verified, and it is opened read-only unless `adopt` names its embedder.

        Raises:
            IncompatibleIndexError: Embedder, dimension, metric or columns differ.
            StoreError: It cannot be reached, created or read.
        """
        with self._lock.lock:
            if self._opened is not None:
                self._opened.meta.require_compatible(meta, where=self._settings.place)
                return
            self._opened = open_collection(self._clients.get(), self._settings, meta)

    def upsert(self, batch: RecordBatch) -> None:
        """Insert or replace records, in requests of at most `batch_size` and 8 MB.

        If it raises after the first request, some of the records may be written; repeat it.

        Raises:
            StoreRequestError: A vector or metadata value cannot be stored; nothing was written.
            StoreError: The service failed.
        """
        opened = self._writable()
        client = self._clients.get()
        write_records(client, self._settings, self._side_by_side, opened, batch)

    def search(
        self, vectors: NDArray[np.float32], *, k: int, where: Filter | None = None
    ) -> list[list[Hit]]:
        """Find the nearest records; see `VectorStore.search`.

        Raises:
            UnsupportedFilterError: `where` names a field that was not declared, or orders texts.
            StoreRequestError: k < 1; more than 16,384 hits are there and wanted; bad queries.
            StoreError: The service failed.
        """
        opened = self._required()
        queries = check_queries(vectors, opened.meta, k)
        condition = self._compiled(where)
        if not len(queries) or condition is False:
            return [[] for _ in queries]
        searcher = Searcher(
            opened,
            self._settings,
            self._clients.get(strong=self._settings.read_consistency == "strong"),
            self._clients.get(),
            self._side_by_side,
            self._distances,
        )
        return searcher.search(queries, k=k, filter=_text(condition))

    def get(self, ids: Sequence[str], *, vectors: bool = False) -> dict[str, Record]:
        """Return the records that exist among `ids`, asking for 20 in each request."""
        mapping = self._required().mapping
        reader = self._reader(mapping.output_fields, vectors=vectors)
        records = [mapping.record(document, vectors=vectors) for document in reader.fetch(ids)]
        return {record.id: record for record in records}

    def delete(self, ids: Sequence[str]) -> int:
        """Delete records; returns how many existed. No ids delete nothing.

        What exists is read first, so that the number is right even if a request was repeated.

        Raises:
            UnsupportedOperationError: The collection was opened read-only.
            StoreError: The service failed; some may be deleted.
        """
        self._writable()
        reader = self._reader(["id"])

        def remove(part: list[str]) -> int:
            there = [document["id"] for document in reader.fetch_few(part)]
            if there:
                self._clients.get().delete(*self._name, there)
            return len(there)

        parts = chunks(possible_ids(ids), IDS_PER_REQUEST)
        return sum(self._side_by_side.each(remove, parts))

    def delete_where(self, where: Filter) -> int:
        """Delete all records that match, by a filter on the server; returns how many.

        The number is that of the service. Where a request had to be repeated, it is what matched
        before.

        Raises:
            UnsupportedFilterError: `where` names a field that was not declared, or orders texts.
            UnsupportedOperationError: The collection was opened read-only.
            StoreError: The service failed; some may be deleted.
        """
        self._writable()
        condition = self._compiled(where)
        if condition is False:
            return 0
        if condition is True:
            return self.delete([id for batch in self.scan() for id in batch.ids])
        client = self._clients.get()
        before = client.count(*self._name, condition)
        deleted, repeated = 0, False
        while True:
            # Until nothing is left: how many one request deletes at most is not documented.
            count, again = client.delete_matching(*self._name, condition)
            deleted, repeated = deleted + count, repeated or again
            if not count and not again:
                return max(deleted, before) if repeated else deleted

    def update_metadata(
        self,
        fields: Metadata,
        *,
        ids: Sequence[str] | None = None,
        where: Filter | None = None,
        replace: bool = False,
    ) -> int:
        """Set fields of records that exist, with the service's own update; no vector is sent.

        See `SupportsMetadataUpdate.update_metadata`. Each record is updated on the condition that
        its metadata are still those that were read, and read anew if they are not. Two kinds of
        collections lack what this takes: in one that was made before `imagesearch_revision` was
        kept, the last of several writers wins; in one that another program made, records are read
        and written as a whole.

        Raises:
            UnsupportedFilterError: `where` names a field that was not declared, or orders texts.
            StoreRequestError: Neither or both of `ids` and `where` are given, or a value cannot be
                stored; nothing was written.
            UnsupportedOperationError: The collection was opened read-only.
            StoreUnavailableError: Other writers kept changing the same records.
            StoreError: The service failed; some may be written.
        """
        opened = self._writable()
        checked = check_update(fields, ids, where)
        if ids is None:
            chosen = [id for batch in self.scan(where=where) for id in batch.ids]
        else:
            chosen = list(ids)
        columns = opened.mapping.output_fields
        if columns is None:
            return self._rewrite(chosen, checked, replace=replace)
        reader = self._reader([*columns, REVISION])
        updater = Updater(self._clients.get(), reader, opened.mapping)
        return updater.update(chosen, checked, where=where, replace=replace)

    def _rewrite(self, ids: list[str], fields: Metadata, *, replace: bool) -> int:
        written = 0
        for part in chunks(ids, _DOCUMENTS_PER_UPSERT):
            records = [
                replaced(
                    record, metadata=updated_metadata(record.metadata, fields, replace=replace)
                )
                for record in self.get(part, vectors=True).values()
            ]
            if records:
                self.upsert(RecordBatch.of(records))
            written += len(records)
        return written

    def scan(
        self, *, where: Filter | None = None, batch_size: int = 1000, vectors: bool = False
    ) -> Iterator[RecordBatch]:
        """Go through the matching records once; see `VectorStore.scan`.

        Raises:
            UnsupportedFilterError: `where` names a field that was not declared, or orders texts.
            StoreRequestError: batch_size < 1.
        """
        opened = self._required()
        check_batch_size(batch_size)
        condition = self._compiled(where)
        if condition is False:
            return iter(())
        reader = self._reader(opened.mapping.output_fields, vectors=vectors)
        return scan_records(reader, opened, _text(condition), batch_size, self._required)

    def count(self, where: Filter | None = None) -> int:
        """Return how many records there are, or how many match.

        Raises:
            UnsupportedFilterError: `where` names a field that was not declared, or orders texts.
        """
        self._required()
        condition = self._compiled(where)
        if condition is False:
            return 0
        return self._clients.get().count(*self._name, _text(condition))

    def notes(self) -> dict[str, Any]:
        """Return all notes by name, in one request; strongly consistent.

        Raises:
            StoreError: The service failed.
        """
        self._required()
        return read_notes(self._clients.get(), self._settings)

    def note(self, name: str, value: Any) -> None:
        """Keep a note, in place of one of that name; None removes it.

        They stand in a collection ``NAME-notes`` beside this one, made with the first note.

        Raises:
            StoreRequestError: The name is empty, or the value is not a JSON value or has more than
                32,768 bytes.
            UnsupportedOperationError: The collection was opened read-only.
            StoreError: The service failed, or another program has a collection of that name.
        """
        self._writable()
        text = note_text(name, value)
        write_note(self._clients.get(), self._settings, name, text)

    def rebuild_index(self) -> None:
        """Build the vector index from all records: needed after loading an ``IVF_…`` index.

        Raises:
            UnsupportedOperationError: The collection was opened read-only.
        """
        self._writable()
        self._clients.get().rebuild_index(*self._name)

    def close(self) -> None:
        """Close the connections; closing twice is allowed."""
        with self._lock.lock:
            self._opened = None
        self._side_by_side.close()
        self._clients.close()

    def __repr__(self) -> str:
        if not hasattr(self, "_opened"):
            return "<TencentStore: construction failed>"
        settings = self._settings
        state = "not open" if self._opened is None else "open"
        return (
            f"<TencentStore: {settings.database}/{settings.collection} at {settings.url}, {state}>"
        )

    @property
    def _name(self) -> tuple[str, str]:
        return self._settings.database, self._settings.collection

    def _required(self) -> OpenCollection:
        opened = self._opened
        if opened is None:
            raise StoreError(
                f"{self._settings.place} is not open; open it, or if it was closed, open it again"
            )
        return opened

    def _writable(self) -> OpenCollection:
        opened = self._required()
        if opened.why_read_only:
            raise UnsupportedOperationError(
                f"{self._settings.place} is read-only: {opened.why_read_only}"
            )
        return opened

    def _reader(self, fields: list[str] | None, *, vectors: bool = False) -> DocumentReader:
        return DocumentReader(
            self._clients.get(), self._settings, self._side_by_side, fields, vectors
        )

    def _compiled(self, where: Filter | None) -> Compiled:
        mapping = self._required().mapping
        if where is None:
            return True
        return compile_filter(where, mapping.columns, has_terms=mapping.ours)


def _text(condition: Compiled) -> str | None:
    """Return a condition for the service; None where every record matches."""
    return condition if isinstance(condition, str) else None
