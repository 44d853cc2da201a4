"""Fixtures of the conformance tests: stores, records and helpers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from imagesearch.protocols import Capability, VectorStore
from imagesearch.types import (
    METRICS,
    EmbeddingSpec,
    Hit,
    IndexMeta,
    Metadata,
    Metric,
    RecordBatch,
)

__all__ = [
    "FILTERABLE_FIELDS",
    "StoreFixtures",
    "ids_of",
    "make_batch",
    "make_meta",
    "require",
    "same_value",
    "unit",
]


FILTERABLE_FIELDS: Mapping[str, type] = MappingProxyType(
    {"label": str, "price": float, "stock": int, "sold": bool, "tags": list, "note": str}
)
"""The fields in the filter tests, with their types; ``tags`` is a list of strings."""

Opener = Callable[..., VectorStore]


class StoreFixtures:
    """Settings and hooks that a store's test class may override.

    Attributes:
        dim: Dimension of the vectors in most tests, ≥ 4.
        metrics: Metrics that the store supports.
        tolerance: Largest error of a score.
        vector_tolerance: Largest error of an element of a stored unit vector; 0 unless the store
            uses a lower precision than float32 by design.
        large_batch: Records in the largest batch, ≥ 1001.
        filterable_fields: The fields that `make_store` declares as filterable, for a store
            without `Capability.FILTER_ANY_FIELD`; omit fields that it cannot filter.
        model_examples: Number of random histories and of random filters.
        approximate_dim: Dimension of the vectors in the recall tests, ≥ 8.
    """

    dim: ClassVar[int] = 8
    metrics: ClassVar[Sequence[str]] = METRICS
    tolerance: ClassVar[float] = 1e-4
    vector_tolerance: ClassVar[float] = 0
    large_batch: ClassVar[int] = 3000
    filterable_fields: ClassVar[Mapping[str, type]] = FILTERABLE_FIELDS
    model_examples: ClassVar[int] = 25
    approximate_dim: ClassVar[int] = 64

    def make_store(self, place: Path) -> VectorStore:
        """Return a new, empty store that is not yet opened.

        Args:
            place: An empty folder for this store alone; a store on a server can derive a unique
                collection name from it.
        """
        raise NotImplementedError("override make_store(place) and return a new, unopened store")

    def reopen_store(self, place: Path) -> VectorStore:
        """Return a second, unopened handle on the store of `make_store(place)`."""
        return self.make_store(place)

    def settle(self, store: VectorStore) -> None:
        """Wait until all writes are visible; does nothing by default."""

    def damage(self, place: Path, id: str) -> bool:
        """Corrupt a record's stored vector, to test `SupportsCheck`; no handle is open.

        Args:
            place: The folder, as in `make_store`.
            id: Id of the record; ``id-00003`` is the fourth of twelve.

        Returns:
            Whether it was corrupted; False, the default, skips the test.
        """
        del place, id
        return False

    def write(self, store: VectorStore, batch: RecordBatch) -> None:
        """Upsert, and wait until the records are visible."""
        store.upsert(batch)
        self.settle(store)

    def remove(self, store: VectorStore, ids: Sequence[str]) -> int:
        """Delete, and wait until the deletion is visible."""
        gone = store.delete(ids)
        self.settle(store)
        return gone

    @pytest.fixture
    def place(self, tmp_path: Path) -> Path:
        folder = tmp_path / "place"
        folder.mkdir()
        return folder

    @pytest.fixture
    def unopened(self, place: Path) -> Iterator[VectorStore]:
        store = self.make_store(place)
        yield store
        store.close()

    @pytest.fixture
    def store(self, unopened: VectorStore) -> VectorStore:
        unopened.open(make_meta(self.dim))
        return unopened

    @pytest.fixture
    def open_store(self, tmp_path: Path) -> Iterator[Opener]:
        """Open any number of stores, each in its own folder."""
        made: list[VectorStore] = []

        def opener(*, dim: int | None = None, metric: Metric = "cosine") -> VectorStore:
            if metric not in self.metrics:
                pytest.skip(f"the store does not support the metric {metric}")
            folder = tmp_path / f"place-{len(made)}"
            folder.mkdir()
            store = self.make_store(folder)
            made.append(store)
            store.open(make_meta(dim or self.dim, metric))
            return store

        yield opener
        for store in made:
            store.close()

    def vectors(self, rows: int, seed: int = 0) -> NDArray[np.float32]:
        """Random vectors of unit length."""
        return unit(np.random.default_rng(seed).normal(size=(rows, self.dim)))

    def batch(self, rows: int, seed: int = 0, *, prefix: str = "id") -> RecordBatch:
        """Records with random vectors and without metadata."""
        return make_batch(self.vectors(rows, seed), prefix=prefix)


def make_meta(
    dim: int, metric: Metric = "cosine", *, name: str = "conformance", fingerprint: str = "first"
) -> IndexMeta:
    """Return the meta of a fictitious embedder."""
    return IndexMeta(EmbeddingSpec(name, dim, False, fingerprint), metric)


def make_batch(
    vectors: NDArray[np.float32],
    metadata: Sequence[Metadata] | None = None,
    *,
    ids: Sequence[str] | None = None,
    prefix: str = "id",
) -> RecordBatch:
    """Return a batch with ids ``id-00000``, ``id-00001`` …, unless they are given."""
    names = ids if ids is not None else [f"{prefix}-{row:05d}" for row in range(len(vectors))]
    return RecordBatch(
        tuple(names),
        tuple(f"/photos/{name}.jpg" for name in names),
        tuple("" for _ in names),
        tuple({} for _ in names) if metadata is None else tuple(map(dict, metadata)),
        vectors,
    )


def unit(vectors: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Scale rows to unit length."""
    scaled: NDArray[np.float32] = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(
        np.float32
    )
    return scaled


def require(store: VectorStore, capability: Capability) -> None:
    """Skip a test unless the store declares `capability`."""
    if capability not in store.capabilities:
        pytest.skip(f"the store does not declare {capability.name}")


def ids_of(hits: Sequence[Hit]) -> list[str]:
    """Return the ids of hits."""
    return [hit.id for hit in hits]


def same_value(left: object, right: object) -> bool:
    """Compare JSON values strictly: True is not 1, and 1 is not 1.0.

    Example:
        >>> same_value({"a": [1]}, {"a": [1]}), same_value(1, True), same_value([1], [1.0])
        (True, False, False)
    """
    if type(left) is not type(right):
        return False
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(
            same_value(left[key], right[key]) for key in left
        )
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same_value, left, right))
    return left == right
