"""TencentStore: a collection of Tencent Cloud VectorDB as a vector store."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagesearch._deprecation import deprecated_options
from imagesearch._forks import ForkSafeLock
from imagesearch.errors import StoreError, UnsupportedOperationError
from imagesearch.filters import Filter
from imagesearch.protocols import Capability
from imagesearch.stores._checks import (
    check_batch_size,
    check_queries,
    check_update,
    note_text,
)
from imagesearch.stores.tencent._collection import (
    OpenCollection,
    find_collection,
    open_collection,
    read_manifest,
    read_notes,
    write_note,
)
from imagesearch.stores.tencent._documents import rewrite_records, update_documents, write_records
from imagesearch.stores.tencent._filters import Compiled, compile_filter
from imagesearch.stores.tencent._scan import scan_records
from imagesearch.stores.tencent._schema import FieldType
from imagesearch.stores.tencent._search import Distances, search_collection
from imagesearch.stores.tencent._settings import (
    FLAT,
    HNSW,
    IVF,
    Consistency,
    OldIndexName,
    Settings,
    Transport,
    resolve_index,
    secret,
    upgrade_index_options,
)
from imagesearch.types import (
    CheckResult,
    Hit,
    IndexMeta,
    Metadata,
    Metric,
    Record,
    RecordBatch,
    Secret,
)

__all__ = ["TencentStore"]


class TencentStore:
    """A vector store on Tencent Cloud VectorDB.

    Database and collection are created by `open` if they are absent. Several threads may use
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
        replicas: Additional copies of a new collection: 0 in one zone, at least 1 in two zones, at
            least 2 in three, and fewer than there are nodes.
        index: Vector index: `HNSW`, `FLAT` or `IVF`, or a table of its options and its ``kind``.
            None for `HNSW` in a new collection, and for that of an existing one.
        metric: Refuses an index with another metric; None for any.
        read_consistency: ``"eventual"`` lets `search` read from any replica: faster, and slightly
            out of date.
        fields: Metadata fields that filters may name, with their types: ``"string"``,
            ``"double"``, ``"int64"``, ``"uint64"``, ``"bool"``, or ``"array"`` for lists of texts.
            A record whose value has another type is refused. Fixed when the collection is created;
            None for those of an existing one.
        uri_field: Column of the record's URI; None for that of an existing collection, or
            ``"path"``.
        adopt: Name or fingerprint of the embedder that made the vectors of a collection which
            another program created; allows to write to it. Without, it opens read-only.
        read_only: Refuse to write and to create.
        transport: ``"http"`` or ``"grpc"``.
        timeout: Seconds for each response to a read; a write waits for its response as long as
            `deadline` allows, because one that is sent twice could be applied late.
        connect_timeout: Seconds for connecting. An instance that has never responded is given up
            after that time.
        deadline: Seconds during which a request is repeated after temporary failures, such as an
            outage or a rate limit.
        ca_cert: Certificate to verify https with; None for the system's.
        batch_size: Documents in one upsert, 1 to 1000; request bodies are also kept under 8 MB.
        connections: Concurrent requests, 1 to 64.
        retries: Most repetitions of a request within `deadline`, 0 to 20; None for any number.

    Raises:
        ConfigError: An option is out of range.
        MissingDependencyError: The package ``tcvectordb`` is not installed.

    Example:
        >>> from imagesearch.stores.tencent import HNSW
        >>> store = TencentStore(url="http://127.0.0.1:8100", key="secret", database="photos",
        ...                      collection="all", index=HNSW(M=32, ef=200),
        ...                      fields={"label": "string", "price": "double"})
        >>> store
        <TencentStore: photos/all at http://127.0.0.1:8100, not open>
    """

    @deprecated_options(upgrade_index_options)
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
        index: HNSW | FLAT | IVF | Mapping[str, Any] | OldIndexName | None = None,
        metric: Metric | None = None,
        read_consistency: Consistency = "strong",
        fields: Mapping[str, FieldType] | None = None,
        uri_field: str | None = None,
        adopt: str | None = None,
        read_only: bool = False,
        transport: Transport = "http",
        timeout: float = 30.0,
        connect_timeout: float = 5.0,
        deadline: float = 60.0,
        ca_cert: str | os.PathLike[str] | None = None,
        batch_size: int = 1000,
        connections: int = 4,
        retries: int | None = None,
    ) -> None:
        self._settings = Settings(
            url=url.rstrip("/"),
            username=username,
            key=secret(key, "key"),
            database=database,
            collection=collection,
            shards=shards,
            replicas=replicas,
            index=resolve_index(index),
            metric=metric,
            read_consistency=read_consistency,
            fields=None if fields is None else dict(fields),
            uri_field=uri_field,
            adopt=adopt,
            read_only=read_only,
            transport=transport,
            timeout=timeout,
            connect_timeout=connect_timeout,
            deadline=deadline,
            ca_cert=None if ca_cert is None else Path(ca_cert),
            batch_size=batch_size,
            connections=connections,
            retries=retries,
        )
        # Imports the SDK, which is an extra.
        from imagesearch.stores.tencent._client import Connection

        self._connection = Connection(self._settings)
        self._lock = ForkSafeLock()
        self._opened: OpenCollection | None = None
        self._distances = Distances()

    @staticmethod
    def upgrade_options(options: Mapping[str, Any]) -> dict[str, Any]:
        """Return options of 0.1, read from a config file, in their present form.

        Example:
            >>> from imagesearch.stores.tencent import TencentStore
            >>> TencentStore.upgrade_options({"index": "HNSW", "M": 32})
            {'index': HNSW(M=32, ef_construction=200, ef=128)}
        """
        return upgrade_index_options(options)

    @staticmethod
    def read_only_options(
        options: Mapping[str, Any], *, timeout: float | None = None
    ) -> dict[str, Any]:
        """Return options for a store that changes nothing; see `SupportsReadOnly`."""
        changed = {**options, "read_only": True}
        if timeout is not None:
            changed["retries"] = 0
            for option in ("timeout", "connect_timeout"):
                changed[option] = min(timeout, float(options.get(option, timeout)))
        return changed

    @staticmethod
    def adoption_hint() -> str:
        """Return how a config file opens a collection of another program."""
        return (
            "if another program made the collection, add read_only = true (or adopt = "
            '"its embedder") under [store], and the embedder of its vectors under [embedder]'
        )

    @property
    def capabilities(self) -> frozenset[Capability]:
        """It is persistent; filters name declared fields, and order only numbers."""
        return frozenset({Capability.PERSISTENT})

    @classmethod
    def diagnose(cls, options: Mapping[str, Any]) -> Iterator[CheckResult]:
        """Check the address, the account, the database and the collection; see `SupportsDiagnosis`.

        Raises:
            StoreAuthError: The account was refused.
            StoreError: The service cannot be reached, or failed.
        """
        with closing(cls(**options)) as store:
            yield from cls._diagnose(store)

    def _diagnose(self) -> Iterator[CheckResult]:
        settings, info = self._settings, partial(CheckResult, "store", "info")
        exists = self._connection.count_collections() is not None
        text = f"{settings.url} responds, and accepts the account {settings.username}"
        yield CheckResult("store", "ok", text)
        if not exists:
            text = f"the database {settings.database} does not exist yet"
            yield info(text, "imagesearch add creates it, with the collection")
            return
        collection = f"the collection {settings.database}/{settings.collection}"
        if find_collection(self._connection) is None:
            yield info(f"{collection} does not exist yet", "imagesearch add creates it")
            return
        meta = self.describe()
        if meta is None:
            text = f"{collection} contains no index of imagesearch"
            remedy = "a collection of another program opens with the option adopt or read_only"
            yield info(text, remedy)
            return
        self.open(meta)
        made = f"made with {meta.embedding.name}, dim {meta.dim}"
        yield CheckResult("store", "ok", f"{collection} contains {self.count()} images, {made}")

    def describe(self) -> IndexMeta | None:
        """Return the index meta; None if the collection is absent, or another program created it."""
        info = find_collection(self._connection)
        manifest = None if info is None else read_manifest(self._connection, info)
        return None if manifest is None else manifest.meta

    def open(self, meta: IndexMeta) -> None:
        """Create the collection, or verify the existing one.

        A collection that another program created has no index meta: its dimension and metric are
        verified, and it is opened read-only unless `adopt` names its embedder.

        Raises:
            IncompatibleIndexError: Embedder, dimension, metric or columns differ.
            StoreError: It cannot be reached, created or read.
        """
        with self._lock.lock:
            if self._opened is not None:
                self._opened.meta.require_compatible(meta, where=self._settings.location)
                return
            self._opened = open_collection(self._connection, meta)

    def upsert(self, batch: RecordBatch) -> None:
        """Insert or replace records, in requests of at most `batch_size` records and 8 MB.

        If it raises after the first request, some of the records may be written; repeat it.

        Raises:
            StoreRequestError: A vector or metadata value cannot be stored, such as a value of
                another type than the field was declared with; nothing was written.
            StoreError: The service failed.
        """
        opened = self._writable()
        write_records(self._connection.collection(), opened, batch)

    def search(
        self, vectors: NDArray[np.float32], *, k: int, where: Filter | None = None
    ) -> list[list[Hit]]:
        """Find the nearest records; see `VectorStore.search`.

        Raises:
            UnsupportedFilterError: `where` names an undeclared field, or orders texts.
            StoreRequestError: k < 1; k is above 16,384 and more hits than that match; invalid
                queries.
            StoreError: The service failed.
        """
        opened = self._require_open()
        queries = check_queries(vectors, opened.meta, k)
        condition = self._compile(where)
        if not len(queries) or condition is False:
            return [[] for _ in queries]
        return search_collection(
            self._connection, opened, self._distances, queries, k=k, filter=_text(condition)
        )

    def get(self, ids: Sequence[str], *, vectors: bool = False) -> dict[str, Record]:
        """Return the records that exist among `ids`; each request reads 20."""
        mapping = self._require_open().mapping
        documents = self._connection.collection().fetch(ids, mapping.output_fields, vectors=vectors)
        records = [mapping.record(document, vectors=vectors) for document in documents]
        return {record.id: record for record in records}

    def delete(self, ids: Sequence[str]) -> int:
        """Delete records; returns how many existed. No ids delete nothing.

        Existing records are looked up first, so that the number is right even if a request was
        repeated.

        Raises:
            UnsupportedOperationError: The collection was opened read-only.
            StoreError: The service failed; some may be deleted.
        """
        self._writable()
        return self._connection.collection().delete_existing(ids)

    def delete_where(self, where: Filter) -> int:
        """Delete all records that match, by a filter on the server; returns how many.

        The number is that of the service. If a request had to be repeated, it is how many matched
        before.

        Raises:
            UnsupportedFilterError: `where` names an undeclared field, or orders texts.
            UnsupportedOperationError: The collection was opened read-only.
            StoreError: The service failed; some may be deleted.
        """
        self._writable()
        condition = self._compile(where)
        if condition is False:
            return 0
        if condition is True:
            return self.delete([id for batch in self.scan() for id in batch.ids])
        return self._connection.collection().delete_matching(condition)

    def update_metadata(
        self,
        fields: Metadata,
        *,
        ids: Sequence[str] | None = None,
        where: Filter | None = None,
        replace: bool = False,
    ) -> int:
        """Set fields of existing records with the service's own update; no vector is sent.

        See `SupportsMetadataUpdate.update_metadata`. Each record is updated on the condition that
        its metadata have not changed since they were read, and read again if they have. Two kinds
        of collections do not support that: in one that was created before `imagesearch_revision`
        existed, the last of several writers wins; in one that another program created, records are
        read and written as a whole.

        Raises:
            UnsupportedFilterError: `where` names an undeclared field, or orders texts.
            StoreRequestError: Neither or both of `ids` and `where` are given, or a value cannot be
                stored; nothing was written.
            UnsupportedOperationError: The collection was opened read-only.
            StoreUnavailableError: Other writers kept changing the same records.
            StoreError: The service failed; some may be written.
        """
        opened = self._writable()
        checked = check_update(fields, ids, where)
        if ids is None:
            ids = [id for batch in self.scan(where=where) for id in batch.ids]
        collection = self._connection.collection()
        if not opened.mapping.ours:
            return rewrite_records(collection, opened, ids, checked, replace=replace)
        return update_documents(
            collection, opened.mapping, ids, checked, where=where, replace=replace
        )

    def scan(
        self, *, where: Filter | None = None, batch_size: int = 1000, vectors: bool = False
    ) -> Iterator[RecordBatch]:
        """Iterate over the matching records once; see `VectorStore.scan`.

        Raises:
            UnsupportedFilterError: `where` names an undeclared field, or orders texts.
            StoreRequestError: batch_size < 1.
        """
        opened = self._require_open()
        check_batch_size(batch_size)
        condition = self._compile(where)
        if condition is False:
            return iter(())
        return scan_records(
            self._connection.collection(),
            opened,
            _text(condition),
            batch_size=batch_size,
            vectors=vectors,
            require_open=self._require_open,
        )

    def count(self, where: Filter | None = None) -> int:
        """Return how many records exist, or match.

        Raises:
            UnsupportedFilterError: `where` names an undeclared field, or orders texts.
        """
        condition = self._compile(where)
        if condition is False:
            return 0
        return self._connection.collection().count(_text(condition))

    def notes(self) -> dict[str, Any]:
        """Return all notes by name, with one strongly consistent request.

        Raises:
            StoreError: The service failed.
        """
        opened = self._require_open()
        return read_notes(self._connection, opened.info.name)

    def note(self, name: str, value: Any) -> None:
        """Write a note, replacing one of that name; None removes it.

        Notes are stored in a collection ``NAME-notes``, which is created with the first note.

        Raises:
            StoreRequestError: The name is empty, or the value is not a JSON value or has more than
                32,768 bytes.
            UnsupportedOperationError: The collection was opened read-only.
            StoreError: The service failed, or another program has a collection of that name.
        """
        opened = self._writable()
        write_note(self._connection, opened.info, name, note_text(name, value))

    def rebuild_index(self) -> None:
        """Build the vector index from all records: needed after loading an `IVF` index.

        Raises:
            UnsupportedOperationError: The collection was opened read-only.
        """
        self._writable()
        self._connection.collection().rebuild_index()

    def close(self) -> None:
        """Close the connections; closing twice is allowed."""
        with self._lock.lock:
            self._opened = None
        self._connection.close()

    def __repr__(self) -> str:
        if not hasattr(self, "_opened"):
            return "<TencentStore: construction failed>"
        settings = self._settings
        state = "not open" if self._opened is None else "open"
        return (
            f"<TencentStore: {settings.database}/{settings.collection} at {settings.url}, {state}>"
        )

    def _require_open(self) -> OpenCollection:
        opened = self._opened
        if opened is None:
            raise StoreError(f"{self._settings.location} is not open; open it, or open it again")
        return opened

    def _writable(self) -> OpenCollection:
        opened = self._require_open()
        if opened.why_read_only:
            raise UnsupportedOperationError(
                f"{self._settings.location} is read-only: {opened.why_read_only}"
            )
        return opened

    def _compile(self, where: Filter | None) -> Compiled:
        mapping = self._require_open().mapping
        return True if where is None else compile_filter(where, mapping)


def _text(condition: Compiled) -> str | None:
    """Return a condition for the service; None where every record matches."""
    return condition if isinstance(condition, str) else None
