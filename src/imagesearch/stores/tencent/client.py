"""Client: the one file that knows the SDK. Plain values in and out, errors of ours, retries.

Everything here is safe to repeat: upserts replace by id, deletes name their ids, the rest reads.
Creating a database or collection is repeated too, for "exists already" counts as success.

The SDK's traps that are dealt with here:

- https without a TLS config would not verify certificates: one is always given.
- an entry for the host in ``~/.netrc`` would replace the key: the session has its own auth.
- read timeouts and broken answers leave it as exceptions of ``requests``.
- importing it silences urllib3's warnings for the whole process and prints to stderr: both are
  undone when this module imports it first. What remains: its import brings gRPC and protobuf.
- an empty list of ids is sent as no condition at all, which deletes everything: refused here.
"""

from __future__ import annotations

import logging
import re
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from imagesearch.errors import (
    MissingDependencyError,
    StoreAuthError,
    StoreError,
    StoreRequestError,
    StoreUnavailableError,
)
from imagesearch.stores.tencent.retry import Retry
from imagesearch.types import Secret

_first_import = "tcvectordb" not in sys.modules
try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import requests
        import tcvectordb
        from tcvectordb.exceptions import (
            ERROR_MESSAGE_NETWORK_OR_AUTH,
            ConnectError,
            GrpcException,
            VectorDBException,
        )
        from tcvectordb.model.document import SearchParams
        from tcvectordb.model.enum import FieldType, IndexType, MetricType, ReadConsistency
        from tcvectordb.model.index import FilterIndex, Index, VectorIndex
except ImportError as error:
    raise MissingDependencyError(
        f"the tencent store needs the package tcvectordb ({error}); "
        'pip install "imagesearch-index[tencent]"'
    ) from error
if _first_import:
    _sdk_logger = logging.getLogger("tcvectordb.debug")
    for _handler in list(_sdk_logger.handlers):
        _sdk_logger.removeHandler(_handler)
    _sdk_logger.setLevel(logging.NOTSET)

__all__ = ["CollectionInfo", "CollectionSpec", "TencentClient"]

T = TypeVar("T")

_log = logging.getLogger(__name__)

_AGAIN_CODES = frozenset({429, 13000, 13100, 13101})
_AUTH_CODES = frozenset({401, 403, 407})
_MISSING_CODES = frozenset({15301, 15302})
# Index type not supported; too many collections: waiting for a new database helps neither.
_FINAL_CODES = frozenset({15113, 15129})
_EXISTS_CODES = frozenset({15201, 15202})
_GRPC_AGAIN = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED", "INTERNAL")
_AUTH_WORDS = re.compile(
    r"unauthor|authenticat|authoriz|permission denied|invalid (?:api[ _]?key|account)",
    re.IGNORECASE,
)


class _MalformedAnswerError(Exception):
    """An answer that was read, but says something else than it should."""


@dataclass(frozen=True, slots=True)
class _Problem:
    error: StoreError
    again: bool


@dataclass(frozen=True, slots=True)
class CollectionSpec:
    """What a new collection shall be; names and types are the service's own."""

    database: str
    name: str
    description: str
    dimension: int
    metric: str
    index: str
    params: Mapping[str, int]
    filters: Mapping[str, str]
    shards: int
    replicas: int


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """What an existing collection is; names and types are the service's own."""

    description: str
    dimension: int
    metric: str
    index: str
    filters: Mapping[str, str]


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
                final = getattr(error.__cause__, "code", None) in _FINAL_CODES
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
        except _MissingError:
            return None

    def upsert(
        self, database: str, name: str, documents: list[dict[str, Any]], *, build_index: bool
    ) -> None:
        """Insert or replace documents."""

        def check(answer: Any) -> None:
            count = answer.get("affectedCount") if isinstance(answer, dict) else None
            if count != len(documents):
                raise _MalformedAnswerError(
                    f"{count!r} of {len(documents)} documents are said to be written"
                )

        self._call(
            f"writing {len(documents)} records",
            lambda: self._sdk.upsert(database, name, documents, build_index=build_index),
            check=check,
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
    ) -> list[dict[str, Any]]:
        """Return documents by id, by filter, or page by page."""
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
            check=lambda answer: _documents(answer, vectors=vectors),
        )

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
                raise _MalformedAnswerError(f"{len(queries)} queries got {answer!r:.60}")
            return [_documents(found, vectors=vectors, scores=True) for found in answer]

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

        def check(answer: Any) -> int:
            if not isinstance(answer, int) or isinstance(answer, bool) or answer < 0:
                raise _MalformedAnswerError(f"the count is {answer!r:.60}")
            return answer

        return self._call(
            "counting", lambda: self._sdk.count(database, name, filter=filter), check=check
        )

    def rebuild_index(self, database: str, name: str) -> None:
        """Build the vector index from all documents."""
        self._call("rebuilding the index", lambda: self._sdk.rebuild_index(database, name))

    def _create(self, what: str, function: Callable[[], Any], retry: Retry) -> bool:
        try:
            self._call(what, function, retry=retry)
        except _ExistsError:
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
                _MalformedAnswerError,
                KeyError,
                TypeError,
                ValueError,
                AttributeError,
            ) as error:
                # The SDK reads answers without looking; an odd one trips it over.
                cause = error
            problem = self._problem(what, cause)
            if isinstance(problem.error, _MissingError) and missing_is_error:
                message = f"{problem.error}; was it dropped while it was open? Open it again"
                raise StoreError(message) from cause
            pause = next(pauses, None) if problem.again else None
            if pause is None:
                raise problem.error from cause
            _log.debug("%s failed (%s), repeated in %.2f s", what, type(cause).__name__, pause)
            time.sleep(pause)

    def _problem(self, what: str, error: Exception) -> _Problem:
        text = self._scrubbed(error)
        place = f"{what} on {self._url}"
        match error:
            case requests.Timeout():
                return _Problem(
                    StoreUnavailableError(f"{place} timed out; is the timeout too short? ({text})"),
                    True,
                )
            case ConnectError() | requests.RequestException():
                again = not isinstance(
                    error, requests.exceptions.InvalidURL | requests.exceptions.InvalidSchema
                ) and not isinstance(error, requests.TooManyRedirects)
                return _Problem(
                    StoreUnavailableError(
                        f"{place} failed: no connection, or it broke ({text}). Check the address "
                        "and port, that this machine is on the instance's network (whitelist, "
                        "security group), and the account's key"
                    ),
                    again,
                )
            case VectorDBException():
                return self._refusal(place, error, text)
            case _:
                return _Problem(
                    StoreError(
                        f"{place} got an answer that makes no sense ({type(error).__name__}: "
                        f"{text}); is this Tencent Cloud VectorDB?"
                    ),
                    True,
                )

    def _refusal(self, place: str, error: Any, text: str) -> _Problem:
        code = int(error.code)
        if code in _EXISTS_CODES:
            return _Problem(_ExistsError(f"{place}: it exists already ({text})"), False)
        if code in _MISSING_CODES:
            return _Problem(_MissingError(f"{place}: {text}"), False)
        if code in _AUTH_CODES or "UNAUTHENTICATED" in text or _AUTH_WORDS.search(text):
            return _Problem(
                StoreAuthError(
                    f"{place} was refused for account {self._username!r} ({text}); check username "
                    "and key (the console shows both under the instance's key management)"
                ),
                False,
            )
        if isinstance(error, GrpcException):
            again = any(f"StatusCode.{status}" in text for status in _GRPC_AGAIN)
            return _Problem(StoreUnavailableError(f"{place} failed ({text})"), again)
        if code in _AGAIN_CODES or code == -1 or 500 <= code < 600:
            return _Problem(
                StoreUnavailableError(
                    f"{place} failed, code {code} ({text}); the service is busy or not ready. A "
                    "wrong key can look like this, too"
                ),
                True,
            )
        return _Problem(StoreRequestError(f"{place} was refused, code {code}: {text}"), False)

    def _scrubbed(self, error: Exception) -> str:
        """Return an error's text without the SDK's hints and without the key."""
        text = str(getattr(error, "message", None) or error)
        text = text.replace(ERROR_MESSAGE_NETWORK_OR_AUTH, "").replace(self._key.reveal(), "***")
        text = " ".join(text.split())
        return text if len(text) <= 300 else text[:300] + "…"


class _ExistsError(StoreError):
    """It exists already."""


class _MissingError(StoreError):
    """The collection or its database does not exist."""


def _keep_header(request: Any) -> Any:
    """Authenticate with the header that the SDK has set, whatever ``~/.netrc`` says."""
    return request


def _require_code(response: Any, *_args: Any, **_options: Any) -> None:
    """Refuse an answer that says nothing: the SDK would take it for success, and for no results."""
    if response.ok and b'"code"' not in response.content:
        raise _MalformedAnswerError(f"no code in {response.content[:60]!r}")


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
        raise _MalformedAnswerError("the collection has no index named 'vector'")
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


def _documents(answer: Any, *, vectors: bool, scores: bool = False) -> list[dict[str, Any]]:
    if not isinstance(answer, Sequence) or isinstance(answer, str):
        raise _MalformedAnswerError(f"a list of documents is {answer!r:.60}")
    for document in answer:
        if not isinstance(document, dict) or not isinstance(document.get("id"), str):
            raise _MalformedAnswerError(f"a document is {document!r:.60}")
        if scores and not isinstance(document.get("score"), int | float):
            raise _MalformedAnswerError(f"document {document['id']!r} has no score")
        if vectors and not isinstance(document.get("vector"), list):
            raise _MalformedAnswerError(f"document {document['id']!r} has no vector")
    return list(answer)
