"""The graph grows in the background; whatever happens meanwhile, the answers stay right."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from imagesearch.errors import StoreCorruptError
from imagesearch.stores.local import LocalStore
from imagesearch.stores.local import _engines as engines
from imagesearch.testing.stores._approximate import clustered
from imagesearch.testing.stores._fixtures import make_batch, make_meta

pytest.importorskip("usearch")

DIM, ROWS = 32, 3000
VECTORS, QUERIES = clustered(ROWS, DIM, 20)
IDS = [f"id-{row:05d}" for row in range(ROWS)]


def open_store(path, **options):
    store = LocalStore(path, **{"engine": "usearch", "exact_below": 200, **options})
    store.open(make_meta(DIM))
    return store


def nodes(store):
    graph = store._state.searcher.builder.graph
    return 0 if graph is None else len(graph.nodes)


def growing(store):
    return store._state.searcher.builder._running.locked()


def wait_for(condition):
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def require_found(store, rows=ROWS):
    found = store.search(VECTORS[:rows:7], k=1)
    right = [hits[0].id == id for hits, id in zip(found, IDS[:rows:7], strict=True)]
    assert np.mean(right) >= 0.98


@pytest.fixture
def slow_engine(monkeypatch):
    """Inserting takes a while, so that the graph never catches up within a test."""
    insert = engines.UsearchEngine.add

    def add(self, codes, labels, *, threads):
        time.sleep(0.01 * len(codes))
        insert(self, codes, labels, threads=threads)

    monkeypatch.setattr(engines.UsearchEngine, "add", add)


def run(program, *arguments, **options):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        **options,
    )


def test_the_graph_grows_beside_additions_and_searches_miss_nothing(tmp_path):
    store = open_store(tmp_path / "photos.idx")
    for first in range(0, ROWS, 250):
        part = slice(first, first + 250)
        store.upsert(make_batch(VECTORS[part], ids=IDS[part]))
        require_found(store, first + 250)
    wait_for(lambda: not growing(store))
    assert nodes(store) >= ROWS - 1000
    assert ", graph of " in repr(store)
    require_found(store)
    store.close()


def test_closing_does_not_build_and_the_next_writer_continues(tmp_path, slow_engine, monkeypatch):
    path = tmp_path / "photos.idx"
    store = open_store(path)
    store.upsert(make_batch(VECTORS))
    wait_for(lambda: nodes(store) >= 20)
    store.close()
    monkeypatch.undo()
    store = open_store(path)
    require_found(store)
    assert 20 <= nodes(store) < ROWS
    store.optimize()
    assert nodes(store) == ROWS
    require_found(store)
    store.close()


def test_an_interrupted_optimization_keeps_what_is_done(tmp_path, slow_engine, monkeypatch):
    path = tmp_path / "photos.idx"
    store = open_store(path)
    store.upsert(make_batch(VECTORS))

    def interrupt(done, total):
        assert 0 <= done <= total == ROWS
        if done > 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.optimize(progress=interrupt)
    kept = nodes(store)
    assert 30 < kept < ROWS
    monkeypatch.undo()
    require_found(store)
    steps = []
    store.optimize(progress=lambda *step: steps.append(step))
    assert steps[-1] == (ROWS, ROWS)
    assert nodes(store) == ROWS
    store.close()
    again = open_store(path, read_only=True)
    require_found(again)
    assert f"graph of {ROWS} nodes" in repr(again)
    again.close()


def test_a_compaction_while_the_graph_grows_loses_nothing(tmp_path, slow_engine, monkeypatch):
    store = open_store(tmp_path / "photos.idx")
    store.upsert(make_batch(VECTORS))
    wait_for(lambda: nodes(store) >= 20)
    store.delete(IDS[1::2])
    assert (tmp_path / "photos.idx" / "vectors-2.f32").exists()
    monkeypatch.undo()
    store.optimize()
    found = store.search(VECTORS[:ROWS:10], k=1)
    assert np.mean([hits[0].id == id for hits, id in zip(found, IDS[::10], strict=True)]) >= 0.98
    store.close()


@pytest.mark.parametrize("seed", range(3))
def test_after_a_kill_while_the_graph_grows_the_next_writer_continues(tmp_path, seed):
    path = tmp_path / "photos.idx"
    program = """
        import os, signal, sys, threading, time
        from tests.stores import test_local_store_graph_growth as growth
        from imagesearch.stores.local._graph_builder import GraphBuilder
        GraphBuilder.tail = 100
        store = growth.open_store(sys.argv[1])
        for first in range(0, growth.ROWS, 500):
            part = slice(first, first + 500)
            store.upsert(growth.make_batch(growth.VECTORS[part], ids=growth.IDS[part]))
        growth.wait_for(lambda: growth.nodes(store) >= int(sys.argv[2]))
        os.kill(os.getpid(), signal.SIGKILL)
    """
    done = run(program, path, random.Random(seed).randrange(50, 2000))
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert {result.status for result in LocalStore(path).check()} <= {"ok", "info"}
    store = open_store(path)
    require_found(store)
    store.optimize()
    assert nodes(store) == ROWS
    require_found(store)
    store.close()


def test_a_program_that_ends_while_the_graph_grows_ends_quietly(tmp_path):
    program = """
        import sys
        from tests.stores import test_local_store_graph_growth as growth
        store = growth.open_store(sys.argv[1])
        store.upsert(growth.make_batch(growth.VECTORS))
        growth.wait_for(lambda: growth.nodes(store) >= 10)
    """
    done = run(program, tmp_path / "photos.idx")
    assert (done.returncode, done.stdout) == (0, "")
    assert "Fatal" not in done.stderr
    assert "terminate" not in done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_child_searches_beside_the_growing_graph_of_its_parent(tmp_path):
    store = open_store(tmp_path / "photos.idx")
    store.upsert(make_batch(VECTORS))
    for _ in range(10):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                require_found(store, 700)
                status = 0
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
    wait_for(lambda: not growing(store))
    require_found(store)
    store.close()


def test_threads_search_while_others_write_and_the_graph_grows(tmp_path):
    store = open_store(tmp_path / "photos.idx")
    store.upsert(make_batch(VECTORS[:1000]))
    done, errors = threading.Event(), []

    def search():
        try:
            while not done.is_set():
                require_found(store, 1000)
        except BaseException as error:  # noqa: BLE001  # the main thread asserts that there are none
            errors.append(error)

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    for first in range(1000, ROWS, 100):
        part = slice(first, first + 100)
        store.upsert(make_batch(VECTORS[part], ids=IDS[part]))
    store.optimize()
    done.set()
    for thread in threads:
        thread.join()
    assert errors == []
    require_found(store)
    store.close()


def test_a_damaged_vector_stops_the_growth_with_a_warning(tmp_path, caplog, slow_engine):
    path = tmp_path / "photos.idx"
    store = open_store(path, exact_below=10**6)
    store.upsert(make_batch(VECTORS))
    store.close()
    file = path / "vectors-1.f32"
    content = bytearray(file.read_bytes())
    content[4 * DIM * 5] ^= 255
    file.write_bytes(content)
    store = open_store(path)
    store._extend_graph(store._opened())
    wait_for(lambda: not growing(store))
    assert "was not extended" in caplog.text
    with pytest.raises(StoreCorruptError):
        store.optimize()
    store.close()


def test_ctrl_c_ends_a_search_of_the_graph_as_a_keyboard_interrupt(tmp_path):
    program = """
        import os, signal, sys, threading
        from tests.stores import test_local_store_graph_growth as growth
        # A program that was started in the background has inherited that interrupts are ignored.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        store = growth.open_store(sys.argv[1])
        store.upsert(growth.make_batch(growth.VECTORS))
        store.optimize()
        threading.Timer(1, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        try:
            while True:
                store.search(growth.VECTORS, k=10)
        except KeyboardInterrupt:
            growth.require_found(store)
            store.close()
            print("interrupted")
    """
    done = run(program, tmp_path / "photos.idx")
    assert done.stdout == "interrupted\n", done.stderr


def test_no_damage_of_the_graphs_files_crashes_a_search_or_changes_an_answer(tmp_path):
    path = tmp_path / "photos.idx"
    store = open_store(path)
    store.upsert(make_batch(VECTORS))
    store.optimize()
    store.close()
    program = """
        import pathlib, random, shutil, sys
        from tests.stores import test_local_store_graph_growth as growth
        path = pathlib.Path(sys.argv[1])
        for seed in range(40):
            dice = random.Random(seed)
            work = path.with_name("work.idx")
            shutil.rmtree(work, ignore_errors=True)
            shutil.copytree(path, work)
            file = dice.choice(sorted(work.glob("graph*")))
            body = bytearray(file.read_bytes())
            for _ in range(dice.choice([1, 1, 200])):
                body[dice.randrange(len(body))] ^= 1 << dice.randrange(8)
            if dice.random() < 0.3:
                del body[dice.randrange(len(body)) :]
            file.write_bytes(body)
            store = growth.open_store(work, read_only=True)
            store.search(growth.QUERIES, k=10)
            growth.wait_for(lambda: not growth.growing(store))
            growth.require_found(store)
            store.close()
            assert "problem" in {result.status for result in growth.LocalStore(work).check()}, file
    """
    done = run(program, path)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.skipif(os.name == "nt", reason="mounts a small disk")
def test_a_disk_too_small_for_the_graph_costs_only_the_graph(tmp_path, caplog):
    if shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "none", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        store = open_store(disk / "photos.idx")
        store.upsert(make_batch(VECTORS))
        status = os.statvfs(disk)
        (disk / "filling").write_bytes(bytes(status.f_bavail * status.f_frsize - 200_000))
        store.optimize()
        require_found(store)
        store.close()
        assert "was not saved" in caplog.text
        assert not list((disk / "photos.idx").glob("graph*"))
        (disk / "filling").unlink()
        store = open_store(disk / "photos.idx")
        store.optimize()
        store.close()
        assert len(list((disk / "photos.idx").glob("graph*"))) == 2
    finally:
        # The files may still be mapped.
        subprocess.run(["umount", "--lazy", disk], check=True)
