"""What the service answers and raises, as errors of this library."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from imagesearch.errors import (
    StoreAuthError,
    StoreError,
    StoreRequestError,
    StoreUnavailableError,
)

__all__ = [
    "CollectionInfo",
    "CollectionSpec",
    "ExistsError",
    "Failure",
    "MalformedAnswerError",
    "MissingError",
    "Problem",
    "affected_in",
    "count_in",
    "documents_in",
    "is_final",
    "problem_of",
    "require_written",
]


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


class MalformedAnswerError(Exception):
    """An answer that was read, but says something else than it should."""


def require_written(answer: Any, wanted: int) -> None:
    """Accept the answer to an upsert of `wanted` documents only if all were written."""
    count = answer.get("affectedCount") if isinstance(answer, dict) else None
    if count != wanted:
        raise MalformedAnswerError(f"{count!r} of {wanted} documents are said to be written")


def affected_in(answer: Any) -> int:
    """Return how many documents an update or a deletion reached."""
    count = answer.get("affectedCount") if isinstance(answer, dict) else None
    return count_in(count)


def count_in(answer: Any) -> int:
    """Return the number that an answer is."""
    if not isinstance(answer, int) or isinstance(answer, bool) or answer < 0:
        raise MalformedAnswerError(f"the count is {answer!r:.60}")
    return answer


def documents_in(
    answer: Any, *, vectors: bool, scores: bool = False, ids: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Return the documents of an answer.

    Args:
        answer: What the SDK returned.
        vectors: Whether each must have its vector.
        scores: Whether each must have a score.
        ids: Those that were asked for; None where any may come.

    Raises:
        MalformedAnswerError: It is not a list of documents, or one lacks what was asked for.
    """
    if not isinstance(answer, Sequence) or isinstance(answer, str):
        raise MalformedAnswerError(f"a list of documents is {answer!r:.60}")
    for document in answer:
        if not isinstance(document, dict) or not isinstance(document.get("id"), str):
            raise MalformedAnswerError(f"a document is {document!r:.60}")
        if scores and not isinstance(document.get("score"), int | float):
            raise MalformedAnswerError(f"document {document['id']!r} has no score")
        if vectors and not isinstance(document.get("vector"), list):
            raise MalformedAnswerError(f"document {document['id']!r} has no vector")
        if ids is not None and document["id"] not in ids:
            raise MalformedAnswerError(f"document {document['id']!r} was not asked for")
    return list(answer)


@dataclass(frozen=True, slots=True)
class CollectionSpec:
    """What a new collection is to be; names and types are the service's own."""

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
