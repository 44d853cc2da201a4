"""Vectors kept as float16 or int8: how large, how near, and what an index remembers of it."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from imagesearch.cli import main
from imagesearch.config import PluginConfig
from imagesearch.copying import copy_records
from imagesearch.errors import (
    ConfigError,
    IncompatibleIndexError,
    StoreCorruptError,
    StoreRequestError,
)
from imagesearch.plugins import make_store
from imagesearch.stores.local import LocalStore
from imagesearch.stores.local import _writer as writing
from imagesearch.stores.local._vectors import Encoding
from imagesearch.testing.stores._fixtures import make_batch, make_meta, unit

FORMATS = Path(__file__).parent / "formats"
DTYPES = ("float32", "float16", "int8")
FILES = {"float32": "vectors-1.f32", "float16": "vectors-1.f16", "int8": "vectors-1.i8"}


def vectors(rows, dim=128, seed=0):
    return unit(np.random.default_rng(seed).normal(size=(rows, dim)))


@pytest.fixture
def make(tmp_path):
    stores = []

    def maker(name="photos.idx", dim=128, metric="cosine", **options):
        store = LocalStore(tmp_path / name, **options)
        stores.append(store)
        store.open(make_meta(dim, metric))
        return store

    yield maker
    for store in stores:
        store.close()


def by_id(store):
    return {
        record.id: record.vector
        for batch in store.scan(vectors=True, batch_size=7)
        for record in batch
    }


@pytest.mark.parametrize(("dtype", "size"), [("float32", 512), ("float16", 256), ("int8", 128)])
def test_a_vector_of_128_elements_takes_its_share_of_bytes_and_no_more(make, tmp_path, dtype, size):
    make(dtype=dtype).upsert(make_batch(vectors(30)))
    assert (tmp_path / "photos.idx" / FILES[dtype]).stat().st_size == 30 * size


@pytest.mark.parametrize(("dtype", "error"), [("float16", 2e-4), ("int8", 0.01)])
@pytest.mark.parametrize("dim", [128, 1280])
def test_scores_are_nearly_those_of_float32(make, dtype, error, dim):
    # Embeddings are sparse and uneven, which leaves int8 fewer steps than even noise would.
    kept = unit(np.abs(np.random.default_rng(1).normal(size=(400, dim))) ** 3)
    store = make(dim=dim, dtype=dtype)
    store.upsert(make_batch(kept))
    for query, hits in zip(kept[:20], store.search(kept[:20], k=400), strict=True):
        rows = [int(hit.id[-5:]) for hit in hits]
        np.testing.assert_allclose([hit.score for hit in hits], kept[rows] @ query, atol=error)


def test_vectors_come_back_as_float32_of_unit_length(make):
    store = make(dtype="int8")
    store.upsert(make_batch(3 * vectors(20)))
    for vector in by_id(store).values():
        assert vector.dtype == np.float32
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)
    got = store.get(["id-00003"], vectors=True)["id-00003"].vector
    np.testing.assert_array_equal(got, by_id(store)["id-00003"])


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_equal_vectors_score_alike_wherever_they_stand(make, dtype):
    """Found among others, gathered by a filter, alone in a block: the same to the bit."""
    store = make(dim=97, dtype=dtype, engine="exact")
    mixed = vectors(3000, 97)
    mixed[::3] = mixed[0]
    store.upsert(make_batch(mixed))
    hits = store.search(vectors(1, 97, seed=5), k=3000)[0]
    scores = {hit.score for hit in hits if int(hit.id[-5:]) % 3 == 0}
    assert len(scores) == 1


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_copies_of_copies_do_not_drift(make, tmp_path, dtype):
    first = make("first.idx", dtype=dtype)
    first.upsert(make_batch(vectors(300)))
    second, third = make("second.idx", dtype=dtype), make("third.idx", dtype=dtype)
    copy_records(first, second)
    assert copy_records(second, third).agreement == 1
    bytes_of = [
        (tmp_path / name / FILES[dtype]).read_bytes() for name in ("first.idx", "third.idx")
    ]
    assert bytes_of[0] == bytes_of[1]


@settings(max_examples=60, deadline=None)
@given(
    arrays(
        np.float32,
        st.tuples(st.integers(1, 4), st.integers(1, 40)),
        elements=st.floats(-1, 1, width=32),
    ),
    st.sampled_from(["float16", "int8"]),
)
def test_encoding_what_was_decoded_changes_nothing(given_vectors, dtype):
    long_enough = given_vectors[np.abs(given_vectors).max(axis=1) > 1e-3]
    encoding = Encoding(dtype, "cosine")
    kept = encoding.encode(unit(long_enough))
    again = encoding.encode(encoding.decode(kept))
    np.testing.assert_array_equal(again, kept)


def test_every_float16_is_read_exactly():
    bits = np.arange(2**16, dtype=np.uint16)
    halves = bits.view(np.float16)[np.isfinite(bits.view(np.float16))]
    wide = Encoding("float16", "dot").decode(halves.reshape(-1, 8))
    np.testing.assert_array_equal(wide.ravel(), halves.astype(np.float32))


@pytest.mark.parametrize("metric", ["dot", "l2"])
def test_halves_keep_lengths_under_dot_and_l2(make, metric):
    store = make(metric=metric, dtype="float16")
    kept = vectors(5) * np.array([[0], [0.01], [1], [50], [30_000]], np.float32)
    store.upsert(make_batch(kept))
    for id, vector in by_id(store).items():
        np.testing.assert_allclose(vector, kept[int(id[-5:])], rtol=5e-4, atol=1e-7)


def test_what_is_too_large_for_halves_is_refused_and_nothing_is_written(make):
    store = make(dim=2, metric="dot", dtype="float16")
    with pytest.raises(StoreRequestError, match=r"id-00001.*70000.*float16.*dtype='float32'"):
        store.upsert(make_batch(np.array([[1, 2], [3, 70_000]], np.float32)))
    assert store.count() == 0


@pytest.mark.parametrize("metric", ["dot", "l2"])
def test_bytes_are_refused_where_lengths_count_and_nothing_is_made(tmp_path, metric):
    store = LocalStore(tmp_path / "photos.idx", dtype="int8")
    with pytest.raises(ConfigError, match=rf"int8.*{metric}.*float16"):
        store.open(make_meta(4, metric))
    assert not (tmp_path / "photos.idx").exists()


def test_an_unknown_dtype_is_refused_naming_those_there_are(tmp_path):
    with pytest.raises(
        ConfigError, match="dtype must be 'float32', 'float16' or 'int8', got 'float64'"
    ):
        LocalStore(tmp_path / "photos.idx", dtype="float64")


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_index_remembers_its_dtype(make, dtype):
    store = make(dtype=dtype)
    store.upsert(make_batch(vectors(3)))
    kept = by_id(store)
    store.close()
    again = make()
    assert f"3 records, {dtype}" in repr(again)
    np.testing.assert_array_equal(by_id(again)["id-00001"], kept["id-00001"])
    again.close()
    assert make(dtype=dtype, read_only=True).count() == 3


@pytest.mark.parametrize(("made", "asked"), [("int8", "float32"), ("float32", "int8")])
def test_another_dtype_than_the_index_has_is_refused_with_the_way_to_get_it(
    make, tmp_path, made, asked
):
    make(dtype=made).close()
    with pytest.raises(IncompatibleIndexError) as caught:
        make(dtype=asked)
    assert f"as {made}, and dtype={asked!r}" in str(caught.value)
    path = tmp_path / "photos.idx"
    assert f"imagesearch copy {path} NEW.idx --dtype {asked}" in str(caught.value)


def test_a_graph_over_bytes_finds_what_a_scan_finds(make):
    pytest.importorskip("usearch")
    written = make("photos.idx", dim=16, dtype="int8", exact_below=100)
    written.upsert(make_batch(vectors(600, 16)))
    written.optimize()
    exact = make(dim=16, engine="exact", read_only=True)
    graph = make(dim=16, engine="usearch", exact_below=100, read_only=True)
    assert "graph, not loaded yet" in repr(graph)
    queries = vectors(30, 16, seed=3)
    pairs = list(zip(exact.search(queries, k=5), graph.search(queries, k=5), strict=True))
    shared = [len({hit.id for hit in one} & {hit.id for hit in other}) for one, other in pairs]
    assert np.mean(shared) > 4.8
    assert "graph of 600" in repr(graph)


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_compaction_moves_small_vectors_unchanged(make, tmp_path, monkeypatch, dtype):
    monkeypatch.setattr(writing, "_WASTE_ROWS", 50)
    store = make(dtype=dtype)
    store.upsert(make_batch(vectors(150)))
    before = by_id(store)
    gone = [f"id-{row:05d}" for row in range(0, 120, 2)]
    assert store.delete(gone) == 60
    file = tmp_path / "photos.idx" / FILES[dtype].replace("1", "2", 1)
    assert file.stat().st_size == 90 * (128 if dtype == "int8" else 256)
    assert not (tmp_path / "photos.idx" / FILES[dtype]).exists()
    after = by_id(store)
    assert after.keys() == before.keys() - set(gone)
    for id, vector in after.items():
        np.testing.assert_array_equal(vector, before[id])


def test_a_torn_tail_of_bytes_is_overwritten(make, tmp_path):
    store = make(dtype="int8")
    store.upsert(make_batch(vectors(20)))
    store.close()
    file = tmp_path / "photos.idx" / FILES["int8"]
    with file.open("ab") as opened:
        opened.write(b"\x80" * 77)
    store, late = make(), vectors(5, seed=1)
    assert len(by_id(store)) == 20
    store.upsert(make_batch(late, prefix="late"))
    assert [hits[0].id for hits in store.search(late, k=1)] == [f"late-{n:05d}" for n in range(5)]
    assert file.stat().st_size == 25 * 128


def test_shortened_bytes_are_reported(make, tmp_path):
    store = make(dtype="int8")
    store.upsert(make_batch(vectors(20)))
    store.close()
    os.truncate(tmp_path / "photos.idx" / FILES["int8"], 19 * 128)
    with pytest.raises(StoreCorruptError, match=r"2432 bytes.*2560 bytes"):
        make()


def test_a_writer_of_bytes_that_is_killed_loses_nothing_that_was_acknowledged(tmp_path, make):
    program = textwrap.dedent("""
        import os, signal, sys
        import numpy as np
        from imagesearch.stores.local import LocalStore, _writer as writer
        from imagesearch.testing.stores._fixtures import make_batch, make_meta, unit
        store = LocalStore(sys.argv[1], dtype="int8")
        store.open(make_meta(128))
        vectors = unit(np.random.default_rng(0).normal(size=(40, 128)))
        store.upsert(make_batch(vectors[:20]))
        # The vectors are on the disk, and nothing refers to them yet.
        writer.field_entries = lambda _: os.kill(os.getpid(), signal.SIGKILL)
        store.upsert(make_batch(vectors[20:], prefix="lost"))
    """)
    path = tmp_path / "photos.idx"
    run = subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert run.returncode == -signal.SIGKILL
    assert (path / FILES["int8"]).stat().st_size == 40 * 128
    store = make()
    assert store.count() == 20
    late = vectors(3, seed=9)
    store.upsert(make_batch(late, prefix="late"))
    assert len(by_id(store)) == 23
    for query, hits in zip(late, store.search(late, k=1), strict=True):
        assert hits[0].score == pytest.approx(1, abs=1e-3), query


@pytest.fixture
def old(tmp_path):
    """An index as version 1 of the format left it."""
    path = tmp_path / "old.idx"
    path.mkdir()
    connection = sqlite3.connect(path / "index.sqlite")
    connection.executescript((FORMATS / "format-1.sql").read_text())
    connection.close()
    np.eye(4, dtype="<f4")[:3].tofile(path / "vectors-1.f32")
    return path


def format_of(path):
    connection = sqlite3.connect(path / "index.sqlite")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.close()
    return version


def test_an_index_of_format_1_opens_as_float32_and_takes_more(old):
    store = LocalStore(old)
    store.open(make_meta(4))
    assert "2 records, float32" in repr(store)
    assert store.search(np.eye(4, dtype=np.float32)[2:3], k=1)[0][0].id == "id-00002"
    store.upsert(make_batch(np.eye(4, dtype=np.float32)[3:], prefix="late"))
    assert store.count() == 3
    store.close()
    assert format_of(old) == 3


def test_an_index_of_format_1_can_be_read_where_nothing_may_be_written(old):
    store = LocalStore(old, read_only=True, dtype="float32")
    store.open(make_meta(4))
    assert store.search(np.eye(4, dtype=np.float32)[:1], k=1)[0][0].id == "id-00000"
    store.close()
    assert format_of(old) == 1


def test_an_index_of_format_1_does_not_become_bytes(old):
    with pytest.raises(IncompatibleIndexError, match="as float32, and dtype='int8'"):
        LocalStore(old, dtype="int8").open(make_meta(4))
    assert format_of(old) == 1


def test_a_config_chooses_the_dtype(tmp_path):
    place = str(tmp_path / "photos.idx")
    store = make_store(PluginConfig("local", {"path": place, "dtype": "int8"}))
    store.open(make_meta(4))
    assert "int8" in repr(store)
    store.close()
    with pytest.raises(ConfigError, match="dtype"):
        make_store(PluginConfig("local", {"path": place, "dtype": "int4"}))


def run(*arguments):
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    return stopped.value.code


def test_the_copy_command_writes_a_smaller_index(make, tmp_path, capsys):
    store = make()
    store.upsert(make_batch(vectors(40)))
    store.close()
    source, target = tmp_path / "photos.idx", tmp_path / "small.idx"
    assert run("copy", source, target, "--dtype", "int8", "--no-progress") == 0
    assert "40 copied" in capsys.readouterr().out
    assert (target / FILES["int8"]).stat().st_size == 40 * 128
    assert run("copy", source, target, "--dtype", "float16", "--no-progress") != 0
    assert "keeps its vectors as int8" in capsys.readouterr().err


def test_the_copy_command_refuses_a_dtype_for_a_config_file(make, tmp_path, capsys):
    make()
    place = tmp_path / "server.toml"
    place.write_text('[store]\nkind = "memory"\n')
    assert run("copy", tmp_path / "photos.idx", place, "--dtype", "int8") != 0
    assert 'dtype = "int8"' in capsys.readouterr().err
