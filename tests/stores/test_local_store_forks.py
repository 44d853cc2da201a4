"""Local stores in forked processes: gunicorn's prefork, multiprocessing on Linux, os.fork."""

from __future__ import annotations

import ctypes
import itertools
import multiprocessing
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from imagesearch.errors import StoreLockedError, UnsupportedOperationError
from imagesearch.stores.local import LocalStore
from imagesearch.testing.stores._fixtures import make_batch, make_meta, unit

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork"),
    # Python 3.12 and later warn of what these tests are about.
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]

DIM, ROWS = 8, 10


def vector_of(id):
    seed = int.from_bytes(id.encode(), "big") % 2**32
    return unit(np.random.default_rng(seed).normal(size=(1, DIM)))[0]


def batch_of(name):
    ids = [f"{name}-{row}" for row in range(ROWS)]
    return make_batch(np.stack([vector_of(id) for id in ids]), ids=ids)


def open_store(path):
    store = LocalStore(path)
    store.open(make_meta(DIM))
    return store


def write(store, name):
    """Return the ids that were acknowledged; a second writer must be refused."""
    batch = batch_of(name)
    try:
        store.upsert(batch)
    except StoreLockedError:
        return []
    read(store, batch.ids)
    return list(batch.ids)


def read(store, ids):
    found = store.search(np.stack([vector_of(id) for id in ids]), k=1)
    assert [hits[0].id for hits in found] == list(ids)
    assert set(store.get(ids)) == set(ids)


def check(path, acknowledged, tmp_path):
    """What is on the disk is sound and holds every acknowledged record."""
    # A copy has none of the locks and files that this process may have open.
    copy = tmp_path / "copy.idx"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(path, copy, ignore=shutil.ignore_patterns("*-shm"))
    connection = sqlite3.connect(copy / "index.sqlite")
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    store = open_store(copy)
    assert {id for batch in store.scan() for id in batch.ids} == set(acknowledged)
    for batch in store.scan(vectors=True):
        for record in batch:
            np.testing.assert_allclose(record.vector, vector_of(record.id), atol=1e-6)
    read(store, acknowledged)
    assert {result.status for result in store.check()} == {"ok"}
    store.close()


class Child:
    """A forked process that calls what it is asked to; functions and stores are inherited."""

    def __init__(self, actions, method="os.fork"):
        self._actions = actions
        context = multiprocessing.get_context("fork")
        self._here, self._there = context.Pipe()
        if method == "multiprocessing":
            self._process = context.Process(target=self._serve)
            self._process.start()
        else:
            self._process = os.fork()
            if self._process == 0:
                try:
                    self._serve()
                finally:
                    os._exit(0)
        self._there.close()

    def _serve(self):
        while True:
            name, *arguments = self._there.recv()
            if name == "exit":
                return
            try:
                answer = self._actions[name](*arguments)
            except BaseException as error:  # noqa: BLE001  # the test asserts which it is
                self._there.send(("error", type(error).__name__, traceback.format_exc()))
            else:
                self._there.send(("answer", answer, None))

    def __call__(self, *request):
        self._here.send(request)
        assert self._here.poll(20), f"the child hangs in {request}"
        kind, answer, text = self._here.recv()
        assert kind == "answer", text
        return answer

    def error_of(self, *request):
        """Return the name of the error that a request raises, and its text."""
        self._here.send(request)
        assert self._here.poll(20), f"the child hangs in {request}"
        kind, answer, text = self._here.recv()
        assert kind == "error", answer
        return answer, text

    def end(self):
        self._here.send(("exit",))
        if isinstance(self._process, int):
            os.waitpid(self._process, 0)
        else:
            self._process.join()
        self._here.close()

    def kill(self):
        os.kill(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)
        self._here.close()


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "photos.idx"
    store = open_store(path)
    store.upsert(batch_of("first"))
    store.close()
    return path


ORDERS = {
    "the parent uses and closes it, then the child": ("pP", "cC"),
    "the child uses and closes it, then the parent": ("cC", "pP"),
    "both use it, the parent closes it, the child goes on": ("pc", "Pc", "C"),
}


ROLES = list(itertools.product(["writes", "reads"], ["writes", "reads", "opens its own"]))


@pytest.mark.parametrize("method", ["os.fork", "multiprocessing"])
@pytest.mark.parametrize("roles", ROLES, ids="-".join)
@pytest.mark.parametrize("order", ORDERS)
def test_no_order_of_use_and_close_does_harm(path, tmp_path, order, roles, method):
    parent, child = roles
    acknowledged = [f"first-{row}" for row in range(ROWS)]
    names = (f"batch{number}" for number in itertools.count())
    store = open_store(path)
    read(store, acknowledged)
    if parent == "writes":
        acknowledged += write(store, "before")
    stores = {"child": store}

    def use_in_child(name, ids):
        if child == "opens its own" and stores["child"] is store:
            stores["child"] = open_store(path)
        read(stores["child"], ids)
        return [] if child == "reads" else write(stores["child"], name)

    process = Child(
        {"use": use_in_child, "close": lambda: stores["child"].close() or store.close()}, method
    )
    for step in "".join(ORDERS[order]):
        if step == "p":
            read(store, acknowledged)
            if parent == "writes":
                acknowledged += write(store, next(names))
        elif step == "c":
            acknowledged += process("use", next(names), acknowledged)
        elif step == "P":
            store.close()
        else:
            process("close")
        check(path, acknowledged, tmp_path)
    process.end()
    check(path, acknowledged, tmp_path)
    if parent == "writes" or child != "reads":
        assert len(acknowledged) > ROWS
    assert sorted(file.name for file in path.glob("index.sqlite*")) == ["index.sqlite"]


def test_the_child_writes_as_soon_as_the_parent_has_closed(path, tmp_path):
    acknowledged = [f"first-{row}" for row in range(ROWS)]
    store = open_store(path)
    acknowledged += write(store, "parent")
    process = Child({"write": lambda name: write(store, name), "close": store.close})
    assert process("write", "refused") == []
    store.close()
    for round in range(3):
        acknowledged += process("write", f"child{round}")
    check(path, acknowledged, tmp_path)
    process.kill()
    check(path, acknowledged, tmp_path)
    assert len(acknowledged) == 5 * ROWS


def test_preforked_workers_search_and_one_of_them_writes(path, tmp_path):
    """As gunicorn with preload_app: open, fork, search in all workers, replace a dead worker."""
    acknowledged = [f"first-{row}" for row in range(ROWS)]
    store = open_store(path)
    read(store, acknowledged)
    actions = {
        "search": lambda ids: read(store, ids),
        "write": lambda name: write(store, name),
        "release": store.release_writer_lock,
        "close": store.close,
    }
    workers = [Child(actions) for _ in range(3)]
    for round in range(4):
        writer = workers[round % 3]
        acknowledged += writer("write", f"round{round}")
        assert len(acknowledged) == (round + 2) * ROWS
        for worker in workers:
            worker("search", acknowledged)
        read(store, acknowledged)
        if round == 1:
            writer.kill()
            workers[round % 3] = Child(actions)
            workers[round % 3]("search", acknowledged)
        else:
            writer("release")
    workers[0]("close")
    workers[0].end()
    store.close()
    for number, worker in enumerate(workers[1:]):
        acknowledged += worker("write", f"late{number}")
        worker("release")
        worker("search", acknowledged)
        worker.end()
    assert len(acknowledged) == 7 * ROWS
    check(path, acknowledged, tmp_path)


def test_a_child_refuses_an_index_that_was_in_use_at_the_fork(path, tmp_path):
    acknowledged = [f"first-{row}" for row in range(ROWS)]
    other_path = tmp_path / "other.idx"
    other = open_store(other_path)
    other.upsert(batch_of("other"))
    store = open_store(path)
    scan = store.scan(batch_size=3, vectors=True)
    seen = list(next(scan))
    process = Child(
        {
            "count": store.count,
            "write": lambda: store.upsert(batch_of("lost")),
            "open": lambda: open_store(path),
            "describe": lambda: LocalStore(path).describe(),
            "go on": lambda: list(scan),
            "close": store.close,
            "other": lambda: (read(other, batch_of("other").ids), other.close()),
            "own": lambda: write(open_store(tmp_path / "own.idx"), "own"),
        }
    )
    for request in ("count", "write", "open", "describe", "go on"):
        name, text = process.error_of(request)
        assert name == "InheritedError", text
        assert str(path) in text
        assert "'spawn'" in text
    process("other")
    other.close()
    assert len(process("own")) == ROWS
    process("close")
    seen += [record for batch in scan for record in batch]
    assert sorted(record.id for record in seen) == acknowledged
    acknowledged += write(store, "later")
    process.end()
    check(path, acknowledged, tmp_path)
    # Nothing was in use this time.
    process = Child({"count": store.count})
    assert process("count") == 2 * ROWS
    process.end()
    store.close()


def test_the_refusal_is_an_unsupported_operation(path):
    store = open_store(path)
    scan = store.scan(batch_size=3)
    next(scan)

    def use():
        try:
            store.count()
        except UnsupportedOperationError:
            return "refused"

    process = Child({"use": use})
    assert process("use") == "refused"
    process.end()
    scan.close()
    store.close()


def test_a_fork_while_other_threads_search_and_write_harms_neither_side(path, tmp_path):
    acknowledged = [f"first-{row}" for row in range(ROWS)]
    store = open_store(path)
    first = list(acknowledged)
    end = threading.Event()
    errors = []

    def search():
        try:
            while not end.is_set():
                read(store, first)
        except Exception as error:  # noqa: BLE001  # the main thread asserts that there are none
            errors.append(error)

    def add():
        try:
            for number in itertools.count():
                if end.is_set():
                    return
                acknowledged.extend(write(store, f"thread{number}"))
        except Exception as error:  # noqa: BLE001  # the main thread asserts that there are none
            errors.append(error)

    threads = [threading.Thread(target=work) for work in (search, search, add)]
    for thread in threads:
        thread.start()
    used = 0
    try:
        for _ in range(12):
            time.sleep(0.02)
            process = Child({"read": lambda: read(store, first)})
            process._here.send(("read",))
            assert process._here.poll(20), "the child hangs"
            kind, answer, text = process._here.recv()
            assert kind == "answer" or answer == "InheritedError", text
            used += kind == "answer"
            process.end()
    finally:
        end.set()
        for thread in threads:
            thread.join()
    assert not errors
    # Searches and small writes end within the time that a fork waits for them.
    assert used
    store.close()
    check(path, acknowledged, tmp_path)


def test_a_child_that_exits_as_a_program_leaves_the_parents_index_alone(path, tmp_path):
    """Python closes what is left when it exits; that would be the parent's connection."""
    program = textwrap.dedent("""
        import os, sys
        from imagesearch.stores.local import LocalStore
        from tests.stores.test_local_store_forks import batch_of, open_store
        store = open_store(sys.argv[1])
        scan = store.scan(batch_size=3)
        next(scan)
        child = os.fork()
        if child == 0:
            sys.exit(0)
        os.waitpid(child, 0)
        store.upsert(batch_of("second"))
        assert len([id for batch in scan for id in batch.ids]) == 7
        child = os.fork()
        if child == 0:
            sys.exit(0)
        os.waitpid(child, 0)
        store.upsert(batch_of("third"))
        os._exit(7)
    """)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, str(path)],
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert done.returncode == 7
    acknowledged = [f"{name}-{row}" for name in ("first", "second", "third") for row in range(ROWS)]
    check(path, acknowledged, tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="calls fork of the C library")
def test_a_fork_that_python_does_not_see_is_refused_in_the_child(path, tmp_path):
    """As uWSGI forks without ``enable-threads``: no handler runs, the connections stay open."""
    store = open_store(path)
    acknowledged = [f"first-{row}" for row in range(ROWS)] + write(store, "second")
    child = ctypes.PyDLL(None).fork()
    if child == 0:
        status = 1
        with suppress(BaseException):
            try:
                store.count()
            except UnsupportedOperationError:
                status = 0
            store.close()
        os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    # The child did not give the parent's lock back.
    with pytest.raises(StoreLockedError):
        open_store(path).upsert(batch_of("refused"))
    acknowledged += write(store, "third")
    store.close()
    check(path, acknowledged, tmp_path)
