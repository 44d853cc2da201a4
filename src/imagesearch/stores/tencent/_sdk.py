"""The SDK: imported here alone, its connections, calls and index types."""

from __future__ import annotations

import logging
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from imagesearch.errors import MissingDependencyError, StoreError
from imagesearch.stores.tencent._clients import Retry
from imagesearch.stores.tencent._errors import (
    CollectionInfo,
    CollectionSpec,
    Failure,
    MalformedAnswerError,
    MissingError,
    problem_of,
)
from imagesearch.types import Secret

__all__ = [
    "ERROR_MESSAGE_NETWORK_OR_AUTH",
    "Calls",
    "ConnectError",
    "FieldType",
    "FilterIndex",
    "GrpcException",
    "Index",
    "IndexType",
    "MetricType",
    "ReadConsistency",
    "SearchParams",
    "VectorDBException",
    "VectorIndex",
    "collection_info",
    "connect",
    "requests",
    "sdk_index",
    "tcvectordb",
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


def connect(
    *,
    url: str,
    username: str,
    key: Secret,
    timeout: float,
    ca_cert: str | None,
    grpc: bool,
    strong: bool,
    connections: int,
) -> Any:
    """Return the SDK's client; the arguments are those of `TencentClient`."""
    make = tcvectordb.RPCVectorDBClient if grpc else tcvectordb.VectorDBClient
    sdk = make(
        url=url,
        username=username,
        key=key.reveal(),
        timeout=timeout,
        pool_size=connections,
        tls_config=tcvectordb.TLSConfig(ca_cert) if url.startswith("https://") else None,
        read_consistency=(
            ReadConsistency.STRONG_CONSISTENCY if strong else ReadConsistency.EVENTUAL_CONSISTENCY
        ),
    )
    if not grpc:
        session = sdk.http_client.session
        session.auth = _keep_header
        # A database does not redirect; a proxy's login page must not look like an answer.
        session.max_redirects = 0
        session.hooks["response"].append(_require_code)
    return sdk


def _keep_header(request: Any) -> Any:
    """Authenticate with the header that the SDK has set, whatever ``~/.netrc`` says."""
    return request


def _require_code(response: Any, *_args: Any, **_options: Any) -> None:
    """Refuse an answer that says nothing: the SDK would take it for success, and for no results."""
    if response.ok and b'"code"' not in response.content:
        raise MalformedAnswerError(f"no code in {response.content[:60]!r}")


T = TypeVar("T")

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Calls:
    """Makes requests to one account on one instance.

    Attributes:
        url: With scheme, without a trailing slash.
        username: Account.
        key: Its API key, which is kept out of everything that is shown.
        retry: When to repeat.
    """

    url: str
    username: str
    key: Secret
    retry: Retry

    def __call__(
        self,
        what: str,
        function: Callable[[], Any],
        *,
        check: Callable[[Any], T] = lambda answer: answer,
        missing_is_error: bool = True,
        retry: Retry | None = None,
    ) -> T:
        """Make a request, repeat it where that may help, and check what it answers.

        Args:
            what: What it does, for messages.
            function: Makes the request.
            check: Makes a result of the answer, or raises `MalformedAnswerError`.
            missing_is_error: Whether a missing collection is an error in words, and not
                `MissingError`.
            retry: When to repeat this one.

        Raises:
            StoreError: The request failed; the key is in no message and in no cause.
        """
        pauses = (retry or self.retry).pauses()
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
                self._failure(cause), what=what, url=self.url, username=self.username
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
        if self.key.reveal() not in "".join(traceback.format_exception(cause)):
            return cause
        return StoreError(f"{type(cause).__name__}: {self._scrubbed(cause)}")

    def _scrubbed(self, error: Exception) -> str:
        """Return an error's text without the SDK's hints and without the key."""
        text = str(getattr(error, "message", None) or error)
        text = text.replace(ERROR_MESSAGE_NETWORK_OR_AUTH, "").replace(self.key.reveal(), "***")
        text = " ".join(text.split())
        return text if len(text) <= 300 else text[:300] + "…"


def sdk_index(spec: CollectionSpec) -> Any:
    """Return the indexes of a new collection."""
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
    """Return what an existing collection is.

    Raises:
        MalformedAnswerError: It has no vectors that can be searched.
    """
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
