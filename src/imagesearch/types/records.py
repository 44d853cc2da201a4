"""Records, items to add, and the metadata that every store can keep."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from imagesearch._printable import shorten
from imagesearch._validation import as_float32, is_unicode
from imagesearch.errors import StoreRequestError

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    _V_co = TypeVar(
        "_V_co",
        bound="NDArray[np.float32] | None",
        covariant=True,
        default="NDArray[np.float32] | None",
    )
else:
    from typing import TypeVar

    _V_co = TypeVar("_V_co", covariant=True)

__all__ = [
    "MAX_ID_BYTES",
    "RESERVED_FIELDS",
    "Failure",
    "ImageSource",
    "Item",
    "Metadata",
    "MetadataValue",
    "Record",
    "RecordBatch",
    "VectorBatch",
    "canonical_metadata",
    "check_id",
    "check_metadata",
    "updated_metadata",
]


MetadataValue: TypeAlias = Any
"""A JSON value: str, int, float, bool, None, or a list or dict of these."""

Metadata: TypeAlias = Mapping[str, MetadataValue]

RESERVED_FIELDS = frozenset({"id", "uri"})
"""Names of the record's own fields in filters, which metadata cannot use."""

_INT64 = 2**63
_MAX_DEPTH = 16


def check_metadata(metadata: Mapping[Any, Any]) -> dict[str, MetadataValue]:
    """Return a deep copy of metadata in plain Python types that every store can keep.

    NumPy scalars and arrays become Python numbers and lists, tuples become lists.

    Args:
        metadata: JSON values by field name.

    Raises:
        StoreRequestError: It is not a mapping; a name is empty, not a string or reserved; a value is
            not a JSON value, is NaN or infinite, an integer outside 64 bits, a string that is not
            valid Unicode, or nested more than 16 levels deep.

    Example:
        >>> check_metadata({"label": "goldfish", "tags": ("red", "fish")})
        {'label': 'goldfish', 'tags': ['red', 'fish']}
    """
    if not isinstance(metadata, Mapping):
        raise StoreRequestError(
            f"metadata must be a dict of fields, got {type(metadata).__name__} {shorten(metadata)}"
        )
    for name in metadata:
        if not isinstance(name, str) or not name:
            raise StoreRequestError(
                f"metadata field names must be non-empty strings, got {shorten(name)}",
                remedy="rename the field",
            )
        if name in RESERVED_FIELDS:
            raise StoreRequestError(
                f"metadata cannot have a field named {shorten(name)}: every record has its own {name}",
                remedy=f"rename the field (for example to 'original_{name}')",
            )
    return {_text(name, name): _plain(value, name, 0) for name, value in metadata.items()}


def canonical_metadata(metadata: Metadata) -> str:
    """Return a string that is the same for equal mappings only; 1, True and 1.0 differ.

    Example:
        >>> canonical_metadata({"b": 1, "a": True})
        '{"a": true, "b": 1}'
    """
    return json.dumps(metadata, sort_keys=True)


def updated_metadata(
    metadata: Metadata, fields: Metadata, *, replace: bool = False
) -> dict[str, MetadataValue]:
    """Return metadata after an `update_metadata`.

    Args:
        metadata: The record's metadata.
        fields: The fields to set; None removes a field.
        replace: Whether to remove all other fields.

    Example:
        >>> updated_metadata({"label": "cat", "price": 3, "old": 1}, {"price": 4, "old": None})
        {'label': 'cat', 'price': 4}
        >>> updated_metadata({"label": "cat"}, {"price": 4}, replace=True)
        {'price': 4}
    """
    kept = {} if replace else {name: metadata[name] for name in metadata if name not in fields}
    return kept | {name: value for name, value in fields.items() if value is not None}


def _plain(value: object, name: str, depth: int) -> MetadataValue:
    if depth > _MAX_DEPTH:
        raise StoreRequestError(
            f"metadata field {shorten(name)} is nested more than {_MAX_DEPTH} levels deep"
        )
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    match value:
        case None | bool():
            return value
        case str():
            return _text(value, name)
        case int():
            if not -_INT64 <= value < _INT64:
                # Python cannot format an integer of thousands of digits.
                raise StoreRequestError(
                    f"metadata field {shorten(name)}: an integer of {value.bit_length()} bits does not "
                    "fit in 64 bits",
                    remedy="store it as text",
                )
            return int(value)
        case float():
            if not math.isfinite(value):
                raise StoreRequestError(
                    f"metadata field {shorten(name)} must be finite, got {value}",
                    remedy="leave the field out",
                )
            return float(value)
        case list() | tuple():
            return [_plain(element, name, depth + 1) for element in value]
        case Mapping():
            return {
                _text(key, name): _plain(element, name, depth + 1) for key, element in value.items()
            }
        case _:
            raise StoreRequestError(
                f"metadata field {shorten(name)} has unsupported type {type(value).__name__}",
                remedy="use a string, a number, a bool, None, or lists and dicts of these",
            )


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise StoreRequestError(
            f"keys in metadata field {shorten(name)} must be strings, got {shorten(value)}"
        )
    if not is_unicode(value):
        raise StoreRequestError(
            f"metadata field {shorten(name)}: {shorten(value)} is not valid Unicode (a lone surrogate)"
        )
    # str() of a string enumeration's member may be its name, such as Label.CAT.
    return str.__str__(value)


MAX_ID_BYTES = 128
"""Length limit of ids in UTF-8 bytes: the lowest among the stores (Tencent Cloud VectorDB)."""


def check_id(id: object) -> str:
    """Return `id` as a plain string.

    Raises:
        StoreRequestError: It is not a string, empty, longer than 128 UTF-8 bytes, not valid Unicode,
            or contains control characters.

    Example:
        >>> check_id("sku-1")
        'sku-1'
    """
    if not isinstance(id, str) or not id:
        raise StoreRequestError(
            f"an id must be a non-empty string, got {shorten(id)}", ids=_named(id)
        )
    if not is_unicode(id):
        raise StoreRequestError(
            f"id {shorten(id)} is not valid Unicode (a lone surrogate)", ids=_named(id)
        )
    length = len(id.encode())
    if length > MAX_ID_BYTES:
        raise StoreRequestError(
            f"an id can have at most {MAX_ID_BYTES} UTF-8 bytes, got {length}: {id[:40]!r}…",
            ids=_named(id),
            remedy="omit the id, so that a short one is derived",
        )
    if any(ord(character) < 32 or ord(character) == 127 for character in id):
        raise StoreRequestError(
            f"id {shorten(id)} contains control characters", ids=_named(id), remedy="remove them"
        )
    # str() may be the member's name, see `_text`.
    return str.__str__(id)


def _named(id: object) -> tuple[str, ...]:
    return (id,) if isinstance(id, str) else ()


@dataclass(frozen=True, slots=True, eq=False)
class Record(Generic[_V_co]):
    """One indexed image.

    The type parameter is that of `vector`: ``NDArray[np.float32]`` where vectors were requested.

    Attributes:
        id: Unique in its store; 1 to 128 UTF-8 bytes.
        uri: Where the image came from: an absolute path, a URL, or ``sha256:…``.
        digest: Hex SHA-256 of the image's encoded bytes (of its pixels for in-memory images, of
            the vector for items with a vector); empty when unknown.
        metadata: The user's own fields.
        vector: float32 of shape (dim,), or None if it was not requested.

    Example:
        >>> Record("a", "/photos/a.jpg", "", {"label": "goldfish"}).metadata["label"]
        'goldfish'
    """

    id: str
    uri: str
    digest: str
    metadata: dict[str, Any]
    vector: _V_co = None  # type: ignore[assignment]


@dataclass(frozen=True, slots=True, eq=False)
class RecordBatch(Generic[_V_co]):
    """Records as a struct of arrays: the unit of writes and scans.

    The type parameter is that of `vectors`, see `VectorBatch`.

    Attributes:
        ids: n ids, all different.
        uris: n URIs.
        digests: n hex digests, or empty strings.
        metadata: n dicts.
        vectors: float32 of shape (n, dim); None in a scan without vectors.

    Raises:
        StoreRequestError: Lengths differ, an id is invalid or appears twice, or the vectors are not
            a two-dimensional numeric array.

    Example:
        >>> batch = RecordBatch(("a",), ("/a.jpg",), ("",), ({},), np.ones((1, 4), np.float32))
        >>> len(batch), batch[0].id
        (1, 'a')
    """

    ids: tuple[str, ...]
    uris: tuple[str, ...]
    digests: tuple[str, ...]
    metadata: tuple[dict[str, Any], ...]
    vectors: _V_co = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        for name in ("ids", "uris", "digests", "metadata"):
            values = getattr(self, name)
            if not isinstance(values, tuple | list):
                raise StoreRequestError(f"{name} must be a tuple or list, got {shorten(values)}")
        lengths = {len(self.ids), len(self.uris), len(self.digests), len(self.metadata)}
        if self.vectors is not None:
            object.__setattr__(self, "vectors", _matrix(self.vectors))
            lengths.add(len(self.vectors))
        if len(lengths) != 1:
            raise StoreRequestError(
                f"a batch of {len(self.ids)} ids has {len(self.uris)} uris, {len(self.digests)} "
                f"digests, {len(self.metadata)} metadata and "
                f"{'no' if self.vectors is None else len(self.vectors)} vectors",
                remedy="give one of each for every id",
            )
        seen: set[str] = set()
        for id in self.ids:
            if check_id(id) in seen:
                raise StoreRequestError(f"id {shorten(id)} appears twice in one batch", ids=(id,))
            seen.add(id)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, row: int) -> Record[_V_co]:
        return Record(
            self.ids[row],
            self.uris[row],
            self.digests[row],
            self.metadata[row],
            cast(_V_co, None if self.vectors is None else self.vectors[row]),
        )

    def __iter__(self) -> Iterator[Record[_V_co]]:
        return (self[row] for row in range(len(self)))

    @staticmethod
    def of(records: Sequence[Record]) -> RecordBatch:
        """Return records as a batch; it has vectors if every record has one.

        Example:
            >>> len(RecordBatch.of([Record("a", "/a.jpg", "", {})]))
            1
        """
        vectors = [record.vector for record in records if record.vector is not None]
        return RecordBatch(
            tuple(record.id for record in records),
            tuple(record.uri for record in records),
            tuple(record.digest for record in records),
            tuple(record.metadata for record in records),
            np.stack(vectors) if vectors and len(vectors) == len(records) else None,
        )


VectorBatch: TypeAlias = RecordBatch[NDArray[np.float32]]
"""A batch with vectors, as a scan with ``vectors=True`` returns it."""


def _matrix(vectors: object) -> NDArray[np.float32]:
    try:
        matrix = as_float32(vectors)
    except ValueError as error:
        raise StoreRequestError(f"vectors must be real numbers: {error}") from error
    if matrix.ndim != 2:
        raise StoreRequestError(f"vectors must have shape (n, dim), got {matrix.shape}")
    return matrix


ImageSource: TypeAlias = str | os.PathLike[str] | bytes | Image.Image | NDArray[Any]
"""One image: a path, an http(s) URL, encoded bytes, a PIL image, or an array (height, width[, channels])."""


@dataclass(frozen=True, slots=True)
class Item:
    """One image to index, with its id and metadata.

    Attributes:
        source: A path, an http(s) URL, encoded bytes, a PIL image or an array; None for an item
            that only has a vector.
        id: The record's id; None derives it from the canonical URI, or from the content for bytes
            and in-memory images, or from the vector.
        metadata: The user's own fields, stored with the record and usable in filters; ``{}`` for
            none. With None an existing record keeps its fields.
        uri: Where the image came from; None derives it from the source (absolute path, URL, or
            ``sha256:…`` for in-memory images and vectors).
        vector: The vector of the image, shape (dim,), from the embedder of the index. The image is
            then neither read nor embedded.

    Example:
        >>> Item("shoe.jpg", id="sku-1", metadata={"price": 9.5}).id
        'sku-1'
        >>> Item(vector=[0.6, 0.8], uri="https://example.org/shoe.jpg").source is None
        True
    """

    source: ImageSource | None = None
    id: str | None = None
    metadata: Metadata | None = None
    uri: str | None = None
    vector: ArrayLike | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """One input that could not be indexed, and why.

    Attributes:
        source: The input, for people: a path, ``photos.csv:17``, an id.
        error: The error; ``str(error)`` is the reason to show.
        id: The id that the record would have had, if known.

    Example:
        >>> from imagesearch.errors import DecodeError
        >>> str(Failure("a.jpg", DecodeError("a.jpg is empty")).error)
        'a.jpg is empty'
    """

    source: str
    error: Exception
    id: str | None = None
