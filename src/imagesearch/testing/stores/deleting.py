"""Rules about delete."""

from __future__ import annotations

import numpy as np

from imagesearch.protocols import VectorStore
from imagesearch.testing.stores.fixtures import StoreFixtures, ids_of, make_batch

__all__ = ["DeletingRules"]


class DeletingRules(StoreFixtures):
    """What is deleted is gone everywhere; nothing else is."""

    def test_delete_says_how_many_existed(self, store: VectorStore) -> None:
        """Delete counts what existed, each id once. If this fails, check missing and repeated ids."""
        self.write(store, self.batch(5))
        assert self.remove(store, ["id-00001", "missing", "id-00003"]) == 2
        assert self.remove(store, ["id-00001"]) == 0
        assert self.remove(store, ["id-00004", "id-00004"]) == 1
        assert store.count() == 2

    def test_deleting_no_ids_deletes_nothing(self, store: VectorStore) -> None:
        """An empty list deletes nothing, and never everything.

        If this fails, check what the server takes a delete without ids for.
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
        """An id is free again after delete. If this fails, check tombstones kept by id."""
        axes = np.eye(self.dim, dtype=np.float32)
        self.write(store, make_batch(axes[:2], [{"round": 1}, {}], ids=["a", "b"]))
        self.remove(store, ["a"])
        self.write(store, make_batch(axes[2:3], [{"round": 2}], ids=["a"]))
        assert store.count() == 2
        assert store.get(["a"])["a"].metadata["round"] == 2
        assert ids_of(store.search(axes[2:3], k=2)[0]) == ["a", "b"]

    def test_everything_can_be_deleted(self, store: VectorStore) -> None:
        """A store may be emptied and filled again. If this fails, check searches of nothing left."""
        batch = self.batch(30)
        self.write(store, batch)
        assert self.remove(store, batch.ids) == 30
        assert store.count() == 0
        assert store.search(self.vectors(2), k=3) == [[], []]
        self.write(store, self.batch(4))
        assert len(store.search(self.vectors(1), k=9)[0]) == 4

    def test_thousands_can_be_deleted_at_once(self, store: VectorStore) -> None:
        """Any number of ids can be deleted. If this fails, split what the server limits."""
        batch = self.batch(self.large_batch)
        self.write(store, batch)
        gone = batch.ids[: self.large_batch - 5]
        assert self.remove(store, [*gone, "missing"]) == len(gone)
        assert store.count() == 5
        left = ids_of(store.search(self.vectors(1), k=10)[0])
        assert sorted(left) == list(batch.ids[-5:])
