"""Documents: convert records to them and back, write them, and update their metadata."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import replace as replaced
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from imagesearch._validation import batched
from imagesearch.errors import StoreCorruptError, StoreRequestError, StoreUnavailableError
from imagesearch.filters import Filter, matches
from imagesearch.stores._checks import check_batch, possible_ids
from imagesearch.stores.tencent._pacing import Retry
from imagesearch.stores.tencent._schema import (
    DIGEST,
    KEY,
    METADATA,
    RESERVED,
    REVISION,
    TERMS,
    Column,
    RequestTooLargeError,
    check_values,
    column_values,
)
from imagesearch.stores.tencent._settings import IVF
from imagesearch.types import (
    RESERVED_FIELDS,
    Metadata,
    Record,
    RecordBatch,
    updated_metadata,
)

if TYPE_CHECKING:
    from imagesearch.stores.tencent._client import CollectionClient
    from imagesearch.stores.tencent._collection import OpenCollection

__all__ = [
    "KEY_BITS",
    "DocumentMapping",
    "document_bytes",
    "rewrite_records",
    "scan_key",
    "short_floats",
    "update_documents",
    "vector_bytes",
    "write_records",
]

KEY_BITS = 32

# Nine significant digits identify every float32 value (IEEE 754, section 5.12.2).
_DIGITS = 9
# "-1.23456789e-12, " is the longest element in JSON where powers of ten are exact doubles, and
# "-1.2345678900000001e-30, " elsewhere.
_ELEMENT_BYTES, _ODD_ELEMENT_BYTES = 17, 25
_USUAL = (1e-13, 1e9)
_POWERS = np.array([float(f"1e{exponent}") for exponent in range(-60, 61)])


@dataclass(frozen=True, slots=True)
class DocumentMapping:
    """Converts records to documents of one collection, and back.

    Attributes:
        columns: Declared fields, by name.
        uri_field: Column of the URI.
        ours: Whether this library created the collection, with the columns of `_schema`.
        uri_indexed: Whether filters can name the column of the URI.
        typed: Whether every value of a declared field has its declared type, which collections
            of format 1 do not ensure.
        revisions: Whether the collection can be filtered on the revision of a document, which
            the first collections of format 1 cannot.
    """

    columns: Mapping[str, Column]
    uri_field: str
    ours: bool
    uri_indexed: bool = True
    typed: bool = True
    revisions: bool = False

    @property
    def output_fields(self) -> list[str] | None:
        """The columns of a record; None for all, in collections that others created."""
        if not self.ours:
            return None
        names = [column.name for column in self.columns.values()]
        return [self.uri_field, DIGEST, METADATA, KEY, *names]

    def document(self, record: Record, vector: list[float]) -> dict[str, Any]:
        """Return a record, as `check_batch` returns it, as a document.

        Raises:
            StoreRequestError: A value does not fit its column.
        """
        check_values(record.metadata, self.columns, id=record.id)
        values, terms = column_values(record.metadata, self.columns)
        if not self.ours:
            for column in self.columns.values():
                if column.partial_term in terms:
                    raise StoreRequestError(
                        f"record {record.id!r}: metadata field {column.field!r} cannot be empty, "
                        "longer than 512 bytes or contain control characters in a collection that "
                        "another program created",
                        ids=(record.id,),
                        remedy="change the value, or copy the collection into a new one",
                    )
        document: dict[str, Any] = {"id": record.id, "vector": vector, **values}
        # Empty texts may be refused; an absent column is read as empty.
        if record.uri:
            document[self.uri_field] = record.uri
        if record.digest:
            document[DIGEST] = record.digest
        document[METADATA] = _metadata_text(record.metadata)
        if self.ours:
            document[KEY] = scan_key(record.id)
            document |= self._derived(document[METADATA], terms)
        return document

    def changes(self, document: Mapping[str, Any], after: Metadata) -> dict[str, Any]:
        """Return the columns to write when a document's metadata change.

        The service merges columns and cannot remove one, so a column whose field was removed gets
        a value that no filter matches.

        Args:
            document: The document as it is, with all columns of a record.
            after: Its new metadata; the changed values are checked.
        """
        values, terms = column_values(after, self.columns)
        removed = {
            column.name: column.removed_value
            for column in self.columns.values()
            if column.name not in values and column.name in document
        }
        text = _metadata_text(after)
        return {**removed, **values, METADATA: text, **self._derived(text, terms)}

    def _derived(self, text: str, terms: list[str]) -> dict[str, Any]:
        derived: dict[str, Any] = {TERMS: terms} if self.columns else {}
        return derived | ({REVISION: _revision(text)} if self.revisions else {})

    def record(self, document: Mapping[str, Any], *, vectors: bool = False) -> Record:
        """Return a document as a record.

        Raises:
            StoreCorruptError: Its metadata are not a JSON object.
        """
        id = str(document["id"])
        return Record(
            id,
            str(document.get(self.uri_field, "")),
            str(document.get(DIGEST, "")),
            self._metadata(id, document),
            np.asarray(document["vector"], np.float32) if vectors else None,
        )

    def _metadata(self, id: str, document: Mapping[str, Any]) -> dict[str, Any]:
        text = document.get(METADATA)
        if text is None:
            # Another client wrote the document: its other columns are the metadata.
            hidden = RESERVED | {self.uri_field}
            return {
                f"original_{name}" if name in RESERVED_FIELDS else name: value
                for name, value in document.items()
                if name not in hidden
            }
        try:
            metadata = json.loads(text)
        except (TypeError, ValueError) as error:
            metadata = error
        if not isinstance(metadata, dict):
            raise StoreCorruptError(
                f"record {id!r} has damaged metadata in its column {METADATA!r}: another client "
                "changed it; upsert the record again"
            )
        return metadata


def _revision(metadata_text: str) -> str:
    return hashlib.sha256(metadata_text.encode()).hexdigest()[:32]


def _metadata_text(metadata: Metadata) -> str:
    return json.dumps(metadata, ensure_ascii=False, separators=(",", ":"))


def scan_key(id: str) -> int:
    """Return 32 evenly distributed bits of a hash of an id.

    Example:
        >>> scan_key("a")
        3398926610
    """
    return int.from_bytes(hashlib.sha256(id.encode()).digest()[: KEY_BITS // 8], "big")


def vector_bytes(matrix: NDArray[np.float32]) -> int:
    """Return an upper bound of one vector's size in a JSON body, after `short_floats`."""
    size = np.abs(matrix)
    low, high = _USUAL
    usual = bool(((size == 0) | ((size > low) & (size < high))).all())
    return len(matrix[0]) * (_ELEMENT_BYTES if usual else _ODD_ELEMENT_BYTES) if len(matrix) else 0


def document_bytes(document: Mapping[str, Any]) -> int:
    """Return an upper bound of a document's size in a JSON body, without its vector."""
    size = 0
    for name, value in document.items():
        size += len(name) + 32
        if name == "vector":
            continue
        for text in value if isinstance(value, list) else [value]:
            # Non-ASCII text goes out as \\uXXXX escapes, quotes and backslashes with one more.
            if isinstance(text, str):
                size += 4 + len(text) * (2 if text.isascii() else 12)
    return size


def short_floats(matrix: NDArray[np.float32]) -> list[list[float]]:
    """Return float32 vectors as plain floats that print with at most nine digits.

    ``float32.tolist()`` prints 17 or more digits an element; nine give the same float32 back and
    make a body about 40 % smaller.

    Example:
        >>> short_floats(np.array([[0.1, -3.0]], np.float32))
        [[0.100000001, -3.0]]
        >>> np.array([[0.1]], np.float32).tolist()
        [[0.10000000149011612]]
    """
    wide = matrix.astype(np.float64)
    size = np.abs(wide)
    exponents = np.floor(np.log10(size, out=np.zeros_like(size), where=size > 0)).astype(np.int64)
    scale = _POWERS[60 + _DIGITS - 1 - exponents]
    wide *= scale
    np.rint(wide, out=wide)
    wide /= scale
    rows: list[list[float]] = wide.tolist()
    return rows


# The service publishes no limit; 8 MB pass common proxies and arrive well within the timeout.
_BODY_BYTES = 8_000_000
_READ_AT_ONCE = 1000


def write_records(collection: CollectionClient, opened: OpenCollection, batch: RecordBatch) -> None:
    """Insert or replace records, in requests of limited size.

    Raises:
        StoreRequestError: A vector or metadata value cannot be stored; nothing was written.
        StoreError: The service failed; some may be written.
    """
    checked = check_batch(batch, opened.meta)
    vectors = cast(NDArray[np.float32], checked.vectors)
    documents = [opened.mapping.document(record, []) for record in checked]
    settings = collection.connection.settings
    # Before an IVF index is built from existing data, the service refuses to add to it.
    build_index = not isinstance(opened.index, IVF) or _is_built(collection)

    def write(rows: range) -> None:
        part, matrix = documents[rows.start : rows.stop], vectors[rows.start : rows.stop]
        # In gRPC's binary messages the number of digits does not matter.
        floats = matrix.tolist() if settings.transport == "grpc" else short_floats(matrix)
        for document, vector in zip(part, floats, strict=True):
            document["vector"] = vector
        try:
            collection.upsert(part, build_index=build_index)
        except RequestTooLargeError as error:
            if len(rows) == 1:
                raise StoreRequestError(
                    error.problem,
                    ids=(part[0]["id"],),
                    remedy="store less metadata, or raise the limit of the proxy",
                ) from error
            middle = (rows.start + rows.stop) // 2
            write(range(rows.start, middle))
            write(range(middle, rows.stop))
        for document in part:
            document["vector"] = None

    portions = _portions(documents, vector_bytes(vectors), settings.batch_size)
    collection.connection.map(write, portions)


def _is_built(collection: CollectionClient) -> bool:
    info = collection.describe()
    return info is not None and info.indexed > 0


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


def rewrite_records(
    collection: CollectionClient,
    opened: OpenCollection,
    ids: Sequence[str],
    fields: Metadata,
    *,
    replace: bool,
) -> int:
    """Set metadata fields by writing whole records, in a collection that another program created.

    Returns:
        How many records exist among `ids`.
    """
    written = 0
    for part in batched(list(ids), _READ_AT_ONCE):
        documents = collection.fetch(part, None, vectors=True)
        records = [opened.mapping.record(document, vectors=True) for document in documents]
        changed = [
            replaced(record, metadata=updated_metadata(record.metadata, fields, replace=replace))
            for record in records
        ]
        if changed:
            write_records(collection, opened, RecordBatch.of(changed))
        written += len(changed)
    return written


_IDS_PER_UPDATE = 20
# Among n writers one succeeds in each round, so this suffices for far more than write at once.
_ROUNDS = Retry(retries=60, first=0.005, longest=0.25)


@dataclass(frozen=True, slots=True)
class _Change:
    """Documents with the same metadata and revision, and the columns to write."""

    ids: list[str]
    revision: str | None
    columns: dict[str, Any]


def update_documents(
    collection: CollectionClient,
    mapping: DocumentMapping,
    ids: Sequence[str],
    fields: Metadata,
    *,
    where: Filter | None,
    replace: bool,
) -> int:
    """Set metadata fields of the documents that exist among `ids` and match; returns how many do.

    Each document is updated on the condition that its revision has not changed since it was read,
    and otherwise read again.

    Raises:
        StoreRequestError: A value does not fit its column; nothing was written.
        StoreUnavailableError: Other writers kept changing the same documents.
        StoreError: The service failed; some may be written.
    """
    check_values(fields, mapping.columns)
    return sum(
        _update_part(collection, mapping, part, fields, where=where, replace=replace)
        for part in batched(possible_ids(ids), _READ_AT_ONCE)
    )


def _update_part(
    collection: CollectionClient,
    mapping: DocumentMapping,
    ids: list[str],
    fields: Metadata,
    *,
    where: Filter | None,
    replace: bool,
) -> int:
    done = 0
    written: dict[str, str] = {}
    pauses = _ROUNDS.pauses()
    columns = [*(mapping.output_fields or []), REVISION]

    def write(change: _Change) -> int:
        condition = None if change.revision is None else f'{REVISION} = "{change.revision}"'
        return collection.update(change.ids, change.columns, filter=condition)

    while ids:
        changes: dict[tuple[str, str | None], _Change] = {}
        for document in collection.fetch(ids, columns):
            record = mapping.record(document)
            revision = document.get(REVISION)
            if written.get(record.id, "") == revision:
                # The response to the first attempt was lost, or another document failed the request.
                done += 1
                continue
            if where is not None and not matches(
                where, record.metadata, id=record.id, uri=record.uri
            ):
                continue
            after = updated_metadata(record.metadata, fields, replace=replace)
            new = mapping.changes(document, after)
            if new[METADATA] == document.get(METADATA):
                done += 1
                continue
            if mapping.revisions:
                written[record.id] = new[REVISION]
            key = (str(document.get(METADATA)), revision)
            changes.setdefault(key, _Change([], revision, new)).ids.append(record.id)
        requests = [
            _Change(part, change.revision, change.columns)
            for change in changes.values()
            for part in batched(change.ids, _IDS_PER_UPDATE)
        ]
        counts = collection.connection.map(write, requests)
        outcomes = list(zip(requests, counts, strict=True))
        done += sum(count for change, count in outcomes if count == len(change.ids))
        ids = [id for change, count in outcomes if count != len(change.ids) for id in change.ids]
        if ids:
            pause = next(pauses, None)
            if pause is None:
                raise StoreUnavailableError(
                    f"{collection.connection.settings.location}: other writers kept changing the "
                    f"metadata of {len(ids)} records, such as {ids[0]!r}; the others were updated. "
                    "Repeat the call"
                )
            time.sleep(pause)
    return done
