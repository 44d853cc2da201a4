"""Rehearsal: do all that `add`, `sync` and `delete` do, and change nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imagesearch.filters import Filter
from imagesearch.protocols import Capability, VectorStore
from imagesearch.types import EmbeddingSpec, Hit, IndexMeta, Record, RecordBatch

__all__ = ["RehearsalEmbedder", "RehearsalStore"]


class RehearsalStore:
    """A store that reads from another one and writes nothing: it only notes what would be written.

    An index on it goes the same way as on the real store, so its reports say what the real one
    would do. Reads show what is there, without what was noted.

    Args:
        store: An open store; it is closed with this one.
        meta: What it was opened with.

    Attributes:
        written: URI of every record that would be inserted or replaced, by id.
        deleted: URI of every record that would go, by id.

    Example:
        >>> from imagesearch.stores.memory import MemoryStore
        >>> meta = IndexMeta(EmbeddingSpec("mine", 2, True, "v1"))
        >>> real = MemoryStore()
        >>> real.open(meta)
        >>> rehearsal = RehearsalStore(real, meta)
        >>> rehearsal.upsert(RecordBatch(("a",), ("/a.jpg",), ("",), ({},), np.eye(2)[:1]))
        >>> rehearsal.written, real.count()
        ({'a': '/a.jpg'}, 0)
    """

    def __init__(self, store: VectorStore, meta: IndexMeta) -> None:
        self._store = store
        self._meta = meta
        self.written: dict[str, str] = {}
        self.deleted: dict[str, str] = {}

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Those of the other store."""
        return self._store.capabilities

    def describe(self) -> IndexMeta:
        """Return the meta of the other store."""
        return self._meta

    def open(self, meta: IndexMeta) -> None:
        """Verify that the vectors can be compared; the other store is open already.

        Raises:
            IncompatibleIndexError: Embedder, dimension or metric differ.
        """
        self._meta.require_compatible(meta, where=repr(self._store))

    def upsert(self, batch: RecordBatch) -> None:
        """Note the records, without their vectors."""
        self.written.update(zip(batch.ids, batch.uris, strict=True))

    def delete(self, ids: Sequence[str]) -> int:
        """Note those of the records that exist; returns how many."""
        existing = self._store.get(ids)
        self.deleted.update({id: record.uri for id, record in existing.items()})
        return len(existing)

    def search(
        self, vectors: NDArray[np.float32], *, k: int, where: Filter | None = None
    ) -> list[list[Hit]]:
        """Search the other store."""
        return self._store.search(vectors, k=k, where=where)

    def get(self, ids: Sequence[str], *, vectors: bool = False) -> dict[str, Record]:
        """Read from the other store."""
        return self._store.get(ids, vectors=vectors)

    def scan(
        self, *, where: Filter | None = None, batch_size: int = 1000, vectors: bool = False
    ) -> Iterator[RecordBatch]:
        """Go through the other store."""
        return self._store.scan(where=where, batch_size=batch_size, vectors=vectors)

    def count(self, where: Filter | None = None) -> int:
        """Count the records of the other store."""
        return self._store.count(where)

    def close(self) -> None:
        """Close the other store."""
        self._store.close()

    def __repr__(self) -> str:
        if not hasattr(self, "_store"):
            return "<RehearsalStore: construction failed>"
        return f"<RehearsalStore on {self._store!r}>"


class RehearsalEmbedder:
    """Stands in for an embedder where its vectors are not kept: no weights are loaded.

    Images are read and decoded as ever, so that those which cannot be are found.

    Args:
        spec: Of the embedder that it stands in for.

    Example:
        >>> RehearsalEmbedder(EmbeddingSpec("mine", 2, True, "v1")).embed([np.zeros(1)]).tolist()
        [[1.0, 0.0]]
    """

    def __init__(self, spec: EmbeddingSpec) -> None:
        self._spec = spec

    @property
    def spec(self) -> EmbeddingSpec:
        """Identity and shape of the other embedder's vectors."""
        return self._spec

    def preprocess(self, image: Image.Image) -> NDArray[np.float32]:
        """Return nothing of the image; it was decoded, and that is all that is wanted."""
        del image
        return np.zeros(1, np.float32)

    def embed(self, batch: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Return one and the same unit vector for every image, float32 of shape (n, dim)."""
        vectors = np.zeros((len(batch), self._spec.dim), np.float32)
        vectors[:, 0] = 1.0
        return vectors
