"""Rules about search: scores, order, and how many hits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from imagesearch.protocols import Capability, VectorStore
from imagesearch.testing.stores.fixtures import StoreFixtures, ids_of, make_batch, require
from imagesearch.types import METRICS, Metric

__all__ = ["ScoreRules", "expected_scores"]


class ScoreRules(StoreFixtures):
    """Higher is better, and a score means the same in every store."""

    @pytest.mark.parametrize("metric", METRICS)
    def test_scores_mean_what_hit_says(self, open_store: Any, metric: Metric) -> None:
        """Cosine, inner product, and 1 - d²/2, also for vectors and queries of any length.

        If this fails, check that distances become scores, and that cosine normalises both sides.
        """
        store = open_store(metric=metric)
        random = np.random.default_rng(3)
        vectors = random.normal(size=(12, self.dim)).astype(np.float32)
        queries = (2.5 * random.normal(size=(4, self.dim))).astype(np.float32)
        self.write(store, make_batch(vectors))
        expected = expected_scores(queries, vectors, metric)
        for number, hits in enumerate(store.search(queries, k=12)):
            assert len(hits) == 12
            for hit in hits:
                truth = expected[number, int(hit.id[-5:])]
                assert hit.score == pytest.approx(truth, abs=self.tolerance, rel=self.tolerance)
                assert type(hit.score) is float

    def test_a_record_finds_itself_with_score_one(self, store: VectorStore) -> None:
        """Cosine of a vector with itself is 1, never more. If this fails, check the clipping."""
        vectors = self.vectors(20) * 3
        self.write(store, make_batch(vectors))
        for row, hits in enumerate(store.search(vectors, k=1)):
            assert ids_of(hits) == [f"id-{row:05d}"]
            assert 1 - self.tolerance <= hits[0].score <= 1

    @pytest.mark.parametrize("metric", METRICS)
    def test_hits_come_best_first(self, open_store: Any, metric: Metric) -> None:
        """Hits are sorted by score, highest first. If this fails, check the metric's direction."""
        store = open_store(metric=metric)
        random = np.random.default_rng(4)
        vectors = random.normal(size=(30, self.dim)).astype(np.float32)
        self.write(store, make_batch(vectors))
        queries = random.normal(size=(3, self.dim)).astype(np.float32)
        for number, hits in enumerate(store.search(queries, k=10)):
            assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
            expected = expected_scores(queries, vectors, metric)[number]
            best = np.sort(expected)[::-1][:10]
            np.testing.assert_allclose(
                [hit.score for hit in hits], best, atol=self.tolerance, rtol=self.tolerance
            )

    def test_equal_scores_come_in_order_of_their_ids(self, store: VectorStore) -> None:
        """Ties are broken by id, whatever the order of writing.

        If this fails, sort hits by (-score, id) after they have been fetched.
        """
        same = np.repeat(np.eye(self.dim, dtype=np.float32)[:1], 9, axis=0)
        ids = ["m", "b", "z", "é", "B", "a10", "a9", "鱼", "0"]
        self.write(store, make_batch(same, ids=ids))
        assert ids_of(store.search(same[:1], k=9)[0]) == sorted(ids)

    def test_ties_at_the_end_of_the_list_fall_by_id(self, open_store: Any) -> None:
        """EXACT: when more tie than fit, the first ids stay. If this fails, cut after sorting."""
        store = open_store()
        require(store, Capability.EXACT)
        same = np.repeat(np.eye(self.dim, dtype=np.float32)[1:2], 40, axis=0)
        ids = [f"tie-{(row * 7) % 40:02d}" for row in range(40)]
        self.write(store, make_batch(same, ids=ids))
        assert ids_of(store.search(same[:1], k=5)[0]) == sorted(ids)[:5]

    @pytest.mark.parametrize("k", [1, 3, 5])
    def test_never_more_than_k_hits(self, store: VectorStore, k: int) -> None:
        """At most k hits come, and k when there are as many. If this fails, check limits."""
        self.write(store, self.batch(5))
        assert len(store.search(self.vectors(1), k=k)[0]) == k

    @pytest.mark.parametrize("k", [6, 100, 5000])
    def test_fewer_than_k_records_are_a_normal_answer(self, store: VectorStore, k: int) -> None:
        """All records come when k is larger. If this fails, check k against the size."""
        self.write(store, self.batch(5))
        assert len(store.search(self.vectors(1), k=k)[0]) == 5

    def test_an_empty_store_answers_with_empty_lists(self, store: VectorStore) -> None:
        """Nothing to find is no error. If this fails, check searches before the first write."""
        assert store.search(self.vectors(3), k=5) == [[], [], []]

    def test_no_queries_give_no_lists(self, store: VectorStore) -> None:
        """Zero queries are allowed. If this fails, check what is sent for an empty array."""
        self.write(store, self.batch(3))
        assert store.search(np.empty((0, self.dim), np.float32), k=5) == []

    def test_many_queries_in_one_call_equal_one_at_a_time(self, store: VectorStore) -> None:
        """List i belongs to query i. If this fails, check how queries are split and joined."""
        self.write(store, self.batch(60))
        queries = self.vectors(45, seed=9)
        together = store.search(queries, k=4)
        assert len(together) == 45
        for number in (0, 19, 20, 21, 44):
            alone = store.search(queries[number : number + 1], k=4)[0]
            assert ids_of(alone) == ids_of(together[number])
            assert [hit.score for hit in alone] == pytest.approx(
                [hit.score for hit in together[number]], abs=self.tolerance
            )

    def test_queries_in_any_memory_layout_work_and_stay_as_they_are(
        self, store: VectorStore
    ) -> None:
        """Queries are read, never changed. If this fails, check normalising in place."""
        self.write(store, self.batch(10))
        queries = 3 * self.vectors(10)
        before = queries.copy()
        straight = store.search(queries, k=1)
        fortran = store.search(np.asfortranarray(queries), k=1)
        strided = store.search(np.repeat(queries, 2, axis=0)[::2], k=1)
        assert [ids_of(one) for one in straight] == [ids_of(one) for one in fortran]
        assert [ids_of(one) for one in straight] == [ids_of(one) for one in strided]
        np.testing.assert_array_equal(queries, before)


def expected_scores(
    queries: NDArray[np.float32], vectors: NDArray[np.float32], metric: Metric
) -> NDArray[np.float64]:
    """Score in float64, as plainly as `Hit` describes it."""
    left, right = queries.astype(np.float64), vectors.astype(np.float64)
    if metric == "l2":
        return np.asarray(1 - ((left[:, None] - right) ** 2).sum(axis=2) / 2)
    products = left @ right.T
    if metric == "cosine":
        products /= np.linalg.norm(left, axis=1)[:, None] * np.linalg.norm(right, axis=1)
    return np.asarray(products)
