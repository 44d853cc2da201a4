"""The form of the service's answers, and its limits."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

__all__ = ["ApiError", "Behaviour", "Code", "Limits"]


class Code(IntEnum):
    """The service's error codes, as far as they are published."""

    OK = 0
    INDEX_NOT_READY = 13100
    INVALID_PARAMETER = 14100
    INVALID_NAME = 14110
    OUT_OF_RANGE = 14120
    TYPE_MISMATCH = 14121
    TOO_LONG = 14131
    EMPTY_STRING = 14132
    SYNTAX_ERROR = 15000
    SORT_FIELD = 15143
    DATABASE_EXISTS = 15201
    COLLECTION_EXISTS = 15202
    NO_DATABASE = 15301
    NO_COLLECTION = 15302


class ApiError(Exception):
    """A request that the service refuses: HTTP status 400 with a code and a message."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = int(code)
        self.message = message


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one request; the defaults are the strictest that the service documents.

    Attributes:
        documents_per_upsert: At most so many documents.
        ids_per_query: At most so many ids in a query, update or delete.
        vectors_per_search: At most so many vectors.
        page: Largest ``limit`` of a query or search.
        id_bytes: Longest id in UTF-8 bytes.
        dimension: Largest dimension.
        body_bytes: Largest request body.
        offset_is_multiple_of_limit: Whether a query's offset must be a multiple of its limit.

    Example:
        >>> Limits().ids_per_query
        20
    """

    documents_per_upsert: int = 1000
    ids_per_query: int = 20
    vectors_per_search: int = 20
    page: int = 16_384
    id_bytes: int = 128
    dimension: int = 4096
    body_bytes: int = 10 * 2**20
    offset_is_multiple_of_limit: bool = True


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Behaviour that the service's documentation leaves open, or that takes time.

    Attributes:
        visibility_delay: Seconds after which a write shows in eventually consistent reads;
            strongly consistent reads see it at once.
        database_delay: Seconds after which a new database takes collections.
        missing: What a filter's comparison gives on a document without the field: ``"false"``;
            ``"unknown"`` as in SQL, so that its negation is not true either; ``"negated"``, false
            except for ``!=``, ``not in`` and ``exclude``; or ``"zero"``, the field counts as 0 or
            as empty text.
        null_checks: Whether filters know ``is null``.
        score_decimals: To how many decimals scores are rounded; None for not at all.
        l2_squared: Whether the L2 score is the squared distance.
        empty_strings: Whether indexed text fields may hold empty text.
        latency: Seconds that every request takes at least.
        discard_upserts: Whether upserts are acknowledged unread, for benchmarks of clients.

    Example:
        >>> Behaviour(visibility_delay=0.3).missing
        'unknown'
    """

    visibility_delay: float = 0.0
    database_delay: float = 0.0
    missing: Literal["false", "unknown", "negated", "zero"] = "unknown"
    null_checks: bool = True
    score_decimals: int | None = 5
    l2_squared: bool = False
    empty_strings: bool = False
    latency: float = 0.0
    discard_upserts: bool = False
