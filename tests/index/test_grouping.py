"""Several pictures of one thing: one hit for each."""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np
import pytest

from imagesearch import EmbeddingSpec, ImageIndex, LocalStore, MemoryStore, RecordBatch
from imagesearch.errors import QueryError
from imagesearch.stores.tencent import TencentStore
from imagesearch.testing.tencent_server import TencentServer
from imagesearch.vectors import normalise

FIRST = [1, 0, 0, 0, 0, 0]


class Vectors:
    """An embedder that is never asked: the records have ready vectors."""

    spec = EmbeddingSpec("vectors", 6, normalised=True, fingerprint="1")

    def preprocess(self, image):
        raise AssertionError

    embed = preprocess


def fill(index):
    dice = np.random.default_rng(7)
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


@pytest.fixture(scope="module", params=["memory", "exact", "graph", "tencent"])
def index(request, tmp_path_factory):
    """The same records in every kind of store; to be read only."""
    with ExitStack() as opened:
        match request.param:
            case "memory":
                store = MemoryStore()
            case "exact":
                store = LocalStore(tmp_path_factory.mktemp("exact") / "a.idx", engine="exact")
            case "graph":
                pytest.importorskip("hnswlib")
                path = tmp_path_factory.mktemp("graph") / "a.idx"
                # What was written is in the graph when the index is opened again.
                fill(ImageIndex(embedder=Vectors(), store=graph_at(path))).close()
                store = graph_at(path)
            case "tencent":
                pytest.importorskip("tcvectordb")
                server = opened.enter_context(TencentServer())
                store = TencentStore(
                    url=server.url,
                    key=server.key,
                    database="photos",
                    collection="all",
                    fields={"product": "string", "n": "uint64"},
                )
        index = opened.enter_context(ImageIndex(embedder=Vectors(), store=store))
        yield index if index.count() else fill(index)


def graph_at(path):
    return LocalStore(path, engine="hnswlib", exact_below=20)


def test_in_the_store_with_a_graph_the_graph_answers(tmp_path):
    pytest.importorskip("hnswlib")
    with fill(ImageIndex(embedder=Vectors(), store=graph_at(tmp_path / "a.idx"))) as index:
        index.optimize()
    with ImageIndex(embedder=Vectors(), store=graph_at(tmp_path / "a.idx")) as index:
        assert index.search(vector=FIRST, k=3, group_by="product")
        assert ", graph of " in repr(index.store)


@pytest.fixture
def mixed():
    """An index to which records with any value of `group` can be added."""
    with ImageIndex(embedder=Vectors(), store=MemoryStore()) as index:

        def add(*values):
            angles = np.linspace(0.1, 1.2, len(values), dtype=np.float32)
            vectors = np.zeros((len(values), 6), np.float32)
            vectors[:, 0], vectors[:, 1] = np.cos(angles), np.sin(angles)
            names = tuple(f"{n}" for n in range(len(values)))
            fields = tuple({"group": value} for value in values)
            index.store.upsert(RecordBatch(names, names, names, fields, vectors))
            return index

        yield add


def by_hand(index, query, k, where=lambda n: True):
    groups = {}
    for batch in index.scan(vectors=True):
        for record in batch:
            if where(int(record.id)):
                key = record.metadata.get("product", record.id)
                groups.setdefault(key, []).append(float(record.vector @ query))
    best = {key: max(scores) for key, scores in groups.items()}
    return sorted(best.items(), key=lambda pair: -pair[1])[:k]


@pytest.mark.parametrize("k", [1, 5, 30, 100])
def test_the_best_groups_come_back_one_hit_each(index, k):
    for seed in range(5):
        query = normalise(np.random.default_rng(seed).normal(size=6).astype(np.float32))
        hits = index.search(vector=query, k=k, group_by="product")
        expected = by_hand(index, query, k)
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
    expected = by_hand(index, query, 5, where=lambda n: 200 <= n < 390)
    assert [hit.metadata["product"] for hit in hits] == [name for name, _ in expected]
    few = index.search(vector=query, k=50, group_by="product", min_score=0.8)
    assert 0 < len(few) < 50
    assert all(hit.score >= 0.8 for hit in few)


def test_the_named_record_is_left_out_but_not_its_group(index):
    hits = index.search(id="000", k=3, group_by="product")
    assert hits[0].metadata["product"] == "crowd"
    assert hits[0].id != "000"


def test_equal_values_are_one_group_by_the_rule_of_filters(mixed):
    index = mixed(1, 1.0, True, "1", 2**53, 2.0**53, False, 0, None, None)
    best = index.search(vector=FIRST, group_by="group")
    assert best.ids == ["0", "2", "3", "4", "6", "7", "8", "9"]


def test_equal_lists_and_objects_are_one_group(mixed):
    index = mixed(["a", 1], ["a", 1.0], ["a", True], {"x": 1, "y": [None]}, {"y": [None], "x": 1.0})
    assert index.search(vector=FIRST, group_by="group").ids == ["0", "2", "3"]


@pytest.mark.parametrize("field", [["product"], 5, "", b"product"], ids=str)
def test_a_field_that_is_no_name_is_refused(mixed, field):
    with pytest.raises(QueryError, match="group_by must be text"):
        mixed("a").search(vector=FIRST, group_by=field)
