"""The SDK: the only module that imports it; its connections, repeated calls and errors."""

from __future__ import annotations

import logging
import re
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

from imagesearch.errors import (
    MissingDependencyError,
    StoreAuthError,
    StoreError,
    StoreRequestError,
    StoreUnavailableError,
)
from imagesearch.stores.tencent._schema import CollectionInfo, CollectionSpec
from imagesearch.stores.tencent._settings import Retry, Settings

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

_RETRYABLE_CODES = frozenset({429, 13000, 13100, 13101})
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


class MalformedResponseError(Exception):
    """A response that was read, but does not have the expected content."""


class SdkClient:
    """The SDK's client for one account on one instance; several threads may use it at once.

    Args:
        settings: The instance, the account and the transport.
        strong: Whether reads see every write that was acknowledged before.
    """

    def __init__(self, settings: Settings, *, strong: bool) -> None:
        self._settings = settings
        self._retry = Retry(settings.retries)
        grpc = settings.transport == "grpc"
        make = tcvectordb.RPCVectorDBClient if grpc else tcvectordb.VectorDBClient
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
        if not grpc:
            session = self._sdk.http_client.session
            session.auth = _keep_header
            # A database does not redirect; a proxy's login page must not pass for a response.
            session.max_redirects = 0
            session.hooks["response"].append(_require_code)

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
        retry: Retry | None = None,
    ) -> T:
        """Make a request, repeat it where that may help, and check the response.

        Args:
            action: What the request does, for messages, such as ``"counting"``.
            request: Makes the request with the SDK's client.
            check: Turns the response into a result, or raises `MalformedResponseError`.
            missing_is_error: Whether a missing collection is reported as having been dropped,
                and not as `MissingError`.
            retry: When to repeat this request; None for as often as the settings say.

        Raises:
            StoreError: The request failed; the key is in no message and in no cause.
        """
        pauses = (retry or self._retry).pauses()
        while True:
            try:
                return check(request(self._sdk))
            except (
                VectorDBException,
                requests.RequestException,
                MalformedResponseError,
                # The SDK fails with these on responses that it does not expect.
                KeyError,
                TypeError,
                ValueError,
                AttributeError,
            ) as error:
                cause: Exception = error
            failure = self._error(cause, f"{action} on {self._settings.url}")
            if isinstance(failure, MissingError) and missing_is_error:
                failure = StoreError(
                    f"{failure.problem}; was it dropped while it was open?", remedy="open it again"
                )
            pause = next(pauses, None) if failure.retryable else None
            if pause is None:
                raise failure from self._without_key(cause)
            _logger.debug("%s failed (%s), retry in %.2f s", action, type(cause).__name__, pause)
            time.sleep(pause)

    def _error(self, cause: Exception, where: str) -> StoreError:
        text = self._scrubbed(cause)
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
            case VectorDBException():
                return self._refusal(cause, where, text)
            case _:
                return StoreError(
                    f"{where}: invalid response ({type(cause).__name__}: {text})",
                    remedy="check that the address is that of Tencent Cloud VectorDB",
                    retryable=True,
                )

    def _refusal(self, cause: VectorDBException, where: str, text: str) -> StoreError:
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
            return StoreUnavailableError(
                f"{where} failed, code {code} ({text}); the service is busy or not ready. A wrong "
                "key can have the same effect"
            )
        return StoreRequestError(f"{where} was refused, code {code}: {text}")

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


def _grpc_status(cause: VectorDBException) -> str | None:
    """Return the name of a gRPC status; empty for a gRPC failure without one, None over HTTP."""
    if not isinstance(cause, GrpcException):
        return None
    # The SDK keeps only the text of the gRPC error that it handles.
    code = getattr(cause.__context__, "code", None)
    return str(code().name) if callable(code) else ""


def is_permanent(error: StoreError) -> bool:
    """Return whether the service refused to create a collection for a reason that does not pass."""
    return getattr(error.__cause__, "code", None) in _PERMANENT_CODES


def _keep_header(request: Any) -> Any:
    """Authenticate with the header that the SDK has set, ignoring ``~/.netrc``."""
    return request


def _require_code(response: Any, *_args: Any, **_options: Any) -> None:
    """Refuse a response without a code, which the SDK would take for success without results."""
    if response.ok and b'"code"' not in response.content:
        raise MalformedResponseError(f"no code in {response.content[:60]!r}")


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


def collection_info(collection: Any) -> CollectionInfo:
    """Return the description of an existing collection.

    Raises:
        MalformedResponseError: It has no vectors that can be searched.
    """
    indexes = collection.indexes
    vector = next((index for index in indexes if index.name == "vector"), None)
    if vector is None or not isinstance(vector, VectorIndex):
        raise MalformedResponseError("the collection has no index named 'vector'")
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
