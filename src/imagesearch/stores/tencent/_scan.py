"""Read documents by id, and scan a whole collection."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

from imagesearch._validation import chunks
from imagesearch.stores._checks import possible_ids
from imagesearch.stores.tencent._clients import SideBySide
from imagesearch.stores.tencent._collection import OpenCollection
from imagesearch.stores.tencent._documents import KEY_BITS
from imagesearch.stores.tencent._schema import KEY
from imagesearch.stores.tencent._settings import Settings
from imagesearch.types import Record, RecordBatch

if TYPE_CHECKING:
    from imagesearch.stores.tencent._client import TencentClient

__all__ = [
    "IDS_PER_REQUEST",
    "DocumentReader",
    "Reader",
    "page_size",
    "scan_by_ids",
    "scan_by_ranges",
    "scan_records",
]


MAX_PAGE = 16_384
_MIN_PAGE = 64
# An answer of this size arrives within any sensible timeout.
_PAGE_BYTES = 8 * 2**20
_KEYS = 1 << KEY_BITS


class Reader(Protocol):
    """What scanning needs of a collection."""

    def count(self, filter: str | None) -> int:
        """Count documents."""
        ...

    def page(
        self, filter: str | None, *, limit: int, offset: int = 0, fields: list[str] | None = None
    ) -> list[dict[str, Any]]:
        """Return documents; with the vector and all columns of a record unless `fields` is given."""
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
    """Return how many records one answer may have.

    Example:
        >>> page_size(2048, vectors=True), page_size(2048, vectors=False)
        (178, 4096)
    """
    record = 2048 + (22 * dim if vectors else 0)
    return max(_MIN_PAGE, min(MAX_PAGE, _PAGE_BYTES // record))


def scan_by_ranges(reader: Reader, filter: str | None, size: int) -> Iterator[list[dict[str, Any]]]:
    """Go through a collection of ours.

    Args:
        reader: The collection.
        filter: Which documents, in the service's language.
        size: Largest page.
    """
    before = reader.count(_ours(filter))
    expected = reader.count(filter)
    if expected == 0:
        return
    # Records that come while we count make the second number larger, records that go make the
    # third one smaller: a needless look for strangers, but never a missing one.
    strange = not before == expected == reader.count(_ours(filter))
    strangers = list(_ids_without_key(reader, filter)) if strange else []
    # Hashes spread evenly: with a margin of four standard deviations hardly a range is too full.
    parts = math.ceil(expected / max(1.0, 0.9 * size - 4 * math.sqrt(size)))
    bounds = [part * _KEYS // parts for part in range(parts + 1)]
    ranges = [_Range(first, end) for first, end in pairwise(bounds)]
    ranges.reverse()
    met = False
    while ranges:
        here = ranges.pop()
        page = reader.page(here.condition(filter), limit=size)
        if len(page) >= size and here.end - here.first > 1:
            left, right = here.halves()
            ranges += [right, left]
            continue
        # Documents of other clients have no key; whether a range has them is not documented.
        ours = [document for document in page if KEY in document]
        met = met or len(ours) < len(page)
        if ours:
            yield ours
    if met and not strangers:
        strangers = list(_ids_without_key(reader, filter))
    yield from _fetched(reader, strangers)


def scan_by_ids(reader: Reader, filter: str | None) -> Iterator[list[dict[str, Any]]]:
    """Go through a collection that others made."""
    ids = dict.fromkeys(document["id"] for document in _listed(reader, filter, ["id"]))
    yield from _fetched(reader, list(ids))


def _ours(filter: str | None) -> str:
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


IDS_PER_REQUEST = 20
"""The smallest limit that the service documents anywhere; newer servers take more."""


@dataclass(frozen=True, slots=True)
class DocumentReader:
    """Reads one collection, seeing every acknowledged write.

    Attributes:
        client: The service.
        settings: Which collection.
        side_by_side: Runs requests.
        fields: Columns to read; None for all.
        vectors: Whether to read the vector too.
    """

    client: TencentClient
    settings: Settings
    side_by_side: SideBySide
    fields: list[str] | None
    vectors: bool = False

    def count(self, filter: str | None) -> int:
        """Count documents."""
        return self.client.count(self.settings.database, self.settings.collection, filter)

    def page(
        self, filter: str | None, *, limit: int, offset: int = 0, fields: list[str] | None = None
    ) -> list[dict[str, Any]]:
        """Return documents; without their vectors if `fields` is given."""
        return self.client.query(
            self.settings.database,
            self.settings.collection,
            limit=limit,
            offset=offset,
            filter=filter,
            fields=self.fields if fields is None else fields,
            vectors=self.vectors and fields is None,
        )

    def fetch(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        """Return the documents that exist among `ids`, each once."""
        parts = chunks(possible_ids(ids), IDS_PER_REQUEST)
        found = self.side_by_side.each(self.fetch_few, parts)
        return [document for documents in found for document in documents]

    def fetch_few(self, ids: list[str]) -> list[dict[str, Any]]:
        """Return the documents that exist among at most `IDS_PER_REQUEST` ids, in one request."""
        return self.client.query(
            self.settings.database,
            self.settings.collection,
            limit=len(ids),
            ids=ids,
            fields=self.fields,
            vectors=self.vectors,
        )


def scan_records(
    reader: DocumentReader,
    opened: OpenCollection,
    filter: str | None,
    batch_size: int,
    require_open: Callable[[], object],
) -> Iterator[RecordBatch]:
    """Go through a collection once.

    Args:
        reader: Of that collection.
        opened: The collection.
        filter: Which documents, in the service's language.
        batch_size: Records in a batch.
        require_open: Raises when the store was closed before a page.
    """
    require_open()
    vectors = reader.vectors
    pages = (
        scan_by_ranges(reader, filter, page_size(opened.meta.dim, vectors=vectors))
        if opened.mapping.ours
        else scan_by_ids(reader, filter)
    )
    waiting: list[Record] = []
    for page in pages:
        waiting += [opened.mapping.record(document, vectors=vectors) for document in page]
        while len(waiting) >= batch_size:
            yield RecordBatch.of(waiting[:batch_size])
            waiting = waiting[batch_size:]
        require_open()
    if waiting:
        yield RecordBatch.of(waiting)
