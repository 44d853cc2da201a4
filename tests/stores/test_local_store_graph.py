"""The graph is a cache: whatever happens to its files, the answers stay."""

from __future__ import annotations

import logging
import time

import numpy as np
import pytest

from imagesearch.errors import UnsupportedOperationError
from imagesearch.filters import Field
from imagesearch.stores.local import LocalStore
from imagesearch.stores.local import _writer as writing
from imagesearch.stores.local._graph_builder import GraphBuilder
from imagesearch.testing.stores._approximate import clustered
from imagesearch.testing.stores._fixtures import make_batch, make_meta

pytest.importorskip("usearch")

DIM = 32
ROWS = 1500
VECTORS, QUERIES = clustered(ROWS, DIM, 30)


def graph_files(path):
    return sorted(file.name for file in path.glob("graph*"))


def open_store(path, **options):
    store = LocalStore(path, **{"engine": "usearch", "exact_below": 200, **options})
    store.open(make_meta(DIM))
    return store


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "photos.idx"
    store = open_store(path)
    store.upsert(make_batch(VECTORS, [{"stock": row % 10} for row in range(ROWS)]))
    store.optimize()
    store.close()
    assert len(graph_files(path)) == 2
    return path


def recall(store, vectors=VECTORS, queries=QUERIES, *, alive=None):
    products = queries @ vectors.T
    if alive is not None:
        products[:, ~alive] = -np.inf
    truth = np.argsort(-products, axis=1)[:, :10]
    found = store.search(queries, k=10)
    return np.mean(
        [
            len({int(hit.id[-5:]) for hit in hits} & set(best.tolist())) / 10
            for hits, best in zip(found, truth, strict=True)
        ]
    )


def searched_by_graph(store):
    return ", graph of " in repr(store)


def wait_for(condition):
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_large_index_that_is_closed_has_its_graph(saved, caplog):
    store = open_store(saved)
    with caplog.at_level(logging.INFO, "imagesearch"):
        assert recall(store) >= 0.98
    assert searched_by_graph(store)
    assert caplog.messages == []
    store.close()


def test_a_saved_graph_is_opened_without_a_word(saved, capfd):
    store = open_store(saved)
    store.search(QUERIES, k=10)
    assert searched_by_graph(store)
    store.close()
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


def test_searching_in_a_new_process_does_not_touch_the_files(saved):
    before = {name: (saved / name).read_bytes() for name in graph_files(saved)}
    store = open_store(saved)
    recall(store)
    store.close()
    assert {name: (saved / name).read_bytes() for name in graph_files(saved)} == before


@pytest.mark.parametrize("target", ["graph.state", "graph-*.usearch"])
@pytest.mark.parametrize(
    "damage", ["missing", "empty", "truncated", "first bytes", "bit flipped", "garbage"]
)
def test_a_damaged_graph_is_built_again(saved, target, damage):
    (file,) = saved.glob(target)
    content = file.read_bytes()
    match damage:
        case "missing":
            file.unlink()
        case "empty":
            file.write_bytes(b"")
        case "truncated":
            file.write_bytes(content[: len(content) * 2 // 3])
        case "first bytes":
            # In the graph's file these are the codes, which are verified beside the searches.
            file.write_bytes(b"?" * 5000 + content[5000:])
        case "bit flipped":
            middle = len(content) // 2
            flipped = bytes([content[middle] ^ 4])
            file.write_bytes(content[:middle] + flipped + content[middle + 1 :])
        case _:
            file.write_bytes(np.random.default_rng(0).bytes(len(content)))
    reader = open_store(saved, read_only=True)
    recall(reader)
    wait_for(lambda: not reader._state.searcher.builder._running.locked())
    assert recall(reader) >= 0.98
    assert not searched_by_graph(reader)
    reader.close()
    store = open_store(saved)
    recall(store)
    store.optimize()
    assert recall(store) >= 0.98
    assert searched_by_graph(store)
    store.close()
    again = open_store(saved)
    assert recall(again) >= 0.98
    assert searched_by_graph(again)
    again.close()
    assert len(graph_files(saved)) == 2


def test_a_graph_of_an_earlier_version_is_built_again(saved, caplog):
    state = saved / "graph.state"
    state.write_bytes(state.read_bytes().replace(b"imagesearch graph 3", b"imagesearch graph 2"))
    store = open_store(saved)
    assert recall(store) >= 0.98
    store.optimize()
    assert recall(store) >= 0.98
    store.close()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert state.read_bytes().startswith(b"imagesearch graph 3")


def test_a_graph_of_other_vectors_is_built_again(saved, tmp_path):
    # As after restoring the database and the vectors from a backup, but not the graph.
    other = tmp_path / "other.idx"
    store = open_store(other)
    store.upsert(make_batch(-VECTORS))
    store.optimize()
    store.close()
    for file in saved.glob("graph*"):
        file.unlink()
    for file in other.glob("graph*"):
        (saved / file.name).write_bytes(file.read_bytes())
    store = open_store(saved)
    assert recall(store) >= 0.98
    store.optimize()
    assert recall(store) >= 0.98
    store.close()


@pytest.mark.parametrize("options", [{"M": 8}, {"engine": "hnswlib"}])
def test_a_graph_of_other_parameters_is_built_again(saved, options):
    pytest.importorskip(options.get("engine", "usearch"))
    store = open_store(saved, **options)
    assert recall(store) >= 0.98
    store.optimize()
    assert recall(store) >= 0.98
    assert searched_by_graph(store)
    store.close()
    assert len(graph_files(saved)) == 2
    again = open_store(saved, **options)
    assert recall(again) >= 0.98
    assert searched_by_graph(again)
    again.close()


def test_a_graph_that_is_behind_is_completed(saved, tmp_path):
    old = {name: (saved / name).read_bytes() for name in graph_files(saved)}
    more, _ = clustered(1200, DIM, 1, seed=7)
    store = open_store(saved)
    store.upsert(make_batch(more[:50], prefix="more"))
    ids = [f"id-{row:05d}" for row in range(0, ROWS, 3)]
    store.delete(ids)
    store.upsert(make_batch(more[50:], prefix="late"))
    store.close()
    for file in saved.glob("graph*"):
        file.unlink()
    for name, content in old.items():
        (saved / name).write_bytes(content)
    again = open_store(saved)
    found = again.search(more, k=1)
    names = [f"more-{row:05d}" for row in range(50)] + [f"late-{row:05d}" for row in range(1150)]
    assert np.mean([hits[0].id == name for hits, name in zip(found, names, strict=True)]) >= 0.98
    gone = set(ids)
    assert not any(hit.id in gone for hits in again.search(VECTORS, k=10) for hit in hits)
    again.close()


def test_new_records_are_found_before_they_are_in_the_graph(saved):
    store = open_store(saved)
    recall(store)
    more, _ = clustered(40, DIM, 1, seed=9)
    for row in range(40):
        store.upsert(make_batch(more[row : row + 1], [{"stock": 99}], prefix=f"new{row}"))
        assert store.search(more[row : row + 1], k=1)[0][0].id == f"new{row}-00000"
    hits = store.search(more[:1], k=40, where=Field("stock") == 99)[0]
    assert len(hits) == 40
    store.close()


def test_a_replaced_vector_is_found_only_where_it_is_now(saved):
    store = open_store(saved)
    recall(store)
    moved = -VECTORS[:100]
    store.upsert(make_batch(moved))
    found = store.search(moved, k=1)
    assert np.mean([hits[0].id == f"id-{row:05d}" for row, hits in enumerate(found)]) >= 0.98
    for row, hits in enumerate(store.search(VECTORS[:100], k=5)):
        scores = {hit.id: hit.score for hit in hits}
        assert scores.get(f"id-{row:05d}", -1) < 0.99
    store.close()


def test_deleting_most_of_it_still_gives_k_hits(saved):
    store = open_store(saved)
    recall(store)
    alive = np.arange(ROWS) % 4 == 0
    assert store.delete([f"id-{row:05d}" for row in np.flatnonzero(~alive)]) == ROWS - alive.sum()
    assert all(len(hits) == 10 for hits in store.search(QUERIES, k=10))
    assert recall(store, alive=alive) >= 0.98
    assert len(store.search(QUERIES[:1], k=1000)[0]) == alive.sum()
    store.close()


def test_the_graph_follows_a_compaction_without_being_built_again(saved, monkeypatch, caplog):
    monkeypatch.setattr(writing, "_WASTE_ROWS", 300)
    alive = np.arange(ROWS) % 5 >= 2
    store = open_store(saved)
    with caplog.at_level(logging.INFO, "imagesearch"):
        store.delete([f"id-{row:05d}" for row in np.flatnonzero(~alive)])
        assert (saved / "vectors-2.f32").exists()
        assert recall(store, alive=alive) >= 0.98
        assert searched_by_graph(store)
        reader = open_store(saved)
        assert recall(reader, alive=alive) >= 0.98
        assert searched_by_graph(reader)
        reader.close()
        store.close()
        again = open_store(saved)
        assert recall(again, alive=alive) >= 0.98
        again.close()
    assert not any("inserting" in message for message in caplog.messages)


def test_a_program_that_only_searches_builds_a_missing_graph_in_the_background(saved):
    for file in saved.glob("graph*"):
        file.unlink()
    store = open_store(saved)
    assert recall(store) >= 0.98
    wait_for(lambda: searched_by_graph(store))
    assert recall(store) >= 0.98
    store.close()
    assert len(graph_files(saved)) == 2


def test_a_read_only_store_never_builds_a_graph_and_names_the_remedy(saved):
    for file in saved.glob("graph*"):
        file.unlink()
    store = open_store(saved, read_only=True)
    assert recall(store) >= 0.98
    assert "optimize" in repr(store)
    with pytest.raises(UnsupportedOperationError):
        store.optimize()
    store.close()
    assert graph_files(saved) == []


def test_a_reader_beside_a_writer_leaves_the_graph_to_it(saved):
    for file in saved.glob("graph*"):
        file.unlink()
    writer = open_store(saved, exact_below=10**6)
    writer.delete(["id-00000"])
    reader = open_store(saved)
    assert recall(reader) >= 0.97
    assert recall(reader) >= 0.97
    assert not searched_by_graph(reader)
    assert not reader._state.searcher.builder._running.locked()
    reader.close()
    writer.close()
    assert graph_files(saved) == []


def test_a_reader_uses_what_a_writer_has_saved_meanwhile(saved, monkeypatch):
    monkeypatch.setattr(GraphBuilder, "tail", 100)
    reader = open_store(saved, read_only=True)
    recall(reader)
    more, _ = clustered(600, DIM, 1, seed=5)
    writer = open_store(saved)
    writer.upsert(make_batch(more, prefix="more"))
    assert reader.search(more[:1], k=1)[0][0].id == "more-00000"
    writer.optimize()
    writer.close()
    found = reader.search(more, k=1)
    assert np.mean([hits[0].id == f"more-{row:05d}" for row, hits in enumerate(found)]) >= 0.98
    assert "graph of 2100 nodes" in repr(reader)
    reader.close()


def test_a_graph_that_cannot_be_saved_is_no_failure(tmp_path, caplog):
    path = tmp_path / "photos.idx"
    store = open_store(path)
    store.upsert(make_batch(VECTORS))
    (path / "graph.state").mkdir()
    store.optimize()
    assert searched_by_graph(store)
    store.close()
    assert "was not saved" in caplog.text
    (path / "graph.state").rmdir()
    again = open_store(path)
    assert recall(again) >= 0.98
    again.close()


@pytest.mark.parametrize("metric", ["dot", "l2"])
def test_other_metrics_find_what_they_should(tmp_path, metric):
    lengths = np.random.default_rng(1).uniform(0.5, 2, (ROWS, 1)).astype(np.float32)
    vectors = VECTORS * lengths
    store = LocalStore(tmp_path / "photos.idx", exact_below=200)
    store.open(make_meta(DIM, metric))
    store.upsert(make_batch(vectors))
    store.optimize()
    table = QUERIES @ vectors.T
    if metric == "l2":
        table -= (vectors**2).sum(axis=1) / 2
    truth = np.argsort(-table, axis=1)[:, :10]
    shares = [
        len({int(hit.id[-5:]) for hit in hits} & set(best.tolist())) / 10
        for hits, best in zip(store.search(QUERIES, k=10), truth, strict=True)
    ]
    assert np.mean(shares) >= 0.98
    assert searched_by_graph(store)
    store.close()


@pytest.mark.parametrize("k", [1, 10, 120, 700])
@pytest.mark.parametrize("stock", [1, 3, 6])
def test_a_filter_over_the_graph_gives_every_hit_there_is(saved, k, stock):
    store = open_store(saved)
    matching = sum(row % 10 < stock for row in range(ROWS))
    for hits in store.search(QUERIES[:5], k=k, where=Field("stock") < stock):
        assert len(hits) == min(k, matching)
        assert all(hit.metadata["stock"] < stock for hit in hits)
    store.close()


def test_recall_holds_on_data_without_any_clusters(tmp_path):
    random = np.random.default_rng(0)
    vectors = random.normal(size=(3000, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    queries = random.normal(size=(100, DIM)).astype(np.float32)
    store = open_store(tmp_path / "photos.idx")
    store.upsert(make_batch(vectors))
    store.optimize()
    assert recall(store, vectors, queries) >= 0.98
    assert searched_by_graph(store)
    store.close()
