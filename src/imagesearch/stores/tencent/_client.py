"""The connection of a store: requests on a bound collection, several at once.

Every request is safe to repeat: upserts replace by id, deletions name ids or a filter, updates set
the same values again, and the others read. Creating a database or collection is repeated too, because
"exists already" counts as success.

The SDK drops empty lists of ids, and a deletion or update without ids or filter reaches the whole
collection: refused here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from imagesearch._forks import notice_fork, on_fork
from imagesearch._validation import batched
from imagesearch.errors import StoreAuthError, StoreError, StoreRequestError
from imagesearch.stores._checks import possible_ids
from imagesearch.stores.tencent._pacing import Pace, Retry
from imagesearch.stores.tencent._schema import CollectionInfo, CollectionSpec
from imagesearch.stores.tencent._sdk import (
    ExistsError,
    MalformedResponseError,
    MissingError,
    SdkClient,
    SearchParams,
    collection_info,
    index_definition,
    is_permanent,
)
from imagesearch.stores.tencent._settings import Settings

__all__ = ["CollectionClient", "Connection"]

# The smallest limit that the service documents anywhere; newer servers accept more.
_IDS_PER_REQUEST = 20

_In = TypeVar("_In")
_Out = TypeVar("_Out")


class Connection:
    """The SDK's clients and the threads of a store; also after a fork, with new ones.

    Several threads may use it at once. Nothing is sent before the first request.

    Args:
        settings: The options of the store.

    Attributes:
        settings: The same.

    Raises:
        MissingDependencyError: The package ``tcvectordb`` is not installed.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._clients: dict[bool, SdkClient] = {}
        self._left_to_parent: list[SdkClient] = []
        self._pool: ThreadPoolExecutor | None = None
        self._pace = Pace()
        on_fork(self, in_child=Connection._leave_to_parent)

    def sdk(self, *, strong: bool = True) -> SdkClient:
        """Return the client whose reads see every acknowledged write, or one whose reads may lag."""
        notice_fork()
        with self._lock:
            if strong not in self._clients:
                self._clients[strong] = SdkClient(self.settings, self._pace, strong=strong)
            return self._clients[strong]

    def collection(self, name: str | None = None, *, strong: bool = True) -> CollectionClient:
        """Return the store's collection, or another one of its database.

        Args:
            name: Name of the other collection.
            strong: Whether reads see every write that was acknowledged before.
        """
        return CollectionClient(self, name or self.settings.collection, strong)

    def count_collections(self) -> int | None:
        """Return how many collections the store's database has; None if it does not exist."""
        databases: list[Any] = self.sdk().call(
            "listing databases", lambda sdk: list(sdk.list_databases())
        )
        for database in databases:
            if database.database_name == self.settings.database:
                return int((database.info or {}).get("count") or 0)
        return None

    def find_alias(self, alias: str) -> CollectionInfo | None:
        """Return the properties of the collection with an alias."""
        collections: list[Any] = self.sdk().call(
            "listing collections",
            lambda sdk: list(sdk.list_collections(self.settings.database)),
        )
        for collection in collections:
            if alias in (collection.alias or ()):
                return collection_info(collection)
        return None

    def create_database(self) -> None:
        """Create the store's database; one that another process has created is as good."""
        name = self.settings.database
        _created(
            lambda: self.sdk().call(
                f"creating database {name!r}", lambda sdk: sdk.create_database(name)
            )
        )

    def map(self, function: Callable[[_In], _Out], parts: Iterable[_In]) -> list[_Out]:
        """Call a function for each part, several at once, and return the results in order.

        The first error ends it; no call is still running when this returns.
        """
        todo = list(parts)
        if len(todo) < 2 or self.settings.connections == 1:
            return [function(part) for part in todo]
        notice_fork()
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self.settings.connections, "tencent-store")
            futures = [self._pool.submit(function, part) for part in todo]
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()
            for future in futures:
                if not future.cancelled():
                    future.exception()

    def close(self) -> None:
        """Wait for running requests and close the connections; the next request opens new ones."""
        notice_fork()
        with self._lock:
            pool, self._pool = self._pool, None
            clients, self._clients = self._clients, {}
        if pool is not None:
            pool.shutdown()
        for client in clients.values():
            client.close()

    def _leave_to_parent(self) -> None:
        # On a shared connection, each process may get the other's responses. The clients are kept,
        # because closing them would end their connections for the parent too. Threads do not
        # survive a fork, and one of them may have held the lock.
        self._left_to_parent += self._clients.values()
        self._lock, self._clients, self._pool = threading.Lock(), {}, None
        self._pace = Pace(reached=self._pace.reached)


@dataclass(frozen=True, slots=True)
class CollectionClient:
    """Requests on one collection.

    Attributes:
        connection: The connection that they use.
        name: Name of the collection.
        strong: Whether reads see every write that was acknowledged before.
    """

    connection: Connection
    name: str
    strong: bool = True

    def create(self, spec: CollectionSpec, *, patience: float) -> bool:
        """Create the collection; returns False if one of that name exists.

        Args:
            spec: Its dimension, fields and index types.
            patience: Seconds for which any refusal is taken for "the database is not ready yet".
        """
        deadline = time.monotonic() + patience
        while True:
            try:
                return _created(
                    lambda: self._call(
                        f"creating collection {self.name!r}",
                        lambda sdk, *names: sdk.create_collection(
                            *names,
                            shard=spec.shards,
                            replicas=spec.replicas,
                            description=spec.description,
                            index=index_definition(spec),
                        ),
                        # The deadline limits the attempts.
                        retry=Retry(retries=0) if patience else None,
                    )
                )
            except StoreAuthError:
                raise
            except StoreError as error:
                if is_permanent(error) or time.monotonic() >= deadline:
                    raise
                time.sleep(min(0.5, patience / 20))

    def describe(self) -> CollectionInfo | None:
        """Return the collection's properties, or None if it or its database is missing."""
        try:
            return self._call(
                f"describing collection {self.name!r}",
                lambda sdk, *names: sdk.describe_collection(*names),
                check=collection_info,
                missing_is_error=False,
            )
        except MissingError:
            return None

    def upsert(self, documents: list[dict[str, Any]], *, build_index: bool = True) -> None:
        """Insert or replace documents."""

        def check(response: Any) -> None:
            count = response.get("affectedCount") if isinstance(response, dict) else None
            if count != len(documents):
                raise MalformedResponseError(
                    f"the service reports {count!r} of {len(documents)} documents written"
                )

        self._call(
            f"writing {len(documents)} records",
            lambda sdk, *names, timeout: sdk.upsert(
                *names, documents, build_index=build_index, timeout=timeout
            ),
            check=check,
            write=True,
        )

    def query(
        self,
        *,
        limit: int,
        offset: int = 0,
        ids: list[str] | None = None,
        filter: str | None = None,
        fields: list[str] | None = None,
        vectors: bool = False,
        missing_is_empty: bool = False,
    ) -> list[dict[str, Any]]:
        """Return documents by id, by filter, or page by page.

        Args:
            limit: Number of documents, at most.
            offset: Documents to skip, a multiple of `limit`.
            ids: Ids of the documents; None for any.
            filter: Condition in the service's language.
            fields: Columns to return; None for all.
            vectors: Whether to return the vectors.
            missing_is_empty: Whether a missing collection counts as an empty one.
        """
        try:
            return self._call(
                "reading records",
                lambda sdk, *names: sdk.query(
                    *names,
                    document_ids=ids,
                    retrieve_vector=vectors,
                    limit=limit,
                    offset=offset or None,
                    filter=filter,
                    output_fields=fields,
                ),
                check=lambda response: _documents(response, vectors=vectors, ids=ids),
                missing_is_error=not missing_is_empty,
            )
        except MissingError:
            return []

    def fetch(
        self, ids: Sequence[str], fields: list[str] | None, *, vectors: bool = False
    ) -> list[dict[str, Any]]:
        """Return the documents that exist among any number of ids, each once."""

        def fetch(part: list[str]) -> list[dict[str, Any]]:
            return self.query(limit=len(part), ids=part, fields=fields, vectors=vectors)

        parts = batched(possible_ids(ids), _IDS_PER_REQUEST)
        return [document for part in self.connection.map(fetch, parts) for document in part]

    def search(
        self,
        queries: list[list[float]],
        *,
        limit: int,
        params: Mapping[str, int],
        filter: str | None,
        fields: list[str] | None,
        vectors: bool = False,
        needs_rebuild: bool = False,
    ) -> list[list[dict[str, Any]]]:
        """Return the nearest documents for each query, with their scores.

        An index that `needs_rebuild` does not become ready by waiting.
        """

        def check(response: Any) -> list[list[dict[str, Any]]]:
            if not isinstance(response, list) or len(response) != len(queries):
                raise MalformedResponseError(
                    f"expected {len(queries)} lists of hits, got {response!r:.60}"
                )
            return [_documents(hits, vectors=vectors, scores=True) for hits in response]

        return self._call(
            f"searching with {len(queries)} vectors",
            lambda sdk, *names: sdk.search(
                *names,
                vectors=queries,
                filter=filter,
                params=SearchParams(**params) if params else None,
                retrieve_vector=vectors,
                limit=limit,
                output_fields=fields,
            ),
            check=check,
            not_ready_is_final=needs_rebuild,
        )

    def delete(self, ids: list[str]) -> None:
        """Delete at most 20 documents by id."""
        if not ids:
            raise StoreRequestError("a deletion without ids would delete everything; refused")
        self._call(
            f"deleting {len(ids)} records",
            lambda sdk, *names, timeout: sdk.delete(*names, document_ids=ids, timeout=timeout),
            write=True,
        )

    def delete_existing(self, ids: Sequence[str]) -> int:
        """Delete any number of documents by id; returns how many existed.

        Existing documents are looked up first, because a repeated deletion reports none.
        """

        def delete(part: list[str]) -> int:
            documents = self.query(limit=len(part), ids=part, fields=["id"])
            existing = [document["id"] for document in documents]
            if existing:
                self.delete(existing)
            return len(existing)

        return sum(self.connection.map(delete, batched(possible_ids(ids), _IDS_PER_REQUEST)))

    def delete_matching(self, filter: str) -> int:
        """Delete documents by filter; returns how many.

        If a request was repeated, the first attempt may have deleted some: then it is how many
        matched before.
        """
        if not filter:
            raise StoreRequestError("a deletion without filter would delete everything; refused")
        attempts = 0

        def request(sdk: Any, *names: str, timeout: float) -> Any:
            nonlocal attempts
            attempts += 1
            return sdk.delete(*names, filter=filter, timeout=timeout)

        before = self.count(filter)
        deleted, requests = 0, 0
        while True:
            # Until nothing is left: how many one request deletes at most is not documented.
            first_attempt = attempts + 1
            count = self._call("deleting records by filter", request, check=_affected, write=True)
            deleted, requests = deleted + count, requests + 1
            if not count and attempts == first_attempt:
                return max(deleted, before) if attempts > requests else deleted

    def update(self, ids: list[str], columns: Mapping[str, Any], *, filter: str | None) -> int:
        """Set columns of the documents among `ids` that exist and match the filter.

        Returns:
            How many the last request changed: none if it repeats one whose response was lost, and
            the first one made the condition false.
        """
        if not ids:
            raise StoreRequestError("an update without ids would change everything; refused")
        return self._call(
            f"updating {len(ids)} records",
            lambda sdk, *names, timeout: sdk.update(
                *names, data=dict(columns), filter=filter, document_ids=ids, timeout=timeout
            ),
            check=_affected,
            write=True,
        )

    def count(self, filter: str | None) -> int:
        """Return how many documents exist, or match."""
        return self._call(
            "counting", lambda sdk, *names: sdk.count(*names, filter=filter), check=_count
        )

    def rebuild_index(self) -> None:
        """Build the vector index from all documents."""
        self._call("rebuilding the index", lambda sdk, *names: sdk.rebuild_index(*names))

    def _call(
        self,
        action: str,
        request: Callable[..., Any],
        *,
        check: Callable[[Any], _Out] = lambda response: response,
        missing_is_error: bool = True,
        not_ready_is_final: bool = False,
        write: bool = False,
        retry: Retry | None = None,
    ) -> _Out:
        """Make a request; one that writes takes a ``timeout``."""
        database, name = self.connection.settings.database, self.name
        client = self.connection.sdk(strong=self.strong)
        if write:
            return client.write(
                action,
                lambda sdk, timeout: request(sdk, database, name, timeout=timeout),
                check=check,
            )
        return client.call(
            action,
            lambda sdk: request(sdk, database, name),
            check=check,
            missing_is_error=missing_is_error,
            not_ready_is_final=not_ready_is_final,
            retry=retry,
        )


def _created(create: Callable[[], Any]) -> bool:
    try:
        create()
    except ExistsError:
        return False
    return True


def _affected(response: Any) -> int:
    return _count(response.get("affectedCount") if isinstance(response, dict) else None)


def _count(response: Any) -> int:
    if not isinstance(response, int) or isinstance(response, bool) or response < 0:
        raise MalformedResponseError(f"expected a count, got {response!r:.60}")
    return response


def _documents(
    response: Any, *, vectors: bool, scores: bool = False, ids: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Return the documents of a response, which must have what was requested."""
    if not isinstance(response, Sequence) or isinstance(response, str):
        raise MalformedResponseError(f"expected a list of documents, got {response!r:.60}")
    for document in response:
        if not isinstance(document, dict) or not isinstance(document.get("id"), str):
            raise MalformedResponseError(f"expected a document, got {document!r:.60}")
        if scores and not isinstance(document.get("score"), int | float):
            raise MalformedResponseError(f"document {document['id']!r} has no score")
        if vectors and not isinstance(document.get("vector"), list):
            raise MalformedResponseError(f"document {document['id']!r} has no vector")
        if ids is not None and document["id"] not in ids:
            raise MalformedResponseError(f"document {document['id']!r} was not requested")
    return list(response)
