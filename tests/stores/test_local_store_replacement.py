"""An index that is replaced while it is open: every answer comes from one index."""

from __future__ import annotations

import shutil
import threading

import numpy as np
import pytest

from imagesearch.errors import (
    IncompatibleIndexError,
    StoreError,
    StoreUnavailableError,
    UnsupportedOperationError,
)
from imagesearch.filters import Field
from imagesearch.stores.local import LocalStore
from imagesearch.testing.stores._fixtures import make_batch, make_meta, unit

DIM = 16
ROWS = 60
META = make_meta(DIM)
DTYPES = ("float32", "float16", "int8")


def vectors_of(name, rows=ROWS):
    return unit(np.random.default_rng(ord(name)).normal(size=(rows, DIM)))


def build(path, name, *, rows=ROWS, dtype="float32", meta=META, deleted=0):
    """An index whose ids say which vectors they have."""
    store = LocalStore(path, dtype=dtype)
    store.open(meta)
    fields = [{"index": name, "row": row} for row in range(rows)]
    ids = [f"{name}-{row}" for row in range(rows)]
    store.upsert(make_batch(vectors_of(name, rows), fields, ids=ids))
    store.delete(ids[:deleted])
    store.close()


def opened(path, **options):
    store = LocalStore(path, **options)
    store.open(META)
    return store


def require_one_index(records, rows=ROWS):
    """Every record has its own vector, and all are of one index; returns its name."""
    names = {record.id[0] for record in records}
    assert len(names) <= 1
    name = names.pop() if names else "a"
    vectors = vectors_of(name, rows)
    for record in records:
        assert record.metadata["index"] == name
        assert vectors[int(record.id[2:])] @ record.vector > 0.99
    return name


def require_right_hits(store):
    for name in "ab":
        [hits] = store.search(vectors_of(name)[5:6], k=3)
        assert len({hit.id[0] for hit in hits}) <= 1
        for hit in hits:
            assert hit.metadata["index"] == hit.id[0]
            expected = float(vectors_of(hit.id[0])[int(hit.id[2:])] @ vectors_of(name)[5])
            assert hit.score == pytest.approx(expected, abs=0.02)


def swap_by_link(link, target):
    draft = link.with_name("draft")
    draft.symlink_to(target)
    draft.replace(link)


def swap_by_name(path, name, folder):
    path.rename(folder / "previous")
    (folder / name).rename(path)
    (folder / "previous").rename(folder / ("a" if name == "b" else "b"))


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_reader_goes_over_to_the_index_that_a_link_leads_to_now(tmp_path, dtype, read_only):
    build(tmp_path / "a", "a", dtype=dtype)
    build(tmp_path / "b", "b", dtype=dtype)
    link = tmp_path / "photos.idx"
    link.symlink_to("a")
    store = opened(link, read_only=read_only)
    assert (
        require_one_index(list(store.get([f"a-{row}" for row in range(9)], vectors=True).values()))
        == "a"
    )
    swap_by_link(link, "b")
    assert store.get(["a-1"]) == {}
    assert [hits[0].id for hits in store.search(vectors_of("b"), k=1)] == [
        f"b-{row}" for row in range(ROWS)
    ]
    assert store.count(Field("index") == "b") == ROWS
    store.close()


@pytest.mark.parametrize("renamed", [True, False], ids=["renamed", "rebuilt"])
def test_a_reader_goes_over_to_an_index_that_took_the_name(tmp_path, renamed):
    path = tmp_path / "photos.idx"
    build(path, "a")
    store = opened(path)
    assert store.count() == ROWS
    if renamed:
        build(tmp_path / "b", "b", rows=80)
        path.rename(tmp_path / "old")
        (tmp_path / "b").rename(path)
    else:
        shutil.rmtree(path)
        build(path, "b", rows=80)
    assert store.count() == 80
    [batch] = store.scan(vectors=True)
    assert require_one_index(list(batch), rows=80) == "b"
    store.upsert(make_batch(vectors_of("c", 3), prefix="later"))
    assert store.count() == 83
    store.close()
    again = opened(path)
    assert again.count() == 83
    again.close()


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_answer_mixes_two_indexes_while_a_link_is_flipped(tmp_path, dtype):
    build(tmp_path / "a", "a", dtype=dtype, deleted=4)
    build(tmp_path / "b", "b", dtype=dtype)
    link = tmp_path / "photos.idx"
    link.symlink_to("a")
    stores = [opened(link, read_only=True), opened(link)]
    stop = threading.Event()
    failures, seen = [], set()

    def read(store):
        ids = [f"{name}-{row}" for name in "ab" for row in range(ROWS)]
        try:
            while not stop.is_set():
                require_right_hits(store)
                seen.add(require_one_index(list(store.get(ids, vectors=True).values())))
                [batch] = store.scan(vectors=True)
                assert len(batch) == {"a": ROWS - 4, "b": ROWS}[require_one_index(list(batch))]
        except BaseException as error:  # noqa: BLE001  # raised again below
            failures.append(error)

    threads = [threading.Thread(target=read, args=(store,)) for store in [*stores, stores[0]]]
    for thread in threads:
        thread.start()
    for turn in range(60):
        swap_by_link(link, "ba"[turn % 2])
        stop.wait(0.01)
        if failures:
            break
    stop.set()
    for thread in threads:
        thread.join()
    for store in stores:
        store.close()
    if failures:
        raise failures[0]
    assert seen == {"a", "b"}


@pytest.mark.parametrize("way", ["renamed", "rebuilt"])
def test_no_answer_mixes_two_indexes_while_they_change_places(tmp_path, way):
    """For a moment there is none, or one without records, but no answer is of two indexes."""
    path = tmp_path / "photos.idx"
    build(tmp_path / "b", "b")
    build(path, "a")
    store = opened(path, read_only=True)
    stop = threading.Event()
    failures, seen, refused = [], set(), []

    def read():
        ids = [f"{name}-{row}" for name in "ab" for row in range(ROWS)]
        while not stop.is_set():
            try:
                if store.count() == ROWS:
                    require_right_hits(store)
                    records = list(store.get(ids, vectors=True).values())
                    require_one_index(records)
                    seen.update(record.id[0] for record in records)
            except StoreError as error:
                refused.append(error)
            except BaseException as error:  # noqa: BLE001  # raised again below
                failures.append(error)
                return

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for turn in range(25):
        name = "ba"[turn % 2]
        if way == "renamed":
            swap_by_name(path, name, tmp_path)
        else:
            # The reader may make SQLite's side files while the folder is being removed.
            while path.exists():
                shutil.rmtree(path, ignore_errors=True)
            build(path, name)
        stop.wait(0.02)
    stop.set()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    assert seen == {"a", "b"}
    assert [str(error) for error in refused if "damaged" in str(error)] == []
    assert store.get(["a-1"]).keys() | store.get(["b-1"]).keys() == {f"{name}-1"}
    store.close()


def test_a_scan_that_began_before_goes_on_with_the_old_index(tmp_path):
    build(tmp_path / "a", "a")
    build(tmp_path / "b", "b")
    link = tmp_path / "photos.idx"
    link.symlink_to("a")
    store = opened(link)
    scan = store.scan(batch_size=10, vectors=True)
    records = list(next(scan))
    swap_by_link(link, "b")
    shutil.rmtree(tmp_path / "a")
    assert store.search(vectors_of("b")[:1], k=1)[0][0].id == "b-0"
    records += [record for batch in scan for record in batch]
    assert len(records) == ROWS
    assert require_one_index(records) == "a"
    later = store.scan(batch_size=10)
    next(later)
    store.close()
    with pytest.raises(StoreError, match="closed during a scan"):
        next(later)


def test_an_index_that_was_removed_is_an_error_until_there_is_one_again(tmp_path):
    path = tmp_path / "photos.idx"
    build(path, "a")
    store = opened(path)
    shutil.rmtree(path)
    for attempt in (
        store.count,
        lambda: store.search(vectors_of("a")[:1], k=1),
        lambda: store.get(["a-1"]),
        lambda: next(store.scan()),
        store.notes,
    ):
        with pytest.raises(StoreUnavailableError, match="was removed"):
            attempt()
    assert not path.exists()
    assert "cannot be read" in repr(store)
    build(path, "b")
    assert store.get(["b-1"]).keys() == {"b-1"}
    shutil.rmtree(path)
    store.close()
    assert not path.exists()


def test_an_index_of_another_embedder_in_its_place_is_refused_by_name(tmp_path):
    path = tmp_path / "photos.idx"
    build(path, "a")
    store = opened(path)
    path.rename(tmp_path / "old")
    build(path, "b", meta=make_meta(DIM, fingerprint="another"))
    with pytest.raises(IncompatibleIndexError, match=r"replaced by one.*another"):
        store.search(vectors_of("a")[:1], k=1)
    store.close()


def test_an_index_of_another_dtype_may_take_the_place_unless_one_was_asked_for(tmp_path):
    path = tmp_path / "photos.idx"
    build(path, "a")
    store, particular = opened(path), opened(path, dtype="float32")
    path.rename(tmp_path / "old")
    build(path, "b", dtype="int8")
    [batch] = store.scan(vectors=True)
    assert require_one_index(list(batch)) == "b"
    with pytest.raises(IncompatibleIndexError, match="replaced"):
        particular.count()
    store.close()
    particular.close()


def write(store, way):
    if way == "upsert":
        store.upsert(make_batch(vectors_of("c", 2), prefix="late"))
    elif way == "delete":
        store.delete(["a-1", "b-1"])
    else:
        store.note("late", 1)


@pytest.mark.parametrize("way", ["upsert", "delete", "note"])
@pytest.mark.parametrize("holding", [True, False], ids=["writing", "not writing"])
def test_a_writer_refuses_when_its_index_was_replaced(tmp_path, way, holding):
    path = tmp_path / "photos.idx"
    build(path, "a")
    build(tmp_path / "b", "b")
    store = opened(path)
    store.upsert(make_batch(vectors_of("a")[:1], prefix="early"))
    if not holding:
        store.release_writer_lock()
    path.rename(tmp_path / "old")
    (tmp_path / "b").rename(path)
    with pytest.raises(StoreError, match="replaced or removed"):
        write(store, way)
    other = opened(path)
    write(other, way)
    other.close()
    store.close()
    old, new = opened(tmp_path / "old"), opened(path)
    assert (old.count(), old.notes()) == (ROWS + 1, {})
    assert new.count() == ROWS + {"upsert": 2, "delete": -1, "note": 0}[way]
    for index in (old, new):
        [batch] = index.scan(vectors=True, where=Field("index").exists())
        require_one_index(list(batch))
        index.close()


def test_a_store_that_writes_does_not_go_over_to_another_index(tmp_path):
    path = tmp_path / "photos.idx"
    build(path, "a")
    build(tmp_path / "b", "b")
    store = opened(path)
    store.upsert(make_batch(vectors_of("a")[:1], prefix="early"))
    path.rename(tmp_path / "old")
    (tmp_path / "b").rename(path)
    with pytest.raises(StoreError, match="replaced or removed"):
        store.count()
    store.release_writer_lock()
    assert store.count() == ROWS
    store.close()


def test_a_compaction_never_writes_into_the_folder_of_another_index(tmp_path, monkeypatch):
    from imagesearch.stores.local import _writer as writer

    monkeypatch.setattr(writer, "_WASTE_ROWS", 10)
    path = tmp_path / "photos.idx"
    build(path, "a", rows=40)
    build(tmp_path / "b", "b")
    store = opened(path)
    store.upsert(make_batch(vectors_of("a")[:1], ids=["a-0"]))
    path.rename(tmp_path / "old")
    (tmp_path / "b").rename(path)
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    with pytest.raises(StoreError, match="replaced or removed"):
        store.delete([f"a-{row}" for row in range(30)])
    store.close()
    assert {file.name: file.read_bytes() for file in path.iterdir()} == before


def test_the_graph_of_an_index_is_not_used_for_the_one_that_replaces_it(tmp_path):
    pytest.importorskip("usearch")
    path = tmp_path / "photos.idx"
    graph = {"engine": "usearch", "exact_below": 50}
    for name in "ab":
        store = opened(tmp_path / name, **graph)
        ids = [f"{name}-{row}" for row in range(300)]
        store.upsert(make_batch(vectors_of(name, 300), ids=ids))
        store.search(vectors_of(name, 300)[:1], k=1)
        store.close()
    (tmp_path / "a").rename(path)
    store = opened(path, **graph)
    store.search(vectors_of("a", 300)[:1], k=1)
    path.rename(tmp_path / "a")
    (tmp_path / "b").rename(path)
    for _ in range(2):
        found = store.search(vectors_of("b", 300), k=1)
        assert sum(hits[0].id == f"b-{row}" for row, hits in enumerate(found)) > 290
        store.close()
        store = opened(path, **graph)
    store.close()


def test_a_link_that_leads_nowhere_is_made_an_index_where_it_points(tmp_path):
    link = tmp_path / "photos.idx"
    link.symlink_to(tmp_path / "disk" / "photos.idx")
    store = opened(link)
    store.upsert(make_batch(vectors_of("a", 2)))
    store.close()
    assert (tmp_path / "disk" / "photos.idx" / "index.sqlite").exists()
    with pytest.raises(UnsupportedOperationError):
        opened(tmp_path / "nothing.idx", read_only=True)
    assert link.readlink() == tmp_path / "disk" / "photos.idx"
