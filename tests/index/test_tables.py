"""What goes out of an index: arrays, tables and dicts."""

from __future__ import annotations

import numpy as np
import pytest

from imagesearch import EmbeddingSpec, ImageIndex, MemoryStore
from imagesearch.errors import FilterError

pa = pytest.importorskip("pyarrow")


@pytest.fixture
def index():
    vectors = np.random.default_rng(0).normal(size=(2300, 4)).astype(np.float32)
    fields = [{"n": n, "digest": f"d{n}", "mixed": n if n % 2 else "even"} for n in range(2300)]
    with ImageIndex(embedder=EmbeddingSpec("mine", dim=4), store=MemoryStore()) as index:
        index.add_vectors([f"id-{n}" for n in range(2300)], vectors, metadata=fields)
        yield index


def test_arrays_hold_what_the_records_hold(index):
    ids, vectors = index.to_numpy()
    assert vectors.dtype == np.float32
    assert sorted(ids) == sorted(f"id-{n}" for n in range(2300))
    records = index.get(ids, vectors=True)
    np.testing.assert_array_equal(vectors, np.stack([records[id].vector for id in ids]))


def test_a_filter_chooses_the_records(index):
    ids, vectors = index.to_numpy(where="n < 5")
    assert sorted(ids) == [f"id-{n}" for n in range(5)]
    assert vectors.shape == (5, 4)
    assert index.to_arrow(where="n < 5").num_rows == 5
    with pytest.raises(FilterError):
        index.to_numpy(where="n <")


def test_an_empty_index_gives_empty_tables():
    with ImageIndex(embedder=EmbeddingSpec("mine", dim=4), store=MemoryStore()) as index:
        ids, vectors = index.to_numpy()
        assert (ids, vectors.shape) == ([], (0, 4))
        assert index.to_arrow().num_rows == 0
        assert list(index.to_pandas(vectors=False).columns) == ["id", "uri", "digest"]


def test_a_table_has_typed_columns_and_vectors_as_fixed_size_lists(index):
    table = index.to_arrow()
    types = {field.name: str(field.type) for field in table.schema if field.name != "vector"}
    vectors = table.schema.field("vector").type
    assert (vectors.list_size, vectors.value_type) == (4, pa.float32())
    assert types == {
        "id": "string",
        "uri": "string",
        "digest": "string",
        "metadata.digest": "string",
        "mixed": "string",
        "n": "int64",
    }
    row = table.slice(7, 1).to_pylist()[0]
    record = index.get(row["id"], vectors=True)[row["id"]]
    assert row["n"] == record.metadata["n"]
    assert row["metadata.digest"] == record.metadata["digest"]
    assert row["digest"] == record.digest
    np.testing.assert_array_equal(row["vector"], record.vector)


def test_pandas_gets_the_same_columns(index):
    frame = index.to_pandas(where="n < 3")
    assert sorted(frame["n"]) == [0, 1, 2]
    assert frame["vector"].iloc[0].shape == (4,)


def test_hits_become_dicts_and_frames(index):
    hits = index.search(id="id-3", k=2)
    first = hits.to_dicts()[0]
    assert first == {
        "id": hits[0].id,
        "score": hits[0].score,
        "uri": hits[0].uri,
        "metadata": hits[0].metadata,
    }
    frame = hits.to_pandas()
    assert list(frame["id"]) == hits.ids
    assert list(frame["n"]) == [hit.metadata["n"] for hit in hits]
    assert list(index.search(id="id-3", where="n < 0").to_pandas().columns) == [
        "id",
        "score",
        "uri",
    ]


def test_a_report_has_a_dict_for_every_input(index):
    report = index.add_vectors(["new", "bad"], [[1, 2, 3, 4], [0, 0, 0, 0]])
    added, failed = report.to_dicts()
    assert (added["status"], added["id"], added["error"]) == ("added", "new", None)
    assert (failed["status"], failed["id"], failed["error"]) == (
        "failed",
        "bad",
        "StoreRequestError",
    )
    assert failed["reason"] == str(report.failed[0].error)
