"""What the conformance tests of a store stand on: how to make one, and a few records."""

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
"""The fields that the filter tests use; ``tags`` is a list of texts."""

Opener = Callable[..., VectorStore]


class StoreFixtures:
    """What a store's own test class may set.

    Attributes:
        dim: Dimension of the vectors in most tests, ≥ 4.
        metrics: What the store can compare by.
        tolerance: How far a score may be off.
        vector_tolerance: How far an element of a vector of unit length may be off when it comes
            back; 0 unless the store keeps fewer bits than float32 on purpose.
        large_batch: Records of the largest batch that is written at once, ≥ 1001.
        filterable_fields: The fields that `make_store` declares as filterable, for a store
            without `Capability.FILTER_ANY_FIELD`; leave out what it cannot filter by.
        model_examples: How many random histories, and random filters, are tried.
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
        """Return a new store, not yet opened, with nothing in it.

        Args:
            place: An empty folder of this store's own; a store on a server can derive a unique
                collection name from it.
        """
        raise NotImplementedError("override make_store(place) and return a new, unopened store")

    def reopen_store(self, place: Path) -> VectorStore:
        """Return a second handle, not yet opened, on what `make_store(place)` made."""
        return self.make_store(place)

    def settle(self, store: VectorStore) -> None:
        """Wait until all that was written can be read; nothing to do for most stores."""

    def damage(self, place: Path, id: str) -> bool:
        """Change the stored vector of one of twelve records from outside, for a `SupportsCheck`.

        Args:
            place: As for `make_store`; no handle is open.
            id: The record; ``id-00003`` is the fourth that was written.

        Returns:
            Whether it was changed; False, the default, if the suite cannot do that.
        """
        del place, id
        return False

    def write(self, store: VectorStore, batch: RecordBatch) -> None:
        """Upsert and wait until it can be read."""
        store.upsert(batch)
        self.settle(store)

    def remove(self, store: VectorStore, ids: Sequence[str]) -> int:
        """Delete and wait until it can be read."""
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
        """Open as many stores as a test wants, each in its own place."""
        made: list[VectorStore] = []

        def opener(*, dim: int | None = None, metric: Metric = "cosine") -> VectorStore:
            if metric not in self.metrics:
                pytest.skip(f"the store does not compare by {metric}")
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
        """Records with random vectors and nothing else."""
        return make_batch(self.vectors(rows, seed), prefix=prefix)


def make_meta(
    dim: int, metric: Metric = "cosine", *, name: str = "conformance", fingerprint: str = "first"
) -> IndexMeta:
    """Return the meta of an invented embedder."""
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
