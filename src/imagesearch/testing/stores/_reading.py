"""Rules about scores, order, scans and counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from imagesearch.filters import Field
from imagesearch.protocols import Capability, VectorStore
from imagesearch.testing.stores._fixtures import (
    StoreFixtures,
    ids_of,
    make_batch,
    require,
    same_value,
)
from imagesearch.types import METRICS, Metric

__all__ = ["ReadingRules", "ScoreRules", "expected_scores"]


class ScoreRules(StoreFixtures):
    """Scores mean the same in every store, and higher is better."""

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
        """Ties are ordered by id, regardless of the order of writing.

        If this fails, sort hits by (-score, id) after they have been fetched.
        """
        same = np.repeat(np.eye(self.dim, dtype=np.float32)[:1], 9, axis=0)
        ids = ["m", "b", "z", "é", "B", "a10", "a9", "鱼", "0"]
        self.write(store, make_batch(same, ids=ids))
        assert ids_of(store.search(same[:1], k=9)[0]) == sorted(ids)

    def test_ties_at_the_end_of_the_list_fall_by_id(self, open_store: Any) -> None:
        """EXACT: of more ties than fit, the first ids are returned. If this fails, cut after sorting."""
        store = open_store()
        require(store, Capability.EXACT)
        same = np.repeat(np.eye(self.dim, dtype=np.float32)[1:2], 40, axis=0)
        ids = [f"tie-{(row * 7) % 40:02d}" for row in range(40)]
        self.write(store, make_batch(same, ids=ids))
        assert ids_of(store.search(same[:1], k=5)[0]) == sorted(ids)[:5]

    @pytest.mark.parametrize("k", [1, 3, 5])
    def test_never_more_than_k_hits(self, store: VectorStore, k: int) -> None:
        """A search returns k hits if there are as many. If this fails, check limits."""
        self.write(store, self.batch(5))
        assert len(store.search(self.vectors(1), k=k)[0]) == k

    @pytest.mark.parametrize("k", [6, 100, 5000])
    def test_fewer_than_k_records_are_a_normal_answer(self, store: VectorStore, k: int) -> None:
        """A search returns all records if k is larger. If this fails, check k against the size."""
        self.write(store, self.batch(5))
        assert len(store.search(self.vectors(1), k=k)[0]) == 5

    def test_an_empty_store_answers_with_empty_lists(self, store: VectorStore) -> None:
        """Searching an empty collection is not an error. If this fails, check searches before the first write."""
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
        assert list(map(ids_of, straight)) == list(map(ids_of, fortran))
        assert list(map(ids_of, straight)) == list(map(ids_of, strided))
        np.testing.assert_array_equal(queries, before)


def expected_scores(
    queries: NDArray[np.float32], vectors: NDArray[np.float32], metric: Metric
) -> NDArray[np.float64]:
    """Score in float64, as `Hit` defines it."""
    left, right = queries.astype(np.float64), vectors.astype(np.float64)
    if metric == "l2":
        return np.asarray(1 - ((left[:, None] - right) ** 2).sum(axis=2) / 2)
    products = left @ right.T
    if metric == "cosine":
        products /= np.linalg.norm(left, axis=1)[:, None] * np.linalg.norm(right, axis=1)
    return np.asarray(products)


class ReadingRules(StoreFixtures):
    """Records are found by id, and a scan returns each exactly once."""

    def test_get_returns_what_exists_and_leaves_out_the_rest(self, store: VectorStore) -> None:
        """Missing ids are absent from the result, without an error. If this fails, check the result's keys."""
        self.write(store, self.batch(3))
        records = store.get(["id-00001", "missing", "id-00002"])
        assert set(records) == {"id-00001", "id-00002"}
        assert all(record.id == id for id, record in records.items())

    def test_get_of_no_ids_is_empty(self, store: VectorStore) -> None:
        """An empty list of ids returns nothing. If this fails, check what an empty list means to the server."""
        self.write(store, self.batch(3))
        assert store.get([]) == {}

    def test_get_allows_repetitions(self, store: VectorStore) -> None:
        """Ids may be repeated. If this fails, remove duplicates before the request."""
        self.write(store, self.batch(3))
        records = store.get(["id-00001", "id-00001", "missing", "missing"])
        assert list(records) == ["id-00001"]

    def test_ids_that_no_record_can_have_are_unknown_ids(self, store: VectorStore) -> None:
        """Any string may be looked up. If this fails, do not send ids that cannot exist.

        Empty ids, too long ones, and those with a NUL or a lone surrogate come from users' input.
        """
        self.write(store, self.batch(3))
        impossible = ["", "x" * 500, "id-00001\0", "\ud800"]
        assert list(store.get([*impossible, "id-00001"])) == ["id-00001"]
        assert store.delete(impossible) == 0
        assert store.count() == 3

    @pytest.mark.parametrize("vectors", [False, True], ids=["without vectors", "with vectors"])
    def test_get_takes_thousands_of_ids(self, store: VectorStore, vectors: bool) -> None:
        """Any number of ids may be requested. If this fails, split requests at the server's limit."""
        batch = self.batch(self.large_batch)
        self.write(store, batch)
        records = store.get([*batch.ids, *batch.ids[:10], "missing"], vectors=vectors)
        assert set(records) == set(batch.ids)
        given = self.vectors(self.large_batch)
        for row in (0, 999, 1000, self.large_batch - 1):
            vector = records[batch.ids[row]].vector
            if vectors:
                assert vector is not None
                np.testing.assert_allclose(
                    vector, given[row], atol=max(1e-6, self.vector_tolerance)
                )
            else:
                assert vector is None

    def test_scan_of_an_empty_store_gives_nothing(self, store: VectorStore) -> None:
        """Scanning an empty collection is not an error. If this fails, check the first page."""
        assert sum(map(len, store.scan(vectors=True))) == 0

    @pytest.mark.parametrize("batch_size", [1, 7, 10, 1000])
    def test_scan_gives_every_record_exactly_once(
        self, store: VectorStore, batch_size: int
    ) -> None:
        """A scan returns every record once, in batches of at most batch_size.

        If this fails, check how pages are delimited, the last page in particular.
        """
        self.write(store, make_batch(self.vectors(30), [{"stock": row} for row in range(30)]))
        batches = list(store.scan(batch_size=batch_size))
        assert all(1 <= len(batch) <= batch_size for batch in batches)
        seen = {record.id: record.metadata for batch in batches for record in batch}
        assert sum(map(len, batches)) == 30
        assert {id: dict(fields) for id, fields in seen.items()} == {
            f"id-{row:05d}": {"stock": row} for row in range(30)
        }
        assert all(batch.vectors is None for batch in batches)

    def test_scan_of_thousands_gives_every_record_once(self, store: VectorStore) -> None:
        """Many pages give a complete scan. If this fails, check limits on offset and page size."""
        batch = self.batch(self.large_batch)
        self.write(store, batch)
        ids = [id for part in store.scan(batch_size=700) for id in part.ids]
        assert len(ids) == self.large_batch
        assert set(ids) == set(batch.ids)

    def test_scan_with_vectors_gives_each_record_its_own(self, store: VectorStore) -> None:
        """Row i of vectors belongs to ids[i]. If this fails, check the order of joined results."""
        vectors = self.vectors(25)
        self.write(store, make_batch(vectors))
        self.remove(store, ["id-00003", "id-00011"])
        self.write(store, make_batch(vectors[5:6], ids=["id-00007"]))
        for batch in store.scan(batch_size=4, vectors=True):
            assert batch.vectors is not None
            for record in batch:
                row = 5 if record.id == "id-00007" else int(record.id[-5:])
                assert record.vector is not None
                np.testing.assert_allclose(
                    record.vector, vectors[row], atol=max(1e-6, self.vector_tolerance)
                )

    def test_scan_with_a_filter_gives_only_matches(self, store: VectorStore) -> None:
        """A filtered scan works over many pages. If this fails, check that each page filters."""
        self.write(store, make_batch(self.vectors(40), [{"stock": row % 4} for row in range(40)]))
        batches = list(store.scan(where=Field("stock") == 2, batch_size=3))
        ids = sorted(id for batch in batches for id in batch.ids)
        assert ids == [f"id-{row:05d}" for row in range(2, 40, 4)]

    def test_writing_between_the_batches_of_a_scan_is_allowed(self, store: VectorStore) -> None:
        """Untouched records are returned exactly once while others change.

        If this fails, check paging by offset, which shifts when rows come and go.
        """
        self.write(store, self.batch(40))
        seen: list[str] = []
        for number, batch in enumerate(store.scan(batch_size=5)):
            seen.extend(batch.ids)
            if number == 2:
                self.remove(store, ["id-00000", "id-00039"])
                self.write(store, self.batch(3, prefix="late"))
                self.write(store, make_batch(self.vectors(1), ids=["id-00020"]))
        touched = {"id-00000", "id-00039", "id-00020", *(f"late-{row:05d}" for row in range(3))}
        untouched = [id for id in seen if id not in touched]
        assert sorted(untouched) == sorted({f"id-{row:05d}" for row in range(40)} - touched)

    def test_two_scans_at_once_do_not_disturb_each_other(self, store: VectorStore) -> None:
        """Concurrent scans are independent. If this fails, check for a cursor kept on the store."""
        self.write(store, self.batch(20))
        pairs = list(zip(store.scan(batch_size=3), store.scan(batch_size=3), strict=True))
        for side in (0, 1):
            assert len({id for pair in pairs for id in pair[side].ids}) == 20

    def test_a_scan_may_be_left_early(self, store: VectorStore) -> None:
        """A scan may be abandoned. If this fails, check cursors that stay open."""
        self.write(store, self.batch(20))
        scan = store.scan(batch_size=2)
        next(scan)
        del scan
        self.write(store, self.batch(1, prefix="late"))
        assert store.count() == 21

    def test_count_follows_every_change(self, store: VectorStore) -> None:
        """Count is exact after insert, replace and delete. If this fails, check lagging counters."""
        counts = [store.count()]
        self.write(store, self.batch(5))
        counts.append(store.count())
        self.write(store, self.batch(2))
        counts.append(store.count())
        self.remove(store, ["id-00000"])
        counts.append(store.count())
        assert counts == [0, 5, 5, 4]

    def test_count_with_a_filter_counts_only_matches(self, store: VectorStore) -> None:
        """Count accepts a filter. If this fails, check that count applies it."""
        self.write(store, make_batch(self.vectors(10), [{"stock": row % 3} for row in range(10)]))
        assert store.count(Field("stock") == 0) == 4
        assert store.count(Field("stock") == 9) == 0

    def test_a_long_digest_free_record_keeps_its_strict_types(self, store: VectorStore) -> None:
        """Reading many records preserves types. If this fails, check columnar conversions."""
        fields = [{"price": 1.0, "stock": 1, "sold": True}, {"price": 2.5, "stock": 0}]
        self.write(store, make_batch(self.vectors(2), fields))
        for batch in store.scan():
            for record in batch:
                assert same_value(dict(record.metadata), fields[int(record.id[-1])])
