"""ANN recall is measured against scores that are computed beside the store."""

from __future__ import annotations

import numpy as np
import pytest

from imagesearch import EmbeddingSpec, ImageIndex, IndexMeta, MemoryStore, Query, RecordBatch
from imagesearch.evaluation import ann_recall


class Forgetful(MemoryStore):
    """A store whose search misses the best hit, as a graph may."""

    def search(self, vectors, *, k, where=None):
        return [hits[1:] for hits in super().search(vectors, k=k + 1, where=where)]


def filled(store, vectors, metric="cosine"):
    store.open(IndexMeta(EmbeddingSpec("mine", vectors.shape[1], False, "v1"), metric))
    count = len(vectors)
    ids = tuple(f"{number:03}" for number in range(count))
    store.upsert(
        RecordBatch(ids, ids, ("",) * count, tuple({"n": n} for n in range(count)), vectors)
    )
    return ImageIndex(store=store)


def vectors(count, seed=1):
    return np.random.default_rng(seed).normal(size=(count, 8)).astype(np.float32)


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.parametrize("batch_size", [7, 1000])
def test_an_exact_store_finds_all(metric, batch_size):
    index = filled(MemoryStore(), vectors(50), metric)
    queries = [Query.vector(vector) for vector in vectors(300, seed=2)]
    recalls = ann_recall(index, queries, k=10, batch_size=batch_size)
    assert recalls.shape == (300,)
    assert (recalls == 1.0).all()


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_what_a_store_misses_is_counted(metric):
    index = filled(Forgetful(), vectors(50), metric)
    recalls = ann_recall(index, [Query.vector(vector) for vector in vectors(9, seed=2)], k=10)
    assert recalls == pytest.approx(np.full(9, 0.9))


def test_a_tie_with_the_last_neighbour_counts_as_found():
    same = np.ones((20, 4), np.float32)
    index = filled(Forgetful(), same)
    assert ann_recall(index, [Query.vector(same[0])], k=5, batch_size=3).tolist() == [1.0]


def test_fewer_records_than_k_can_all_be_found():
    index = filled(MemoryStore(), vectors(3))
    assert ann_recall(index, [Query.vector(vectors(1)[0])], k=10).tolist() == [1.0]
    lossy = filled(Forgetful(), vectors(3))
    assert ann_recall(lossy, [Query.vector(vectors(1)[0])], k=10).tolist() == [2 / 3]


def test_filtered_search_is_compared_with_a_filtered_scan():
    index = filled(MemoryStore(), vectors(50))
    query = [Query.vector(vectors(1, seed=3)[0])]
    assert ann_recall(index, query, k=10, where="n < 20").tolist() == [1.0]
    assert ann_recall(index, query, k=10, where="n > 99").tolist() == [1.0]
    assert ann_recall(index, [], k=10).tolist() == []
