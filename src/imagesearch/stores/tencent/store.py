"""TencentStore: a collection of Tencent Cloud VectorDB as a vector store."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from imagesearch.errors import StoreError, StoreRequestError, UnsupportedOperationError
from imagesearch.filters import Filter
from imagesearch.protocols import Capability
from imagesearch.stores.tencent.documents import document_bytes, short_floats, vector_bytes
from imagesearch.stores.tencent.filters import Compiled, compile_filter
from imagesearch.stores.tencent.opening import OpenCollection, open_collection, read_manifest
from imagesearch.stores.tencent.retry import Retry
from imagesearch.stores.tencent.scanning import page_size, scan_by_ids, scan_by_ranges
from imagesearch.stores.tencent.schema import FieldType
from imagesearch.stores.tencent.scoring import Distances
from imagesearch.stores.tencent.searching import Searcher
from imagesearch.stores.tencent.settings import Consistency, IndexType, Settings, Transport, secret
from imagesearch.stores.tencent.side_by_side import SideBySide, chunks
from imagesearch.types import (
    Hit,
    IndexMeta,
    Metric,
    Record,
    RecordBatch,
    Secret,
    check_metadata,
)
from imagesearch.vectors import check_vectors, unit_or_as_is

if TYPE_CHECKING:
    from imagesearch.stores.tencent.client import TencentClient

__all__ = ["TencentStore"]


# The smallest limits that the service documents anywhere; newer servers take more ids.
_IDS_PER_REQUEST = 20
_DOCUMENTS_PER_UPSERT = 1000
# The service publishes no limit; 8 MB pass common proxies and arrive well within the timeout.
_BODY_BYTES = 8_000_000


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
        batch_size: Documents in one upsert, at most; bodies are kept under 8 MB besides.
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
        # Fails here, and not at the first request, where the package is missing.
        from imagesearch.stores.tencent import client

        self._client_type = client.TencentClient
        self._lock = threading.RLock()
        self._clients: dict[bool, TencentClient] = {}
        self._side_by_side = SideBySide(connections)
        self._opened: OpenCollection | None = None
        self._distances = Distances()

    @property
    def capabilities(self) -> frozenset[Capability]:
        """It is persistent; filters name declared fields, and order only numbers."""
        return frozenset({Capability.PERSISTENT})

    def describe(self) -> IndexMeta | None:
        """Return the meta of the collection; None if it is absent, or another program made it."""
        client = self._client()
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
        with self._lock:
            if self._opened is not None:
                self._opened.meta.require_compatible(meta, where=self._settings.place)
                return
            self._opened = open_collection(self._client(), self._settings, meta)

    def upsert(self, batch: RecordBatch) -> None:
        """Insert or replace records, in requests of at most `batch_size` and 8 MB.

        If it raises after the first request, some of the records may be written; repeat it.

        Raises:
            StoreRequestError: A vector or metadata value cannot be stored; nothing was written.
            StoreError: The service failed.
        """
        opened = self._writable()
        if batch.vectors is None:
            raise StoreRequestError("the batch has no vectors; give one for each record")
        meta = opened.meta
        vectors = check_vectors(batch.vectors, meta.dim, meta.metric, ids=batch.ids)
        if meta.metric == "cosine":
            vectors = unit_or_as_is(vectors)
        documents = [
            opened.mapping.document(record, check_metadata(record.metadata), []) for record in batch
        ]
        build_index = not opened.index.startswith("IVF")
        binary = self._settings.transport == "grpc"

        def write(rows: range) -> None:
            part, matrix = documents[rows.start : rows.stop], vectors[rows.start : rows.stop]
            # In gRPC's binary messages digits cost nothing.
            floats = matrix.tolist() if binary else short_floats(matrix)
            for document, vector in zip(part, floats, strict=True):
                document["vector"] = vector
            self._client().upsert(*self._name, part, build_index=build_index)
            for document in part:
                document["vector"] = None

        self._side_by_side.each(
            write, _portions(documents, vector_bytes(vectors), self._settings.batch_size)
        )

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
        if k < 1:
            raise StoreRequestError(f"k={k}; ask for at least one hit")
        condition = self._compiled(where)
        meta = opened.meta
        queries = check_vectors(vectors, meta.dim, meta.metric)
        if meta.metric == "cosine":
            queries = unit_or_as_is(queries)
        if not len(queries) or condition is False:
            return [[] for _ in queries]
        filter = condition if isinstance(condition, str) else None
        searcher = Searcher(
            opened,
            self._settings,
            self._client(strong=self._settings.read_consistency == "strong"),
            self._client(),
            self._side_by_side,
            self._distances,
        )
        return searcher.search(queries, k=k, filter=filter)

    def get(self, ids: Sequence[str], *, vectors: bool = False) -> dict[str, Record]:
        """Return the records that exist among `ids`, asking for 20 in each request."""
        opened = self._required()
        documents = self._fetch(
            list(dict.fromkeys(ids)), fields=opened.mapping.output_fields, vectors=vectors
        )
        return {
            document["id"]: opened.mapping.record(document, vectors=vectors)
            for document in documents
        }

    def delete(self, ids: Sequence[str]) -> int:
        """Delete records; returns how many existed. No ids delete nothing.

        What exists is read first, so that the number is right even if a request was repeated.

        Raises:
            UnsupportedOperationError: The collection was opened read-only.
            StoreError: The service failed; some may be deleted.
        """
        self._writable()

        def remove(part: list[str]) -> int:
            there = [document["id"] for document in self._query_ids(part, ["id"], vectors=False)]
            if there:
                self._client().delete(*self._name, there)
            return len(there)

        return sum(
            self._side_by_side.each(remove, chunks(list(dict.fromkeys(ids)), _IDS_PER_REQUEST))
        )

    def scan(
        self, *, where: Filter | None = None, batch_size: int = 1000, vectors: bool = False
    ) -> Iterator[RecordBatch]:
        """Go through the matching records once; see `VectorStore.scan`.

        Raises:
            UnsupportedFilterError: `where` names a field that was not declared, or orders texts.
            StoreRequestError: batch_size < 1.
        """
        opened = self._required()
        if batch_size < 1:
            raise StoreRequestError(f"batch_size={batch_size}; it must be at least 1")
        condition = self._compiled(where)
        if condition is False:
            return iter(())
        filter = condition if isinstance(condition, str) else None
        return self._scan(opened, filter, batch_size, vectors=vectors)

    def count(self, where: Filter | None = None) -> int:
        """Return how many records there are, or how many match.

        Raises:
            UnsupportedFilterError: `where` names a field that was not declared, or orders texts.
        """
        self._required()
        condition = self._compiled(where)
        if condition is False:
            return 0
        filter = condition if isinstance(condition, str) else None
        return self._client().count(*self._name, filter)

    def rebuild_index(self) -> None:
        """Build the vector index from all records: needed after loading an ``IVF_…`` index.

        Raises:
            UnsupportedOperationError: The collection was opened read-only.
        """
        self._writable()
        self._client().rebuild_index(*self._name)

    def close(self) -> None:
        """Close the connections; closing twice is allowed."""
        with self._lock:
            self._opened = None
            clients, self._clients = self._clients, {}
        self._side_by_side.close()
        for client in clients.values():
            client.close()

    def __repr__(self) -> str:
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
            raise StoreError(f"{self._settings.place} is not open; call open(meta) first")
        return opened

    def _writable(self) -> OpenCollection:
        opened = self._required()
        if opened.why_read_only:
            raise UnsupportedOperationError(
                f"{self._settings.place} is read-only: {opened.why_read_only}"
            )
        return opened

    def _client(self, *, strong: bool = True) -> TencentClient:
        with self._lock:
            if strong not in self._clients:
                settings = self._settings
                self._clients[strong] = self._client_type(
                    url=settings.url,
                    username=settings.username,
                    key=settings.key,
                    timeout=settings.timeout,
                    ca_cert=None if settings.ca_cert is None else str(settings.ca_cert),
                    grpc=settings.transport == "grpc",
                    strong=strong,
                    connections=settings.connections,
                    retry=Retry(settings.retries),
                )
            return self._clients[strong]

    def _compiled(self, where: Filter | None) -> Compiled:
        mapping = self._required().mapping
        if where is None:
            return True
        return compile_filter(where, mapping.columns, has_terms=mapping.ours)

    def _fetch(
        self, ids: list[str], *, fields: list[str] | None, vectors: bool
    ) -> list[dict[str, Any]]:
        usable = [id for id in ids if isinstance(id, str) and id]
        found = self._side_by_side.each(
            lambda part: self._query_ids(part, fields, vectors=vectors),
            chunks(usable, _IDS_PER_REQUEST),
        )
        return [document for documents in found for document in documents]

    def _query_ids(
        self, ids: list[str], fields: list[str] | None, *, vectors: bool
    ) -> list[dict[str, Any]]:
        return self._client().query(
            *self._name, limit=len(ids), ids=ids, fields=fields, vectors=vectors
        )

    def _scan(
        self, opened: OpenCollection, filter: str | None, batch_size: int, *, vectors: bool
    ) -> Iterator[RecordBatch]:
        reader = _Reader(self, opened, vectors)
        size = page_size(opened.meta.dim, vectors=vectors)
        pages = (
            scan_by_ranges(reader, filter, size)
            if opened.mapping.ours
            else scan_by_ids(reader, filter)
        )
        waiting: list[Record] = []
        for page in pages:
            waiting += [opened.mapping.record(document, vectors=vectors) for document in page]
            while len(waiting) >= batch_size:
                yield RecordBatch.of(waiting[:batch_size])
                waiting = waiting[batch_size:]
            self._required()
        if waiting:
            yield RecordBatch.of(waiting)


class _Reader:
    """What scanning reads, for one collection and one wish for vectors."""

    def __init__(
        self, store: TencentStore, opened: OpenCollection, vectors: bool
    ) -> None:  # private
        self._store = store
        self._fields = opened.mapping.output_fields
        self._vectors = vectors

    def count(self, filter: str | None) -> int:
        return self._store._client().count(*self._store._name, filter)  # noqa: SLF001  # its part

    def page(
        self, filter: str | None, *, limit: int, offset: int = 0, fields: list[str] | None = None
    ) -> list[dict[str, Any]]:
        return self._store._client().query(  # noqa: SLF001  # its part
            *self._store._name,  # noqa: SLF001  # its part
            limit=limit,
            offset=offset,
            filter=filter,
            fields=self._fields if fields is None else fields,
            vectors=self._vectors and fields is None,
        )

    def fetch(self, ids: list[str]) -> list[dict[str, Any]]:
        return self._store._fetch(ids, fields=self._fields, vectors=self._vectors)  # noqa: SLF001  # its part


def _portions(documents: list[dict[str, Any]], vector_size: int, most: int) -> Iterator[range]:
    """Divide documents into requests by number and by size."""
    first, size = 0, 0
    for row, document in enumerate(documents):
        bytes_here = document_bytes(document) + vector_size
        if row > first and (row - first >= most or size + bytes_here > _BODY_BYTES):
            yield range(first, row)
            first, size = row, 0
        size += bytes_here
    if documents:
        yield range(first, len(documents))
