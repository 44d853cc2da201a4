"""ApiError: an answer with a code other than 0, as the service gives it."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["ApiError", "Code"]


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
