"""Pairs files say which records are right for which query."""

from __future__ import annotations

import pytest

from imagesearch import ImageIndex, Item, MemoryStore
from imagesearch.errors import ManifestError, SourceNotFoundError
from imagesearch.evaluation import evaluate, paired_queries
from tests.evaluation.colours import picture, save_folders
from tests.small_embedder import SmallTextEmbedder


@pytest.fixture
def index(tmp_path):
    index = ImageIndex(embedder=SmallTextEmbedder(), store=MemoryStore())
    index.add(save_folders(tmp_path / "train", each=2))
    index.add(Item(picture("red", 9), id="sku-1"))
    return index


def pairs(tmp_path, *lines):
    file = tmp_path / "pairs.csv"
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def test_pairs_name_images_texts_and_records(index, tmp_path):
    picture("blue", 5).save(tmp_path / "asked.png")
    file = pairs(
        tmp_path,
        "query,query_text,query_id,relevant,relevant_id,grade",
        "asked.png,,,train/blue/00.png,,1",
        "asked.png,,,train/blue/01.png,,3",
        ",red,,,sku-1,",
        ",,sku-1,train/red/00.png,,",
        ",,sku-1,train/red/01.png,,2",
    )
    evaluation = evaluate(index, paired_queries(file), k=3)
    assert [query.relevant for query in evaluation.queries] == [2, 1, 2]
    assert [query.values["recall@3"] for query in evaluation.queries] == [1, 1, 1]
    # The better graded record stands second for the first query, and nDCG alone can tell.
    by_grade = evaluation.queries[0].values
    assert by_grade["mAP@3"] == 1.0
    assert 0 < by_grade["nDCG@3"] < 1
    assert all(query.label is None for query in evaluation.queries)


def test_a_relevant_record_that_the_index_lacks_is_named(index, tmp_path):
    picture("blue", 5).save(tmp_path / "asked.png")
    file = pairs(
        tmp_path, "query,relevant", "asked.png,train/blue/00.png", "asked.png,train/gone.png"
    )
    evaluation = evaluate(index, paired_queries(file), k=3)
    assert evaluation.queries[0].relevant == 1
    [missing] = evaluation.missing
    assert missing.endswith("gone.png")
    assert "1 relevant records are missing" in str(evaluation)


def test_a_copy_that_is_named_as_relevant_is_not_excluded(index, tmp_path):
    picture("blue", 0).save(tmp_path / "upload.png")  # the very bytes of train/blue/00.png
    file = pairs(tmp_path, "query,relevant", "upload.png,train/blue/00.png")
    [result] = evaluate(index, paired_queries(file), k=3).queries
    assert result.values["P@1"] == 1.0


def test_queries_that_lack_all_their_records_are_unjudged(index, tmp_path):
    file = pairs(tmp_path, "query_text,relevant_id", "red,sku-1", "blue,sku-99")
    evaluation = evaluate(index, paired_queries(file))
    assert [query.name for query in evaluation.unjudged] == ["blue"]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["query,label", "a.png,red"], "relevant or relevant_id"),
        (["image,relevant", "a.png,b.png"], "query or query_id"),
        (["query,relevant"], "no rows"),
        (["query,relevant", "a.png,"], ":2: .*relevant, relevant_id, not none"),
        (
            ["query,query_text,relevant", "a.png,red,b.png"],
            ":2: .*query, query_id, query_text, not two",
        ),
        (["query,relevant,grade", "a.png,b.png,0"], "grade must .*'0'"),
        (["query,relevant,grade", "a.png,b.png,good"], "grade must .*'good'"),
        (["query,relevant,grade", "a.png,b.png,1", "a.png,b.png,2"], ":3: .* keep one"),
        (["query,relevant", "a.png,b.png,c.png"], "3 cells"),
    ],
)
def test_a_row_that_cannot_be_understood_stops_the_evaluation(tmp_path, lines, words):
    with pytest.raises(ManifestError, match=words):
        paired_queries(pairs(tmp_path, *lines))


def test_a_missing_pairs_file_is_named(tmp_path):
    with pytest.raises(SourceNotFoundError, match=r"nowhere\.csv"):
        paired_queries(tmp_path / "nowhere.csv")


def test_pairs_from_a_spreadsheet_are_read(tmp_path):
    file = tmp_path / "pairs.csv"
    file.write_bytes("\ufeffquery_text;relevant_id\r\n红鞋;sku-1\r\n\r\n".encode())
    [query] = paired_queries(file)
    assert (query.name, query.relevant) == ("红鞋", {"sku-1": 1.0})
