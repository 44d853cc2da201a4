"""Several pictures of one thing: one hit for each."""

from __future__ import annotations

import numpy as np
import pytest

from imagesearch import EmbeddingSpec, ImageIndex, MemoryStore, RecordBatch
from imagesearch.errors import QueryError
from imagesearch.vectors import normalise


class Vectors:
    """An embedder that is never asked: the records have ready vectors."""

    spec = EmbeddingSpec("vectors", 6, normalised=True, fingerprint="1")

    def preprocess(self, image):
        raise AssertionError

    embed = preprocess


@pytest.fixture
def index():
    dice = np.random.default_rng(7)
    index = ImageIndex(embedder=Vectors(), store=MemoryStore())
    vectors = normalise(dice.normal(size=(400, 6)).astype(np.float32))
    # One product has most of the pictures, so that plain search shows little else.
    vectors[:150] = normalise(vectors[:1] + 0.05 * vectors[:150])
    products = ["crowd"] * 150 + [f"p{dice.integers(0, 60)}" for _ in range(240)] + [None] * 10
    index.store.upsert(
        RecordBatch(
            tuple(f"{n:03}" for n in range(400)),
            tuple(f"/{n}.jpg" for n in range(400)),
            ("",) * 400,
            tuple({} if p is None else {"product": p, "n": n} for n, p in enumerate(products)),
            vectors,
        )
    )
    return index


def by_hand(index, query, k, how, where=lambda n: True):
    groups = {}
    for batch in index.scan(vectors=True):
        for record in batch:
            if where(int(record.id)):
                key = record.metadata.get("product", record.id)
                groups.setdefault(key, []).append(float(record.vector @ query))
    rank = {key: max(s) if how == "best" else sum(s) / len(s) for key, s in groups.items()}
    return sorted(rank.items(), key=lambda pair: -pair[1])[:k]


@pytest.mark.parametrize("how", ["best", "mean"])
@pytest.mark.parametrize("k", [1, 5, 30, 100])
def test_the_best_groups_come_back_one_hit_each(index, how, k):
    for seed in range(5):
        query = normalise(np.random.default_rng(seed).normal(size=6).astype(np.float32))
        hits = index.search(vector=query, k=k, group_by="product", group_score=how)
        expected = by_hand(index, query, k, how)
        names = [hit.metadata.get("product", hit.id) for hit in hits]
        assert names == [name for name, _ in expected]
        np.testing.assert_allclose([hit.score for hit in hits], [s for _, s in expected], atol=1e-5)


def test_a_crowded_group_does_not_crowd_out_the_others(index):
    query = index.get("000", vectors=True)["000"].vector
    assert {h.metadata["product"] for h in index.search(vector=query, k=10)} == {"crowd"}
    hits = index.search(vector=query, k=10, group_by="product")
    assert len({hit.metadata.get("product", hit.id) for hit in hits}) == 10


def test_filters_and_scores_apply_to_groups(index):
    query = index.get("200", vectors=True)["200"].vector
    hits = index.search(vector=query, k=5, group_by="product", where="n >= 200")
    expected = by_hand(index, query, 5, "best", where=lambda n: 200 <= n < 390)
    assert [hit.metadata["product"] for hit in hits] == [name for name, _ in expected]
    few = index.search(vector=query, k=50, group_by="product", min_score=0.8)
    assert 0 < len(few) < 50
    assert all(hit.score >= 0.8 for hit in few)


def test_the_named_record_is_left_out_but_not_its_group(index):
    hits = index.search(id="000", k=3, group_by="product")
    assert hits[0].metadata["product"] == "crowd"
    assert hits[0].id != "000"


def test_an_unknown_way_to_score_groups_is_refused(index):
    with pytest.raises(QueryError, match="best"):
        index.search(id="000", group_by="product", group_score="sum")
