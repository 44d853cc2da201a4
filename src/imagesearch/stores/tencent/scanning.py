"""Scanning: go through a whole collection once, in pages that writes do not shift.

The service pages by offset, and an offset shifts when records come and go. So a collection of
ours is divided by ranges of ``imagesearch_key``, a hash of the id: each record is in exactly one
range for as long as it lives, ranges are chosen so that each fits into one answer, and a range
that turns out to be too full is halved. No offset is sent, and no answer has more than 16,384
records.

A collection that others made has no such column, nor have records that others put into ours:
their ids are listed by offset before the first batch is given out, so that the caller's own writes
between batches shift nothing, and the records are then fetched by id.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

from imagesearch.stores.tencent.documents import KEY_BITS
from imagesearch.stores.tencent.schema import KEY

__all__ = ["Reader", "page_size", "scan_by_ids", "scan_by_ranges"]

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
