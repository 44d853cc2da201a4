"""Storing: records into a store, where one that it cannot keep spoils no other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from imagesearch.errors import StoreRequestError
from imagesearch.protocols import VectorStore
from imagesearch.types import Record, RecordBatch

__all__ = ["store_records"]


def store_records(store: VectorStore, records: Sequence[Record]) -> dict[str, StoreRequestError]:
    """Upsert records, and return the reasons of those that the store refuses, by id.

    A batch that is refused is halved until the records are found that it was refused for: few
    more requests, as few records are bad.

    Raises:
        StoreRequestError: Several records, and all are refused in words that name none of them,
            as ``'sku-1'``: something else is wrong than the records.
        StoreError: The store failed.

    Example:
        >>> import numpy as np
        >>> from imagesearch.stores.memory import MemoryStore
        >>> from imagesearch.types import EmbeddingSpec, IndexMeta
        >>> store = MemoryStore()
        >>> store.open(IndexMeta(EmbeddingSpec("mine", 2, True, "1")))
        >>> good, bad = np.ones(2, np.float32), np.full(2, np.nan, np.float32)
        >>> records = [Record("a", "/a", "", {}, good), Record("b", "/b", "", {}, bad)]
        >>> list(store_records(store, records)), store.count()
        (['b'], 1)
    """
    refused = dict(_refused(store, records)) if records else {}
    if len(refused) == len(records) > 1 and not any(
        repr(id) in str(reason) for id, reason in refused.items()
    ):
        raise next(iter(refused.values()))
    return refused


def _refused(
    store: VectorStore, records: Sequence[Record]
) -> Iterator[tuple[str, StoreRequestError]]:
    try:
        store.upsert(RecordBatch.of(records))
    except StoreRequestError as error:
        if len(records) == 1:
            yield records[0].id, error
            return
    else:
        return
    middle = len(records) // 2
    yield from _refused(store, records[:middle])
    yield from _refused(store, records[middle:])
