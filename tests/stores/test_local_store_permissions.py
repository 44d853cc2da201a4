"""Readers of another user: without write permission they see everything, or are refused in words."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import textwrap
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from imagesearch.stores.local import LocalStore
from imagesearch.testing.stores._fixtures import make_batch, make_meta, unit

DIM = 8
META = make_meta(DIM)

pytestmark = pytest.mark.skipif(
    os.name == "nt" or os.geteuid() != 0,
    reason="only root can start a program of another user",
)

READER = textwrap.dedent("""
    import json, os, sys, tempfile
    import numpy as np
    from imagesearch.errors import StoreError
    from imagesearch.stores.local import LocalStore
    from imagesearch.testing.stores._fixtures import make_batch, make_meta, unit

    def vector(row):
        return unit(np.random.default_rng(row).normal(size=(1, 8)))

    def look():
        ids = []
        for batch in store.scan(vectors=True):
            for record in batch:
                assert vector(int(record.id))[0] @ record.vector > 0.999, record.id
                ids.append(int(record.id))
        assert store.count() == len(ids)
        return sorted(ids)

    def once():
        # Each of these is repeated by the store itself where a write comes between.
        rows = range(0, 400, 7)
        found = store.get([str(row) for row in rows], vectors=True)
        for id, record in found.items():
            assert vector(int(id))[0] @ record.vector > 0.999, id
        [hits] = store.search(vector(1), k=3)
        for hit in hits:
            assert abs(float(vector(int(hit.id))[0] @ vector(1)[0]) - hit.score) < 1e-4, hit.id
        return store.count()

    # Everything is imported before, for Python itself may be out of the other user's reach.
    with tempfile.TemporaryDirectory() as folder:
        store = LocalStore(folder)
        store.open(make_meta(8))
        store.upsert(make_batch(vector(1), ids=["1"]))
        look(), once(), store.close()
        try:
            LocalStore("/dev/null").open(make_meta(8))
        except StoreError:
            pass
    os.setgroups([]), os.setgid(int(sys.argv[3])), os.setuid(int(sys.argv[2]))
    store = LocalStore(sys.argv[1], read_only=sys.argv[4] == "True", exact_below=10**6)
    commands = {
        "open": lambda: store.open(make_meta(8)),
        "look": look,
        "once": once,
        "write": lambda: store.upsert(make_batch(vector(1), ids=["1"])),
    }
    print("ready", flush=True)
    for line in sys.stdin:
        try:
            print(json.dumps(["ok", commands[line.strip()]()]), flush=True)
        except StoreError as error:
            print(json.dumps([type(error).__name__, str(error)]), flush=True)
""")


def vectors_of(rows):
    return np.concatenate([unit(np.random.default_rng(row).normal(size=(1, DIM))) for row in rows])


def add(store, rows):
    store.upsert(make_batch(vectors_of(rows), ids=[str(row) for row in rows]))


class Reader:
    """A process of the user ``nobody``."""

    def __init__(self, path, *, read_only):
        user = pwd.getpwnam("nobody")
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                READER,
                path,
                str(user.pw_uid),
                str(user.pw_gid),
                str(read_only),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        if self._process.stdout.readline() != "ready\n":
            pytest.skip("a program of the user nobody cannot be started here")

    def begin(self, command):
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()

    def end(self):
        line = self._process.stdout.readline()
        assert line, "the reader has ended"
        return json.loads(line)

    def run(self, command):
        self.begin(command)
        return self.end()

    def close(self):
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


@pytest.fixture
def path():
    # Others may not enter the folders that pytest makes.
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder / "photos.idx"
    shutil.rmtree(folder)


@pytest.fixture
def owner(path):
    """Opens the index as its owner, with a umask that lets others read."""
    before = os.umask(0o022)
    stores = []

    def opener(**options):
        store = LocalStore(path, **options)
        store.open(META)
        stores.append(store)
        return store

    yield opener
    for store in stores:
        with suppress(FileNotFoundError):
            store.close()
    os.umask(before)


@pytest.fixture(params=[True, False], ids=["read_only", "default"])
def reader(path, request):
    readers = []

    def start():
        readers.append(Reader(path, read_only=request.param))
        return readers[-1]

    yield start
    for process in readers:
        process.close()


@pytest.fixture
def often_compacting(monkeypatch):
    monkeypatch.setattr("imagesearch.stores.local._writer._WASTE_ROWS", 20)


def test_a_reader_of_a_closed_index_sees_what_its_owner_writes_later(
    path, owner, reader, often_compacting
):
    store = owner()
    add(store, range(40))
    store.close()
    other = reader()
    assert other.run("open") == ["ok", None]
    expected = set(range(40))
    assert other.run("look") == ["ok", sorted(expected)]
    for turn in range(4):
        store = owner()
        assert other.run("look") == ["ok", sorted(expected)]
        rows = range(100 * (turn + 1), 100 * (turn + 1) + 30)
        add(store, rows)
        expected |= set(rows)
        assert other.run("look") == ["ok", sorted(expected)]
        gone = sorted(expected)[:25]
        assert store.delete([str(row) for row in gone]) == 25
        expected -= set(gone)
        if turn % 2:
            assert other.run("look") == ["ok", sorted(expected)]
        store.close()
        assert other.run("look") == ["ok", sorted(expected)]
    assert not (path / "vectors-1.f32").exists()
    assert {file.name for file in path.iterdir()} & {"index.sqlite-journal"} == set()


def test_a_reader_of_an_open_index_sees_each_write_and_outlasts_its_owner(owner, reader):
    store = owner()
    add(store, range(10))
    other = reader()
    assert other.run("open") == ["ok", None]
    for row in range(10, 20):
        add(store, [row])
        assert other.run("look") == ["ok", list(range(row + 1))]
    store.close()
    assert other.run("look") == ["ok", list(range(20))]
    store = owner()
    add(store, [20])
    store.close()
    assert other.run("look") == ["ok", list(range(21))]


def test_a_reader_is_never_wrong_while_its_owner_opens_compacts_and_closes(
    owner, reader, often_compacting
):
    store = owner()
    add(store, range(60))
    store.close()
    other = reader()
    assert other.run("open") == ["ok", None]
    other.begin("once")
    answers, live = [], set(range(60))
    for turn in range(25):
        store = owner()
        rows = range(60 + 20 * turn, 80 + 20 * turn)
        add(store, rows)
        gone = sorted(live)[:20]
        store.delete([str(row) for row in gone])
        live = (live | set(rows)) - set(gone)
        store.close()
        if turn % 2:
            answers.append(other.end())
            other.begin("once")
    answers.append(other.end())
    assert [answer for answer in answers if answer[0] != "ok" or not 60 <= answer[1] <= 80] == []
    assert other.run("look") == ["ok", sorted(live)]


def test_a_reader_may_not_write_and_leaves_the_index_as_it_is(owner, reader, path):
    store = owner()
    add(store, range(5))
    store.close()
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    other = reader()
    other.run("open")
    kind, message = other.run("write")
    assert kind in {"UnsupportedOperationError", "StoreUnavailableError"}
    assert "read_only" in message or "ermission" in message
    assert other.run("look") == ["ok", list(range(5))]
    assert {file.name: file.read_bytes() for file in path.iterdir()} == before


def test_a_log_that_a_reader_cannot_use_is_refused_with_what_to_grant(owner, reader, path):
    store = owner()
    add(store, range(5))
    log = (path / "index.sqlite-wal").read_bytes()
    store.close()
    (path / "index.sqlite-wal").write_bytes(log)
    other = reader()
    kind, message = other.run("open")
    assert kind == "StoreUnavailableError"
    assert "index.sqlite-shm" in message
    assert "write permission" in message
    # What the message asks for helps.
    owner().close()
    assert other.run("open") == ["ok", None]
    assert other.run("look") == ["ok", list(range(5))]


@pytest.mark.parametrize("name", ["index.sqlite", "index.sqlite-wal", "vectors-1.f32"])
def test_a_file_that_a_reader_may_not_read_is_named(owner, reader, path, name):
    store = owner()
    add(store, range(5))
    (path / name).chmod(0o600)
    kind, message = reader().run("open")
    assert kind == "StoreUnavailableError"
    assert name in message
    assert "permission" in message.lower()
    (path / name).chmod(0o644)
    other = reader()
    assert other.run("open") == ["ok", None]
    assert other.run("look") == ["ok", list(range(5))]
