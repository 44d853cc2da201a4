"""Client: requests to the service. Plain values in and out, errors of ours, retries.

Everything here is safe to repeat: upserts replace by id, deletes name their ids, the rest reads.
Creating a database or collection is repeated too, for "exists already" counts as success.

The SDK's traps that are dealt with here:

- https without a TLS config would not verify certificates: one is always given.
- an entry for the host in ``~/.netrc`` would replace the key: the session has its own auth.
- read timeouts and broken answers leave it as exceptions of ``requests``.
- an empty list of ids is sent as no condition at all, which deletes everything: refused here.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from imagesearch.errors import StoreAuthError, StoreError, StoreRequestError
from imagesearch.stores.tencent.answers import (
    MalformedAnswerError,
    count_in,
    documents_in,
    require_written,
)
from imagesearch.stores.tencent.catalogue import CollectionInfo, CollectionSpec
from imagesearch.stores.tencent.problems import (
    ExistsError,
    Failure,
    MissingError,
    is_final,
    problem_of,
)
from imagesearch.stores.tencent.retry import Retry
from imagesearch.stores.tencent.sdk import (
    ERROR_MESSAGE_NETWORK_OR_AUTH,
    ConnectError,
    FieldType,
    FilterIndex,
    GrpcException,
    Index,
    IndexType,
    MetricType,
    ReadConsistency,
    SearchParams,
    VectorDBException,
    VectorIndex,
    requests,
    tcvectordb,
)
from imagesearch.types import Secret

__all__ = ["TencentClient"]

T = TypeVar("T")

_logger = logging.getLogger(__name__)


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
        self._url = url
        self._username = username
        self._key = key
        self._retry = retry
        make = tcvectordb.RPCVectorDBClient if grpc else tcvectordb.VectorDBClient
        self._sdk = make(
            url=url,
            username=username,
            key=key.reveal(),
            timeout=timeout,
            pool_size=connections,
            tls_config=tcvectordb.TLSConfig(ca_cert) if url.startswith("https://") else None,
            read_consistency=(
                ReadConsistency.STRONG_CONSISTENCY
                if strong
                else ReadConsistency.EVENTUAL_CONSISTENCY
            ),
        )
        if not grpc:
            session = self._sdk.http_client.session
            session.auth = _keep_header
            # A database does not redirect; a proxy's login page must not look like an answer.
            session.max_redirects = 0
            session.hooks["response"].append(_require_code)

    def close(self) -> None:
        """Close the connections."""
        self._sdk.close()

    def databases(self) -> set[str]:
        """Return the names of all databases."""
        return self._call(
            "listing databases",
            lambda: {str(database.database_name) for database in self._sdk.list_databases()},
        )

    def create_database(self, name: str) -> bool:
        """Create a database; returns False if it exists."""
        return self._create(
            f"creating database {name!r}", lambda: self._sdk.create_database(name), self._retry
        )

    def create_collection(self, spec: CollectionSpec, *, patience: float) -> bool:
        """Create a collection; returns False if one of that name exists.

        Args:
            spec: What it shall be.
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
                        index=_sdk_index(spec),
                    ),
                    # The deadline counts here, not the number of attempts.
                    Retry(retries=0) if patience else self._retry,
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
            return self._call(
                f"describing collection {name!r}",
                lambda: self._sdk.describe_collection(database, name),
                check=_info,
                missing_is_error=False,
            )
        except MissingError:
            return None

    def upsert(
        self, database: str, name: str, documents: list[dict[str, Any]], *, build_index: bool
    ) -> None:
        """Insert or replace documents."""
        self._call(
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
            return self._call(
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

        return self._call(
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
        self._call(
            f"deleting {len(ids)} records",
            lambda: self._sdk.delete(database, name, document_ids=ids),
        )

    def count(self, database: str, name: str, filter: str | None) -> int:
        """Return how many documents there are, or match."""
        return self._call(
            "counting", lambda: self._sdk.count(database, name, filter=filter), check=count_in
        )

    def rebuild_index(self, database: str, name: str) -> None:
        """Build the vector index from all documents."""
        self._call("rebuilding the index", lambda: self._sdk.rebuild_index(database, name))

    def _create(self, what: str, function: Callable[[], Any], retry: Retry) -> bool:
        try:
            self._call(what, function, retry=retry)
        except ExistsError:
            return False
        return True

    def _call(
        self,
        what: str,
        function: Callable[[], Any],
        *,
        check: Callable[[Any], T] = lambda answer: answer,
        missing_is_error: bool = True,
        retry: Retry | None = None,
    ) -> T:
        pauses = (retry or self._retry).pauses()
        while True:
            try:
                return check(function())
            except (VectorDBException, requests.RequestException) as error:
                cause: Exception = error
            except (
                MalformedAnswerError,
                KeyError,
                TypeError,
                ValueError,
                AttributeError,
            ) as error:
                # The SDK reads answers without looking; an odd one trips it over.
                cause = error
            problem = problem_of(
                self._failure(cause), what=what, url=self._url, username=self._username
            )
            if isinstance(problem.error, MissingError) and missing_is_error:
                message = f"{problem.error}; was it dropped while it was open? Open it again"
                raise StoreError(message) from self._without_key(cause)
            pause = next(pauses, None) if problem.again else None
            if pause is None:
                raise problem.error from self._without_key(cause)
            _logger.debug("%s failed (%s), repeated in %.2f s", what, type(cause).__name__, pause)
            time.sleep(pause)

    def _failure(self, error: Exception) -> Failure:
        text = self._scrubbed(error)
        match error:
            case requests.Timeout():
                return Failure("timeout", text)
            case (
                requests.exceptions.InvalidURL()
                | requests.exceptions.InvalidSchema()
                | requests.TooManyRedirects()
            ):
                return Failure("address", text)
            case ConnectError() | requests.RequestException():
                return Failure("connection", text)
            case GrpcException():
                return Failure("grpc", text)
            case VectorDBException():
                return Failure("refusal", text, int(error.code))
            case _:
                return Failure("nonsense", f"{type(error).__name__}: {text}")

    def _without_key(self, cause: Exception) -> Exception:
        """Return the cause, or its words without the key where a traceback would show it."""
        if self._key.reveal() not in "".join(traceback.format_exception(cause)):
            return cause
        return StoreError(f"{type(cause).__name__}: {self._scrubbed(cause)}")

    def _scrubbed(self, error: Exception) -> str:
        """Return an error's text without the SDK's hints and without the key."""
        text = str(getattr(error, "message", None) or error)
        text = text.replace(ERROR_MESSAGE_NETWORK_OR_AUTH, "").replace(self._key.reveal(), "***")
        text = " ".join(text.split())
        return text if len(text) <= 300 else text[:300] + "…"


def _keep_header(request: Any) -> Any:
    """Authenticate with the header that the SDK has set, whatever ``~/.netrc`` says."""
    return request


def _require_code(response: Any, *_args: Any, **_options: Any) -> None:
    """Refuse an answer that says nothing: the SDK would take it for success, and for no results."""
    if response.ok and b'"code"' not in response.content:
        raise MalformedAnswerError(f"no code in {response.content[:60]!r}")


def _sdk_index(spec: CollectionSpec) -> Any:
    return Index(
        FilterIndex("id", FieldType.String, IndexType.PRIMARY_KEY),
        VectorIndex(
            "vector",
            spec.dimension,
            IndexType(spec.index),
            MetricType(spec.metric),
            dict(spec.params) or None,
        ),
        *(
            FilterIndex(name, FieldType(type), IndexType.FILTER)
            for name, type in spec.filters.items()
        ),
    )


def _info(collection: Any) -> CollectionInfo:
    indexes = collection.indexes
    vector = next((index for index in indexes if index.name == "vector"), None)
    if vector is None or not isinstance(vector, VectorIndex):
        raise MalformedAnswerError("the collection has no index named 'vector'")
    return CollectionInfo(
        description=str(collection.description or ""),
        dimension=int(vector.dimension),
        metric=str(vector.metric_type.value),
        index=str(vector.index_type.value),
        filters={
            str(index.name): str(index.field_type.value)
            for index in indexes
            if index.index_type is IndexType.FILTER
        },
    )
