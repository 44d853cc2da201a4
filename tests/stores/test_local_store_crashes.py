"""Killed, interrupted, or watched from other processes: what was acknowledged is there."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from imagesearch.stores.local import LocalStore
from imagesearch.stores.local import _writer as writing
from imagesearch.testing.stores._fixtures import make_batch, make_meta, unit

DIM = 16
ROWS = 20

WRITER = textwrap.dedent("""
    import sys
    import numpy as np
    from imagesearch.stores.local import LocalStore, _writer as writer
    from imagesearch.testing.stores._fixtures import make_batch, make_meta
    # Small enough for compaction to happen again and again.
    writer._WASTE_ROWS = 60
    store = LocalStore(sys.argv[1], exact_below=50, ef=50)
    store.open(make_meta(16))
    for round in range(int(sys.argv[2]), 1_000_000):
        vectors = np.random.default_rng(round).normal(size=(20, 16)).astype(np.float32)
        fields = [{"round": round}] * 20
        ids = [f"{round % 12}-{row}" for row in range(20)]
        store.upsert(make_batch(vectors, fields, ids=ids))
        print(round, flush=True)
        if round % 7 == 0:
            store.search(vectors[:1], k=3)
""")


def start_writer(path, first):
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), str(first)], stdout=subprocess.PIPE, text=True
    )


def check(path, acknowledged):
    """Each slot holds one round completely: the last that was acknowledged, or the one after."""
    store = LocalStore(path, exact_below=50, ef=50)
    assert [result for result in store.check() if result.status == "problem"] == []
    store.open(make_meta(DIM))
    rounds = {}
    for batch in store.scan(vectors=True, batch_size=37):
        for record in batch:
            slot, row = map(int, record.id.split("-"))
            round = record.metadata["round"]
            assert round % 12 == slot
            expected = unit(vectors_of(round))[row]
            np.testing.assert_allclose(record.vector, expected, atol=1e-6)
            rounds.setdefault(round, set()).add(row)
    assert all(rows == set(range(ROWS)) for rows in rounds.values())
    newest = max(rounds, default=-1)
    assert newest in {acknowledged, acknowledged + 1}
    assert sorted(rounds) == list(range(max(0, newest - 11), newest + 1))
    assert store.count() == ROWS * len(rounds)
    for round in rounds:
        hits = store.search(vectors_of(round)[:1], k=1)[0]
        assert hits[0].id == f"{round % 12}-0"
        assert hits[0].metadata == {"round": round}
    store.close()
    return newest


def vectors_of(round):
    return np.random.default_rng(round).normal(size=(ROWS, DIM)).astype(np.float32)


def kill_often(path, times):
    moments = random.Random(4)
    first, acknowledged = 0, -1
    for _ in range(times):
        process = start_writer(path, first)
        wanted = moments.randrange(1, 40)
        for _, line in zip(range(wanted), process.stdout, strict=False):
            acknowledged = int(line)
        time.sleep(moments.random() * 0.01)
        process.send_signal(signal.SIGKILL)
        rest = process.communicate()[0].split()
        acknowledged = int(rest[-1]) if rest else acknowledged
        first = check(path, acknowledged) + 1
    return first


def test_a_killed_writer_loses_nothing_that_was_acknowledged(tmp_path):
    assert kill_often(tmp_path / "photos.idx", 4) > 4


@pytest.mark.slow
@pytest.mark.longest
def test_a_writer_killed_many_times_loses_nothing_that_was_acknowledged(tmp_path):
    assert kill_often(tmp_path / "photos.idx", 300) > 300


def test_readers_see_each_acknowledged_write_of_another_process(tmp_path):
    path = tmp_path / "photos.idx"
    process = start_writer(path, 0)
    process.stdout.readline()
    reader = LocalStore(path, read_only=True, exact_below=50, ef=50)
    reader.open(make_meta(DIM))
    seen = []
    for line in process.stdout:
        round = int(line)
        hits = reader.search(vectors_of(round)[:1], k=3)[0]
        # The writer may be up to eleven rounds further before this one is replaced.
        newest = max(hit.metadata["round"] for hit in hits)
        if hits[0].score > 0.999:
            assert hits[0].metadata == {"round": round}
        else:
            assert (
                max(record.metadata["round"] for part in reader.scan() for record in part) > round
            )
        ids = [id for part in reader.scan(batch_size=50) for id in part.ids]
        assert len(ids) == len(set(ids))
        assert len(ids) % ROWS == 0
        assert newest >= 0
        seen.append(reader.count())
        if round > 120:
            break
    process.kill()
    process.communicate()
    reader.close()
    assert seen[-1] == 12 * ROWS


@pytest.fixture
def wasteful(tmp_path, monkeypatch):
    """An index in which one more deletion makes compaction worth its while."""
    monkeypatch.setattr(writing, "_WASTE_ROWS", 50)
    store = LocalStore(tmp_path / "photos.idx", exact_below=20)
    store.open(make_meta(DIM))
    vectors = unit(np.random.default_rng(0).normal(size=(150, DIM)))
    store.upsert(make_batch(vectors, [{"stock": row} for row in range(150)]))
    store.delete([f"id-{row:05d}" for row in range(0, 98, 2)])
    yield store, vectors
    store.close()


def alive(store):
    return {id for batch in store.scan() for id in batch.ids}


def check_after_compaction(store, vectors, gone):
    expected = {f"id-{row:05d}" for row in range(150)} - set(gone)
    assert alive(store) == expected
    assert store.count() == len(expected)
    for id, record in store.get(sorted(expected), vectors=True).items():
        np.testing.assert_allclose(record.vector, vectors[int(id[-5:])], atol=1e-6)
        assert record.metadata == {"stock": int(id[-5:])}
    found = store.search(vectors, k=1)
    for row, hits in enumerate(found):
        assert (hits[0].id == f"id-{row:05d}") == (f"id-{row:05d}" in expected)


GONE = [f"id-{row:05d}" for row in range(0, 98, 2)]


def test_compaction_gives_space_back_and_changes_no_answer(wasteful, tmp_path):
    store, vectors = wasteful
    store.search(vectors[:1], k=1)
    assert store.delete(["id-00098"]) == 1
    files = {path.name: path.stat().st_size for path in (tmp_path / "photos.idx").iterdir()}
    assert files["vectors-2.f32"] == 100 * DIM * 4
    assert "vectors-1.f32" not in files
    check_after_compaction(store, vectors, [*GONE, "id-00098"])
    store.upsert(make_batch(vectors[:1], [{"stock": 0}]))
    check_after_compaction(store, vectors, [*GONE[1:], "id-00098"])


def test_a_scan_that_began_before_compaction_goes_on_undisturbed(wasteful):
    store, vectors = wasteful
    scan = store.scan(batch_size=10, vectors=True)
    seen = list(next(scan))
    store.delete(["id-00098"])
    seen += [record for batch in scan for record in batch]
    assert len({record.id for record in seen}) == len(seen) == 101
    for record in seen:
        np.testing.assert_allclose(record.vector, vectors[int(record.id[-5:])], atol=1e-6)


def test_another_process_follows_a_compaction(wasteful, tmp_path):
    store, vectors = wasteful
    reader = LocalStore(tmp_path / "photos.idx", exact_below=20)
    reader.open(make_meta(DIM))
    assert reader.search(vectors[1:2], k=1)[0][0].id == "id-00001"
    store.delete(["id-00098"])
    check_after_compaction(reader, vectors, [*GONE, "id-00098"])
    reader.close()


@pytest.mark.parametrize("step", ["copying", "renumbering"])
def test_a_compaction_that_fails_changes_nothing_and_the_write_counts(
    wasteful, monkeypatch, step, caplog, tmp_path
):
    store, vectors = wasteful
    with monkeypatch.context() as patch:
        if step == "copying":
            patch.setattr(writing, "map_vectors", _raise(OSError(28, "No space left on device")))
        else:
            patch.setattr(writing, "_renumber", _raise(sqlite3.OperationalError("disk full")))
        assert store.delete(["id-00098"]) == 1
    assert "could not be compacted" in caplog.text
    check_after_compaction(store, vectors, [*GONE, "id-00098"])
    assert not (tmp_path / "photos.idx" / "vectors-2.f32").exists()
    store.delete(["id-00100"])
    check_after_compaction(store, vectors, [*GONE, "id-00098", "id-00100"])
    assert (tmp_path / "photos.idx" / "vectors-2.f32").exists()


def _raise(error):
    def fail(*_):
        raise error

    return fail


@pytest.mark.parametrize("after_copying", [False, True])
def test_a_kill_during_compaction_changes_nothing(tmp_path, after_copying):
    program = textwrap.dedent("""
        import os, signal, sys
        import numpy as np
        from imagesearch.stores.local import LocalStore, _writer as writer
        from imagesearch.testing.stores._fixtures import make_batch, make_meta, unit
        writer._WASTE_ROWS = 50
        die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        store = LocalStore(sys.argv[1])
        store.open(make_meta(16))
        vectors = unit(np.random.default_rng(0).normal(size=(150, 16)))
        store.upsert(make_batch(vectors, [{"stock": row} for row in range(150)]))
        if sys.argv[2] == "True":
            renumber = writer._renumber
            writer._renumber = lambda connection: (renumber(connection), die())
        else:
            writer.sync_folder = die
        store.delete([f"id-{row:05d}" for row in range(0, 100, 2)])
    """)
    path = tmp_path / "photos.idx"
    run = subprocess.run(
        [sys.executable, "-c", program, str(path), str(after_copying)], check=False
    )
    assert run.returncode == -signal.SIGKILL
    assert (path / "vectors-2.f32").exists()
    vectors = unit(np.random.default_rng(0).normal(size=(150, DIM)))
    store = LocalStore(path)
    store.open(make_meta(DIM))
    gone = [*GONE, "id-00098"]
    check_after_compaction(store, vectors, gone)
    store.delete(["id-00149"])
    assert not (path / "vectors-2.f32").exists()
    check_after_compaction(store, vectors, [*gone, "id-00149"])
    store.close()


def test_an_interrupted_write_leaves_the_store_usable(tmp_path, monkeypatch):
    store = LocalStore(tmp_path / "photos.idx")
    store.open(make_meta(DIM))
    store.upsert(make_batch(vectors_of(0)))
    with monkeypatch.context() as patch:
        patch.setattr(writing, "field_entries", _raise(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            store.upsert(make_batch(vectors_of(1), [{"a": 1}] * ROWS, prefix="lost"))
    assert store.count() == ROWS
    store.upsert(make_batch(vectors_of(2), prefix="kept"))
    assert store.count() == 2 * ROWS
    assert store.search(vectors_of(2)[:1], k=1)[0][0].id == "kept-00000"
    store.close()
    assert (tmp_path / "photos.idx" / "vectors-1.f32").stat().st_size == 2 * ROWS * DIM * 4
