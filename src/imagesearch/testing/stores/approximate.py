"""Rules about recall: an approximate store finds nearly all that an exact one finds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from imagesearch.filters import Field, Filter
from imagesearch.protocols import Capability, VectorStore
from imagesearch.testing.stores.fixtures import StoreFixtures, make_batch, make_meta, unit

__all__ = ["ApproximateSearchRules", "clustered"]

_BATCH = 1000


class ApproximateSearchRules(StoreFixtures):
    """Recall@10 is at least 0.98, with and without filters, after deletions and reopening."""

    def test_two_thousand_clustered_vectors_are_found(self, place: Path) -> None:
        """Recall holds for a small collection. If this fails, check ef (or its equivalent)."""
        self._check_recall(place, 2000)

    @pytest.mark.slow
    def test_ten_thousand_clustered_vectors_are_found(self, place: Path) -> None:
        """Recall holds for a larger one. If this fails, check how ef grows with the collection."""
        self._check_recall(place, 10_000)

    def _check_recall(self, place: Path, rows: int) -> None:
        dim = self.approximate_dim
        everything, queries = clustered(rows, dim, 40)
        fields = [{"stock": row % 1000, "price": float(row % 1000)} for row in range(rows)]
        store = self.make_store(place)
        store.open(make_meta(dim))
        for first in range(0, rows, _BATCH):
            last = first + _BATCH
            ids = [f"id-{row:05d}" for row in range(first, min(last, rows))]
            self.write(store, make_batch(everything[first:last], fields[first:last], ids=ids))
        truth = _Truth(everything)
        self._compare_recall(store, truth, queries)
        for percent in (50, 5, 0.5):
            below = int(percent * 10)
            allowed = np.arange(rows) % 1000 < below
            self._compare_recall(
                store, truth, queries, where=Field("stock") < below, allowed=allowed
            )
        hits = store.search(queries[:1], k=min(rows + 10, 16_000))[0]
        assert len(hits) == len({hit.id for hit in hits}) == rows
        gone = np.random.default_rng(8).permutation(rows)[: rows * 2 // 5]
        assert self.remove(store, [f"id-{row:05d}" for row in gone]) == len(gone)
        truth.alive[gone] = False
        self._compare_recall(store, truth, queries)
        allowed = np.arange(rows) % 1000 < 500
        self._compare_recall(store, truth, queries, where=Field("stock") < 500, allowed=allowed)
        if Capability.PERSISTENT in store.capabilities:
            store.close()
            store = self.reopen_store(place)
            store.open(make_meta(dim))
            self._compare_recall(store, truth, queries)
            more, _ = clustered(50, dim, 1, seed=5)
            self.write(store, make_batch(more, ids=[f"late-{row}" for row in range(50)]))
            found = store.search(more, k=1)
            assert sum(hits[0].id == f"late-{row}" for row, hits in enumerate(found)) >= 49
        store.close()

    def _compare_recall(
        self,
        store: VectorStore,
        truth: _Truth,
        queries: NDArray[np.float32],
        *,
        where: Filter | None = None,
        allowed: NDArray[np.bool_] | None = None,
    ) -> None:
        recalls = []
        answers = store.search(queries, k=10, where=where)
        for hits, expected in zip(answers, truth.nearest(queries, 10, allowed), strict=True):
            ids = {int(hit.id[-5:]) for hit in hits}
            assert len(ids) == len(hits) == len(expected), f"{len(hits)} hits, where {where}"
            if allowed is not None:
                assert all(allowed[row] for row in ids)
            assert all(truth.alive[row] for row in ids)
            recalls.append(len(ids & set(expected.tolist())) / max(1, len(expected)))
        assert np.mean(recalls) >= 0.98, f"recall@10 is {np.mean(recalls):.3f}, where {where}"


class _Truth:
    """Exact search over rows that are still alive."""

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        self._vectors = vectors
        self.alive = np.ones(len(vectors), np.bool_)

    def nearest(
        self, queries: NDArray[np.float32], k: int, allowed: NDArray[np.bool_] | None
    ) -> list[NDArray[np.intp]]:
        products = queries @ self._vectors.T
        good = self.alive if allowed is None else self.alive & allowed
        products[:, ~good] = -np.inf
        return list(np.argsort(-products, axis=1)[:, : min(k, int(good.sum()))])


def clustered(
    rows: int, dim: int, queries: int, *, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return unit vectors around a few centres, as embeddings of real classes lie, and queries.

    Example:
        >>> vectors, queries = clustered(100, 16, 3)
        >>> vectors.shape, queries.shape
        ((100, 16), (3, 16))
    """
    random = np.random.default_rng(seed)
    centres = random.normal(size=(max(2, rows // 50), dim))
    middles = centres[random.integers(len(centres), size=rows + queries)]
    points = unit(middles + 0.7 * random.normal(size=middles.shape))
    return points[:rows], points[rows:]
