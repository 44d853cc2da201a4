"""Reading: documents of one collection by id, by page and by number, and records made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imagesearch.chunks import chunks
from imagesearch.stores.checks import possible_ids
from imagesearch.stores.tencent.opening import OpenCollection
from imagesearch.stores.tencent.scanning import page_size, scan_by_ids, scan_by_ranges
from imagesearch.stores.tencent.settings import Settings
from imagesearch.stores.tencent.side_by_side import SideBySide
from imagesearch.types import Record, RecordBatch

if TYPE_CHECKING:
    from imagesearch.stores.tencent.client import TencentClient

__all__ = ["IDS_PER_REQUEST", "DocumentReader", "scan_records"]

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
