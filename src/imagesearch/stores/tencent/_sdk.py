"""The SDK: the only module that imports it; its connections, repeated calls and errors."""

from __future__ import annotations

import logging
import re
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from imagesearch.errors import (
    IncompatibleIndexError,
    MissingDependencyError,
    StoreAuthError,
    StoreError,
    StoreRequestError,
    StoreUnavailableError,
)
from imagesearch.stores.tencent._pacing import Pace, Retry
from imagesearch.stores.tencent._schema import (
    CollectionInfo,
    CollectionSpec,
    IndexNotReadyError,
    RequestTooLargeError,
)
from imagesearch.stores.tencent._settings import Settings

__all__ = [
    "ExistsError",
    "MalformedResponseError",
    "MissingError",
    "SdkClient",
    "SearchParams",
    "collection_info",
    "index_definition",
    "is_permanent",
]

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

        from imagesearch.stores.tencent._http import (
            HttpError,
            MalformedResponseError,
            configure_session,
        )
except ImportError as error:
    raise MissingDependencyError(
        f"the tencent store needs the package tcvectordb ({error})",
        remedy='pip install "imagesearch-index[tencent]"',
    ) from error
if _first_import:
    _sdk_logger = logging.getLogger("tcvectordb.debug")
    for _handler in list(_sdk_logger.handlers):
        _sdk_logger.removeHandler(_handler)
    _sdk_logger.setLevel(logging.NOTSET)

T = TypeVar("T")

_logger = logging.getLogger(__name__)

# A failure that lasts longer is reported while it is being repeated.
_SILENCE = 5.0

_RATE_LIMIT = 429
_TOO_LARGE = 413
_NOT_READY = 13100
_RETRYABLE_CODES = frozenset({_RATE_LIMIT, 13000, _NOT_READY, 13101})
_AUTH_CODES = frozenset({401, 403, 407})
_MISSING_CODES = frozenset({15301, 15302})
_EXISTS_CODES = frozenset({15201, 15202})
# Index type not supported; too many collections.
_PERMANENT_CODES = frozenset({15113, 15129})
_GRPC_RETRYABLE = frozenset(
    {"UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED", "INTERNAL"}
)
_GRPC_AUTH = frozenset({"UNAUTHENTICATED", "PERMISSION_DENIED"})
# The code of a refused account is not published.
_AUTH_TEXT = re.compile(
    r"unauthor|unauthenticat|authenticat|authoriz|permission.?denied|invalid (?:api[ _]?key|account)",
    re.IGNORECASE,
)


class ExistsError(StoreError):
    """The database or collection exists already."""


class MissingError(StoreError):
    """The collection or its database does not exist."""


class _ConnectTimeoutError(Exception):
    """A gRPC channel was not connected in time."""


class SdkClient:
    """The SDK's client for one account on one instance; several threads may use it at once.

    Args:
        settings: The instance, the account and the transport.
        pace: The rate of requests, shared by all clients of a store.
        strong: Whether reads see every write that was acknowledged before.
    """

    def __init__(self, settings: Settings, pace: Pace, *, strong: bool) -> None:
        self._settings = settings
        self._pace = pace
        self._retry = Retry(settings.retries)
        self._grpc = settings.transport == "grpc"
        make = tcvectordb.RPCVectorDBClient if self._grpc else tcvectordb.VectorDBClient
        https = settings.url.startswith("https://")
        certificate = None if settings.ca_cert is None else str(settings.ca_cert)
        self._sdk = make(
            url=settings.url,
            username=settings.username,
            key=settings.key.reveal(),
            timeout=settings.timeout,
            pool_size=settings.connections,
            tls_config=tcvectordb.TLSConfig(certificate) if https else None,
            read_consistency=(
                ReadConsistency.STRONG_CONSISTENCY
                if strong
                else ReadConsistency.EVENTUAL_CONSISTENCY
            ),
        )
        if not self._grpc:
            configure_session(
                self._sdk.http_client.session,
                connections=settings.connections,
                seconds=settings.connect_timeout,
            )

    def close(self) -> None:
        """Close the connections."""
        self._sdk.close()

    def call(
        self,
        action: str,
        request: Callable[[Any], Any],
        *,
        check: Callable[[Any], T] = lambda response: response,
        missing_is_error: bool = True,
        not_ready_is_final: bool = False,
        write: bool = False,
        retry: Retry | None = None,
    ) -> T:
        """Make a request, repeat it where that may help, and check the response.

        Args:
            action: What the request does, for messages, such as ``"counting"``.
            request: Makes the request with the SDK's client.
            check: Turns the response into a result, or raises `MalformedResponseError`.
            missing_is_error: Whether a missing collection is reported as having been dropped,
                and not as `MissingError`.
            not_ready_is_final: Whether a request to an index that is not ready is not repeated.
            write: Whether it is not repeated when its response does not arrive in time.
            retry: When to repeat this request; None for as often as the settings say.

        Raises:
            StoreError: The request failed; the key is in no message and in no cause.
        """
        pauses = (retry or self._retry).pauses()
        started = time.monotonic()
        warned = False
        while True:
            sent = self._pace.wait()
            cause: Exception
            try:
                if self._grpc and not self._pace.reached:
                    self._await_channel()
                result = check(request(self._sdk))
            except (
                VectorDBException,
                HttpError,
                requests.RequestException,
                _ConnectTimeoutError,
                MalformedResponseError,
                # The SDK fails with these on responses that it does not expect.
                KeyError,
                TypeError,
                ValueError,
                AttributeError,
            ) as error:
                cause = error
            else:
                self._pace.reached = True
                self._pace.succeeded()
                return result
            failure = self._error(cause, f"{action} on {self._settings.url}")
            if isinstance(failure, MissingError) and missing_is_error:
                failure = StoreError(
                    f"{failure.problem}; was it dropped while it was open?", remedy="open it again"
                )
            if not _is_connection_failure(cause):
                self._pace.reached = True
            if _is_rate_limit(cause):
                self._pace.limited(sent)
            final = (write and _is_late(cause)) or (
                not_ready_is_final and isinstance(failure, IndexNotReadyError)
            )
            repeated = failure.retryable and not final
            elapsed = time.monotonic() - started
            pause = self._pause(cause, pauses, elapsed) if repeated else None
            if pause is None:
                raise failure from self._without_key(cause)
            text = "%s failed (%s), retry in %.2f s"
            _logger.debug(text, action, type(cause).__name__, pause)
            if elapsed > _SILENCE and not warned:
                warned = True
                _logger.warning("%s; repeating it for up to %.0f s", failure.problem, self._limit)
            time.sleep(pause)

    def write(
        self, action: str, request: Callable[[Any, float], Any], *, check: Callable[[Any], T]
    ) -> T:
        """Make a request that changes documents.

        It is given the time of all repetitions for its response, and is not repeated without one:
        the first attempt could still be executed, after a later write.

        Args:
            action: What the request does, for messages.
            request: Makes the request with the SDK's client and a timeout.
            check: Turns the response into a result, or raises `MalformedResponseError`.

        Raises:
            StoreError: The request failed.
        """
        settings = self._settings
        deadline = time.monotonic() + settings.deadline

        def make(sdk: Any) -> Any:
            remaining = deadline - time.monotonic()
            return request(sdk, max(remaining, min(settings.timeout, settings.deadline)))

        return self.call(action, make, check=check, write=True)

    @property
    def _limit(self) -> float:
        settings = self._settings
        # Repeating does not open a closed security group.
        return settings.deadline if self._pace.reached else settings.connect_timeout

    def _pause(self, cause: Exception, pauses: Iterator[float], elapsed: float) -> float | None:
        """Return how long to wait before the next attempt; None if there is none."""
        remaining = self._limit - elapsed
        pause = next(pauses, None)
        if pause is None or remaining <= 0:
            return None
        required = getattr(cause, "retry_after", None)
        if required is None:
            return min(pause, remaining)
        if required > remaining:
            return None
        self._pace.hold(required)
        return max(pause, float(required))

    def _await_channel(self) -> None:
        """Make a small request with the timeout for connecting, which gRPC does not have."""
        try:
            self._sdk.list_databases(timeout=self._settings.connect_timeout)
        except GrpcException as error:
            if _grpc_status(error) == "DEADLINE_EXCEEDED":
                raise _ConnectTimeoutError(error.message) from error
            raise

    def _error(self, cause: Exception, where: str) -> StoreError:
        text = self._scrubbed(cause)
        if _is_connect_timeout(cause):
            return StoreUnavailableError(
                f"{where}: connecting timed out after {self._settings.connect_timeout:g} s",
                remedy="this machine has no access to the instance: check that it is in the "
                "instance's network (VPC) and that both security groups allow the port; from "
                "elsewhere, enable the external address in the console and use it",
            )
        match cause:
            case requests.Timeout():
                return StoreUnavailableError(
                    f"{where} timed out ({text})",
                    remedy="check that this machine has access to the instance's network, or set "
                    "a longer timeout",
                )
            case ConnectError() | requests.RequestException():
                invalid = (
                    requests.exceptions.InvalidURL,
                    requests.exceptions.InvalidSchema,
                    requests.TooManyRedirects,
                )
                return StoreUnavailableError(
                    f"{where} failed: no connection, or it was interrupted ({text})",
                    remedy="check the address and port, that this machine has access to the "
                    "instance's network (whitelist, security group), and the account's key",
                    retryable=not isinstance(cause, invalid),
                )
            case VectorDBException() | HttpError():
                return self._refusal(cause, where, text)
            case _:
                return StoreError(
                    f"{where}: invalid response ({type(cause).__name__}: {text})",
                    remedy="check that the address is that of Tencent Cloud VectorDB",
                    retryable=True,
                )

    def _refusal(self, cause: VectorDBException | HttpError, where: str, text: str) -> StoreError:
        status = _grpc_status(cause)
        code = int(cause.code)
        if code in _AUTH_CODES or status in _GRPC_AUTH or _AUTH_TEXT.search(text):
            return StoreAuthError(
                f"{where} was refused for account {self._settings.username!r} ({text})",
                remedy="check username and key (the console shows both under the instance's key "
                "management)",
            )
        if status is not None:
            return StoreUnavailableError(
                f"{where} failed ({text})", retryable=status in _GRPC_RETRYABLE
            )
        if code in _EXISTS_CODES:
            return ExistsError(f"{where}: it exists already ({text})")
        if code in _MISSING_CODES:
            return MissingError(f"{where}: {text}")
        if code in _RETRYABLE_CODES or code == -1 or 500 <= code < 600:
            kind = IndexNotReadyError if code == _NOT_READY else StoreUnavailableError
            return kind(
                f"{where} failed, code {code} ({text}); the service is busy or not ready. A wrong "
                "key can have the same effect"
            )
        refused = f"{where} was refused, code {code}: {text}"
        return RequestTooLargeError(refused) if code == _TOO_LARGE else StoreRequestError(refused)

    def _without_key(self, cause: Exception) -> Exception:
        """Return the cause, or its scrubbed text where a traceback would show the key."""
        if self._settings.key.reveal() not in "".join(traceback.format_exception(cause)):
            return cause
        return StoreError(f"{type(cause).__name__}: {self._scrubbed(cause)}")

    def _scrubbed(self, error: Exception) -> str:
        """Return an error's text without the SDK's hints and without the key."""
        text = str(getattr(error, "message", None) or error)
        text = text.replace(ERROR_MESSAGE_NETWORK_OR_AUTH, "")
        text = text.replace(self._settings.key.reveal(), "***")
        text = " ".join(text.split())
        return text if len(text) <= 300 else text[:300] + "…"


def _grpc_status(cause: Exception) -> str | None:
    """Return the name of a gRPC status; empty for a gRPC failure without one, None over HTTP."""
    if not isinstance(cause, GrpcException):
        return None
    # The SDK keeps only the text of the gRPC error that it handles.
    code = getattr(cause.__context__, "code", None)
    return str(code().name) if callable(code) else ""


def is_permanent(error: StoreError) -> bool:
    """Return whether the service refused to create a collection for a reason that does not pass."""
    return getattr(error.__cause__, "code", None) in _PERMANENT_CODES


def _is_connect_timeout(cause: Exception) -> bool:
    # The SDK replaces the error of requests by its own.
    context = cause.__context__ if isinstance(cause, ConnectError) else cause
    return isinstance(context, requests.ConnectTimeout | _ConnectTimeoutError)


def _is_connection_failure(cause: Exception) -> bool:
    """Return whether the instance may not have been reached."""
    return isinstance(
        cause, ConnectError | GrpcException | requests.RequestException | _ConnectTimeoutError
    )


def _is_rate_limit(cause: Exception) -> bool:
    code = getattr(cause, "code", None)
    return code == _RATE_LIMIT or _grpc_status(cause) == "RESOURCE_EXHAUSTED"


def _is_late(cause: Exception) -> bool:
    """Return whether a request was sent, and no response came in time."""
    return isinstance(cause, requests.ReadTimeout) or _grpc_status(cause) == "DEADLINE_EXCEEDED"


def index_definition(spec: CollectionSpec) -> Any:
    """Return the indexes of a new collection, as the SDK takes them."""
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


def _params(param: Any) -> dict[str, Any]:
    return dict(vars(param) if hasattr(param, "__dict__") else param or {})


def collection_info(collection: Any) -> CollectionInfo:
    """Return the description of an existing collection.

    Raises:
        IncompatibleIndexError: It has no dense vectors.
    """
    indexes = collection.indexes
    vector = next((index for index in indexes if index.name == "vector"), None)
    if vector is None or not isinstance(vector, VectorIndex):
        sparse = any(index.name == "sparse_vector" for index in indexes)
        raise IncompatibleIndexError(
            f"the collection {collection.collection_name!r} has no column 'vector'"
            + (", only sparse vectors, which are not supported" if sparse else "")
            + "; use another collection"
        )
    return CollectionInfo(
        name=str(collection.collection_name),
        aliases=tuple(collection.alias or ()),
        shards=int(collection.shard),
        replicas=int(collection.replicas),
        description=str(collection.description or ""),
        dimension=int(vector.dimension),
        metric=str(vector.metric_type.value),
        index=str(vector.index_type.value),
        params=_params(vector.param),
        indexed=int(vector.indexed_count or 0),
        filters={
            str(index.name): str(index.field_type.value)
            for index in indexes
            if index.index_type is IndexType.FILTER
        },
    )
