"""Damage of what is stored is named where it is read, whatever was damaged."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from imagesearch.errors import StoreCorruptError
from imagesearch.filters import Field, matches
from imagesearch.stores.local import LocalStore
from imagesearch.testing.stores._fixtures import make_batch, make_meta, unit

DIM = 8
META = make_meta(DIM)
FORMATS = Path(__file__).parent / "formats"


def vectors(rows, seed=0):
    return unit(np.random.default_rng(seed).normal(size=(rows, DIM)))


def opened(path, meta=META, **options):
    store = LocalStore(path, **options)
    store.open(meta)
    return store


@pytest.fixture
def index(tmp_path):
    """Forty records, of which one was deleted."""
    path = tmp_path / "photos.idx"
    store = opened(path)
    store.upsert(make_batch(vectors(40), [{"stock": row} for row in range(40)]))
    store.delete(["id-00039"])
    store.close()
    return path


def flip(path, byte, bit=0):
    with path.open("r+b") as file:
        file.seek(byte)
        old = file.read(1)[0]
        file.seek(byte)
        file.write(bytes([old ^ (1 << bit)]))


def change(path, statement, *values):
    connection = sqlite3.connect(path / "index.sqlite")
    with connection:
        assert connection.execute(statement, values).rowcount
    connection.close()


@pytest.mark.parametrize("bit", range(8))
def test_a_flipped_bit_of_a_vector_is_named_by_whatever_reads_it(index, bit):
    flip(index / "vectors-1.f32", 7 * DIM * 4 + 2, bit)
    with opened_for_reading(index) as store:
        for read in (
            lambda: store.search(vectors(1), k=3),
            lambda: store.get(["id-00007"], vectors=True),
            lambda: list(store.scan(vectors=True)),
            lambda: store.search(vectors(1), k=3, where=Field("stock") == 7),
        ):
            with pytest.raises(StoreCorruptError, match="id-00007") as caught:
                read()
            assert caught.value.ids == ("id-00007",)
            assert "check --repair" in str(caught.value)
        assert store.get(["id-00007"])["id-00007"].metadata == {"stock": 7}
        hits = store.search(vectors(40)[3:4], k=1, where=Field("stock") < 7)
        assert hits[0][0].id == "id-00003"


class opened_for_reading:  # noqa: N801  # reads as a function
    def __init__(self, path):
        self.store = opened(path, read_only=True)

    def __enter__(self):
        return self.store

    def __exit__(self, *_):
        self.store.close()


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e38, 0])
def test_an_absurd_number_in_a_vector_is_no_hit_and_no_silence(index, value):
    stored = np.memmap(index / "vectors-1.f32", "<f4", "r+", shape=(40, DIM))
    stored[5] = value
    stored.flush()
    with (
        opened_for_reading(index) as store,
        pytest.raises(StoreCorruptError) as caught,
    ):
        store.search(vectors(1), k=3)
    assert caught.value.ids == ("id-00005",)


def test_swapped_vectors_are_named(index):
    stored = np.memmap(index / "vectors-1.f32", "<f4", "r+", shape=(40, DIM))
    stored[[3, 30]] = stored[[30, 3]]
    stored.flush()
    with opened_for_reading(index) as store, pytest.raises(StoreCorruptError) as caught:
        store.search(vectors(1), k=3)
    assert caught.value.ids == ("id-00003", "id-00030")


def test_damage_of_a_deleted_vector_harms_nobody(index):
    flip(index / "vectors-1.f32", 39 * DIM * 4)
    with opened_for_reading(index) as store:
        assert len(store.search(vectors(1), k=50)[0]) == 39
        assert sum(len(batch) for batch in store.scan(vectors=True)) == 39


def test_damage_below_a_graph_is_named_when_it_is_a_candidate(tmp_path):
    pytest.importorskip("usearch")
    path = tmp_path / "photos.idx"
    many = vectors(400)
    store = opened(path, exact_below=50, ef=50)
    store.upsert(make_batch(many))
    store.search(many[:1], k=1)
    store.close()
    flip(path / "vectors-1.f32", 123 * DIM * 4)
    store = opened(path, exact_below=50, ef=50)
    with pytest.raises(StoreCorruptError) as caught:
        store.search(many[123:124], k=1)
    assert caught.value.ids == ("id-00123",)
    store.close()


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("uri", "/photos/id-00004.jpG"),
        ("digest", "0"),
        ("metadata", '{"stock":5}'),
        ("metadata", "{"),
        ("id", "id-x0004"),
        ("uri", b"\xff"),
        ("uri", 7),
    ],
)
def test_a_changed_record_is_named_by_whatever_reads_it(index, column, value):
    change(index, f"UPDATE records SET {column} = ? WHERE row = 4", value)
    id = "id-x0004" if column == "id" else "id-00004"
    with opened_for_reading(index) as store:
        for read in (
            lambda: store.search(vectors(40)[4:5], k=1),
            lambda: store.get([id]),
            lambda: list(store.scan()),
        ):
            with pytest.raises(StoreCorruptError) as caught:
                read()
            assert caught.value.ids == (id,)
        assert store.search(vectors(40)[6:7], k=1)[0][0].id == "id-00006"


def test_text_that_is_not_utf_8_is_damage(index):
    change(index, "UPDATE records SET uri = CAST(x'ff41' AS TEXT) WHERE row = 4")
    with opened_for_reading(index) as store, pytest.raises(StoreCorruptError, match="damaged"):
        store.get(["id-00004"])


def test_a_record_that_is_gone_is_missed_by_search_and_scan(index):
    change(index, "DELETE FROM records WHERE row = 4")
    with opened_for_reading(index) as store:
        with pytest.raises(StoreCorruptError, match="missing"):
            store.search(vectors(40)[4:5], k=1)
        with pytest.raises(StoreCorruptError, match="counts 39 records"):
            list(store.scan())


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE fields SET value = 100 WHERE row = 4",
        "UPDATE fields SET row = 39 WHERE row = 4",
        "UPDATE fields SET kind = 't' WHERE row = 4",
        "DELETE FROM fields WHERE row = 4",
        "DELETE FROM fields",
        "INSERT INTO fields VALUES ('stock', 'n', 7, 8)",
        "UPDATE field_sums SET total = total + 1",
        "DELETE FROM field_sums",
    ],
)
def test_a_filter_whose_field_is_damaged_finds_nothing_wrong_and_says_so(index, statement):
    change(index, statement)
    where = Field("stock") < 10
    with opened_for_reading(index) as store:
        for read in (
            lambda: store.search(vectors(1), k=1, where=where),
            lambda: list(store.scan(where=where)),
            lambda: store.count(where | (Field("id") == "x")),
        ):
            with pytest.raises(StoreCorruptError, match="'stock'"):
                read()
        assert store.count(Field("id") == "id-00004") == 1
    store = opened(index)
    with pytest.raises(StoreCorruptError, match="'stock'"):
        store.delete_where(where)
    assert store.count() == 39
    store.close()


def test_what_a_filter_finds_must_agree_with_the_metadata(index, monkeypatch):
    # Fields in memory do not see damage that comes later; those on the disk do.
    monkeypatch.setattr("imagesearch.stores.local._columns.MAX_COLUMN_BYTES", 0)
    with opened_for_reading(index) as store:
        assert store.count(Field("stock") == 3) == 1
        change(index, "UPDATE fields SET value = 100 WHERE row = 4")
        where = Field("stock") == 100
        for read in (
            lambda: store.search(vectors(1), k=1, where=where),
            lambda: list(store.scan(where=where)),
        ):
            with pytest.raises(StoreCorruptError) as caught:
                read()
            assert caught.value.ids == ("id-00004",)


def test_filters_stay_sound_through_all_kinds_of_writes(tmp_path, monkeypatch):
    monkeypatch.setattr("imagesearch.stores.local._writer._WASTE_ROWS", 10)
    store = opened(tmp_path / "photos.idx")
    fields = [
        {
            "stock": row % 7 if row % 2 else float(row % 7),
            "tags": ["a", "b\0"],
            "depth": -0.0,
            "a\0b": 1,
        }
        for row in range(60)
    ]
    store.upsert(make_batch(vectors(60), fields))
    store.update_metadata({"stock": 3.0, "new": True}, ids=["id-00013", "id-00010"])
    store.update_metadata({"stock": 3, "tags": None}, where=Field("stock") == 3)
    store.delete([f"id-{row:05d}" for row in range(0, 50, 2)])
    store.upsert(make_batch(vectors(5), fields[:5]))
    store.close()
    for read_only in (True, False):
        store = opened(tmp_path / "photos.idx", read_only=read_only)
        records = [record for batch in store.scan() for record in batch]
        for where in (
            Field("stock") == 3,
            Field("new").exists(),
            Field("tags").contains("b\0"),
            ~(Field("depth") < 0),
        ):
            matching = [record for record in records if matches(where, record.metadata)]
            assert 0 < store.count(where) == len(matching)
        assert [one for one in store.check() if one.status == "problem"] == []
        store.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE state SET rows = rows - 1, live = live - 1",
        "UPDATE state SET version = version + 1",
        "UPDATE state SET dead_sum = 0",
        "DELETE FROM state",
        "UPDATE dead SET row = 3",
        "DELETE FROM dead",
        "UPDATE about SET meta = replace(meta, 'first', 'other')",
        "UPDATE about SET meta = substr(meta, 2)",
        "UPDATE about SET dtype = 'float16'",
        "PRAGMA user_version = 2",
        "ALTER TABLE records ADD COLUMN more",
    ],
)
def test_changed_tables_are_refused_when_the_index_is_opened(index, statement):
    connection = sqlite3.connect(index / "index.sqlite", isolation_level=None)
    connection.execute(statement)
    connection.close()
    for read_only in (True, False):
        with pytest.raises(StoreCorruptError):
            opened(index, read_only=read_only)


def test_a_changed_note_is_not_believed(index):
    store = opened(index)
    store.note("calibration", {"threshold": 0.5})
    assert store.notes() == {"calibration": {"threshold": 0.5}}
    store.close()
    change(index, "UPDATE notes SET value = replace(value, '5', '4')")
    with (
        opened_for_reading(index) as store,
        pytest.raises(StoreCorruptError, match="'calibration'"),
    ):
        store.notes()


def test_a_writer_does_not_seal_a_damaged_state(index):
    store = opened(index)
    store.upsert(make_batch(vectors(1), ids=["more"]))
    change(index, "UPDATE state SET rows = rows - 5, version = version + 1")
    for write in (
        lambda: store.upsert(make_batch(vectors(1), ids=["late"])),
        lambda: store.delete(["id-00001"]),
        lambda: store.note("calibration", 1),
    ):
        with pytest.raises(StoreCorruptError):
            write()
    store.close()


def test_damaged_checksums_are_told_from_damaged_vectors(index):
    change(index, "UPDATE checksums SET crcs = zeroblob(160)")
    with opened_for_reading(index) as store, pytest.raises(StoreCorruptError) as caught:
        store.search(vectors(1), k=1)
    assert caught.value.ids == ()
    assert "checksums of the vectors 0 to" in str(caught.value)
    store = opened(index)
    with pytest.raises(StoreCorruptError):
        store.upsert(make_batch(vectors(1), ids=["late"]))
    assert store.count() == 39
    store.close()


def test_compaction_hides_no_damage(tmp_path, monkeypatch):
    monkeypatch.setattr("imagesearch.stores.local._writer._WASTE_ROWS", 10)
    path = tmp_path / "photos.idx"
    many = vectors(2500)
    store = opened(path)
    for first in range(0, 2500, 500):
        store.upsert(make_batch(many[first : first + 500], prefix=str(first)))
    store.close()
    flip(path / "vectors-1.f32", 2100 * DIM * 4)
    change(path, "UPDATE records SET uri = 'x' WHERE row = 2200")
    store = opened(path)
    store.delete([f"{first}-{row:05d}" for first in (0, 1000) for row in range(500)])
    assert (path / "vectors-2.f32").exists()
    with pytest.raises(StoreCorruptError) as caught:
        list(store.scan(vectors=True))
    assert caught.value.ids == ("2000-00200",)
    with pytest.raises(StoreCorruptError) as caught:
        store.search(many[:1], k=1)
    assert caught.value.ids == ("2000-00100",)
    store.upsert(make_batch(many[2100:2101], ids=["2000-00100"]))
    store.upsert(make_batch(many[2200:2201], ids=["2000-00200"]))
    assert store.search(many[2100:2101], k=1)[0][0].id == "2000-00100"
    assert sum(len(batch) for batch in store.scan(vectors=True)) == 1500
    store.close()


@pytest.fixture
def old(tmp_path):
    """An index as version 2 of the format left it."""
    path = tmp_path / "old.idx"
    path.mkdir()
    connection = sqlite3.connect(path / "index.sqlite")
    connection.executescript((FORMATS / "format-2.sql").read_text())
    connection.close()
    np.eye(4, dtype="<f2")[:3].tofile(path / "vectors-1.f16")
    return path


def same_answers(store):
    [hits] = store.search(np.eye(4, dtype=np.float32)[2:3], k=5)
    assert [(hit.id, hit.metadata) for hit in hits] == [
        ("id-00002", {"stock": 2.5, "sold": True}),
        ("id-00000", {"stock": 0, "tags": ["a", "b"]}),
    ]
    assert store.notes() == {"calibration": {"threshold": 0.5}}
    assert store.count(Field("tags").contains("b")) == 1
    assert list(store.get(["id-00000", "id-00001"], vectors=True)) == ["id-00000"]


def test_an_index_of_format_2_is_read_without_checksums_where_it_may_not_be_changed(old):
    store = opened(old, make_meta(4), read_only=True)
    same_answers(store)
    store.close()
    change(old, "UPDATE records SET metadata = '{' WHERE row = 0")
    store = opened(old, make_meta(4), read_only=True)
    with pytest.raises(StoreCorruptError, match="not valid JSON"):
        store.get(["id-00000"])
    store.close()


def test_an_index_of_format_2_gets_checksums_when_it_is_opened_to_be_written(old):
    reader = opened(old, make_meta(4), read_only=True)
    store = opened(old, make_meta(4))
    same_answers(store)
    same_answers(reader)
    store.upsert(make_batch(np.eye(4, dtype=np.float32)[3:], prefix="late"))
    assert store.count() == reader.count() == 3
    store.close()
    reader.close()
    flip(old / "vectors-1.f16", 1, 3)
    store = opened(old, make_meta(4))
    with pytest.raises(StoreCorruptError) as caught:
        store.search(np.eye(4, dtype=np.float32)[:1], k=1)
    assert caught.value.ids == ("id-00000",)
    store.close()


@pytest.mark.parametrize("value", [np.nan, 0, 9])
def test_a_vector_that_was_impossible_before_there_were_checksums_is_named(old, value):
    np.memmap(old / "vectors-1.f16", "<f2", "r+", shape=(3, 4))[2] = value
    store = opened(old, make_meta(4))
    with pytest.raises(StoreCorruptError) as caught:
        store.search(np.eye(4, dtype=np.float32)[:1], k=1)
    assert caught.value.ids == ("id-00002",)
    store.close()


def test_a_migration_that_fails_leaves_the_old_format(old):
    os.truncate(old / "vectors-1.f16", 10)
    with pytest.raises(StoreCorruptError):
        opened(old, make_meta(4))
    np.eye(4, dtype="<f2")[:3].tofile(old / "vectors-1.f16")
    store = opened(old, make_meta(4), read_only=True)
    same_answers(store)
    store.close()


KILLED = textwrap.dedent("""
    import os, signal, sys
    import numpy as np
    from imagesearch.stores.local import LocalStore
    from imagesearch.testing.stores._fixtures import make_batch, make_meta
    store = LocalStore(sys.argv[1])
    store.open(make_meta(8))
    for number in range(5):
        vectors = np.random.default_rng(number).normal(size=(1, 8)).astype(np.float32)
        store.upsert(make_batch(vectors, prefix=f"late-{number}"))
    os.kill(os.getpid(), signal.SIGKILL)
""")


@pytest.fixture
def killed(index):
    """An index whose last five records are in SQLite's log alone."""
    run = subprocess.run([sys.executable, "-c", KILLED, str(index)], check=False)
    assert run.returncode == -signal.SIGKILL
    assert (index / "index.sqlite-wal").stat().st_size
    return index


def test_a_killed_writer_leaves_all_that_was_acknowledged(killed):
    with opened_for_reading(killed) as store:
        assert store.count() == 44


@pytest.mark.parametrize("damage", ["deleted", "emptied", "cut", "zeroed"])
def test_a_log_that_was_deleted_or_cut_does_not_go_back_in_time_silently(killed, damage):
    log = killed / "index.sqlite-wal"
    if damage == "deleted":
        log.unlink()
        (killed / "index.sqlite-shm").unlink()
    elif damage == "zeroed":
        log.write_bytes(bytes(log.stat().st_size))
    else:
        os.truncate(log, 0 if damage == "emptied" else log.stat().st_size // 2)
    for read_only in (True, False):
        with pytest.raises(StoreCorruptError, match=r"lost acknowledged writes.*44 was ackn"):
            opened(killed, read_only=read_only)


def test_a_database_of_an_earlier_time_is_refused(index, tmp_path):
    shutil.copy(index / "index.sqlite", tmp_path / "backup.sqlite")
    store = opened(index)
    store.delete(["id-00001"])
    store.close()
    shutil.copy(tmp_path / "backup.sqlite", index / "index.sqlite")
    with pytest.raises(StoreCorruptError, match="lost acknowledged writes"):
        opened(index)


def test_a_database_of_another_index_is_refused(index, tmp_path):
    other = opened(tmp_path / "other.idx")
    other.upsert(make_batch(vectors(40, seed=1)))
    other.close()
    shutil.copy(tmp_path / "other.idx" / "index.sqlite", index / "index.sqlite")
    with pytest.raises(StoreCorruptError, match="belongs to another index"):
        opened(index)


@pytest.mark.parametrize("content", [None, "", "behind", "nonsense"])
def test_a_marker_that_is_missing_or_behind_harms_nobody(index, tmp_path, content):
    marker = index / "last-commit"
    before = marker.read_bytes()
    store = opened(index)
    store.upsert(make_batch(vectors(1), ids=["more"]))
    store.close()
    assert marker.read_bytes() != before
    if content is None:
        marker.unlink()
    else:
        marker.write_bytes(before if content == "behind" else content.encode())
    store = opened(index)
    assert store.count() == 40
    store.upsert(make_batch(vectors(1), ids=["last"]))
    store.close()
    moved = tmp_path / "moved.idx"
    shutil.copytree(index, moved)
    with opened_for_reading(moved) as store:
        assert store.count() == 41


def test_a_reader_whose_transaction_began_before_a_commit_is_not_alarmed(index):
    reader, writer = opened(index, read_only=True), opened(index)
    scan = reader.scan(batch_size=5, vectors=True)
    next(scan)
    writer.upsert(make_batch(vectors(1), ids=["late"]))
    assert sum(len(batch) for batch in scan) == 34
    assert reader.count() == 40
    reader.close()
    writer.close()


def test_a_new_index_in_the_folder_of_an_old_one_knows_nothing_of_it(index):
    for path in index.iterdir():
        if path.name != "last-commit":
            path.unlink()
    store = opened(index)
    assert store.count() == 0
    store.close()
