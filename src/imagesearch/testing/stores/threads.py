"""Rules about several threads that use one store."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from imagesearch.protocols import VectorStore
from imagesearch.testing.stores.fixtures import StoreFixtures, make_batch

__all__ = ["ThreadRules"]

_WRITERS = 3
_READERS = 3
_ROUNDS = 8
_ROWS = 5


class ThreadRules(StoreFixtures):
    """A web server's threads share one store: they read side by side while others write."""

    def test_threads_may_read_while_others_write(self, store: VectorStore) -> None:
        """Nobody is refused, and nothing is lost. If this fails, put a lock around shared state.

        What was there before stays to be found. One record is written by all of them, and is
        there once in the end.
        """
        rows = self.vectors(_WRITERS * _ROUNDS * _ROWS)
        self.write(store, make_batch(rows[:1], [{"stock": 7}], ids=["before"]))

        def write(writer: int) -> None:
            for turn in range(_ROUNDS):
                start = (writer * _ROUNDS + turn) * _ROWS
                ids = [f"w{row:05d}" for row in range(start, start + _ROWS)]
                store.upsert(make_batch(rows[start : start + _ROWS], ids=ids))
                store.upsert(make_batch(rows[start : start + 1], ids=["shared"]))

        def read(_: int) -> None:
            for _turn in range(_ROUNDS):
                assert store.search(rows[:1], k=1)[0]
                assert store.get(["before"])["before"].metadata == {"stock": 7}
                assert [id for part in store.scan() for id in part.ids].count("before") == 1

        with ThreadPoolExecutor(_WRITERS + _READERS) as threads:
            work = [threads.submit(write, writer) for writer in range(_WRITERS)]
            work += [threads.submit(read, reader) for reader in range(_READERS)]
            for future in work:
                future.result()
        self.settle(store)
        assert store.count() == 2 + len(rows)
        found = store.get([f"w{row:05d}" for row in range(len(rows))], vectors=True)
        assert len(found) == len(rows)
        for row, given in enumerate(rows):
            vector = found[f"w{row:05d}"].vector
            assert vector is not None
            np.testing.assert_allclose(vector, given, atol=max(1e-6, self.vector_tolerance))
