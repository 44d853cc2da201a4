"""Problems: what went wrong at the edge, in the library's errors and in words.

The codes are those of the service's error page (document 104047) and of its SDK; which code a wrong
key or a rate limit has is not published, so that their HTTP statuses and words count, too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

from imagesearch.errors import (
    StoreAuthError,
    StoreError,
    StoreRequestError,
    StoreUnavailableError,
)

__all__ = ["ExistsError", "Failure", "MissingError", "Problem", "is_final", "problem_of"]

_AGAIN_CODES = frozenset({429, 13000, 13100, 13101})
_AUTH_CODES = frozenset({401, 403, 407})
_MISSING_CODES = frozenset({15301, 15302})
_EXISTS_CODES = frozenset({15201, 15202})
# Index type not supported; too many collections: waiting for a new database helps neither.
_FINAL_CODES = frozenset({15113, 15129})
_GRPC_AGAIN = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED", "INTERNAL")
_AUTH_WORDS = re.compile(
    r"unauthor|unauthenticat|authenticat|authoriz|permission.?denied|invalid (?:api[ _]?key|account)",
    re.IGNORECASE,
)

Kind: TypeAlias = Literal["timeout", "connection", "address", "refusal", "grpc", "nonsense"]


class ExistsError(StoreError):
    """It exists already."""


class MissingError(StoreError):
    """The collection or its database does not exist."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What the SDK reported.

    Attributes:
        kind: ``"refusal"`` has a code of the service or an HTTP status; ``"address"`` cannot be
            mended by trying again; ``"nonsense"`` is an answer that cannot be one.
        text: What it said, without secrets.
        code: The code of a refusal.
    """

    kind: Kind
    text: str
    code: int = 0


@dataclass(frozen=True, slots=True)
class Problem:
    """An error to raise, and whether trying again may help."""

    error: StoreError
    again: bool


def is_final(code: object) -> bool:
    """Return whether a refusal to create a collection stays, however long one waits."""
    return code in _FINAL_CODES


def problem_of(failure: Failure, *, what: str, url: str, username: str) -> Problem:
    """Return the error for a failure.

    Args:
        failure: What the SDK reported.
        what: What was being done, such as "counting".
        url: Where.
        username: For whom.

    Example:
        >>> problem = problem_of(Failure("refusal", "no such field", 14100), what="counting",
        ...                      url="http://h:80", username="root")
        >>> problem.again, str(problem.error)
        (False, 'counting on http://h:80 was refused, code 14100: no such field')
    """
    place, text = f"{what} on {url}", failure.text
    if failure.kind in ("refusal", "grpc") and (
        failure.code in _AUTH_CODES or _AUTH_WORDS.search(text)
    ):
        return Problem(
            StoreAuthError(
                f"{place} was refused for account {username!r} ({text}); check username and key "
                "(the console shows both under the instance's key management)"
            ),
            False,
        )
    match failure.kind:
        case "timeout":
            return Problem(
                StoreUnavailableError(f"{place} timed out; is the timeout too short? ({text})"),
                True,
            )
        case "connection" | "address":
            return Problem(
                StoreUnavailableError(
                    f"{place} failed: no connection, or it broke ({text}). Check the address and "
                    "port, that this machine is on the instance's network (whitelist, security "
                    "group), and the account's key"
                ),
                failure.kind == "connection",
            )
        case "grpc":
            again = any(f"StatusCode.{status}" in text for status in _GRPC_AGAIN)
            return Problem(StoreUnavailableError(f"{place} failed ({text})"), again)
        case "nonsense":
            return Problem(
                StoreError(
                    f"{place} got an answer that makes no sense ({text}); is this Tencent Cloud "
                    "VectorDB?"
                ),
                True,
            )
        case "refusal":
            return _refusal(place, failure.code, text)


def _refusal(place: str, code: int, text: str) -> Problem:
    if code in _EXISTS_CODES:
        return Problem(ExistsError(f"{place}: it exists already ({text})"), False)
    if code in _MISSING_CODES:
        return Problem(MissingError(f"{place}: {text}"), False)
    if code in _AGAIN_CODES or code == -1 or 500 <= code < 600:
        return Problem(
            StoreUnavailableError(
                f"{place} failed, code {code} ({text}); the service is busy or not ready. A wrong "
                "key can look like this, too"
            ),
            True,
        )
    return Problem(StoreRequestError(f"{place} was refused, code {code}: {text}"), False)
