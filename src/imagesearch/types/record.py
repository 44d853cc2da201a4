"""Record and RecordBatch: what a store keeps, one by one and as a struct of arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagesearch.errors import StoreRequestError
from imagesearch.quantities import as_float32
from imagesearch.types.metadata import Metadata

__all__ = ["MAX_ID_BYTES", "Record", "RecordBatch", "check_id"]

MAX_ID_BYTES = 128
"""Longest id in UTF-8 bytes: the smallest limit among the stores (Tencent Cloud VectorDB)."""


def check_id(id: object) -> str:
    """Return `id`, as plain text, if every store can keep it.

    Raises:
        StoreRequestError: Not a string, empty, longer than 128 UTF-8 bytes, with control
            characters, or no valid Unicode.

    Example:
        >>> check_id("sku-1")
        'sku-1'
    """
    if not isinstance(id, str) or not id:
        raise StoreRequestError(f"id {id!r} is not a non-empty string")
    try:
        length = len(id.encode())
    except UnicodeEncodeError as error:
        raise StoreRequestError(f"id {id!r} is not valid Unicode (a lone surrogate)") from error
    if length > MAX_ID_BYTES:
        raise StoreRequestError(
            f"id {id[:40]!r}… has {length} UTF-8 bytes, at most {MAX_ID_BYTES} are allowed; "
            "leave the id out to have a short one derived"
        )
    if any(ord(character) < 32 or ord(character) == 127 for character in id):
        raise StoreRequestError(f"id {id!r} contains control characters; remove them")
    # A text enumeration hashes and prints by its name in the program, not by what it says.
    return str.__str__(id)


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """One indexed image, as a store keeps it.

    Attributes:
        id: Unique in its store; 1 to 128 UTF-8 bytes.
        uri: Where the image came from: an absolute path, a URL, or ``sha256:…``.
        digest: Hex SHA-256 of the image's encoded bytes (of its pixels for in-memory images);
            empty when unknown.
        metadata: The user's own fields.
        vector: float32 of shape (dim,), or None when it was not asked for.

    Example:
        >>> Record("a", "/photos/a.jpg", "", {"label": "goldfish"}).metadata["label"]
        'goldfish'
    """

    id: str
    uri: str
    digest: str
    metadata: Metadata
    vector: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class RecordBatch:
    """Many records as a struct of arrays: the unit in which stores are written and scanned.

    Attributes:
        ids: n ids, all different.
        uris: n URIs.
        digests: n hex digests, or empty strings.
        metadata: n mappings.
        vectors: float32 of shape (n, dim); None in a scan without vectors.

    Raises:
        StoreRequestError: Lengths differ, an id is unusable or appears twice, or the vectors are
            not a two-dimensional numeric array.

    Example:
        >>> batch = RecordBatch(("a",), ("/a.jpg",), ("",), ({},), np.ones((1, 4), np.float32))
        >>> len(batch), batch[0].id
        (1, 'a')
    """

    ids: tuple[str, ...]
    uris: tuple[str, ...]
    digests: tuple[str, ...]
    metadata: tuple[Metadata, ...]
    vectors: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        lengths = {len(self.ids), len(self.uris), len(self.digests), len(self.metadata)}
        if self.vectors is not None:
            object.__setattr__(self, "vectors", _matrix(self.vectors))
            lengths.add(len(self.vectors))
        if len(lengths) != 1:
            raise StoreRequestError(
                f"a batch of {len(self.ids)} ids has {len(self.uris)} uris, {len(self.digests)} "
                f"digests, {len(self.metadata)} metadata and "
                f"{'no' if self.vectors is None else len(self.vectors)} vectors; give one of each"
            )
        seen: set[str] = set()
        for id in self.ids:
            if check_id(id) in seen:
                raise StoreRequestError(f"id {id!r} appears twice in one batch; send it once")
            seen.add(id)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, row: int) -> Record:
        return Record(
            self.ids[row],
            self.uris[row],
            self.digests[row],
            self.metadata[row],
            None if self.vectors is None else self.vectors[row],
        )

    def __iter__(self) -> Iterator[Record]:
        return (self[row] for row in range(len(self)))

    @classmethod
    def of(cls, records: Sequence[Record]) -> RecordBatch:
        """Gather records into a batch; with vectors only if every record has its own.

        Example:
            >>> len(RecordBatch.of([Record("a", "/a.jpg", "", {})]))
            1
        """
        vectors = [record.vector for record in records if record.vector is not None]
        return cls(
            tuple(record.id for record in records),
            tuple(record.uri for record in records),
            tuple(record.digest for record in records),
            tuple(record.metadata for record in records),
            np.stack(vectors) if vectors and len(vectors) == len(records) else None,
        )


def _matrix(vectors: object) -> NDArray[np.float32]:
    try:
        matrix = as_float32(vectors)
    except ValueError as error:
        raise StoreRequestError(f"vectors must hold real numbers: {error}") from error
    if matrix.ndim != 2:
        raise StoreRequestError(f"vectors have shape {matrix.shape}; give (n, dim)")
    return matrix
