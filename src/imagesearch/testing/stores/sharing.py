"""Rules about leaving an index to other writers, for stores that are a `SharingStore`."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagesearch.protocols import SharingStore, VectorStore, supports
from imagesearch.testing.stores.fixtures import StoreFixtures, make_batch, make_meta

__all__ = ["SharingRules"]


class SharingRules(StoreFixtures):
    """A handle that was released stays open, and others write until it writes again."""

    def test_handles_write_in_turn_once_they_are_released(
        self, place: Path, unopened: VectorStore
    ) -> None:
        """Both see all that was written. If this fails, read anew what another handle may change."""
        if not supports(unopened, SharingStore):
            pytest.skip("the store has no release()")
        vectors = self.vectors(4)
        first, second = unopened, self.reopen_store(place)
        if not supports(second, SharingStore):
            pytest.fail("reopen_store gives another kind of store")
        try:
            for store in (first, second):
                store.open(make_meta(self.dim))
                store.release()
            for turn, store in enumerate((first, second, first, second)):
                self.write(store, make_batch(vectors[turn : turn + 1], ids=[f"turn-{turn}"]))
                store.release()
                assert first.count() == second.count() == turn + 1
            assert self.remove(first, ["turn-1"]) == 1
            assert second.get(["turn-1"]) == {}
            assert second.search(vectors[:1], k=1)[0][0].id == "turn-0"
        finally:
            second.close()
