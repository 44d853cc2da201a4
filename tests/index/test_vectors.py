"""Vectors from elsewhere: they come in without images, and go out again."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from imagesearch import (
    DescriptorEmbedder,
    EmbeddingSpec,
    ImageIndex,
    Item,
    LocalStore,
    MemoryStore,
    Query,
    evaluate,
)
from imagesearch.errors import ConfigError, QueryError, SourceError, StoreRequestError
from imagesearch.vectors import normalise

SPEC = EmbeddingSpec("elsewhere", dim=8)


def vectors_of(count, dim=8, seed=0):
    return np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)


def names(count):
    return [f"id-{number}" for number in range(count)]


@pytest.fixture
def index():
    with ImageIndex(embedder=SPEC, store=MemoryStore()) as index:
        yield index


def test_an_index_is_built_and_searched_without_an_embedder(tmp_path):
    vectors = vectors_of(20)
    fields = [{"even": number % 2 == 0} for number in range(20)]
    with ImageIndex(tmp_path / "own.idx", embedder=SPEC) as index:
        report = index.add_vectors(names(20), vectors, metadata=fields)
        assert report.added == names(20)
        assert report.embedded == 0
    with ImageIndex(tmp_path / "own.idx") as index:
        assert index.search(vector=vectors[3], k=1).ids == ["id-3"]
        assert index.count("even = true") == 10
        assert "id-4" not in index.search(id="id-3", where="even = false", k=20).ids
        stored = index.get("id-3", vectors=True)["id-3"]
        np.testing.assert_allclose(stored.vector, normalise(vectors[3]), atol=1e-6)


@pytest.mark.parametrize("query", [{"query": Image.new("RGB", (9, 9))}, {"text": "a fish"}])
def test_an_index_without_an_embedder_refuses_images_and_texts(index, query):
    index.add_vectors(names(2), vectors_of(2))
    with pytest.raises(ConfigError, match="'elsewhere'"):
        index.search(**query)


def test_an_index_without_an_embedder_refuses_an_image_to_add(index):
    with pytest.raises(ConfigError, match="'elsewhere'"):
        index.add(Image.new("RGB", (9, 9)))
    assert index.count() == 0


def test_every_vector_is_accounted_for(index):
    vectors = vectors_of(6)
    vectors[1] = 0
    vectors[2, 3] = np.nan
    report = index.add_vectors(["a", "b", "c", "x" * 200, "a", "f"], vectors)
    assert report.added == ["a", "f"]
    assert [failure.id for failure in report.failed] == ["b", "c", "x" * 200, "a"]
    assert [type(failure.error) for failure in report.failed] == [
        StoreRequestError,
        StoreRequestError,
        StoreRequestError,
        SourceError,
    ]
    assert index.count() == 2


def test_the_first_failure_is_raised_on_request(index):
    with pytest.raises(StoreRequestError):
        index.add_vectors(["a", "b"], [[0.0] * 8, [1.0] * 8], on_error="raise")


def test_a_repeated_call_changes_nothing_and_a_new_vector_replaces_the_old(index):
    vectors = vectors_of(3)
    index.add_vectors(names(3), vectors, uris=["/a", "/b", "/c"])
    assert index.add_vectors(names(3), vectors, uris=["/a", "/b", "/c"]).unchanged == names(3)
    vectors[1] *= -1
    report = index.add_vectors(names(3), vectors, uris=["/a", "/b", "/c"])
    assert (report.updated, report.unchanged) == (["id-1"], ["id-0", "id-2"])
    assert index.search(vector=vectors[1], k=1)[0].score == pytest.approx(1)


def test_records_keep_their_fields_where_none_are_given(index):
    vectors = vectors_of(2)
    index.add_vectors(names(2), vectors, metadata=[{"n": 1}, {"n": 2}])
    index.add_vectors(names(2), -vectors)
    assert index.get("id-1")["id-1"].metadata == {"n": 2}


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((["a"], [[1.0, 2.0]]), StoreRequestError),
        ((["a"], [1.0] * 8), StoreRequestError),
        ((["a"], [["x"] * 8]), StoreRequestError),
        ((["a", "b"], [[1.0] * 8]), QueryError),
        (("ab", [[1.0] * 8] * 2), QueryError),
        ((["a"], [[1.0] * 8], ["/a", "/b"]), QueryError),
        ((["a"], [[1.0] * 8], None, {"n": 1}), QueryError),
    ],
)
def test_arguments_that_do_not_fit_are_refused_as_a_whole(index, arguments, error):
    with pytest.raises(error):
        index.add_vectors(*arguments)
    assert index.count() == 0


def test_nothing_is_added_from_nothing(index):
    assert index.add_vectors([], []).total == 0


def test_more_vectors_than_a_batch_are_stored():
    with ImageIndex(embedder=SPEC, store=MemoryStore()) as index:
        vectors = vectors_of(2500).astype(np.float16)
        assert len(index.add_vectors(names(2500), vectors).added) == 2500
        assert index.search(vector=vectors[2400], k=1).ids == ["id-2400"]


def test_items_with_vectors_stand_among_images():
    embedder = DescriptorEmbedder()
    given = np.ones(embedder.spec.dim, np.float32)
    with ImageIndex(embedder=embedder, store=MemoryStore()) as index:
        report = index.add(
            [
                Item(Image.new("RGB", (9, 9), "red"), id="red"),
                Item(vector=given, uri="https://example.org/a.jpg", metadata={"n": 1}),
                Item("no-such-file.jpg", id="gone", vector=-given),
                Item(),
                Item(id="short", vector=[1.0, 2.0]),
            ]
        )
        assert len(report.added) == 3
        assert report.embedded == 1
        assert [failure.id for failure in report.failed] == [None, "short"]
        [record] = index.get(index.search(vector=given, k=1).ids).values()
        assert (record.uri, record.metadata) == ("https://example.org/a.jpg", {"n": 1})


def test_the_projection_of_an_index_is_applied():
    vectors = vectors_of(30)
    with ImageIndex(embedder=SPEC, store=MemoryStore()) as full:
        full.add_vectors(names(30), vectors)
        with full.fit_projection(MemoryStore(), dim=4) as small:
            small.add_vectors(["again"], vectors[5:6])
            stored = small.get(["again", "id-5"], vectors=True)
            np.testing.assert_allclose(stored["again"].vector, stored["id-5"].vector, atol=1e-5)
            small.add_vectors(["read"], stored["id-5"].vector[None])
            read = small.get("read", vectors=True)["read"]
            np.testing.assert_allclose(read.vector, stored["id-5"].vector, atol=1e-6)


def test_duplicates_are_found_by_vector(index):
    vectors = vectors_of(40)
    vectors[7] = vectors[3] + 1e-4
    index.add_vectors(names(40), vectors)
    [group] = index.duplicates(tiers=["semantic"], threshold=0.99)
    assert set(group.ids) == {"id-3", "id-7"}
    match = index.is_duplicate(Item(vector=vectors[3]), threshold=0.99)
    assert match is not None
    assert match.tier == "exact"


def test_vectors_are_queries_of_an_evaluation(index):
    centres = vectors_of(2, seed=1)
    vectors = np.repeat(centres, 10, axis=0) + vectors_of(20) * 0.01
    labels = [{"label": "ab"[number // 10]} for number in range(20)]
    index.add_vectors(names(20), vectors, metadata=labels)
    queries = [Item(vector=centres[n], id=f"q{n}", metadata=labels[10 * n]) for n in range(2)]
    evaluation = evaluate(index, queries, k=5)
    assert evaluation["precision@5"] == 1.0


def test_a_spec_restores_the_embedder_that_an_index_was_built_with(tmp_path):
    embedder = DescriptorEmbedder()
    with ImageIndex(tmp_path / "a.idx", embedder=embedder) as index:
        index.add(Item(Image.new("RGB", (9, 9), "red"), id="red"))
    with ImageIndex(tmp_path / "a.idx", embedder=embedder.spec) as index:
        assert index.search(Image.new("RGB", (9, 9), "red")).ids == ["red"]


def test_specs_with_other_names_do_not_mix(tmp_path):
    with ImageIndex(store=LocalStore(tmp_path / "a.idx"), embedder=SPEC) as index:
        index.add_vectors(["a"], vectors_of(1))
    with pytest.raises(StoreRequestError.__base__):
        ImageIndex(tmp_path / "a.idx", embedder=EmbeddingSpec("another", dim=8))


def test_a_vector_query_of_another_length_is_refused(index):
    index.add_vectors(names(2), vectors_of(2))
    with pytest.raises(QueryError):
        index.search(Query.vector([1.0, 2.0]))
