"""Rules about checksums, for stores that are a `SupportsCheck`."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagesearch.errors import StoreCorruptError
from imagesearch.protocols import SupportsCheck, VectorStore, supports
from imagesearch.testing.stores.fixtures import StoreFixtures, make_batch, make_meta

__all__ = ["CheckingRules"]


class CheckingRules(StoreFixtures):
    """What is damaged is named, and never searched as if it were sound."""

    def test_a_sound_store_has_no_problems(self, place: Path, unopened: VectorStore) -> None:
        """If this fails, check that checksums follow every kind of write."""
        checking = self._checking(unopened)
        self._filled(checking)
        before = {record.id for batch in checking.scan() for record in batch}
        for store in (checking, self._checking(self.reopen_store(place))):
            assert [result for result in store.check() if result.status == "problem"] == []
        checking.repair(remove=True)
        assert {record.id for batch in checking.scan() for record in batch} == before
        assert [result for result in checking.check() if result.status == "problem"] == []

    def test_a_damaged_vector_is_named_and_not_searched(
        self, place: Path, unopened: VectorStore
    ) -> None:
        """No hit comes from it. If this fails, compare a vector with its checksum where it is read."""
        self._filled(self._checking(unopened))
        unopened.close()
        if not self.damage(place, "id-00003"):
            pytest.skip("the suite does not say how to damage what the store keeps")
        damaged = self._checking(self.reopen_store(place))
        try:
            problems = [result for result in damaged.check() if result.status == "problem"]
            assert [result.ids for result in problems] == [("id-00003",)]
            damaged.open(make_meta(self.dim))
            with pytest.raises(StoreCorruptError) as caught:
                damaged.search(self.vectors(1), k=20)
            assert caught.value.ids == ("id-00003",)
            with pytest.raises(StoreCorruptError):
                damaged.get(["id-00003"], vectors=True)
            self.write(damaged, make_batch(self.vectors(1), ids=["id-00003"]))
            assert len(damaged.search(self.vectors(1), k=20)[0]) == 11
            assert [result for result in damaged.check() if result.status == "problem"] == []
        finally:
            damaged.close()

    def _checking(self, store: VectorStore) -> SupportsCheck:
        if not supports(store, SupportsCheck):
            pytest.skip("the store has no check()")
        return store

    def _filled(self, store: VectorStore) -> None:
        store.open(make_meta(self.dim))
        vectors = self.vectors(12)
        self.write(store, make_batch(vectors, [{"stock": row} for row in range(12)]))
        self.write(store, make_batch(vectors[:2], [{"stock": 9.0}, {}]))
        self.remove(store, ["id-00011"])
