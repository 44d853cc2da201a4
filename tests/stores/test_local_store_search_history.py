"""Whatever was added, replaced, deleted and compacted before: a search finds what is nearest."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from imagesearch.filters import Field
from imagesearch.stores.local import LocalStore
from imagesearch.stores.local import _writer as writing
from imagesearch.stores.local._graph_builder import GraphBuilder
from imagesearch.testing.stores._approximate import clustered
from imagesearch.testing.stores._fixtures import make_batch, make_meta, unit

pytest.importorskip("usearch")

DIM = 16


@pytest.fixture
def store(tmp_path):
    store = open_store(tmp_path / "photos.idx")
    yield store
    store.close()


def open_store(path, **options):
    store = LocalStore(path, engine="usearch", exact_below=200, **options)
    store.open(make_meta(DIM))
    return store


def ids_of(prefix, rows):
    return [f"{prefix}-{row:05d}" for row in range(rows)]


def share_that_finds_itself(store, vectors, ids):
    found = store.search(vectors, k=1)
    return np.mean([hits[0].id == id for hits, id in zip(found, ids, strict=True)])


def test_a_filter_finds_old_records_after_new_ones_were_added(store):
    random = np.random.default_rng(0)
    centres = unit(random.normal(size=(2, DIM)))
    labels = np.arange(3000) % 2
    vectors = unit(centres[labels] + 0.3 * random.normal(size=(3000, DIM)))
    fields = [{"label": "dog" if label else "cat"} for label in labels]
    store.upsert(make_batch(vectors[:2600], fields[:2600]))
    store.optimize()
    store.upsert(make_batch(vectors[2600:], fields[2600:], ids=ids_of("id", 3000)[2600:]))
    queries = unit(centres[0] + 0.3 * random.normal(size=(30, DIM)))
    answers = store.search(queries, k=10, where=Field("label") == "dog")
    table = np.where(labels == 1, queries @ vectors.T, -np.inf)
    truth = np.argsort(-table, axis=1)[:, :10]
    recall = np.mean(
        [
            len({int(hit.id[-5:]) for hit in hits} & set(best.tolist())) / 10
            for hits, best in zip(answers, truth, strict=True)
        ]
    )
    assert recall >= 0.98


def test_updated_records_are_found_after_a_compaction_in_the_same_program(store, tmp_path):
    vectors, _ = clustered(2400, DIM, 1)
    store.upsert(make_batch(vectors))
    store.optimize()
    moved, _ = clustered(1300, DIM, 1, seed=4)
    store.upsert(make_batch(moved[:500]))
    store.upsert(make_batch(moved[500:1300], ids=ids_of("id", 2400)[500:1300]))
    assert (tmp_path / "photos.idx" / "vectors-2.f32").exists()
    assert share_that_finds_itself(store, moved, ids_of("id", 1300)) >= 0.98


def test_new_records_are_found_after_a_deletion_that_compacts(store, tmp_path):
    vectors, _ = clustered(2400, DIM, 1)
    store.upsert(make_batch(vectors))
    store.optimize()
    more, _ = clustered(100, DIM, 1, seed=4)
    store.upsert(make_batch(more, prefix="new"))
    store.optimize()
    store.delete(ids_of("id", 1400))
    assert (tmp_path / "photos.idx" / "vectors-2.f32").exists()
    assert share_that_finds_itself(store, more, ids_of("new", 100)) >= 0.98


def test_a_search_that_began_before_an_update_finds_the_old_record(store):
    # A scan holds its state of the index, as a search does that is slower than the update.
    vectors, queries = clustered(2000, DIM, 1)
    store.upsert(make_batch(vectors))
    opened = store._state
    with opened.reading() as (_, before):
        store.upsert(make_batch(-vectors[:900]))
        store.search(queries, k=1)
        found = list(opened.searcher.find(vectors[:900], before, 1, None))
    assert np.mean([row in rows for row, (rows, _) in enumerate(found)]) >= 0.98
    assert all(len(set(rows.tolist())) == len(rows) for rows, _ in found)


def copies_and_others(copies, others, spread):
    """Return vectors that are (nearly) equal, others around centres, and queries near those."""
    random = np.random.default_rng(3)
    chosen = unit(random.normal(size=(1, DIM)))
    equal = unit(chosen + spread * random.normal(size=(copies, DIM)))
    return np.repeat(equal[:1], copies, axis=0) if not spread else equal, *clustered(
        others, DIM, 50
    )


def require_found(store, vectors, others, queries, ids):
    assert share_that_finds_itself(store, others[::4], ids[::4]) >= 0.98
    kth = np.sort(queries @ vectors.T, axis=1)[:, -10]
    found = store.search(queries, k=10)
    shares = [
        np.mean([hit.score >= best - 1e-6 for hit in hits])
        for hits, best in zip(found, kth, strict=True)
    ]
    assert np.mean(shares) >= 0.98


@pytest.mark.parametrize("spread", [0, 1e-5])
@pytest.mark.parametrize("first", ["copies", "others", "mixed"])
@pytest.mark.parametrize("others", [40, 900])
def test_many_equal_vectors_hide_no_others(tmp_path, spread, first, others):
    copies, different, queries = copies_and_others(2500, others, spread)
    path = tmp_path / "photos.idx"
    store = open_store(path)
    match first:
        case "copies":
            store.upsert(make_batch(copies, prefix="copy"))
            store.optimize()
            store.upsert(make_batch(different, prefix="other"))
        case "others":
            store.upsert(make_batch(different, prefix="other"))
            store.optimize()
            for part in range(0, len(copies), 1250):
                ids = ids_of("copy", len(copies))[part : part + 1250]
                store.upsert(make_batch(copies[part : part + 1250], ids=ids))
                store.optimize()
        case _:
            ids = ids_of("copy", len(copies)) + ids_of("other", others)
            mixed = np.random.default_rng(0).permutation(len(ids))
            vectors = np.concatenate([copies, different])[mixed]
            store.upsert(make_batch(vectors, ids=[ids[row] for row in mixed]))
    everything = np.concatenate([copies, different])
    store.optimize()
    require_found(store, everything, different, queries, ids_of("other", others))
    store.delete(ids_of("copy", 1200))
    everything = everything[1200:]
    require_found(store, everything, different, queries, ids_of("other", others))
    store.close()
    store = open_store(path)
    require_found(store, everything, different, queries, ids_of("other", others))
    store.close()


def test_many_nearly_equal_vectors_are_no_reason_to_scan_everything(store):
    copies, others, _ = copies_and_others(2500, 900, 1e-5)
    mixed = np.random.default_rng(0).permutation(3400)
    store.upsert(make_batch(np.concatenate([copies, others])[mixed]))
    store.optimize()
    assert "graph of 901 nodes, ef=" in repr(store)
    assert "ef=-1" not in repr(store)


def test_deleting_and_updating_one_of_many_equal_vectors_keeps_the_others(store):
    copies, others, _ = copies_and_others(600, 600, 0)
    store.upsert(make_batch(np.concatenate([copies, others])))
    query = copies[:1]
    store.optimize()
    assert [hit.id for hit in store.search(query, k=3)[0]] == ids_of("id", 3)
    assert "graph of 601 nodes" in repr(store)
    store.delete(["id-00000"])
    store.upsert(make_batch(-query, ids=["id-00001"]))
    assert [hit.id for hit in store.search(query, k=3)[0]] == ids_of("id", 5)[2:]
    assert store.search(-query, k=1)[0][0].id == "id-00001"
    hits = store.search(query, k=650)[0]
    assert {hit.id for hit in hits[:598]} == set(ids_of("id", 600)[2:])
    assert len({hit.id for hit in hits}) == 650


def test_a_vector_that_was_deleted_everywhere_is_found_when_it_comes_back(store, monkeypatch):
    monkeypatch.setattr(GraphBuilder, "tail", 0)
    copies, others, _ = copies_and_others(50, 600, 0)
    store.upsert(make_batch(others))
    for round in range(5):
        store.upsert(make_batch(copies, prefix=f"copy{round}"))
        store.optimize()
        assert store.search(copies[:1], k=1)[0][0].id == f"copy{round}-00000"
        store.delete(ids_of(f"copy{round}", 50))
        assert store.search(copies[:1], k=1)[0][0].score < 0.999
    assert "graph of 601 nodes" in repr(store)


def test_copies_under_a_filter_are_all_found(store):
    copies, others, _ = copies_and_others(1000, 1000, 0)
    fields = [{"stock": row % 2} for row in range(2000)]
    store.upsert(make_batch(np.concatenate([copies, others]), fields))
    store.optimize()
    for k in (3, 500, 700):
        hits = store.search(copies[:1], k=k, where=Field("stock") == 1)[0]
        odd = [id for id in ids_of("id", 1000) if int(id[-1]) % 2]
        assert [hit.id for hit in hits][:500] == odd[:k]
        assert len(hits) == k


@pytest.mark.parametrize("metric", ["dot", "l2"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_many_equal_vectors_hide_no_others_under_other_metrics(tmp_path, metric, dtype):
    copies, others, _ = copies_and_others(2000, 300, 0)
    store = LocalStore(tmp_path / "photos.idx", engine="usearch", exact_below=200, dtype=dtype)
    store.open(make_meta(DIM, metric))
    store.upsert(make_batch(copies, prefix="copy"))
    store.upsert(make_batch(3 * others, prefix="other"))
    store.optimize()
    assert share_that_finds_itself(store, 3 * others, ids_of("other", 300)) >= 0.98
    assert "graph of 301 nodes" in repr(store)
    store.close()


class Model:
    """What the store should hold, searched exactly."""

    def __init__(self):
        self.records = {}
        self.latest = []
        self.shares = {"written last": [], "old": [], "outside": []}

    def table(self, stock=None):
        ids = [id for id, (_, kind) in self.records.items() if stock is None or kind == stock]
        return ids, np.array([self.records[id][0] for id in ids]).reshape(-1, DIM)

    def write(self, store, ids, vectors):
        # Where a vector lies decides what a filter says of it: the nearest often do not match.
        kinds = np.count_nonzero(np.asarray(vectors)[:, :2] > 0, axis=1)
        store.upsert(make_batch(vectors, [{"stock": int(kind)} for kind in kinds], ids=ids))
        for id, vector, kind in zip(ids, vectors, kinds, strict=True):
            self.records[id] = vector, int(kind)
        self.latest = ids

    def delete(self, store, ids):
        assert store.delete(ids) == len(ids)
        for id in ids:
            del self.records[id]

    def compare(self, store, random):
        """Search, and note which share of the hits is as near as the nearest."""
        stock = int(random.integers(3)) if random.random() < 0.4 else None
        ids, vectors = self.table(stock)
        if not ids:
            return
        latest = [self.records[id][0] for id in self.latest[:10] if id in self.records]
        queries = {
            "written last": latest,
            "old": vectors[random.integers(len(vectors), size=10)],
            "outside": clustered(10, DIM, 10, seed=int(random.integers(50)))[1],
        }
        k = int(random.choice([1, 10]))
        where = None if stock is None else Field("stock") == stock
        for kind, some in queries.items():
            for query, hits in zip(some, store.search(some, k=k, where=where), strict=True):
                products = dict(zip(ids, (vectors.astype(float) @ query).tolist(), strict=True))
                kth = sorted(products.values())[-min(k, len(ids))]
                assert len(hits) == len({hit.id for hit in hits}) == min(k, len(ids))
                share = np.mean([products[hit.id] >= kth - 1e-6 for hit in hits])
                self.shares[kind].append(share)


def vectors_at_random(random):
    """Return new images, copies of one placeholder, or images that differ by next to nothing."""
    rows = int(random.integers(1, 120))
    placeholders = unit(np.random.default_rng(7).normal(size=(3, DIM)))
    chosen = placeholders[random.integers(3)]
    match random.integers(4):
        case 0:
            return np.tile(chosen, (rows, 1))
        case 1:
            return unit(chosen + 1e-5 * random.normal(size=(rows, DIM)))
        case _:
            return clustered(rows, DIM, 1, seed=int(random.integers(50)))[0]


@pytest.mark.parametrize("seed", range(4))
def test_after_any_history_searches_agree_with_an_exact_scan(tmp_path, monkeypatch, seed):
    monkeypatch.setattr(writing, "_WASTE_ROWS", 150)
    monkeypatch.setattr(GraphBuilder, "tail", 60)
    random = np.random.default_rng(seed)
    path = tmp_path / "photos.idx"
    store, model, generations = open_store(path), Model(), set()
    reader = open_store(path, read_only=True)
    steps = {"add": 0.45, "update": 0.25, "delete": 0.2, "reopen": 0.05, "optimize": 0.05}
    for step in range(100):
        known = list(model.records)
        match random.choice(list(steps), p=list(steps.values())):
            case "add":
                vectors = vectors_at_random(random)
                model.write(store, [f"{step}-{row}" for row in range(len(vectors))], vectors)
            case "update" if known:
                vectors = vectors_at_random(random)[: len(known)]
                ids = random.choice(known, len(vectors), replace=False).tolist()
                model.write(store, ids, vectors)
            case "delete" if known:
                model.delete(store, random.choice(known, min(len(known), 60), False).tolist())
            case "optimize":
                store.optimize()
            case "reopen":
                store.close()
                store = open_store(path)
        for searched in (store, reader):
            if random.random() < 0.4:
                model.compare(searched, random)
        generations |= {file.name for file in path.glob("vectors-*")}
    store.close()
    reader.close()
    assert len(generations) > 2
    assert {kind: np.mean(shares) >= 0.98 for kind, shares in model.shares.items()} == {
        "written last": True,
        "old": True,
        "outside": True,
    }


def test_records_that_nobody_changes_are_found_in_every_thread_while_others_change(
    store, monkeypatch
):
    monkeypatch.setattr(writing, "_WASTE_ROWS", 300)
    monkeypatch.setattr(GraphBuilder, "tail", 100)
    vectors, _ = clustered(1200, DIM, 1)
    store.upsert(make_batch(vectors[:400], prefix="fixed"))
    store.upsert(make_batch(vectors[400:], prefix="moving"))
    store.optimize()
    fixed = ids_of("fixed", 400)
    done, shares, sizes = threading.Event(), [], []

    def search():
        random = np.random.default_rng(0)
        while not done.is_set():
            rows = random.integers(400, size=30)
            found = store.search(vectors[rows], k=int(random.choice([1, 10])))
            sizes.extend(len({hit.id for hit in hits}) - len(hits) for hits in found)
            shares.append(
                np.mean([hits[0].id == fixed[row] for row, hits in zip(rows, found, strict=True)])
            )

    with ThreadPoolExecutor(3) as pool:
        searches = [pool.submit(search) for _ in range(3)]
        try:
            for step in range(25):
                moved, _ = clustered(60, DIM, 1, seed=step)
                ids = [f"moving-{row:05d}" for row in range(step * 30, step * 30 + 60)]
                store.upsert(make_batch(moved, ids=ids))
                assert share_that_finds_itself(store, moved, ids) >= 0.95
        finally:
            done.set()
        for one in searches:
            one.result()
    assert not any(sizes)
    assert np.mean(shares) >= 0.98


@pytest.mark.parametrize(("metric", "size"), [("dot", 1e-5), ("l2", 1e-4)])
def test_vectors_far_shorter_than_one_are_found(tmp_path, metric, size):
    random = np.random.default_rng(0)
    vectors = (size * random.normal(size=(4000, 64))).astype(np.float32)
    queries = (size * random.normal(size=(60, 64))).astype(np.float32)
    store = LocalStore(tmp_path / "short.idx", engine="usearch", exact_below=200)
    store.open(make_meta(64, metric=metric))
    store.upsert(make_batch(vectors))
    store.optimize()
    found = store.search(queries, k=10)
    store.close()
    difference = queries[:, None].astype(np.float64) - vectors
    table = (
        queries.astype(np.float64) @ vectors.T
        if metric == "dot"
        else -np.einsum("qvd,qvd->qv", difference, difference)
    )
    best = np.argsort(-table, axis=1)[:, :10]
    shares = [
        len({int(hit.id[-5:]) for hit in hits} & set(rows.tolist())) / 10
        for hits, rows in zip(found, best, strict=True)
    ]
    assert np.mean(shares) >= 0.98


@pytest.mark.parametrize("metric", ["dot", "l2"])
def test_vectors_whose_squares_overflow_can_be_optimized(tmp_path, metric):
    vectors = (1e30 * np.random.default_rng(0).normal(size=(1000, DIM))).astype(np.float32)
    store = LocalStore(tmp_path / "long.idx", engine="usearch", exact_below=200)
    store.open(make_meta(DIM, metric=metric))
    store.upsert(make_batch(vectors))
    store.optimize()
    best = (vectors[:20].astype(np.float64) @ vectors.T).argmax(axis=1)
    expected = best if metric == "dot" else np.arange(20)
    assert [int(hits[0].id[-5:]) for hits in store.search(vectors[:20], k=1)] == expected.tolist()
    store.close()
