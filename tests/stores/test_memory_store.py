from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from imagesearch.stores.memory import MemoryStore
from imagesearch.testing import VectorStoreConformance
from imagesearch.testing.stores._fixtures import make_batch, make_meta


class TestMemoryStore(VectorStoreConformance):
    def make_store(self, place):
        return MemoryStore()


def test_the_repr_says_how_many_records_there_are():
    store = MemoryStore()
    assert repr(store) == "<MemoryStore: not open>"
    store.open(make_meta(4))
    store.upsert(make_batch(np.eye(4, dtype=np.float32)))
    assert repr(store) == "<MemoryStore: 4 records>"


def test_threads_may_search_while_another_writes():
    store = MemoryStore()
    store.open(make_meta(8))
    vectors = np.random.default_rng(0).normal(size=(400, 8)).astype(np.float32)

    def search():
        return [len(hits) for _ in range(50) for hits in store.search(vectors[:3], k=5)]

    with ThreadPoolExecutor(3) as pool:
        searches = [pool.submit(search) for _ in range(3)]
        for first in range(0, 400, 20):
            store.upsert(make_batch(vectors[first : first + 20], prefix=str(first)))
    assert all(found <= 5 for search in searches for found in search.result())
    assert store.count() == 400
