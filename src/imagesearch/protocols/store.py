"""VectorStore: keeps records and finds the nearest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from imagesearch.filters import Filter
from imagesearch.types import Hit, IndexMeta, Record, RecordBatch

__all__ = ["Capability", "VectorStore"]


class Capability(StrEnum):
    """What a store promises beyond the protocol; the conformance suite tests what is declared.

    Example:
        >>> Capability.EXACT.value
        'exact'
    """

    EXACT = "exact"
    """Search always returns the true nearest records."""
    PERSISTENT = "persistent"
    """What was written is there after close and a new `open`."""
    FILTER_ANY_FIELD = "filter_any_field"
    """Filters may name any metadata field, without declaring it first."""
    FILTER_IDENTITY = "filter_identity"
    """Filters may name the record's own ``id`` and ``uri``."""
    ORDER_TEXT = "order_text"
    """Filters may compare texts with <, <=, > and >= (by Unicode code point)."""
    NOTES = "notes"
    """Small notes are kept beside the meta: the store is a `NotingStore`."""


@runtime_checkable
class VectorStore(Protocol):
    """Keeps records by id and finds those whose vectors are nearest to a query.

    An implementation is one class with these members; nothing is inherited. What only one store
    knows (graph parameters, shards, consistency) is an argument of its constructor. The suite
    `imagesearch.testing.VectorStoreConformance` states the rules as tests.

    Several threads may call one store at once, as those of a web server do. A method that is called
    before `open`, or after `close`, raises `StoreError`.

    Example:
        >>> from imagesearch.stores.memory import MemoryStore
        >>> isinstance(MemoryStore(), VectorStore)
        True
    """

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What this store promises beyond the protocol."""
        ...

    def describe(self) -> IndexMeta | None:
        """Return the meta of what exists already, or None; creates nothing, may precede `open`."""
        ...

    def open(self, meta: IndexMeta) -> None:
        """Create the collection, or verify that the existing one holds comparable vectors.

        Raises:
            IncompatibleIndexError: It was made with another embedder, dimension or metric.
            StoreError: It cannot be reached, created or read.
        """
        ...

    def upsert(self, batch: RecordBatch) -> None:
        """Insert records, replacing as a whole those whose id exists; durable on return.

        All or nothing as far as the store can promise; when it raises, the caller may repeat it.

        Raises:
            StoreRequestError: A vector is missing, of another dimension, not finite, or zero
                under the cosine metric, or a record is refused for another reason of its own;
                nothing was written. The message names the record, as ``'sku-1'``, if it is for
                its sake: callers tell by it whether to go on with the others.
            StoreError: The store failed.
        """
        ...

    def search(
        self, vectors: NDArray[np.float32], *, k: int, where: Filter | None = None
    ) -> list[list[Hit]]:
        """Find the nearest records.

        Args:
            vectors: (n, dim) queries, n ≥ 0.
            k: Hits wanted for each query, ≥ 1.
            where: Only records that match; min(k, matches) hits come back.

        Returns:
            n lists of at most k hits, sorted by score (best first), then by id.

        Raises:
            UnsupportedFilterError: The store cannot express `where`; nothing was asked of it.
            StoreRequestError: k is no whole number ≥ 1, or queries are of another dimension, not
                finite, or zero under the cosine metric.
            StoreError: The store failed.
        """
        ...

    def get(self, ids: Sequence[str], *, vectors: bool = False) -> dict[str, Record]:
        """Return the records that exist among `ids`; missing ids are absent.

        Args:
            ids: Any number of ids, repetitions allowed.
            vectors: Whether records carry their vectors. Under the cosine metric a vector may
                come back scaled to unit length.
        """
        ...

    def delete(self, ids: Sequence[str]) -> int:
        """Delete records by id; unknown ids are ignored, no ids delete nothing.

        Returns:
            How many records existed and are gone.
        """
        ...

    def scan(
        self, *, where: Filter | None = None, batch_size: int = 1000, vectors: bool = False
    ) -> Iterator[RecordBatch]:
        """Go through all matching records once, in batches of at most `batch_size`.

        Records that are written or deleted while a scan runs may or may not appear; all others
        appear exactly once. The caller may write between batches.

        Raises:
            UnsupportedFilterError: The store cannot express `where`; nothing was asked of it.
            StoreRequestError: batch_size is no whole number ≥ 1.
            StoreError: The store failed.
        """
        ...

    def count(self, where: Filter | None = None) -> int:
        """Return how many records there are, or how many match."""
        ...

    def close(self) -> None:
        """Release files and connections; closing twice is allowed."""
        ...
