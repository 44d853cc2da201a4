"""Updating: metadata of existing documents, each on the condition that nobody changed it meanwhile.

The service's own update merges columns, and all metadata of a record stand in one column as JSON. So
an update reads that column, merges, and writes it back if the document still has the revision that
was read; otherwise it begins again with that document. A revision is a hash of the metadata, so that
a repeated request does no harm: what it would write is there already.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imagesearch.chunks import chunks
from imagesearch.errors import StoreUnavailableError
from imagesearch.filters import Filter, matches
from imagesearch.stores.checks import possible_ids
from imagesearch.stores.tencent.documents import DocumentMapping
from imagesearch.stores.tencent.reading import IDS_PER_REQUEST, DocumentReader
from imagesearch.stores.tencent.retry import Retry
from imagesearch.stores.tencent.schema import METADATA, REVISION
from imagesearch.types import Metadata, updated_metadata

if TYPE_CHECKING:
    from imagesearch.stores.tencent.client import TencentClient

__all__ = ["Updater"]

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
