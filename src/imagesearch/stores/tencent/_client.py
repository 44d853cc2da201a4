"""Client: requests to the service. Plain values in and out, errors of ours, retries.

Everything here is safe to repeat: upserts replace by id, deletes name their ids or a filter, updates
set the same values again, the rest reads.
Creating a database or collection is repeated too, for "exists already" counts as success.

An empty list of ids would be sent as no condition at all, which deletes everything: refused here. What
else the SDK does not look at is dealt with in `connection`, `calls` and `answers`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from imagesearch.errors import StoreAuthError, StoreError, StoreRequestError
from imagesearch.stores.tencent._clients import Retry
from imagesearch.stores.tencent._errors import (
    CollectionInfo,
    CollectionSpec,
    ExistsError,
    MalformedAnswerError,
    MissingError,
    affected_in,
    count_in,
    documents_in,
    is_final,
    require_written,
)
from imagesearch.stores.tencent._sdk import Calls, SearchParams, collection_info, connect, sdk_index
from imagesearch.types import Secret

__all__ = ["TencentClient"]


class TencentClient:
    """One account on one instance; several threads may use it at once.

    Args:
        url: With scheme, without a trailing slash.
        username: Account.
        key: Its API key.
        timeout: Seconds for connecting and for each read.
        ca_cert: Certificate file to verify https with; None for the system's.
        grpc: Whether to speak gRPC instead of HTTP.
        strong: Whether reads see every write that was acknowledged before.
        connections: Connections kept open.
        retry: When to repeat.
    """

    def __init__(
        self,
        *,
        url: str,
        username: str,
        key: Secret,
        timeout: float,
        ca_cert: str | None,
        grpc: bool,
        strong: bool,
        connections: int,
        retry: Retry,
    ) -> None:
        self._calls = Calls(url, username, key, retry)
        self._sdk = connect(
            url=url,
            username=username,
            key=key,
            timeout=timeout,
            ca_cert=ca_cert,
            grpc=grpc,
            strong=strong,
            connections=connections,
        )

    def close(self) -> None:
        """Close the connections."""
        self._sdk.close()

    def databases(self) -> set[str]:
        """Return the names of all databases."""
        return self._calls(
            "listing databases",
            lambda: {str(database.database_name) for database in self._sdk.list_databases()},
        )

    def create_database(self, name: str) -> bool:
        """Create a database; returns False if it exists."""
        return self._create(
            f"creating database {name!r}",
            lambda: self._sdk.create_database(name),
            self._calls.retry,
        )

    def create_collection(self, spec: CollectionSpec, *, patience: float) -> bool:
        """Create a collection; returns False if one of that name exists.

        Args:
            spec: Its dimension, fields and index types.
            patience: Seconds for which any refusal is taken for "the database is not ready yet".
        """
        deadline = time.monotonic() + patience
        while True:
            try:
                return self._create(
                    f"creating collection {spec.name!r}",
                    lambda: self._sdk.create_collection(
                        spec.database,
                        spec.name,
                        shard=spec.shards,
                        replicas=spec.replicas,
                        description=spec.description,
                        index=sdk_index(spec),
                    ),
                    # The deadline counts here, not the number of attempts.
                    Retry(retries=0) if patience else self._calls.retry,
                )
            except StoreAuthError:
                raise
            except StoreError as error:
                final = is_final(getattr(error.__cause__, "code", None))
                if final or time.monotonic() >= deadline:
                    raise
                time.sleep(min(0.5, patience / 20))

    def describe(self, database: str, name: str) -> CollectionInfo | None:
        """Return what a collection is, or None if it or its database is missing."""
        try:
            return self._calls(
                f"describing collection {name!r}",
                lambda: self._sdk.describe_collection(database, name),
                check=collection_info,
                missing_is_error=False,
            )
        except MissingError:
            return None

    def upsert(
        self, database: str, name: str, documents: list[dict[str, Any]], *, build_index: bool
    ) -> None:
        """Insert or replace documents."""
        self._calls(
            f"writing {len(documents)} records",
            lambda: self._sdk.upsert(database, name, documents, build_index=build_index),
            check=lambda answer: require_written(answer, len(documents)),
        )

    def query(
        self,
        database: str,
        name: str,
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

        A missing collection is an error, unless `missing_is_empty`.
        """
        try:
            return self._calls(
                "reading records",
                lambda: self._sdk.query(
                    database,
                    name,
                    document_ids=ids,
                    retrieve_vector=vectors,
                    limit=limit,
                    offset=offset or None,
                    filter=filter,
                    output_fields=fields,
                ),
                check=lambda answer: documents_in(answer, vectors=vectors, ids=ids),
                missing_is_error=not missing_is_empty,
            )
        except MissingError:
            return []

    def search(
        self,
        database: str,
        name: str,
        queries: list[list[float]],
        *,
        limit: int,
        params: Mapping[str, int],
        filter: str | None,
        fields: list[str] | None,
        vectors: bool = False,
    ) -> list[list[dict[str, Any]]]:
        """Return the nearest documents for each query, with their scores."""

        def check(answer: Any) -> list[list[dict[str, Any]]]:
            if not isinstance(answer, list) or len(answer) != len(queries):
                raise MalformedAnswerError(f"{len(queries)} queries got {answer!r:.60}")
            return [documents_in(found, vectors=vectors, scores=True) for found in answer]

        return self._calls(
            f"searching with {len(queries)} vectors",
            lambda: self._sdk.search(
                database,
                name,
                vectors=queries,
                filter=filter,
                params=SearchParams(**params) if params else None,
                retrieve_vector=vectors,
                limit=limit,
                output_fields=fields,
            ),
            check=check,
        )

    def delete(self, database: str, name: str, ids: list[str]) -> None:
        """Delete documents by id; ids are never empty, for that would delete everything."""
        if not ids:
            raise StoreRequestError("a deletion without ids would delete everything; refused")
        self._calls(
            f"deleting {len(ids)} records",
            lambda: self._sdk.delete(database, name, document_ids=ids),
        )

    def delete_matching(self, database: str, name: str, filter: str) -> tuple[int, bool]:
        """Delete documents by filter, which is not empty, for that would delete everything.

        Returns:
            How many the last request deleted, and whether it was a repetition: then an earlier
            one may have deleted others.
        """
        if not filter:
            raise StoreRequestError("a deletion without filter would delete everything; refused")
        attempts = 0

        def request() -> Any:
            nonlocal attempts
            attempts += 1
            return self._sdk.delete(database, name, filter=filter)

        count = self._calls("deleting records by filter", request, check=affected_in)
        return count, attempts > 1

    def update(
        self,
        database: str,
        name: str,
        ids: list[str],
        columns: Mapping[str, Any],
        *,
        filter: str | None,
    ) -> int:
        """Set columns of the documents among `ids` that exist and meet the filter.

        Returns:
            How many the last request reached: none if it repeats one whose answer was lost, and
            the first one made the condition untrue.
        """
        if not ids:
            raise StoreRequestError("an update without ids would change everything; refused")
        return self._calls(
            f"updating {len(ids)} records",
            lambda: self._sdk.update(
                database, name, data=dict(columns), filter=filter, document_ids=ids
            ),
            check=affected_in,
        )

    def count(self, database: str, name: str, filter: str | None) -> int:
        """Return how many documents there are, or match."""
        return self._calls(
            "counting", lambda: self._sdk.count(database, name, filter=filter), check=count_in
        )

    def rebuild_index(self, database: str, name: str) -> None:
        """Build the vector index from all documents."""
        self._calls("rebuilding the index", lambda: self._sdk.rebuild_index(database, name))

    def _create(self, what: str, function: Callable[[], Any], retry: Retry) -> bool:
        try:
            self._calls(what, function, retry=retry)
        except ExistsError:
            return False
        return True
