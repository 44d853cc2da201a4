"""The exact scan against a full sort in float64, through every way of reading rows."""

from __future__ import annotations

import numpy as np
import pytest

from imagesearch import Field, LocalStore, MemoryStore, RecordBatch
from imagesearch.stores import _blocks as blocks
from imagesearch.stores._ranking import exact_scores
from imagesearch.stores.local import _snapshot as snapshot
from imagesearch.types import EmbeddingSpec, IndexMeta
from imagesearch.vectors import unit_or_as_is

_ROWS, _DIM = 700, 12
_FILTERS = {
    "all": None,
    "most": Field("x") > 1,
    "every tenth, scattered": Field("x") == 3,
    "a stretch": Field("year") == 2,
    "one": Field("x") == -1,
    "none": Field("x") == 99,
}


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(blocks, "_PIECE_BYTES", 4 * _DIM * 32)
    monkeypatch.setattr(blocks, "_THREADED_BYTES", 4 * _DIM * 64)
    monkeypatch.setattr(blocks, "_threads", lambda: 3)
    monkeypatch.setattr(snapshot, "_BLOCK_ROWS", 256)


def filled(store, metric, scale):
    store.open(IndexMeta(EmbeddingSpec("scan", _DIM, metric == "cosine", "v1"), metric=metric))
    random = np.random.default_rng(0)
    vectors = random.standard_normal((_ROWS, _DIM)).astype(np.float32) * np.float32(scale)
    # Equal vectors on both sides of every border, and nearly equal ones.
    vectors[5::97] = vectors[5]
    vectors[6::97] = vectors[5] * (1 + random.standard_normal((len(vectors[6::97]), 1)) * 3e-7)
    fields = [{"x": row % 10, "year": row * 8 // _ROWS} for row in range(_ROWS)]
    fields[123]["x"] = -1
    for first in range(0, _ROWS, 100):
        numbers = range(first, first + 100)
        store.upsert(
            RecordBatch(
                tuple(f"id-{number:03}" for number in numbers),
                ("",) * 100,
                ("",) * 100,
                tuple(fields[first : first + 100]),
                vectors[first : first + 100],
            )
        )
    store.delete([f"id-{number:03}" for number in range(0, _ROWS, 37)])
    return random.standard_normal((5, _DIM)).astype(np.float32) * np.float32(scale)


def full_sort(store, query, metric, where, k):
    records = [record for part in store.scan(where=where, vectors=True) for record in part]
    if not records:
        return []
    vectors = np.stack([record.vector for record in records])
    if metric == "cosine":
        query = unit_or_as_is(query[None])[0]
    scores = exact_scores(query, vectors, metric)
    pairs = sorted((-score, record.id) for score, record in zip(scores, records, strict=True))
    return [(id, -score) for score, id in pairs[:k]]


@pytest.mark.parametrize("where", _FILTERS.values(), ids=_FILTERS.keys())
@pytest.mark.parametrize(
    ("dtype", "metric", "scale"),
    [
        ("float32", "cosine", 1),
        ("float32", "dot", 1),
        ("float32", "l2", 1),
        ("float32", "dot", 1e19),
        ("float32", "l2", 1e19),
        ("float16", "cosine", 1),
        ("float16", "dot", 1e4),
        ("float16", "l2", 1e-3),
        ("int8", "cosine", 1),
        ("memory", "cosine", 1),
        ("memory", "l2", 1e19),
    ],
)
def test_the_scan_finds_what_a_full_sort_finds(tmp_path, dtype, metric, scale, where):
    store = (
        MemoryStore()
        if dtype == "memory"
        else LocalStore(tmp_path / "a.idx", engine="exact", dtype=dtype)
    )
    queries = filled(store, metric, scale)
    stored = next(iter(store.get(["id-005"], vectors=True).values())).vector
    for k in (1, 9, 40):
        for query in (*queries, stored):
            hits = store.search(query[None], k=k, where=where)[0]
            assert [(hit.id, hit.score) for hit in hits] == full_sort(
                store, query, metric, where, k
            )
        together = store.search(queries, k=k, where=where)
        assert together == [store.search(query[None], k=k, where=where)[0] for query in queries]
    store.close()


def test_lengths_are_kept_for_the_next_version_of_the_index(tmp_path):
    store = LocalStore(tmp_path / "a.idx", engine="exact", dtype="int8")
    queries = filled(store, "cosine", 1)
    before = store.search(queries, k=5)
    store.upsert(RecordBatch(("new",), ("",), ("",), ({},), np.ones((1, _DIM), np.float32)))
    assert store.search(np.ones((1, _DIM), np.float32), k=1)[0][0].id == "new"
    store.delete(["new"])
    assert store.search(queries, k=5) == before
    store.close()


def test_products_below_the_normal_range_of_float32_are_ranked(tmp_path):
    random = np.random.default_rng(0)
    vectors = (1e-23 * random.normal(size=(2000, 64))).astype(np.float32)
    queries = (1e-23 * random.normal(size=(20, 64))).astype(np.float32)
    ids = tuple(f"id-{number:05d}" for number in range(len(vectors)))
    store = LocalStore(tmp_path / "a.idx", engine="exact")
    store.open(IndexMeta(EmbeddingSpec("short", 64, False, "v1"), "dot"))
    store.upsert(RecordBatch(ids, ids, ("",) * len(ids), ({},) * len(ids), vectors))
    answers = store.search(queries, k=10)
    store.close()
    for query, hits in zip(queries, answers, strict=True):
        best = np.argsort(-exact_scores(query, vectors, "dot"))[:10]
        assert [hit.id for hit in hits] == [ids[row] for row in best]
