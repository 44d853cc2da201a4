"""Rules about recall: approximate search returns nearly the hits of exact search."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from imagesearch.filters import Field, Filter
from imagesearch.protocols import Capability, SupportsOptimize, VectorStore, supports
from imagesearch.testing.stores._fixtures import StoreFixtures, make_batch, make_meta, unit

__all__ = ["ApproximateSearchRules", "clustered"]


_BATCH = 1000


class ApproximateSearchRules(StoreFixtures):
    """Recall@10 is at least 0.98, with and without filters, after any history of writes."""

    def test_two_thousand_clustered_vectors_are_found(self, place: Path) -> None:
        """Recall holds for a small collection. If this fails, check ef (or its equivalent)."""
        self._check_recall(place, 2000)

    @pytest.mark.slow
    def test_ten_thousand_clustered_vectors_are_found(self, place: Path) -> None:
        """Recall holds for a larger one. If this fails, check how ef grows with the collection."""
        self._check_recall(place, 10_000)

    def test_a_filter_finds_old_records_after_later_additions(self, place: Path) -> None:
        """Recall under a filter holds after additions, also for queries far from the new records.

        If this fails, check that records which are not in the vector index yet are searched
        separately: enough hits among them do not replace a search of the vector index.
        """
        dim = self.approximate_dim
        random = np.random.default_rng(2)
        kinds = np.arange(1800) % 2
        centres = unit(random.normal(size=(2, dim)))
        spread = 1 / np.sqrt(dim)
        vectors = unit(centres[kinds] + spread * random.normal(size=(len(kinds), dim)))
        queries = unit(centres[0] + spread * random.normal(size=(20, dim)))
        store = self.make_store(place)
        store.open(make_meta(dim))
        truth = _Truth(vectors)
        truth.alive[:] = False
        for first, last in ((0, 1500), (1500, 1650), (1650, 1800)):
            ids = [f"id-{row:05d}" for row in range(first, last)]
            fields = [{"stock": int(kind)} for kind in kinds[first:last]]
            self.write(store, make_batch(vectors[first:last], fields, ids=ids))
            truth.alive[first:last] = True
            self._compare_recall(
                store, truth, queries, where=Field("stock") == 1, allowed=kinds == 1
            )
        gone = np.flatnonzero(kinds == 1)[:300]
        self.remove(store, [f"id-{row:05d}" for row in gone])
        truth.alive[gone] = False
        self._compare_recall(store, truth, queries, where=Field("stock") == 1, allowed=kinds == 1)
        store.close()

    def test_records_are_found_by_their_own_vector_after_updates(self, place: Path) -> None:
        """Updated, added and untouched records are found immediately, without reopening.

        If this fails, check the vector index after updates, deletions and compaction.
        """
        dim = self.approximate_dim
        vectors, _ = clustered(2600, dim, 1)
        store = self.make_store(place)
        store.open(make_meta(dim))
        ids = [f"id-{row:05d}" for row in range(2000)]
        for first in range(0, 2000, 500):
            part = slice(first, first + 500)
            self.write(store, make_batch(vectors[part], ids=ids[part]))
        self._require_found(store, vectors[:2000:40], ids[::40])
        moved, _ = clustered(1100, dim, 1, seed=6)
        for first in range(0, 1100, 550):
            part = slice(first, first + 550)
            self.write(store, make_batch(moved[part], ids=ids[part]))
            self._require_found(store, moved[part][::10], ids[part][::10])
        new = [f"new-{row:05d}" for row in range(100)]
        self.write(store, make_batch(vectors[2000:2100], ids=new))
        self._require_found(store, vectors[2000:2100], new)
        self.remove(store, ids[:1000])
        self._require_found(store, vectors[2000:2100], new)
        self._require_found(store, moved[1000:1100], ids[1000:1100])
        self._require_found(store, vectors[1100:2000:10], ids[1100::10])
        store.close()

    def test_many_equal_vectors_do_not_hide_the_others(self, place: Path) -> None:
        """Many identical images do not hide other records, and are found themselves.

        If this fails, check that the vector index contains equal vectors once or not at all: in a
        graph, copies link only to each other and become disconnected from the rest.
        """
        dim = self.approximate_dim
        vectors, queries = clustered(500, dim, 30)
        copies = np.repeat(unit(np.ones((1, dim))), 2000, axis=0)
        store = self.make_store(place)
        store.open(make_meta(dim))
        truth = _Truth(np.concatenate([vectors, copies]))
        truth.alive[:] = False
        ids = [f"id-{row:05d}" for row in range(2500)]
        for first, last in ((500, 1500), (0, 250), (1500, 2500), (250, 500)):
            batch = make_batch(truth.vectors[first:last], ids=ids[first:last])
            self.write(store, batch)
            truth.alive[first:last] = True
            store.search(queries, k=10)
        self._compare_recall(store, truth, queries)
        self._require_found(store, vectors, ids[:500])
        hits = store.search(copies[:1], k=20)[0]
        assert [hit.id for hit in hits] == ids[500:520]
        self.remove(store, ids[500:2400])
        truth.alive[500:2400] = False
        self._require_found(store, vectors, ids[:500])
        self._compare_recall(store, truth, queries)
        hits = store.search(copies[:1], k=101)[0]
        assert [hit.id for hit in hits[:100]] == ids[2400:]
        store.close()

    def test_nearly_equal_vectors_are_ranked_exactly(self, place: Path) -> None:
        """Frames of a still scene are ordered by their exact scores, and hide no other records.

        If this fails, check that records with equal compressed vectors are all candidates, and that
        candidates are compared by the stored vectors.
        """
        dim = self.approximate_dim
        others, _ = clustered(500, dim, 1)
        random = np.random.default_rng(4)
        scene = random.normal(size=dim)
        frames = unit(scene + 1e-2 * random.normal(size=(600, dim)))
        vectors = np.concatenate([others, frames])
        ids = [f"id-{row:05d}" for row in range(len(vectors))]
        store = self.make_store(place)
        store.open(make_meta(dim))
        for first in range(0, len(vectors), 550):
            part = slice(first, first + 550)
            self.write(store, make_batch(vectors[part], ids=ids[part]))
        self._optimize(store)
        self._require_found(store, others, ids[:500])
        right = []
        for query, hits in zip(frames[:20], store.search(frames[:20], k=10), strict=True):
            kth = np.sort(frames.astype(np.float64) @ query)[-10]
            right += [hit.score >= kth - 1e-6 - self.tolerance / 10 for hit in hits]
        assert np.mean(right) >= 0.98, "the nearest of many nearly equal vectors are missing"
        store.close()

    def test_most_records_can_be_deleted(self, place: Path) -> None:
        """The remaining records are found after nine tenths have been deleted.

        If this fails, check the depth of the search when most of its candidates are deleted.
        """
        dim = self.approximate_dim
        vectors, queries = clustered(1500, dim, 20)
        ids = [f"id-{row:05d}" for row in range(len(vectors))]
        store = self.make_store(place)
        store.open(make_meta(dim))
        for first in range(0, len(vectors), _BATCH):
            part = slice(first, first + _BATCH)
            self.write(store, make_batch(vectors[part], ids=ids[part]))
        self._optimize(store)
        truth = _Truth(vectors)
        order = np.random.default_rng(3).permutation(len(vectors))
        for first, last in ((0, 600), (600, 1000), (1000, 1350)):
            gone = order[first:last]
            self.remove(store, [ids[row] for row in gone])
            truth.alive[gone] = False
            self._compare_recall(store, truth, queries)
        store.close()

    def test_searches_miss_nothing_while_records_are_added(self, place: Path) -> None:
        """A search finds all acknowledged records while another thread adds more.

        If this fails, check that records are searched separately until they are in the vector index.
        """
        dim = self.approximate_dim
        vectors, _ = clustered(1800, dim, 1)
        ids = [f"id-{row:05d}" for row in range(len(vectors))]
        store = self.make_store(place)
        store.open(make_meta(dim))
        self.write(store, make_batch(vectors[:600], ids=ids[:600]))
        written = 600
        done, searched = threading.Event(), threading.Event()

        def search() -> None:
            random = np.random.default_rng(0)
            while not done.is_set():
                rows = random.integers(written - 600, written, size=60)
                self._require_found(store, vectors[rows], [ids[row] for row in rows])
                searched.set()

        with ThreadPoolExecutor(1) as pool:
            searching = pool.submit(search)
            try:
                for first in range(600, 1800, 100):
                    part = slice(first, first + 100)
                    self.write(store, make_batch(vectors[part], ids=ids[part]))
                    written = first + 100
                    searched.clear()
                    while not searched.wait(0.1) and not searching.done():
                        pass
            finally:
                done.set()
            searching.result()
        self._require_found(store, vectors, ids)
        store.close()

    @staticmethod
    def _optimize(store: VectorStore) -> None:
        if supports(store, SupportsOptimize):
            store.optimize()

    def _require_found(
        self, store: VectorStore, vectors: NDArray[np.float32], ids: Sequence[str]
    ) -> None:
        nearest = store.search(vectors, k=1)
        missing = [
            id for id, hits in zip(ids, nearest, strict=True) if [hit.id for hit in hits] != [id]
        ]
        assert len(missing) <= 0.02 * len(ids), (
            f"{len(missing)} of {len(ids)} records are not found by their own vector: {missing[:3]}"
        )

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
            self._optimize(store)
            self._compare_recall(store, truth, queries)
            more, _ = clustered(50, dim, 1, seed=5)
            self.write(store, make_batch(more, ids=[f"late-{row}" for row in range(50)]))
            nearest = store.search(more, k=1)
            assert sum(hits[0].id == f"late-{row}" for row, hits in enumerate(nearest)) >= 49
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
    """Exact search over live rows."""

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        self.vectors = vectors
        self.alive = np.ones(len(vectors), np.bool_)

    def nearest(
        self, queries: NDArray[np.float32], k: int, allowed: NDArray[np.bool_] | None
    ) -> list[NDArray[np.intp]]:
        products = queries @ self.vectors.T
        good = self.alive if allowed is None else self.alive & allowed
        products[:, ~good] = -np.inf
        return list(np.argsort(-products, axis=1)[:, : min(k, int(good.sum()))])


def clustered(
    rows: int, dim: int, queries: int, *, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return unit vectors around a few centres, like embeddings of classes, and queries.

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
