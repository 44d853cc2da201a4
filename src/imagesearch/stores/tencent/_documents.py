"""Documents: records as the service keeps them, and back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagesearch.errors import StoreCorruptError, StoreRequestError
from imagesearch.stores.tencent._schema import (
    DIGEST,
    KEY,
    METADATA,
    RESERVED,
    REVISION,
    TERMS,
    Column,
)
from imagesearch.stores.tencent._values import column_values, no_value
from imagesearch.types import RESERVED_FIELDS, Metadata, Record

__all__ = [
    "KEY_BITS",
    "DocumentMapping",
    "document_bytes",
    "revision_of",
    "scan_key",
    "short_floats",
    "vector_bytes",
]


KEY_BITS = 32

# Nine significant digits tell all float32 values apart (IEEE 754, section 5.12.2).
_DIGITS = 9
# "-1.23456789e-12, " is the longest element in JSON where powers of ten are exact doubles, and
# "-1.2345678900000001e-30, " elsewhere.
_ELEMENT_BYTES, _ODD_ELEMENT_BYTES = 17, 25
_USUAL = (1e-13, 1e9)
_POWERS = np.array([float(f"1e{exponent}") for exponent in range(-60, 61)])


@dataclass(frozen=True, slots=True)
class DocumentMapping:
    """How records become documents of one collection.

    Attributes:
        columns: Declared fields, by name.
        uri_field: Column of the URI.
        ours: Whether this library made the collection, with the columns of `schema`.
        revisions: Whether the collection can be filtered on the revision of a document, as those
            can that were made since there are revisions.
    """

    columns: Mapping[str, Column]
    uri_field: str
    ours: bool
    revisions: bool = False

    @property
    def output_fields(self) -> list[str] | None:
        """The columns that make a record; None for all, in collections that others made."""
        if not self.ours:
            return None
        names = [column.name for column in self.columns.values()]
        return [self.uri_field, DIGEST, METADATA, KEY, *names]

    def document(self, record: Record, vector: list[float]) -> dict[str, Any]:
        """Return a record, as `check_batch` gives it, as a document.

        Raises:
            StoreRequestError: A value does not fit its column.
        """
        native, terms = column_values(record.metadata, self.columns, id=record.id)
        if not self.ours and any(term.startswith("any:") for term in terms):
            raise StoreRequestError(
                f"record {record.id!r}: a metadata field does not fit its column in a collection "
                "that another program made",
                ids=(record.id,),
                remedy="change the field's type, or copy the collection into one of your own",
            )
        document: dict[str, Any] = {"id": record.id, "vector": vector, **native}
        # Empty texts may be refused; an absent column reads back as empty.
        if record.uri:
            document[self.uri_field] = record.uri
        if record.digest:
            document[DIGEST] = record.digest
        document[METADATA] = _metadata_text(record.metadata)
        if self.ours:
            document[KEY] = scan_key(record.id)
            document |= self._derived(document[METADATA], terms)
        return document

    def changes(
        self, document: Mapping[str, Any], before: Metadata, after: Metadata, *, id: str
    ) -> dict[str, Any]:
        """Return the columns to write where a document's metadata change; see `Updater`.

        The service merges columns and cannot remove one, so that a column which no longer holds
        the value of its field gets one that no filter finds.

        Args:
            document: As it is, with any columns.
            before: Its metadata.
            after: Its metadata as they should be, checked.
            id: Of the document, for messages.

        Raises:
            StoreRequestError: A value does not fit its column.
        """
        native, terms = column_values(after, self.columns, id=id)
        held, _ = column_values(before, self.columns, id=id)
        cleared = {
            column.name: no_value(column)
            for column in self.columns.values()
            if column.name not in native and (column.name in held or column.name in document)
        }
        text = _metadata_text(after)
        return {**cleared, **native, METADATA: text, **self._derived(text, terms)}

    def _derived(self, text: str, terms: list[str]) -> dict[str, Any]:
        derived: dict[str, Any] = {TERMS: terms} if self.columns else {}
        return derived | ({REVISION: revision_of(text)} if self.revisions else {})

    def record(self, document: Mapping[str, Any], *, vectors: bool = False) -> Record:
        """Return a document as a record.

        Raises:
            StoreCorruptError: Its metadata are no JSON object.
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
            # Another client wrote it: what it wrote are the metadata.
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


def revision_of(metadata_text: str) -> str:
    """Return a hash of a document's metadata, which differs wherever they differ.

    Example:
        >>> revision_of('{"a":1}')
        '015abd7f5cc57a2dd94b7590f04ad808'
    """
    return hashlib.sha256(metadata_text.encode()).hexdigest()[:32]


def _metadata_text(metadata: Metadata) -> str:
    return json.dumps(metadata, ensure_ascii=False, separators=(",", ":"))


def scan_key(id: str) -> int:
    """Return 32 evenly distributed bits for an id.

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
