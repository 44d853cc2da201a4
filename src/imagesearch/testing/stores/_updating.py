"""Rules about changing records in one step: `SupportsMetadataUpdate` and `SupportsFilterDeletion`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest

from imagesearch.errors import StoreError, StoreLockedError, StoreRequestError
from imagesearch.filters import Field
from imagesearch.protocols import (
    Capability,
    SupportsFilterDeletion,
    SupportsMetadataUpdate,
    SupportsWriterRelease,
    VectorStore,
    supports,
)
from imagesearch.testing.stores._fixtures import (
    StoreFixtures,
    ids_of,
    make_batch,
    make_meta,
    same_value,
)
from imagesearch.types import Metadata

__all__ = ["UpdatingRules"]


_WRITERS = 8
_SHARED = [f"shared-{number}" for number in range(5)]
_DOOMED = [f"doomed-{number:02}" for number in range(40)]


class UpdatingRules(StoreFixtures):
    """Updates change metadata of existing records only; concurrent updates are all kept."""

    def test_an_update_sets_fields_and_keeps_the_others(self, store: VectorStore) -> None:
        """Named fields are set or, with None, removed. If this fails, check how fields are merged."""
        updating = _updating(store)
        before = {
            "label": "cat",
            "stock": 1,
            "note": "old",
            "extra": {"a": [1, None]},
            "none": None,
        }
        self.write(store, make_batch(self.vectors(2), [before, {"label": "dog"}], ids=["a", "b"]))
        changes = {"stock": 2, "note": None, "more": {"b": [True]}}
        assert self._update(updating, changes, ids=["a"]) == 1
        expected = {
            "label": "cat",
            "stock": 2,
            "extra": {"a": [1, None]},
            "none": None,
            "more": {"b": [True]},
        }
        assert same_value(dict(store.get(["a"])["a"].metadata), expected)
        assert same_value(dict(store.get(["b"])["b"].metadata), {"label": "dog"})

    def test_an_update_can_replace_all_fields(self, store: VectorStore) -> None:
        """With replace=True other fields are removed. If this fails, check that old fields are removed."""
        updating = _updating(store)
        fields = [{"label": "cat", "stock": 1}] * 2
        self.write(store, make_batch(self.vectors(2), fields, ids=["a", "b"]))
        assert self._update(updating, {"price": 2.5, "gone": None}, ids=["a"], replace=True) == 1
        assert same_value(dict(store.get(["a"])["a"].metadata), {"price": 2.5})
        assert self._update(updating, {}, ids=["b"], replace=True) == 1
        assert store.get(["b"])["b"].metadata == {}

    def test_an_update_leaves_the_rest_of_a_record_alone(self, store: VectorStore) -> None:
        """URI, digest, vector and number of records stay. If this fails, send only the fields."""
        updating = _updating(store)
        self.write(store, self.batch(5))
        before = store.get(["id-00003"], vectors=True)["id-00003"]
        assert self._update(updating, {"stock": 9}, ids=["id-00003"]) == 1
        after = store.get(["id-00003"], vectors=True)["id-00003"]
        assert (after.uri, after.digest) == (before.uri, before.digest)
        assert before.vector is not None
        assert after.vector is not None
        np.testing.assert_array_equal(after.vector, before.vector)
        assert store.count() == 5
        [hits] = store.search(self.vectors(5)[3:4], k=1)
        assert (ids_of(hits), hits[0].metadata) == (["id-00003"], {"stock": 9})

    def test_an_update_ignores_ids_that_are_not_there(self, store: VectorStore) -> None:
        """Unknown ids create nothing, and are not counted.

        If this fails, check that the update is not an upsert, and that repeated ids count once.
        """
        updating = _updating(store)
        self.write(store, self.batch(3))
        ids = ["missing", "id-00001", "id-00001", "", "id-00002"]
        assert self._update(updating, {"stock": 1}, ids=ids) == 2
        assert self._update(updating, {"stock": 1}, ids=ids) == 2
        assert self._update(updating, {"stock": 1}, ids=["missing"]) == 0
        assert self._update(updating, {"stock": 1}, ids=[]) == 0
        assert store.count() == 3
        assert store.get(["missing", "id-00000"])["id-00000"].metadata == {}

    def test_filters_follow_an_update(self, store: VectorStore) -> None:
        """Search, count and scan see the new values. If this fails, check caches of filters."""
        updating = _updating(store)
        fields = [{"label": "cat", "stock": row, "tags": ["x"], "sold": True} for row in range(6)]
        vectors = self.vectors(6)
        self.write(store, make_batch(vectors, fields))
        conditions = {
            Field("label") == "cat": 4,
            Field("label") == "dog": 1,
            Field("stock") >= 2: 3,
            Field("sold") == True: 4,  # noqa: E712  # builds a filter
            Field("tags").contains("x"): 4,
            Field("tags").contains("y"): 1,
            Field("label").exists(): 5,
            ~(Field("label") == "cat"): 2,
        }
        declared = {"label", "stock", "sold", "tags"} <= set(self.filterable_fields)
        if Capability.FILTER_ANY_FIELD not in store.capabilities and not declared:
            pytest.skip("the test filters on label, stock, sold and tags")
        for condition in conditions:
            store.count(condition)
            store.search(vectors[:1], k=6, where=condition)
        nothing = {"label": None, "stock": None, "tags": None, "sold": None}
        assert self._update(updating, nothing, ids=["id-00000"]) == 1
        changes = {"label": "dog", "stock": 0, "tags": ["y"], "sold": False}
        assert self._update(updating, changes, ids=["id-00005"]) == 1
        for condition, expected in conditions.items():
            ids = ids_of(store.search(vectors[:1], k=6, where=condition)[0])
            scanned = [id for batch in store.scan(where=condition) for id in batch.ids]
            assert sorted(ids) == sorted(scanned), condition
            assert (len(ids), store.count(condition)) == (expected, expected), condition

    def test_an_update_by_filter_changes_all_that_match(self, store: VectorStore) -> None:
        """An update may change fields that its filter reads. If this fails, select records first."""
        updating = _updating(store)
        fields = [{"stock": row} for row in range(6)]
        self.write(store, make_batch(self.vectors(6), fields))
        assert self._update(updating, {"stock": 9, "note": "x"}, where=Field("stock") < 2) == 2
        records = store.get([f"id-{row:05}" for row in range(6)]).values()
        stocks = [record.metadata["stock"] for record in records]
        assert sorted(stocks) == [2, 3, 4, 5, 9, 9]
        assert sum("note" in record.metadata for record in records) == 2
        assert self._update(updating, {"stock": 1}, where=Field("stock") > 100) == 0

    @pytest.mark.parametrize("fields", [{"n": float("nan")}, {"id": "b"}, {"n": object()}, 3])
    def test_an_update_refuses_what_cannot_be_kept(
        self, store: VectorStore, fields: Metadata
    ) -> None:
        """Invalid metadata change nothing. If this fails, call `check_update` first."""
        updating = _updating(store)
        self.write(store, make_batch(self.vectors(1), [{"stock": 1}], ids=["a"]))
        with pytest.raises(StoreRequestError):
            updating.update_metadata(fields, ids=["a"])
        assert store.get(["a"])["a"].metadata == {"stock": 1}

    def test_an_update_takes_either_ids_or_a_filter(self, store: VectorStore) -> None:
        """Neither ids nor a filter is an error. If this fails, call `check_update` first."""
        updating = _updating(store)
        self.write(store, make_batch(self.vectors(1), [{"stock": 1}], ids=["a"]))
        with pytest.raises(StoreRequestError):
            updating.update_metadata({"stock": 2})
        with pytest.raises(StoreRequestError):
            updating.update_metadata({"stock": 2}, ids=["a"], where=Field("stock") == 1)
        assert store.get(["a"])["a"].metadata == {"stock": 1}

    def test_an_update_needs_an_open_store(self, unopened: VectorStore) -> None:
        """Updating before open raises StoreError. If this fails, check that first."""
        with pytest.raises(StoreError):
            _updating(unopened).update_metadata({}, ids=["a"])

    def test_thousands_can_be_updated_at_once(self, store: VectorStore) -> None:
        """Any number of ids is accepted. If this fails, split requests at the server's limit."""
        updating = _updating(store)
        batch = self.batch(1200)
        self.write(store, batch)
        assert self._update(updating, {"stock": 5}, ids=[*batch.ids, "missing"]) == 1200
        assert store.count(Field("stock") == 5) == 1200

    def test_threads_that_set_different_fields_keep_all_of_them(self, store: VectorStore) -> None:
        """Fields set by other threads are kept.

        If this fails, read, merge and write in one transaction or under one lock.
        """
        _updating(store)
        self._set_fields_side_by_side(store, [store] * _WRITERS)

    def test_clients_that_set_different_fields_keep_all_of_them(
        self, store: VectorStore, place: Path
    ) -> None:
        """Fields set through other handles, as by other machines, are kept.

        If this fails, merge on the server, or use conditional writes.
        """
        with self._other_writer(store, place) as other:
            self._set_fields_side_by_side(store, [store, other] * (_WRITERS // 2))

    def test_a_record_that_is_deleted_beside_an_update_stays_deleted(
        self, store: VectorStore
    ) -> None:
        """An update does not restore a deleted record.

        If this fails, update existing records only, and check that in the same step.
        """
        _updating(store)
        self._delete_beside_updates(store, store)

    def test_a_client_that_updates_brings_back_nothing_that_another_one_deleted(
        self, store: VectorStore, place: Path
    ) -> None:
        """The same holds for several handles on one collection."""
        with self._other_writer(store, place) as other:
            self._delete_beside_updates(store, other)

    def test_a_deletion_by_filter_deletes_all_that_match_and_nothing_else(
        self, store: VectorStore
    ) -> None:
        """It returns the number of deleted records. If this fails, check that the filter reaches the server."""
        if not supports(store, SupportsFilterDeletion):
            pytest.skip("the store has no delete_where()")
        fields = [{"stock": row} for row in range(6)]
        self.write(store, make_batch(self.vectors(6), fields))
        assert store.delete_where(Field("stock") > 100) == 0
        assert store.delete_where(Field("stock") < 2) == 2
        self.settle(store)
        assert sorted(id for part in store.scan() for id in part.ids) == [
            f"id-{row:05}" for row in range(2, 6)
        ]
        assert len(store.search(self.vectors(1), k=9)[0]) == 4
        assert store.delete_where(~Field("stock").is_in([])) == 4
        self.settle(store)
        assert store.count() == 0

    def _update(self, store: SupportsMetadataUpdate, fields: Metadata, **selection: object) -> int:
        changed = store.update_metadata(fields, **selection)  # type: ignore[arg-type]  # as given
        self.settle(store)
        return changed

    def _set_fields_side_by_side(self, store: VectorStore, writers: list[VectorStore]) -> None:
        self.write(store, make_batch(self.vectors(len(_SHARED)), ids=_SHARED))
        start = Barrier(len(writers))

        def write(number: int) -> int:
            start.wait()
            return _updating(writers[number]).update_metadata(
                {f"field-{number}": number}, ids=_SHARED
            )

        counts = _side_by_side([lambda n=n: write(n) for n in range(len(writers))])  # type: ignore[misc]  # bound now
        self.settle(store)
        assert counts == [len(_SHARED)] * len(writers)
        expected = {f"field-{number}": number for number in range(len(writers))}
        for record in store.get(_SHARED).values():
            assert record.metadata == expected

    def _delete_beside_updates(self, deleting: VectorStore, updating: VectorStore) -> None:
        self.write(deleting, make_batch(self.vectors(len(_DOOMED)), ids=_DOOMED))
        start = Barrier(3)

        def delete() -> int:
            start.wait()
            return sum(deleting.delete(_DOOMED[first : first + 5]) for first in range(0, 40, 5))

        def update(name: str) -> int:
            start.wait()
            for turn in range(8):
                _updating(updating).update_metadata({name: turn}, ids=_DOOMED)
            return 0

        gone, *_ = _side_by_side([delete, lambda: update("one"), lambda: update("two")])
        self.settle(deleting)
        assert gone == len(_DOOMED)
        assert deleting.get(_DOOMED) == {}
        assert deleting.count() == 0

    @contextmanager
    def _other_writer(self, store: VectorStore, place: Path) -> Iterator[VectorStore]:
        """Return a second writing handle, if the store allows several writers."""
        _updating(store)
        if Capability.PERSISTENT not in store.capabilities or supports(
            store, SupportsWriterRelease
        ):
            pytest.skip("the store has one writer at a time")
        self.write(store, self.batch(1, prefix="first"))
        other = self.reopen_store(place)
        try:
            other.open(make_meta(self.dim))
            try:
                other.delete(["first-00000"])
            except StoreLockedError:
                pytest.skip("the store has one writer at a time")
            self.settle(other)
            yield other
        finally:
            other.close()


def _updating(store: VectorStore) -> SupportsMetadataUpdate:
    if not supports(store, SupportsMetadataUpdate):
        pytest.skip("the store has no update_metadata()")
    return store


def _side_by_side(work: list[Callable[[], int]]) -> list[int]:
    with ThreadPoolExecutor(len(work)) as threads:
        futures = [threads.submit(function) for function in work]
        return [future.result() for future in futures]
