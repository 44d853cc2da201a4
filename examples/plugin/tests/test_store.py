"""The store keeps every rule that the library's own stores keep, and the promises of its own."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import numpy as np
import pytest
from shopsearch.store import SQLiteStore

from imagesearch import EmbeddingSpec, IndexMeta, RecordBatch
from imagesearch.errors import StoreCorruptError, StoreUnavailableError
from imagesearch.testing import VectorStoreConformance

META = IndexMeta(EmbeddingSpec("two numbers", 2, False, "1"))

# Adds record after record, and says which are acknowledged, until it is killed.
WRITER = """
import itertools, sys
from imagesearch import EmbeddingSpec, IndexMeta, RecordBatch
from shopsearch.store import SQLiteStore

store = SQLiteStore(sys.argv[1])
store.open(IndexMeta(EmbeddingSpec("two numbers", 2, False, "1")))
for number in itertools.count():
    store.upsert(RecordBatch((str(number),), ("",), ("",), ({},), [[1, number]]))
    print(number, flush=True)
"""


class TestSQLiteStore(VectorStoreConformance):
    def make_store(self, place):
        return SQLiteStore(place / "shop.sqlite")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "shop.sqlite"


def opened(path):
    store = SQLiteStore(path)
    store.open(META)
    return store


def batch(*ids):
    rows = len(ids)
    return RecordBatch(ids, ("",) * rows, ("",) * rows, ({},) * rows, np.ones((rows, 2)))


def test_what_was_acknowledged_survives_a_killed_process(path):
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
    ) as writer:
        acknowledged = [next(writer.stdout).strip() for _ in range(20)]
        writer.kill()
        acknowledged += writer.stdout.read().split()
    store = opened(path)
    assert set(store.get(acknowledged)) == set(acknowledged)
    store.upsert(batch("and goes on"))


def test_every_handle_sees_what_another_has_written(path):
    one, other = opened(path), opened(path)
    one.upsert(batch("a", "b"))
    assert other.delete(["a"]) == 1
    assert [hit.id for hit in one.search(np.ones((1, 2)), k=9)[0]] == ["b"]


def test_threads_may_open_write_and_search_at_once(path):
    def work(name):
        store = opened(path)
        for number in range(5):
            store.upsert(batch(f"{name}-{number}"))
            assert len(store.search(np.ones((1, 2)), k=40)[0]) > number

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, "abcdefgh"))
    assert opened(path).count() == 40


def test_an_index_lives_beside_the_tables_of_an_application(path):
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE products (name TEXT)")
        connection.execute("INSERT INTO products VALUES ('shoe')")
    assert SQLiteStore(path).describe() is None
    opened(path).upsert(batch("a"))
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM products").fetchall() == [("shoe",)]


def test_a_file_that_is_no_database_is_named_and_left_alone(path):
    path.write_text("not a database, but some notes " * 100)
    with pytest.raises(StoreCorruptError, match=r"shop\.sqlite"):
        opened(path)
    assert path.read_text().startswith("not a database")


def test_a_folder_that_does_not_exist_is_reported(tmp_path):
    with pytest.raises(StoreUnavailableError, match="check the folder"):
        opened(tmp_path / "missing" / "shop.sqlite")
