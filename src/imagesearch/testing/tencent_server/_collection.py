"""One collection of the stand-in: its documents, search, limits and error codes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["ApiError", "Behaviour", "Code", "Collection", "Condition", "Document", "Limits", "View"]

Condition: TypeAlias = Callable[[Mapping[str, Any]], bool | None]
"""Decides for a document: true, false, or None for unknown."""


class Code(IntEnum):
    """The service's published error codes."""

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
    """A refused request: HTTP status 400 with a code and a message."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = int(code)
        self.message = message


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one request; the defaults are the strictest that the service documents.

    Attributes:
        documents_per_upsert: Most documents.
        ids_per_query: Most ids in a query, update or delete.
        vectors_per_search: Most vectors.
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
        visibility_delay: Seconds after which eventually consistent reads see a write; strongly
            consistent reads see it at once.
        database_delay: Seconds after which a new database accepts collections.
        database_refusal: The error code before that.
        missing: Result of a filter's comparison on a document without the field: ``"false"``;
            ``"unknown"`` as in SQL, so that its negation is not true either; ``"negated"``, false
            except for ``!=``, ``not in`` and ``exclude``; or ``"zero"``, the field counts as 0 or
            as empty text.
        null_checks: Whether filters support ``is null``.
        score_decimals: Decimals that scores are rounded to; None for no rounding.
        l2_squared: Whether the L2 score is the squared distance.
        empty_strings: Whether indexed text fields may be empty.
        describe_aliases: Whether a collection can be described by an alias.
        latency: Least duration of a request, in seconds.
        requests_per_second: Requests above this rate get the status 429; None for no limit.
        discard_upserts: Whether upserts are acknowledged unread, for benchmarks of clients.

    Example:
        >>> Behaviour(visibility_delay=0.3).missing
        'unknown'
    """

    visibility_delay: float = 0.0
    database_delay: float = 0.0
    database_refusal: int = Code.INDEX_NOT_READY
    missing: Literal["false", "unknown", "negated", "zero"] = "unknown"
    null_checks: bool = True
    score_decimals: int | None = 5
    l2_squared: bool = False
    empty_strings: bool = False
    describe_aliases: bool = True
    latency: float = 0.0
    requests_per_second: float | None = None
    discard_upserts: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Document:
    """A stored document: its fields, without the vector, and its vector."""

    fields: Mapping[str, Any]
    vector: NDArray[np.float32]


@dataclass(slots=True, eq=False)
class View:
    """The documents that one kind of read sees, in the order of writing."""

    documents: dict[str, Document] = field(default_factory=dict)
    _matrix: NDArray[np.float64] | None = None

    def put(self, id: str, document: Document | None) -> None:
        """Replace a document as a whole, or remove it; a replaced one moves to the end."""
        self.documents.pop(id, None)
        if document is not None:
            self.documents[id] = document
        self._matrix = None

    def matrix(self) -> NDArray[np.float64]:
        """All vectors, row by row."""
        if self._matrix is None:
            rows = [document.vector for document in self.documents.values()]
            self._matrix = np.stack(rows).astype(np.float64) if rows else np.empty((0, 0))
        return self._matrix


class Collection:
    """One collection, as ``/collection/create`` described it.

    Attributes:
        info: The response to ``/collection/describe``.
        types: Field type of every field with a filter index.
        dimension: Dimension of the vectors.
        metric: ``COSINE``, ``IP`` or ``L2``.
    """

    def __init__(self, info: dict[str, Any], *, visibility_delay: float) -> None:
        self.info = info
        indexes = info["indexes"]
        vector = next(index for index in indexes if index["fieldType"] == "vector")
        self.dimension: int = vector["dimension"]
        self.metric: str = vector["metricType"]
        self._built_from_data: bool = vector["indexType"].startswith("IVF")
        self.needs_rebuild: bool = self._built_from_data
        self.types: dict[str, str] = {
            index["fieldName"]: index["fieldType"]
            for index in indexes
            if index["indexType"] == "filter"
        }
        self._delay = visibility_delay
        self._current = View()
        self._visible = View() if visibility_delay else self._current
        self._pending: deque[tuple[float, str, Document | None]] = deque()
        self._unindexed: set[str] = set()

    def write(self, id: str, document: Document | None, *, build_index: bool = True) -> bool:
        """Replace or remove a document; returns whether it existed."""
        existed = id in self._current.documents
        self._current.put(id, document)
        if self._delay:
            self._pending.append((time.monotonic() + self._delay, id, document))
        if document is not None and not build_index:
            self._unindexed.add(id)
        else:
            self._unindexed.discard(id)
        return existed

    def described(self) -> dict[str, Any]:
        """Return the response to ``/collection/describe``, with the number of indexed documents."""
        count = len(self._current.documents.keys() - self._unindexed)
        for index in self.info["indexes"]:
            if index["fieldType"] == "vector":
                index["indexedCount"] = count
        return self.info

    def is_indexed(self, id: str) -> bool:
        """Return whether the vector index has a document."""
        return id not in self._unindexed

    def truncate(self) -> int:
        """Remove everything."""
        ids = list(self._current.documents)
        for id in ids:
            self.write(id, None)
        return len(ids)

    def rebuild(self) -> None:
        """Add all documents to the vector index; later ones are added as they are written."""
        self._unindexed.clear()
        self.needs_rebuild = not self._current.documents and self._built_from_data

    def view(self, *, strong: bool) -> View:
        """Return the view of a strongly or an eventually consistent read."""
        now = time.monotonic()
        while self._pending and self._pending[0][0] <= now:
            _, id, document = self._pending.popleft()
            self._visible.put(id, document)
        return self._current if strong else self._visible

    def search(
        self,
        view: View,
        queries: NDArray[np.float64],
        *,
        limit: int,
        condition: Condition | None,
        squared: bool,
    ) -> list[list[tuple[str, float]]]:
        """Return for each query the ids and scores of the best documents, best first."""
        ids = list(view.documents)
        rows = [
            row
            for row, (id, document) in enumerate(view.documents.items())
            if id not in self._unindexed
            and (condition is None or condition(document.fields) is True)
        ]
        if not rows:
            return [[] for _ in queries]
        vectors = view.matrix()
        vectors = vectors if len(rows) == len(ids) else vectors[rows]
        return [
            [(ids[rows[index]], float(scores[index])) for index in order[:limit]]
            for scores, order in (
                _ranked(query, vectors, self.metric, squared=squared) for query in queries
            )
        ]

    def select(
        self, view: View, *, ids: Sequence[str], condition: Condition | None
    ) -> list[tuple[str, Document]]:
        """Return the documents that are among `ids`, if any are given, and meet the condition."""
        chosen = (
            [(id, view.documents[id]) for id in dict.fromkeys(ids) if id in view.documents]
            if ids
            else list(view.documents.items())
        )
        if condition is None:
            return chosen
        return [pair for pair in chosen if condition(pair[1].fields) is True]


def _ranked(
    query: NDArray[np.float64], vectors: NDArray[np.float64], metric: str, *, squared: bool
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    match metric:
        case "L2":
            distances = ((vectors - query) ** 2).sum(axis=1)
            scores = distances if squared else np.sqrt(distances)
            return scores, np.argsort(scores, kind="stable")
        case "COSINE":
            lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(query)
            scores = (vectors @ query) / np.where(lengths > 0, lengths, 1.0)
            return scores, np.argsort(-scores, kind="stable")
        case _:
            scores = vectors @ query
            return scores, np.argsort(-scores, kind="stable")
