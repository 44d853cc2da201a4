"""What evaluate and compare say about an index."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from imagesearch import Hit, ImageIndex, Item, MemoryStore, Query
from imagesearch import evaluation as evaluation_names
from imagesearch.errors import ConfigError, QueryError
from imagesearch.evaluation import EvaluationQuery, System, compare, evaluate
from tests.evaluation.colours import picture, save_folders
from tests.small_embedder import SmallEmbedder


@pytest.fixture
def gallery(tmp_path):
    return save_folders(tmp_path / "train", each=4)


@pytest.fixture
def queries(tmp_path):
    return save_folders(tmp_path / "test", each=2, first=10)


@pytest.fixture
def index(gallery):
    with ImageIndex(embedder=SmallEmbedder(), store=MemoryStore()) as index:
        index.add(gallery)
        yield index


def test_class_folders_label_queries_and_records(index, queries):
    evaluation = evaluate(index, queries, k=4)
    assert len(evaluation.queries) == 6
    assert evaluation.gallery.labels == 3
    for metric in ("P@1", "precision@4", "recall@4", "mHR@4", "mAP@4", "nDCG@4", "MRR@4"):
        assert evaluation[metric] == 1.0, metric
    assert evaluation.ann_recall.value == 1.0


def test_every_metric_is_measured_at_every_depth(index, queries):
    evaluation = evaluate(index, queries, k=[2, 8])
    assert evaluation["recall@2"] == 0.5
    assert evaluation["precision@8"] == 0.5
    assert evaluation["mAP@2"] == 1.0
    assert "mAP@8 (tutorial)" in evaluation.metrics


def test_labels_may_come_from_a_manifest_and_from_metadata_of_another_name(queries, tmp_path):
    embedder = SmallEmbedder()
    index = ImageIndex(embedder=embedder, store=MemoryStore())
    index.add([Item(picture("red", n), metadata={"kind": 1}) for n in range(3)])
    index.add([Item(picture("blue", n), metadata={"kind": 2}) for n in range(3)])
    rows = ["path,class", "test/red/10.png,1", "test/blue/10.png,2", "test/blue/11.png,2"]
    (tmp_path / "queries.csv").write_text("\n".join(rows))
    evaluation = evaluate(index, tmp_path / "queries.csv", k=3, label="class", index_label="kind")
    assert [query.label for query in evaluation.queries] == ["1", "2", "2"]
    assert evaluation["mAP@3"] == 1.0


def test_a_query_that_is_in_the_index_is_taken_out_of_its_own_answers(index, gallery, tmp_path):
    copies = tmp_path / "copies" / "red"
    copies.mkdir(parents=True)
    shutil.copy(gallery / "red" / "00.png", copies / "renamed.png")
    for source in (gallery / "red" / "00.png", copies / "renamed.png"):
        [result] = evaluate(index, source, k=3).queries
        assert result.relevant == 3
        assert len(result.hits) == 3
        assert all("red/00.png" not in hit.uri for hit in result.hits)
        [result] = evaluate(index, source, k=3, exclude_self=False).queries
        assert result.relevant == 4
        assert result.hits[0].uri.endswith("red/00.png")


def test_every_record_can_be_asked_in_turn(index, gallery):
    evaluation = evaluate(index, gallery, k=3, r_precision=True)
    assert len(evaluation.queries) == 12
    assert all(query.relevant == 3 for query in evaluation.queries)
    assert evaluation["R-precision"] == 1.0


def test_a_query_by_id_is_excluded_by_its_id(index):
    id = index.search(picture("green", 0), k=1).ids[0]
    [result] = evaluate(index, [EvaluationQuery(Query.id(id), "g", label="green")], k=3).queries
    assert id not in [hit.id for hit in result.hits]
    assert result.relevant == 3
    assert result.embedding_seconds is None


def test_a_class_without_records_is_reported_and_changes_no_number(index, queries):
    plain = evaluate(index, queries, k=4)
    save_folders(queries.parent / "more", each=1, first=10, kinds=("red",))
    stranger = queries / "violet"
    (queries.parent / "more" / "red").rename(stranger)
    evaluation = evaluate(index, queries, k=4)
    [unjudged] = evaluation.unjudged
    assert "violet" in unjudged.name
    assert "no record labelled 'violet'" in unjudged.reason
    assert evaluation.metrics == plain.metrics
    assert "1 unjudged" in str(evaluation)


def test_the_only_record_of_a_class_cannot_judge_itself(index, tmp_path):
    lone = save_folders(tmp_path / "lone", each=1, first=20, kinds=("blue",)) / "blue"
    lone.rename(tmp_path / "lone" / "sky")
    index.add(tmp_path / "lone")
    with pytest.raises(QueryError, match="no other record labelled"):
        evaluate(index, tmp_path / "lone")


def test_no_common_label_is_an_error_that_says_why(index, tmp_path):
    picture("red", 0).save(tmp_path / "stray.png")
    with pytest.raises(QueryError, match=r"no record labelled.*name the field"):
        evaluate(index, tmp_path / "stray.png")


def test_an_unreadable_query_is_reported_and_the_others_are_measured(index, queries):
    (queries / "red" / "broken.png").write_bytes(b"no image")
    evaluation = evaluate(index, [queries, "missing.png"], k=4)
    assert len(evaluation.queries) == 6
    assert sorted(failure.source.split("/")[-1] for failure in evaluation.failed) == [
        "broken.png",
        "missing.png",
    ]


def test_where_limits_what_is_searched_and_what_is_relevant(queries):
    index = ImageIndex(embedder=SmallEmbedder(), store=MemoryStore())
    index.add(
        [
            Item(picture(kind, n), metadata={"label": kind, "n": n})
            for kind in ("red", "green", "blue")
            for n in range(4)
        ]
    )
    evaluation = evaluate(index, queries, k=2, where="n < 2")
    assert evaluation.gallery.records == 6
    assert {query.relevant for query in evaluation.queries} == {2}
    assert evaluation["recall@2"] == 1.0


def test_a_label_that_is_a_list_is_refused(queries):
    index = ImageIndex(embedder=SmallEmbedder(), store=MemoryStore())
    index.add(Item(picture("red", 0), metadata={"label": ["red", "warm"]}))
    with pytest.raises(QueryError, match="pairs file"):
        evaluate(index, queries)


def test_search_options_and_search_functions_are_compared(index, queries):
    def backwards(query, k):
        return list(reversed(index.search(query, k=12)))[:k]

    comparison = compare(
        [
            System(index, "plain"),
            System(index, "strict", {"min_score": 1.1}),
            System(index, "backwards", search=backwards),
        ],
        queries,
        k=4,
    )
    assert [comparison[name]["recall@4"] for name in ("plain", "strict", "backwards")] == [1, 0, 0]
    gains = comparison.differences()
    assert gains["strict"]["recall@4"].value == -1.0
    assert (gains["strict"]["recall@4"].low, gains["strict"]["recall@4"].high) == (-1.0, -1.0)
    table = comparison.to_table()
    assert "gain over plain" in table
    assert "-1.000 [-1.000, -1.000]" in table


def test_a_search_function_may_look_at_the_image_itself(index, queries):
    asked = []

    def search(query, k):
        asked.append(str(query))
        return index.search(query, k=k)

    evaluation = evaluate(System(index, search=search, embed_first=False), queries, k=2)
    assert all(text.startswith("image ") for text in asked)
    assert evaluation.embedding is None
    assert "mAP@2" in evaluation.metrics


def test_a_record_that_is_returned_twice_is_refused(index, queries):
    def twice(query, k):
        return [Hit("a", 1.0, "/a.png", {})] * 2

    with pytest.raises(ConfigError, match="twice"):
        evaluate(System(index, "twice", search=twice), queries)


def test_what_must_be_the_same_for_all_is_no_option_of_one(index, queries):
    with pytest.raises(ConfigError, match="'where'"):
        compare([System(index, "a", {"where": "n > 1"})], queries)
    with pytest.raises(ConfigError, match="two systems"):
        compare([System(index), System(index)], queries)
    with pytest.raises(ConfigError, match="k must"):
        evaluate(index, queries, k=0)


def test_queries_are_embedded_once_for_several_indexes_of_one_embedder(gallery, queries):
    embedder = SmallEmbedder()
    indexes = {
        name: ImageIndex(embedder=embedder, store=MemoryStore()) for name in ("one", "other")
    }
    for index in indexes.values():
        index.add(gallery)
    before = embedder.embedded
    compare(indexes, queries)
    assert embedder.embedded - before == 6 + 1  # one to warm up


def test_a_projected_index_is_asked_with_projected_queries(index, queries):
    # As many dimensions as before: nothing but the values tells what is projected already.
    dim = min(index.meta.dim, index.count() - 1)
    projected = index.fit_projection(MemoryStore(), dim=dim)
    for result in evaluate(projected, queries, k=3).queries:
        hits = projected.search(result.name, k=3)
        assert [hit.id for hit in result.hits] == hits.ids
        assert np.allclose([hit.score for hit in result.hits], [hit.score for hit in hits])


def test_the_worst_queries_come_first(index, queries):
    asked = [
        EvaluationQuery(Query.image(picture("red", 10)), "wrong", label="blue"),
        EvaluationQuery(Query.image(picture("red", 11)), "right", label="red"),
    ]
    evaluation = evaluate(index, asked, k=4)
    assert [query.name for query in evaluation.worst()] == ["wrong", "right"]
    assert [query.name for query in evaluation.worst(1)] == ["wrong"]
    assert evaluation.worst()[0].correct == (False,) * 4


def test_results_are_json_and_one_page_that_loads_nothing(index, queries, tmp_path):
    weird = queries / "red" / "<b>&.png"
    picture("blue", 30).save(weird)
    comparison = compare([System(index, "a<b"), System(index, "other")], queries, k=3)
    facts = json.loads(json.dumps(comparison.to_dict(), allow_nan=False))
    assert facts["evaluations"][0]["judged"] == 7
    assert len(facts["evaluations"][0]["queries"][0]["hits"]) == 3
    assert "queries" not in comparison.to_dict(queries=False)["evaluations"][0]
    page = comparison.save_html(tmp_path / "page.html", worst=2).read_text(encoding="utf-8")
    assert page.count("data:image/jpeg") == 2 * 2 * (1 + 3)
    assert "<b>&.png" not in page
    assert "a&lt;b" in page
    assert "✗" in page
    assert 'src="http' not in page
    assert "href" not in page


def test_records_that_were_judged_not_relevant_lower_nothing(gallery):
    index = ImageIndex(embedder=SmallEmbedder(), store=MemoryStore())
    for colour in ("red", "blue"):
        index.add([Item(picture(colour, n), id=f"{colour}-{n}") for n in range(2)])
    judged = {"red-1": 2.0, "blue-0": 0, "blue-1": -1}
    perfect = EvaluationQuery(Query.id("red-0"), "red", relevant=judged)
    without = EvaluationQuery(Query.id("blue-0"), "blue", relevant={"red-0": 0})
    for asked in ([perfect, without], iter([perfect, without])):
        evaluation = evaluate(index, asked, k=2)
        assert evaluation["P@1"] == 1.0
        assert [query.name for query in evaluation.unjudged] == ["blue"]


@pytest.mark.parametrize(
    "relevant", [["x"], {"x"}, {"x": "2"}, {"x": float("inf")}, {"x": float("nan")}, "x"], ids=repr
)
def test_judgements_that_are_none_are_refused(relevant):
    with pytest.raises(QueryError, match=r"grade|relevant must"):
        EvaluationQuery(Query.id("a"), "a", relevant=relevant)
    with pytest.raises(QueryError, match="must be a Query"):
        EvaluationQuery("a.jpg", "a", label="a")


def test_numbers_of_numpy_and_indexes_in_a_list_are_taken(index, queries):
    assert evaluate(index, queries, k=np.int64(4))["recall@4"] == 1.0
    assert len(compare([index], queries, k=[np.int64(1), 2]).evaluations) == 1


@pytest.mark.parametrize(
    "ask",
    [
        lambda index, queries: evaluate(index, queries, k=None),
        lambda index, queries: evaluate(index, queries, k="10"),
        lambda index, queries: evaluate(index, queries, k=[3, 0]),
        lambda index, queries: evaluate(index, queries, resamples=1.5),
        lambda index, queries: evaluate(index, queries, seed=-1),
        lambda index, queries: evaluate("x.idx", queries),
        lambda index, queries: compare({"a": "x.idx"}, queries),
        lambda index, queries: compare([System(index, "a", {"nope": 1})], queries),
    ],
)
def test_what_cannot_be_measured_is_refused_in_words(index, queries, ask):
    with pytest.raises(ConfigError):
        ask(index, queries)


def test_old_names_still_work_with_a_warning(index, queries):
    with pytest.warns(DeprecationWarning, match="System"):
        assert evaluation_names.Contender is System
    with pytest.warns(DeprecationWarning, match="systems="):
        comparison = compare(contenders=[index], queries=queries, k=1)
    with pytest.warns(DeprecationWarning, match=r"Evaluation\.unjudged"):
        assert comparison.evaluations[0].unjudgeable == ()
