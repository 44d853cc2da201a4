"""Scan a whole collection: every record once, also while others write."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

from imagesearch.stores.tencent._documents import KEY_BITS
from imagesearch.stores.tencent._schema import KEY
from imagesearch.types import Record, RecordBatch

if TYPE_CHECKING:
    from imagesearch.stores.tencent._client import CollectionClient
    from imagesearch.stores.tencent._collection import OpenCollection

__all__ = ["MAX_PAGE", "Reader", "page_size", "scan_by_ids", "scan_by_ranges", "scan_records"]

MAX_PAGE = 16_384
_MIN_PAGE = 64
# A response of this size arrives within any sensible timeout.
_PAGE_BYTES = 8 * 2**20
_KEYS = 1 << KEY_BITS
# Attempts to count while nothing is written. Listing documents without a key takes far longer.
_COUNTS = 20


class Reader(Protocol):
    """The requests that a scan makes."""

    def count(self, filter: str | None) -> int:
        """Count documents."""
        ...

    def page(
        self, filter: str | None, *, limit: int, offset: int = 0, fields: list[str] | None = None
    ) -> list[dict[str, Any]]:
        """Return documents: with all columns of a record, or only `fields` and no vector."""
        ...

    def fetch(self, ids: list[str]) -> list[dict[str, Any]]:
        """Return documents by id."""
        ...


@dataclass(frozen=True, slots=True)
class _Range:
    first: int
    end: int

    def halves(self) -> tuple[_Range, _Range]:
        middle = (self.first + self.end) // 2
        return _Range(self.first, middle), _Range(middle, self.end)

    def condition(self, filter: str | None) -> str | None:
        if self.first == 0 and self.end == _KEYS and filter is None:
            return None
        inside = f"{KEY} >= {self.first} and {KEY} < {self.end}"
        return inside if filter is None else f"{inside} and ({filter})"


def page_size(dim: int, *, vectors: bool) -> int:
    """Return how many records to request at once.

    Example:
        >>> page_size(2048, vectors=True), page_size(2048, vectors=False)
        (178, 4096)
    """
    record = 2048 + (22 * dim if vectors else 0)
    return max(_MIN_PAGE, min(MAX_PAGE, _PAGE_BYTES // record))


def scan_by_ranges(reader: Reader, filter: str | None, size: int) -> Iterator[list[dict[str, Any]]]:
    """Scan a collection that this library created, by ranges of its keys.

    Args:
        reader: Reads the collection.
        filter: Condition in the service's language.
        size: Largest page.
    """
    before = reader.count(_with_key(filter))
    for _ in range(_COUNTS):
        expected = reader.count(filter)
        after = reader.count(_with_key(filter))
        if before == after:
            break
        # Others write: the numbers belong to different states.
        before = after
    if expected == 0:
        return
    # If writes went on, documents without a key may be listed needlessly, but none is missed.
    keyless = [] if before == expected == after else list(_ids_without_key(reader, filter))
    # Hashes spread evenly: with a margin of four standard deviations, few ranges are too full.
    parts = math.ceil(expected / max(1.0, 0.9 * size - 4 * math.sqrt(size)))
    bounds = [part * _KEYS // parts for part in range(parts + 1)]
    ranges = [_Range(first, end) for first, end in pairwise(bounds)]
    ranges.reverse()
    incomplete = False
    while ranges:
        current = ranges.pop()
        page = reader.page(current.condition(filter), limit=size)
        if len(page) >= size and current.end - current.first > 1:
            left, right = current.halves()
            ranges += [right, left]
            continue
        # Documents of other clients have no key; whether they match a range is not documented.
        keyed = [document for document in page if KEY in document]
        incomplete = incomplete or len(keyed) < len(page)
        if keyed:
            yield keyed
    if incomplete and not keyless:
        keyless = list(_ids_without_key(reader, filter))
    yield from _fetched(reader, keyless)


def scan_by_ids(reader: Reader, filter: str | None) -> Iterator[list[dict[str, Any]]]:
    """Scan a collection that another program created, by listing its ids first."""
    ids = dict.fromkeys(document["id"] for document in _listed(reader, filter, ["id"]))
    yield from _fetched(reader, list(ids))


def _with_key(filter: str | None) -> str:
    has_key = f"{KEY} >= 0 and {KEY} < {_KEYS}"
    return has_key if filter is None else f"{has_key} and ({filter})"


def _ids_without_key(reader: Reader, filter: str | None) -> dict[str, None]:
    documents = _listed(reader, filter, [KEY])
    return dict.fromkeys(document["id"] for document in documents if KEY not in document)


def _listed(reader: Reader, filter: str | None, fields: list[str]) -> Iterator[dict[str, Any]]:
    for offset in range(0, 2**62, MAX_PAGE):
        page = reader.page(filter, limit=MAX_PAGE, offset=offset, fields=fields)
        yield from page
        if len(page) < MAX_PAGE:
            return


def _fetched(reader: Reader, ids: list[str]) -> Iterator[list[dict[str, Any]]]:
    for first in range(0, len(ids), 1000):
        documents = reader.fetch(ids[first : first + 1000])
        if documents:
            yield documents


@dataclass(frozen=True, slots=True)
class _CollectionReader:
    collection: CollectionClient
    fields: list[str] | None
    vectors: bool

    def count(self, filter: str | None) -> int:
        return self.collection.count(filter)

    def page(
        self, filter: str | None, *, limit: int, offset: int = 0, fields: list[str] | None = None
    ) -> list[dict[str, Any]]:
        return self.collection.query(
            limit=limit,
            offset=offset,
            filter=filter,
            fields=self.fields if fields is None else fields,
            vectors=self.vectors and fields is None,
        )

    def fetch(self, ids: list[str]) -> list[dict[str, Any]]:
        return self.collection.fetch(ids, self.fields, vectors=self.vectors)


def scan_records(
    collection: CollectionClient,
    opened: OpenCollection,
    filter: str | None,
    *,
    batch_size: int,
    vectors: bool,
    require_open: Callable[[], object],
) -> Iterator[RecordBatch]:
    """Scan a collection once.

    Args:
        collection: The collection.
        opened: The same, as it was opened.
        filter: Condition in the service's language.
        batch_size: Records in a batch.
        vectors: Whether to read the vectors.
        require_open: Raises if the store was closed between two pages.
    """
    require_open()
    mapping = opened.mapping
    reader = _CollectionReader(collection, mapping.output_fields, vectors)
    pages = (
        scan_by_ranges(reader, filter, page_size(opened.meta.dim, vectors=vectors))
        if mapping.ours
        else scan_by_ids(reader, filter)
    )
    records: list[Record] = []
    for page in pages:
        records += [mapping.record(document, vectors=vectors) for document in page]
        while len(records) >= batch_size:
            yield RecordBatch.of(records[:batch_size])
            records = records[batch_size:]
        require_open()
    if records:
        yield RecordBatch.of(records)
