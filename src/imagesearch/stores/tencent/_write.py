"""Write documents: upserts, and updates of metadata on a condition."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from imagesearch._validation import chunks
from imagesearch.errors import StoreUnavailableError
from imagesearch.filters import Filter, matches
from imagesearch.stores._checks import check_batch, possible_ids
from imagesearch.stores.tencent._clients import Retry, SideBySide
from imagesearch.stores.tencent._collection import OpenCollection
from imagesearch.stores.tencent._documents import (
    DocumentMapping,
    document_bytes,
    short_floats,
    vector_bytes,
)
from imagesearch.stores.tencent._scan import IDS_PER_REQUEST, DocumentReader
from imagesearch.stores.tencent._schema import METADATA, REVISION
from imagesearch.stores.tencent._settings import Settings
from imagesearch.types import Metadata, RecordBatch, updated_metadata

if TYPE_CHECKING:
    from imagesearch.stores.tencent._client import TencentClient

__all__ = ["Updater", "write_records"]


# The service publishes no limit; 8 MB pass common proxies and arrive well within the timeout.
_BODY_BYTES = 8_000_000


def write_records(
    client: TencentClient,
    settings: Settings,
    side_by_side: SideBySide,
    opened: OpenCollection,
    batch: RecordBatch,
) -> None:
    """Insert or replace records; see `TencentStore.upsert`."""
    checked = check_batch(batch, opened.meta)
    vectors = cast(NDArray[np.float32], checked.vectors)
    documents = [opened.mapping.document(record, []) for record in checked]
    build_index = not opened.index.startswith("IVF")
    binary = settings.transport == "grpc"

    def write(rows: range) -> None:
        part, matrix = documents[rows.start : rows.stop], vectors[rows.start : rows.stop]
        # In gRPC's binary messages digits cost nothing.
        floats = matrix.tolist() if binary else short_floats(matrix)
        for document, vector in zip(part, floats, strict=True):
            document["vector"] = vector
        client.upsert(settings.database, settings.collection, part, build_index=build_index)
        for document in part:
            document["vector"] = None

    side_by_side.each(write, _portions(documents, vector_bytes(vectors), settings.batch_size))


def _portions(documents: list[dict[str, Any]], vector_size: int, most: int) -> Iterator[range]:
    """Divide documents into requests by number and by size."""
    first, size = 0, 0
    for row, document in enumerate(documents):
        bytes_here = document_bytes(document) + vector_size
        if row > first and (row - first >= most or size + bytes_here > _BODY_BYTES):
            yield range(first, row)
            first, size = row, 0
        size += bytes_here
    if documents:
        yield range(first, len(documents))


_READ_AT_ONCE = 1000
# Among n writers one succeeds in each round, so that this suffices for far more than write at once.
_ROUNDS = Retry(retries=60, first=0.005, longest=0.25)


@dataclass(frozen=True, slots=True)
class _Change:
    """Documents with the same metadata and revision, and what to write to them."""

    ids: list[str]
    revision: str | None
    columns: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Updater:
    """Changes the metadata of documents in a collection that this library made.

    Attributes:
        client: The service.
        reader: Of that collection, with the columns of a record and its revision.
        mapping: How records become documents of it.
    """

    client: TencentClient
    reader: DocumentReader
    mapping: DocumentMapping

    def update(
        self, ids: Sequence[str], fields: Metadata, *, where: Filter | None, replace: bool
    ) -> int:
        """Set fields of the documents that exist among `ids` and match; returns how many do.

        Raises:
            StoreRequestError: A value does not fit its column; nothing was written.
            StoreUnavailableError: Other writers kept changing the same documents.
            StoreError: The service failed; some may be written.
        """
        set_now = updated_metadata({}, fields)
        self.mapping.changes({}, set_now, set_now, id=next(iter(ids), ""))
        parts = chunks(possible_ids(ids), _READ_AT_ONCE)
        return sum(self._update_part(part, fields, where, replace) for part in parts)

    def _update_part(
        self, ids: list[str], fields: Metadata, where: Filter | None, replace: bool
    ) -> int:
        done = 0
        written: dict[str, str] = {}
        pauses = _ROUNDS.pauses()
        while ids:
            changes: dict[tuple[str, str | None], _Change] = {}
            for document in self.reader.fetch(ids):
                record = self.mapping.record(document)
                revision = document.get(REVISION)
                if written.get(record.id, "") == revision:
                    # The answer to the first attempt was lost, or other documents spoiled it.
                    done += 1
                    continue
                if where is not None and not matches(
                    where, record.metadata, id=record.id, uri=record.uri
                ):
                    continue
                after = updated_metadata(record.metadata, fields, replace=replace)
                columns = self.mapping.changes(document, record.metadata, after, id=record.id)
                if columns[METADATA] == document.get(METADATA):
                    done += 1
                    continue
                if self.mapping.revisions:
                    written[record.id] = columns[REVISION]
                key = (str(document.get(METADATA)), revision)
                changes.setdefault(key, _Change([], revision, columns)).ids.append(record.id)
            requests = [
                _Change(some, change.revision, change.columns)
                for change in changes.values()
                for some in chunks(change.ids, IDS_PER_REQUEST)
            ]
            counts = self.reader.side_by_side.each(self._write, requests)
            pairs = list(zip(requests, counts, strict=True))
            done += sum(count for change, count in pairs if count == len(change.ids))
            ids = [id for change, count in pairs if count != len(change.ids) for id in change.ids]
            if ids:
                _wait(pauses, ids, self.reader.settings.place)
        return done

    def _write(self, change: _Change) -> int:
        settings = self.reader.settings
        return self.client.update(
            settings.database,
            settings.collection,
            change.ids,
            change.columns,
            filter=None if change.revision is None else f'{REVISION} = "{change.revision}"',
        )


def _wait(pauses: Iterator[float], ids: list[str], place: str) -> None:
    pause = next(pauses, None)
    if pause is None:
        raise StoreUnavailableError(
            f"{place}: other writers kept changing the metadata of {len(ids)} records, such as "
            f"{ids[0]!r}; the others were updated: repeat the call"
        )
    time.sleep(pause)
