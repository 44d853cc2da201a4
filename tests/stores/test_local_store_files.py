"""What the local store does with the folder: making, recognising, refusing, locking."""

from __future__ import annotations

import logging
import multiprocessing
import os
import resource
import sqlite3
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from imagesearch.errors import (
    ConfigError,
    ImageSearchError,
    IncompatibleIndexError,
    MissingDependencyError,
    StoreCorruptError,
    StoreLockedError,
    StoreUnavailableError,
    UnsupportedFilterError,
    UnsupportedOperationError,
)
from imagesearch.filters import Field, Not
from imagesearch.stores.local import LocalStore
from imagesearch.stores.local import _create as _migrations
from imagesearch.stores.local import _graph_file as graph_library
from imagesearch.stores.local import _schema as schema
from imagesearch.testing.stores._fixtures import make_batch, make_meta, unit

DIM = 8
META = make_meta(DIM)


def vectors(rows, seed=0):
    return unit(np.random.default_rng(seed).normal(size=(rows, DIM)))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "photos.idx"


@pytest.fixture
def opened(path):
    stores = []

    def opener(*, meta=META, **options):
        store = LocalStore(path, **options)
        stores.append(store)
        store.open(meta)
        return store

    yield opener
    for store in stores:
        store.close()


@pytest.fixture
def filled(path, opened):
    store = opened()
    store.upsert(make_batch(vectors(20), [{"stock": row} for row in range(20)]))
    store.close()
    return path


def snapshot_of_files(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_describe_on_a_missing_path_creates_nothing(path):
    assert LocalStore(path).describe() is None
    assert not path.exists()


def test_parents_of_the_path_are_made(tmp_path):
    store = LocalStore(tmp_path / "a" / "b" / "photos.idx")
    store.open(META)
    store.close()
    assert (tmp_path / "a" / "b" / "photos.idx").is_dir()


def test_an_empty_folder_becomes_an_index(path, opened):
    path.mkdir()
    assert opened().count() == 0


def test_a_regular_file_is_refused_and_left_alone(path):
    path.write_text("my thesis")
    for attempt in (LocalStore(path).describe, lambda: LocalStore(path).open(META)):
        with pytest.raises(IncompatibleIndexError, match="is a file"):
            attempt()
    assert path.read_text() == "my thesis"


def test_a_folder_with_other_things_is_refused_and_left_alone(path):
    path.mkdir()
    (path / "thesis.txt").write_text("mine")
    for attempt in (LocalStore(path).describe, lambda: LocalStore(path).open(META)):
        with pytest.raises(IncompatibleIndexError, match=r"thesis\.txt"):
            attempt()
    assert snapshot_of_files(path) == {"thesis.txt": b"mine"}


def test_a_database_of_another_program_is_refused_and_left_alone(path):
    path.mkdir()
    with sqlite3.connect(path / "index.sqlite") as connection:
        connection.execute("CREATE TABLE thesis (page)")
    connection.close()
    before = snapshot_of_files(path)
    with pytest.raises(IncompatibleIndexError, match="another program"):
        LocalStore(path).open(META)
    assert snapshot_of_files(path) == before


def test_a_newer_format_is_refused_naming_both_versions(filled):
    connection = sqlite3.connect(filled / "index.sqlite")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(IncompatibleIndexError, match=rf"format 99.*up to {schema.FORMAT}"):
        LocalStore(filled).open(META)


def test_an_older_format_is_brought_up_to_date(filled, monkeypatch):
    def step(connection, _):
        connection.execute("CREATE TABLE novelty AS SELECT 7 AS x")

    monkeypatch.setattr(_migrations, "MIGRATIONS", (*_migrations.MIGRATIONS, step))
    newer = schema.FORMAT + 1
    monkeypatch.setattr(schema, "FORMAT", newer)
    monkeypatch.setattr(_migrations, "FORMAT", newer)
    monkeypatch.setattr(schema, "READABLE", newer)
    with pytest.raises(UnsupportedOperationError, match="older format"):
        LocalStore(filled, read_only=True).open(META)
    store = LocalStore(filled)
    store.open(META)
    assert store.count() == 20
    store.close()
    connection = sqlite3.connect(filled / "index.sqlite")
    assert connection.execute("PRAGMA user_version").fetchone() == (newer,)
    assert connection.execute("SELECT x FROM novelty").fetchone() == (7,)
    connection.close()


@pytest.mark.parametrize("damage", ["garbage", "half"])
def test_a_damaged_database_is_reported_and_left_alone(filled, damage):
    database = filled / "index.sqlite"
    content = database.read_bytes()
    database.write_bytes(b"no database" * 1000 if damage == "garbage" else content[:5000])
    before = snapshot_of_files(filled)
    with pytest.raises(StoreCorruptError, match="damaged"):
        LocalStore(filled).open(META)
    after = snapshot_of_files(filled)
    assert all(after[name] == data for name, data in before.items())


def test_missing_vectors_are_reported(filled):
    (filled / "vectors-1.f32").unlink()
    with pytest.raises(StoreCorruptError, match=r"vectors-1\.f32"):
        LocalStore(filled).open(META)


def test_shortened_vectors_are_reported(filled):
    os.truncate(filled / "vectors-1.f32", 100)
    with pytest.raises(StoreCorruptError, match="100 bytes"):
        LocalStore(filled).open(META)


@pytest.mark.parametrize("emptied", [False, True], ids=["gone", "empty"])
def test_vectors_without_their_database_are_reported_and_left_alone(filled, emptied):
    for name in ("index.sqlite", "index.sqlite-wal", "index.sqlite-shm"):
        (filled / name).unlink(missing_ok=True)
    if emptied:
        (filled / "index.sqlite").touch()
    before = snapshot_of_files(filled)
    with pytest.raises(StoreCorruptError, match=r"index\.sqlite is missing or empty"):
        LocalStore(filled).open(META)
    assert snapshot_of_files(filled) == before


def test_what_a_crash_during_creation_leaves_becomes_an_index(path, opened):
    path.mkdir()
    (path / "index.sqlite").touch()
    (path / "vectors-1.f32").touch()
    (path / "writer.lock").write_text("4242\n")
    store = opened()
    store.upsert(make_batch(vectors(2)))
    assert store.count() == 2


def test_a_torn_tail_is_overwritten(filled, opened):
    with (filled / "vectors-1.f32").open("ab") as file:
        file.write(b"\xff" * 77)
    store = opened()
    store.upsert(make_batch(vectors(5, seed=1), prefix="late"))
    hits = store.search(vectors(5, seed=1), k=1)
    assert [found[0].id for found in hits] == [f"late-{row:05d}" for row in range(5)]
    assert store.count() == 25


@pytest.mark.skipif(os.geteuid() == 0, reason="root may do anything")
def test_a_folder_without_permission_is_reported(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StoreUnavailableError, match="ermission"):
            LocalStore(tmp_path / "photos.idx").open(META)
    finally:
        tmp_path.chmod(0o700)


def test_read_only_creates_nothing_and_refuses_writes(filled, tmp_path, opened):
    with pytest.raises(UnsupportedOperationError, match="read_only"):
        LocalStore(tmp_path / "missing.idx", read_only=True).open(META)
    assert not (tmp_path / "missing.idx").exists()
    store = opened(read_only=True)
    with pytest.raises(UnsupportedOperationError, match="read_only"):
        store.upsert(make_batch(vectors(1)))
    with pytest.raises(UnsupportedOperationError, match="read_only"):
        store.delete(["id-00000"])
    assert store.count() == 20
    assert store.search(vectors(1), k=1)[0][0].id == "id-00000"


def test_a_second_writer_is_refused_naming_path_and_process(filled, opened):
    first, second = opened(), opened()
    first.upsert(make_batch(vectors(1), prefix="first"))
    with pytest.raises(StoreLockedError) as caught:
        second.upsert(make_batch(vectors(1), prefix="second"))
    assert str(filled) in str(caught.value)
    assert str(os.getpid()) in str(caught.value)
    assert second.count() == 21
    first.close()
    second.upsert(make_batch(vectors(1), prefix="second"))
    assert second.count() == 22


def test_a_released_store_lets_others_write_and_writes_again_later(filled, opened):
    first, second = opened(), opened()
    for turn in range(3):
        first.upsert(make_batch(vectors(2), prefix=f"first-{turn}"))
        with pytest.raises(StoreLockedError):
            second.delete(["id-00000"])
        first.release_writer_lock()
        first.release_writer_lock()
        second.upsert(make_batch(vectors(2), prefix=f"second-{turn}"))
        assert second.delete([f"first-{turn}-00000"]) == 1
        with pytest.raises(StoreLockedError):
            first.delete(["id-00000"])
        second.release_writer_lock()
        assert first.count() == second.count() == 20 + 3 * (turn + 1)
    assert first.search(vectors(2), k=8)[1][0].score == pytest.approx(1)
    first.close()
    first.release_writer_lock()


def test_a_store_that_was_released_sees_that_another_process_has_compacted(filled, opened):
    first, second = opened(), opened()
    first.upsert(make_batch(vectors(3000), prefix="first"))
    first.release_writer_lock()
    assert second.delete([f"first-{number:05d}" for number in range(2500)]) == 2500
    second.release_writer_lock()
    first.upsert(make_batch(vectors(1, seed=5), prefix="last"))
    first.release_writer_lock()
    for store in (first, second):
        assert store.count() == 521
        assert store.search(vectors(1, seed=5), k=1)[0][0].id == "last-00000"
        assert store.search(vectors(3000)[2600:2601], k=1)[0][0].id == "first-02600"


def test_opening_and_searching_need_no_lock(filled, opened):
    writer, reader = opened(), opened()
    writer.upsert(make_batch(vectors(1), prefix="first"))
    assert reader.count() == 21
    assert reader.search(vectors(1), k=1)[0][0].score == pytest.approx(1)


def test_a_dropped_store_does_not_lock_out_its_own_program(filled):
    store = LocalStore(filled)
    store.open(META)
    store._lock.acquire()
    del store
    again = LocalStore(filled)
    again.open(META)
    assert again.delete(["id-00000"]) == 1
    again.close()


def test_two_programs_may_create_the_same_index_at_once(path):
    program = textwrap.dedent("""
        import sys
        from imagesearch.stores.local import LocalStore
        from imagesearch.types import EmbeddingSpec, IndexMeta
        store = LocalStore(sys.argv[1])
        store.open(IndexMeta(EmbeddingSpec("a", 8, True, "v1")))
        print(store.count())
        store.close()
    """)
    programs = [
        subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    assert [one.communicate()[0] for one in programs] == [b"0\n", b"0\n"]


def test_a_forked_child_can_search_and_does_not_keep_the_lock(filled, opened):
    store = opened()
    store.upsert(make_batch(vectors(3), prefix="late"))
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()

    def work():
        try:
            store.upsert(make_batch(vectors(1), prefix="child"))
        except ImageSearchError as error:
            queue.put(type(error).__name__)
        queue.put((store.count(), store.search(vectors(1), k=1)[0][0].score))

    child = context.Process(target=work)
    child.start()
    assert queue.get() == "StoreLockedError"
    count, score = queue.get()
    child.join()
    assert (count, child.exitcode) == (23, 0)
    assert score == pytest.approx(1)
    store.upsert(make_batch(vectors(1), prefix="parent"))
    assert store.count() == 24


def test_a_full_disk_is_reported_and_nothing_acknowledged_is_lost(tmp_path):
    """A limit on the size of files makes the system refuse writes as a full disk does."""
    program = textwrap.dedent("""
        import resource, signal, sys
        import numpy as np
        from imagesearch.errors import StoreUnavailableError
        from imagesearch.stores.local import LocalStore
        from imagesearch.testing.stores._fixtures import make_batch, make_meta
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        store = LocalStore(sys.argv[1])
        dim, limit = int(sys.argv[2]), int(sys.argv[3])
        store.open(make_meta(dim))
        everything = np.random.default_rng(0).normal(size=(1000, dim)).astype(np.float32)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        failed = 0
        acknowledged = 0
        for first in range(0, 1000, 100):
            rows = everything[first : first + 100]
            try:
                store.upsert(make_batch(rows, [{"text": "x" * 400}] * 100, prefix=str(first)))
                acknowledged += 100
            except StoreUnavailableError as error:
                failed += 1
                assert store.count() == acknowledged, (store.count(), acknowledged)
                assert store.search(everything[:1], k=1)[0][0].id == "0-00000"
        assert failed
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        store.upsert(make_batch(everything[:100], prefix="after"))
        print(acknowledged + 100)
        store.close()
    """)
    # Once the vectors meet the limit first, once the database's log.
    for dim, limit in ((1024, 1_000_000), (8, 300_000)):
        place = tmp_path / f"{dim}.idx"
        run = subprocess.run(
            [sys.executable, "-c", program, str(place), str(dim), str(limit)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        store = LocalStore(place)
        store.open(make_meta(dim))
        assert store.count() == int(run.stdout)
        assert sum(len(batch) for batch in store.scan(vectors=True)) == int(run.stdout)
        store.close()
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_threads_may_search_while_another_writes(opened):
    store = opened(exact_below=100)
    everything = vectors(1500)
    store.upsert(make_batch(everything[:300], [{"stock": 0}] * 300))

    def work(seed):
        for _ in range(40):
            hits = store.search(vectors(2, seed), k=5, where=Field("stock") == 0)
            assert [len(found) for found in hits] == [5, 5]
            assert len(store.search(vectors(2, seed), k=5)[0]) == 5
        return store.count()

    with ThreadPoolExecutor(3) as pool:
        searches = [pool.submit(work, seed) for seed in range(3)]
        for first in range(300, 1500, 100):
            store.upsert(make_batch(everything[first : first + 100], prefix=str(first)))
            store.delete([f"{first}-{row:05d}" for row in range(10)])
    # The last ten are there until they are deleted.
    assert all(300 <= search.result() <= 1390 for search in searches)
    assert store.count() == 1380


def test_many_values_and_many_terms_in_a_filter_are_fine(filled, opened):
    store = opened()
    numbers = [*range(10), *(row + 0.5 for row in range(3000)), *map(str, range(40_000))]
    assert store.count(Field("stock").is_in(numbers)) == 10
    chain = Field("stock") == 0
    for row in range(1, 2000):
        chain = chain | (Field("stock") == row)
    assert store.count(chain) == 20
    deep = Field("stock") == 3
    for _ in range(80):
        deep = Not(deep)
    assert store.count(deep) == 1
    # Within a write transaction filters are SQL, which takes fewer levels.
    with pytest.raises(UnsupportedFilterError):
        store.delete_where(deep)
    assert store.count() == 20


def test_an_impossible_id_finds_nothing(filled, opened):
    store = opened()
    store.upsert(make_batch(vectors(1), ids=["a"]))
    for id in ("a\0b", "\ud800", "", "x" * 129):
        assert store.get([id]) == {}
        assert store.delete([id]) == 0
    assert store.count() == 21


def test_thousands_of_equal_vectors_are_found_in_order_of_their_ids(opened):
    store = opened(engine="exact")
    same = np.repeat(vectors(1), 3000, axis=0)
    ids = [f"{(row * 7) % 3000:04d}" for row in range(3000)]
    store.upsert(make_batch(same, ids=ids))
    assert [hit.id for hit in store.search(same[:1], k=4)[0]] == ["0000", "0001", "0002", "0003"]


def test_the_repr_tells_path_size_and_engine(filled, opened):
    text = repr(LocalStore(filled, engine="exact"))
    assert "not open" in text
    assert str(filled) in text
    assert "20 records" in repr(opened(read_only=True))


@pytest.mark.parametrize(
    "options",
    [
        {"M": 1},
        {"ef": 0},
        {"ef_construction": 0},
        {"engine": "faiss"},
        {"exact_below": -1},
        {"M": 2.5},
    ],
    ids=str,
)
def test_an_option_out_of_range_is_refused(path, options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        LocalStore(path, **options)


@pytest.fixture
def without_engines(monkeypatch):
    for module in ("hnswlib", "usearch", "usearch.compiled"):
        monkeypatch.setitem(sys.modules, module, None)
    graph_library.engine_of.cache_clear()
    graph_library.warn_that_graphs_are_missing.cache_clear()
    yield
    graph_library.engine_of.cache_clear()
    graph_library.warn_that_graphs_are_missing.cache_clear()


@pytest.mark.usefixtures("without_engines")
@pytest.mark.parametrize(
    ("engine", "remedy"),
    [("usearch", "pip install"), ("hnswlib", r"imagesearch-index\[hnsw\].*C\+\+ compiler")],
)
def test_an_engine_that_is_not_installed_is_refused_with_the_remedy(path, engine, remedy):
    with pytest.raises(MissingDependencyError, match=remedy):
        LocalStore(path, engine=engine)


@pytest.mark.usefixtures("without_engines")
def test_without_an_engine_searches_are_exact_and_warn_once(opened, caplog):
    store = opened(exact_below=10)
    with caplog.at_level(logging.WARNING, "imagesearch"):
        store.upsert(make_batch(vectors(10)))
        store.search(vectors(1), k=1)
        assert caplog.messages == []
        store.upsert(make_batch(vectors(40, seed=2), prefix="more"))
        for _ in range(3):
            hits = store.search(vectors(40, seed=2), k=1)
    assert [found[0].id for found in hits] == [f"more-{row:05d}" for row in range(40)]
    (message,) = caplog.messages
    assert "usearch is not installed" in message
    assert "pip install" in message


def test_hnswlib_serves_where_usearch_does_not_work(opened, monkeypatch):
    pytest.importorskip("hnswlib")
    monkeypatch.setitem(sys.modules, "usearch.compiled", None)
    graph_library.engine_of.cache_clear()
    store = opened(exact_below=10)
    store.upsert(make_batch(vectors(40)))
    store.optimize()
    found = store.search(vectors(40), k=1)
    assert [hits[0].id for hits in found] == [f"id-{row:05d}" for row in range(40)]
    assert "graph of 40 nodes" in repr(store)
    graph_library.engine_of.cache_clear()


def test_the_old_name_of_hnswlib_still_works(path):
    pytest.importorskip("hnswlib")
    with pytest.warns(DeprecationWarning, match="hnswlib"):
        store = LocalStore(path, engine="hnsw")
    assert "engine hnswlib" in repr(store)


def test_importing_the_store_loads_no_engine_and_no_torch():
    program = (
        "import sys, imagesearch.stores.local as local; local.LocalStore('x');"
        "assert not {'hnswlib', 'usearch', 'torch', 'pytest', 'hypothesis'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_notes_are_seen_by_readers_and_read_only_handles_that_were_open_before(tmp_path):
    with_notes = LocalStore(tmp_path / "photos.idx")
    with_notes.open(META)
    reader = LocalStore(tmp_path / "photos.idx", read_only=True)
    reader.open(META)
    assert reader.notes() == {}
    with_notes.note("calibration", {"threshold": 0.5})
    assert reader.notes() == {"calibration": {"threshold": 0.5}}
    with pytest.raises(UnsupportedOperationError):
        reader.note("calibration", None)
    second = LocalStore(tmp_path / "photos.idx")
    second.open(META)
    with pytest.raises(StoreLockedError):
        second.note("calibration", None)
    for store in (with_notes, reader, second):
        store.close()


def test_notes_outlive_a_compaction(tmp_path):
    store = LocalStore(tmp_path / "photos.idx")
    store.open(META)
    batch = make_batch(vectors(2200))
    store.upsert(batch)
    store.note("calibration", 1)
    store.delete(batch.ids[:1500])
    assert (store.notes(), store.count()) == ({"calibration": 1}, 700)
    store.close()


def test_a_disk_that_is_full_when_the_lock_is_taken_locks_nobody_out(tmp_path):
    program = textwrap.dedent("""
        import resource, signal, sys
        from imagesearch.errors import StoreUnavailableError
        from imagesearch.stores.local import LocalStore
        from imagesearch.testing.stores._fixtures import make_batch, make_meta
        import numpy as np
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        store = LocalStore(sys.argv[1])
        store.open(make_meta(4))
        store.upsert(make_batch(np.eye(4, dtype=np.float32)))
        store.release_writer_lock()
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        try:
            store.delete(["id-00000"])
        except StoreUnavailableError:
            print("full")
        store.release_writer_lock()
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        other = LocalStore(sys.argv[1])
        other.open(make_meta(4))
        print(other.delete(["id-00001"]))
        other.close()
        store.close()
    """)
    run = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "photos.idx")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.stdout, run.returncode) == ("full\n1\n", 0), run.stderr


@pytest.mark.parametrize(
    ("path", "complaint"), [("", "is empty"), ("a\0b", "NUL"), ("a\ud800", "Unicode")]
)
def test_a_path_that_no_folder_has_is_refused_and_nothing_is_made(
    tmp_path, monkeypatch, path, complaint
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=complaint):
        LocalStore(path)
    assert list(tmp_path.iterdir()) == []


def test_the_home_folder_may_be_named_by_its_sign(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    store = LocalStore("~/photos.idx")
    store.open(META)
    store.close()
    assert (tmp_path / "photos.idx").is_dir()


def test_batches_may_be_as_large_as_one_likes(filled, opened):
    [batch] = opened().scan(batch_size=2**40)
    assert len(batch) == 20
    assert sum(len(part) for part in opened().scan(batch_size=np.int64(7))) == 20
