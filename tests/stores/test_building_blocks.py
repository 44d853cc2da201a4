"""The functions that third-party stores are built on."""

from __future__ import annotations

import numpy as np
import pytest

from imagesearch import EmbeddingSpec, IndexMeta, RecordBatch
from imagesearch.errors import StoreRequestError
from imagesearch.stores import check_batch, check_queries, possible_ids, rank
from imagesearch.testing.stores._reading import expected_scores
from imagesearch.types import METRICS

COSINE = IndexMeta(EmbeddingSpec("two numbers", 2, False, "1"))


def batch(**changed):
    fields = {
        "ids": ("a", "b"),
        "uris": ("/a.jpg", "/b.jpg"),
        "digests": ("", ""),
        "metadata": ({}, {}),
        "vectors": [[3, 4], [0, 2]],
    }
    return RecordBatch(**{**fields, **changed})


@pytest.mark.parametrize("metric", METRICS)
def test_ranking_agrees_with_sorting_all_scores(metric):
    random = np.random.default_rng(0)
    vectors = random.normal(size=(300, 6)).astype(np.float32)
    queries = random.normal(size=(70, 6)).astype(np.float32)
    if metric == "cosine":
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    ids = [f"{row}" for row in random.permutation(300)]
    table = expected_scores(queries, vectors, metric)
    for scores, best in zip(table, rank(queries, vectors, ids, k=7, metric=metric), strict=True):
        assert [row for row, _ in best] == np.argsort(-scores)[:7].tolist()
        assert [score for _, score in best] == pytest.approx(np.sort(scores)[::-1][:7])


def test_equal_scores_are_ranked_by_id_and_then_cut():
    same = np.ones((30, 2), np.float32) / np.sqrt(np.float32(2))
    ids = [f"{row * 7 % 30:02}" for row in range(30)]
    [best] = rank(same[:1], same, ids, k=4, metric="cosine")
    assert [ids[row] for row, _ in best] == ["00", "01", "02", "03"]


def test_ranking_nothing_gives_an_empty_list_for_each_query():
    queries = np.ones((3, 2), np.float32)
    assert rank(queries, np.empty((0, 2), np.float32), [], k=5, metric="dot") == [[], [], []]
    assert rank(queries[:0], queries, ["a", "b", "c"], k=5, metric="dot") == []


def test_a_checked_batch_has_unit_vectors_and_leaves_the_given_one_alone():
    given = batch(metadata=({"tags": ["red"]}, {}))
    checked = check_batch(given, COSINE)
    np.testing.assert_allclose(checked.vectors, [[0.6, 0.8], [0, 1]], rtol=1e-6)
    checked.metadata[0]["tags"].append("green")
    assert given.metadata[0] == {"tags": ["red"]}
    np.testing.assert_array_equal(given.vectors, [[3, 4], [0, 2]])


@pytest.mark.parametrize(
    ("changed", "words", "ids"),
    [
        ({"vectors": None}, "no vectors", ()),
        ({"vectors": [[1, 2, 3], [4, 5, 6]]}, r"\(n, 2\)", ()),
        ({"vectors": [[1, 2], [0, 0]]}, "id 'b' is zero", ("b",)),
        ({"vectors": [[1, np.nan], [0, np.inf]]}, "id 'a' .*1 more", ("a", "b")),
        ({"metadata": ({}, {"id": 1})}, "'id'", ("b",)),
        ({"uris": ("/a.jpg", "/\ud800.jpg")}, "id 'b' is not valid Unicode", ("b",)),
    ],
    ids=["no vectors", "another dim", "zero", "two not finite", "reserved name", "surrogate"],
)
def test_a_batch_that_cannot_be_stored_is_refused_with_its_reason(changed, words, ids):
    with pytest.raises(StoreRequestError, match=words) as caught:
        check_batch(batch(**changed), COSINE)
    assert caught.value.ids == ids


def test_queries_are_checked_with_their_number_of_hits():
    assert check_queries([[0, 5]], COSINE, 1).tolist() == [[0, 1]]
    with pytest.raises(StoreRequestError, match="k must"):
        check_queries([[0, 5]], COSINE, 0)
    with pytest.raises(StoreRequestError, match="NaN"):
        check_queries([[0, np.nan]], COSINE, 1)


def test_ids_that_no_record_can_have_are_left_out():
    assert possible_ids(["b", "a", "b", "", "a\0", "\ud800", "x" * 129]) == ["b", "a"]
