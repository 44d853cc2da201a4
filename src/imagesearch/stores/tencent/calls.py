"""Calls: requests that are repeated where that may help, and whose failures become errors of ours."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from imagesearch.errors import StoreError
from imagesearch.stores.tencent.answers import MalformedAnswerError
from imagesearch.stores.tencent.problems import Failure, MissingError, problem_of
from imagesearch.stores.tencent.retry import Retry
from imagesearch.stores.tencent.sdk import (
    ERROR_MESSAGE_NETWORK_OR_AUTH,
    ConnectError,
    GrpcException,
    VectorDBException,
    requests,
)
from imagesearch.types import Secret

__all__ = ["Calls"]

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
