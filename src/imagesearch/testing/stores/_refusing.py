"""Rules about invalid input and deletion."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from imagesearch.errors import StoreRequestError
from imagesearch.protocols import VectorStore
from imagesearch.testing.stores._fixtures import StoreFixtures, ids_of, make_batch
from imagesearch.types import Metadata, Metric, RecordBatch

__all__ = ["DeletingRules", "RefusingRules"]


_BAD_VALUES = {"NaN": np.nan, "infinity": np.inf, "minus infinity": -np.inf}


class RefusingRules(StoreFixtures):
    """Invalid input raises StoreRequestError and changes nothing."""

    @pytest.mark.parametrize("kind", [*_BAD_VALUES, "zero"])
    def test_a_bad_vector_is_refused_and_nothing_is_written(
        self, store: VectorStore, kind: str
    ) -> None:
        """One bad vector refuses the whole batch.

        If this fails, check that vectors are checked before anything is sent.
        """
        vectors = self.vectors(5)
        _spoil(vectors, 3, kind)
        with pytest.raises(StoreRequestError):
            store.upsert(make_batch(vectors))
        self.settle(store)
        assert store.count() == 0
        assert store.get(["id-00000"]) == {}

    @pytest.mark.parametrize("count", [1, 5])
    @pytest.mark.parametrize("part", ["vector", "metadata"])
    def test_a_refusal_of_one_record_names_its_id(
        self, store: VectorStore, part: str, count: int
    ) -> None:
        """`ImageIndex.add` reports the records in `ids` as failed, and stores the others.

        Without ids it raises, because the store itself may be unusable. If this fails, set `ids` in
        the error; `stores.check_batch` does so.
        """
        vectors = self.vectors(count)
        metadata: list[Metadata] = [{} for _ in range(count)]
        if part == "vector":
            _spoil(vectors, count - 1, "NaN")
        else:
            metadata[-1] = {"label": np.nan}
        batch = make_batch(vectors, metadata=metadata)
        with pytest.raises(StoreRequestError) as caught:
            store.upsert(batch)
        assert caught.value.ids == (batch.ids[-1],)

    def test_a_bad_vector_at_the_end_of_a_large_batch_refuses_all_of_it(
        self, store: VectorStore
    ) -> None:
        """A refused batch is not partially written. If this fails, validate before splitting."""
        self.write(store, self.batch(2))
        vectors = self.vectors(self.large_batch)
        vectors[-1, 0] = np.nan
        with pytest.raises(StoreRequestError):
            store.upsert(make_batch(vectors, prefix="late"))
        self.settle(store)
        assert store.count() == 2

    @pytest.mark.parametrize("metric", ["dot", "l2"])
    def test_a_zero_vector_is_a_vector_under_dot_and_l2(
        self, open_store: Any, metric: Metric
    ) -> None:
        """Zero vectors are refused under cosine only. If this fails, check the metric first."""
        store = open_store(metric=metric)
        self.write(store, make_batch(np.zeros((1, self.dim), np.float32)))
        assert len(store.search(np.zeros((1, self.dim), np.float32), k=1)[0]) == 1

    @pytest.mark.parametrize("batch_size", [0, -1])
    def test_a_scan_in_batches_of_nothing_is_refused(
        self, store: VectorStore, batch_size: int
    ) -> None:
        """A batch size below 1 is refused. If this fails, use `stores.check_batch_size`."""
        self.write(store, self.batch(2))
        with pytest.raises(StoreRequestError):
            next(iter(store.scan(batch_size=batch_size)))

    @pytest.mark.parametrize("off_by", [-1, 1])
    def test_vectors_of_another_dim_are_refused(self, store: VectorStore, off_by: int) -> None:
        """Vectors must have the index's dimension. If this fails, check shapes on upsert and search."""
        wrong = np.ones((2, self.dim + off_by), np.float32)
        with pytest.raises(StoreRequestError, match=str(self.dim)):
            store.upsert(make_batch(wrong))
        self.settle(store)
        assert store.count() == 0
        with pytest.raises(StoreRequestError, match=str(self.dim)):
            store.search(wrong, k=1)

    def test_a_batch_without_vectors_is_refused(self, store: VectorStore) -> None:
        """A batch without vectors is refused. If this fails, check vectors is None."""
        with pytest.raises(StoreRequestError):
            store.upsert(RecordBatch(("a",), ("/a.jpg",), ("",), ({},), None))
        self.settle(store)
        assert store.count() == 0

    @pytest.mark.parametrize(
        "metadata",
        [
            {"": 1},
            {"id": "x"},
            {"uri": "x"},
            {"a": float("nan")},
            {"a": 2**63},
            {"a": {1, 2}},
            {"a": "\ud800"},
            {1: "a"},
        ],
        ids=repr,
    )
    def test_metadata_that_are_no_json_are_refused_and_nothing_is_written(
        self, store: VectorStore, metadata: Any
    ) -> None:
        """Values that cannot be returned unchanged are refused, and the record is named.

        If this fails, call check_batch first.
        """
        with pytest.raises(StoreRequestError, match="'id-00001'"):
            store.upsert(make_batch(self.vectors(2), [{}, metadata]))
        self.settle(store)
        assert store.count() == 0

    def test_a_refused_replacement_leaves_the_old_record(self, store: VectorStore) -> None:
        """Replacement is atomic. If this fails, check that nothing is deleted first."""
        self.write(store, make_batch(self.vectors(1), [{"label": "old"}]))
        bad = np.full((1, self.dim), np.nan, np.float32)
        with pytest.raises(StoreRequestError):
            store.upsert(make_batch(bad, [{"label": "new"}]))
        self.settle(store)
        assert store.get(["id-00000"])["id-00000"].metadata["label"] == "old"

    @pytest.mark.parametrize("kind", [*_BAD_VALUES, "zero"])
    @pytest.mark.parametrize("filled", [False, True], ids=["empty store", "filled store"])
    def test_a_bad_query_is_refused(self, store: VectorStore, kind: str, filled: bool) -> None:
        """NaN, infinity and (under cosine) zero are refused. If this fails, check queries too."""
        if filled:
            self.write(store, self.batch(3))
        queries = self.vectors(3)
        _spoil(queries, 1, kind)
        with pytest.raises(StoreRequestError):
            store.search(queries, k=1)

    @pytest.mark.parametrize("k", [0, -1, 2.5, "3", None, True])
    def test_k_that_is_no_whole_number_above_zero_is_refused(
        self, store: VectorStore, k: Any
    ) -> None:
        """A search for fewer than one hit is refused. If this fails, check k first."""
        self.write(store, self.batch(3))
        with pytest.raises(StoreRequestError):
            store.search(self.vectors(1), k=k)


def _spoil(vectors: NDArray[np.float32], row: int, kind: str) -> None:
    if kind == "zero":
        vectors[row] = 0
    else:
        vectors[row, 1] = _BAD_VALUES[kind]


class DeletingRules(StoreFixtures):
    """Deleted records disappear everywhere; no others do."""

    def test_delete_says_how_many_existed(self, store: VectorStore) -> None:
        """Delete counts what existed, each id once. If this fails, check missing and repeated ids."""
        self.write(store, self.batch(5))
        assert self.remove(store, ["id-00001", "missing", "id-00003"]) == 2
        assert self.remove(store, ["id-00001"]) == 0
        assert self.remove(store, ["id-00004", "id-00004"]) == 1
        assert store.count() == 2

    def test_deleting_no_ids_deletes_nothing(self, store: VectorStore) -> None:
        """An empty list deletes nothing.

        If this fails, check what a deletion without ids means to the server.
        """
        self.write(store, self.batch(3))
        assert self.remove(store, []) == 0
        assert self.remove(store, ()) == 0
        assert store.count() == 3

    def test_deleting_only_unknown_ids_deletes_nothing(self, store: VectorStore) -> None:
        """Unknown ids are ignored. If this fails, check errors for missing ids."""
        self.write(store, self.batch(3))
        assert self.remove(store, ["missing", "also missing"]) == 0
        assert store.count() == 3

    def test_a_deleted_record_is_gone_everywhere(self, store: VectorStore) -> None:
        """Search, get, scan and count agree. If this fails, check caches and tombstones."""
        vectors = self.vectors(6)
        self.write(store, make_batch(vectors))
        assert ids_of(store.search(vectors[2:3], k=1)[0]) == ["id-00002"]
        self.remove(store, ["id-00002"])
        assert "id-00002" not in ids_of(store.search(vectors[2:3], k=6)[0])
        assert len(store.search(vectors[2:3], k=6)[0]) == 5
        assert store.get(["id-00002"]) == {}
        assert "id-00002" not in [id for batch in store.scan() for id in batch.ids]
        assert store.count() == 5

    def test_a_deleted_record_can_come_back(self, store: VectorStore) -> None:
        """An id can be used again after deletion. If this fails, check tombstones kept by id."""
        axes = np.eye(self.dim, dtype=np.float32)
        self.write(store, make_batch(axes[:2], [{"round": 1}, {}], ids=["a", "b"]))
        self.remove(store, ["a"])
        self.write(store, make_batch(axes[2:3], [{"round": 2}], ids=["a"]))
        assert store.count() == 2
        assert store.get(["a"])["a"].metadata["round"] == 2
        assert ids_of(store.search(axes[2:3], k=2)[0]) == ["a", "b"]

    def test_everything_can_be_deleted(self, store: VectorStore) -> None:
        """A store may be emptied and filled again. If this fails, check searches of an empty store."""
        batch = self.batch(30)
        self.write(store, batch)
        assert self.remove(store, batch.ids) == 30
        assert store.count() == 0
        assert store.search(self.vectors(2), k=3) == [[], []]
        self.write(store, self.batch(4))
        assert len(store.search(self.vectors(1), k=9)[0]) == 4

    def test_thousands_can_be_deleted_at_once(self, store: VectorStore) -> None:
        """Any number of ids can be deleted. If this fails, split requests at the server's limit."""
        batch = self.batch(self.large_batch)
        self.write(store, batch)
        gone = batch.ids[: self.large_batch - 5]
        assert self.remove(store, [*gone, "missing"]) == len(gone)
        assert store.count() == 5
        left = ids_of(store.search(self.vectors(1), k=10)[0])
        assert sorted(left) == list(batch.ids[-5:])
