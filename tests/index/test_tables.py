"""What goes out of an index: arrays and dicts."""

from __future__ import annotations

import numpy as np
import pytest

from imagesearch import EmbeddingSpec, ImageIndex, MemoryStore
from imagesearch.errors import FilterError


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
    with pytest.raises(FilterError):
        index.to_numpy(where="n <")


def test_an_empty_index_gives_empty_arrays():
    with ImageIndex(embedder=EmbeddingSpec("mine", dim=4), store=MemoryStore()) as index:
        ids, vectors = index.to_numpy()
        assert (ids, vectors.shape) == ([], (0, 4))


def test_hits_become_dicts_and_frames(index):
    hits = index.search(id="id-3", k=2)
    first = hits.to_dicts()[0]
    assert first == {
        "id": hits[0].id,
        "score": hits[0].score,
        "uri": hits[0].uri,
        "metadata": hits[0].metadata,
    }
    pytest.importorskip("pandas")
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
