"""Searching: by image, id, vector, text and combinations; and how hits show themselves."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from imagesearch import Field, Hits, ImageIndex, Item, MemoryStore, Query
from imagesearch.errors import (
    EmbeddingError,
    FilterError,
    QueryError,
    SourceNotFoundError,
    UnknownIdError,
)
from tests.small_embedder import SmallTextEmbedder


def plain(colour):
    return Image.new("RGB", (20, 20), colour)


@pytest.fixture
def colours():
    """An index of plain pictures that can be searched by text."""
    with ImageIndex(embedder=SmallTextEmbedder(), store=MemoryStore()) as index:
        index.add(
            Item(plain(name), id=name, metadata={"warm": name in ("red", "orange"), "n": n})
            for n, name in enumerate(["red", "orange", "blue", "navy", "lime", "green", "purple"])
        )
        yield index


def test_the_picture_itself_is_found_first_with_score_one(index, photos):
    index.add(photos)
    hits = index.search(photos / "05.png", k=3)
    assert hits[0].uri == str(photos / "05.png")
    assert hits[0].score == pytest.approx(1.0, abs=1e-5)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_every_kind_of_image_source_finds_the_same(index, photos):
    index.add(photos)
    path = photos / "05.png"
    with Image.open(path) as picture:
        picture.load()
    expected = index.search(path).ids
    for source in (str(path), path.read_bytes(), picture, np.asarray(picture)):
        assert index.search(source).ids == expected


def test_a_search_by_id_leaves_the_record_itself_out(colours):
    assert "red" not in colours.search(id="red", k=7).ids
    assert len(colours.search(id="red", k=6)) == 6
    assert colours.search(id="red", k=7, exclude_self=False).ids[0] == "red"


def test_a_search_by_vector(colours):
    vector = colours.get("blue", vectors=True)["blue"].vector
    assert colours.search(vector=vector, k=1).ids == ["blue"]


def test_a_search_by_text(colours):
    assert colours.search(text="green", k=1).ids == ["green"]


def test_terms_combine_with_weights(colours):
    both = colours.search(Query.id("red") + Query.id("blue"), k=1)
    assert both.ids == ["purple"]
    mostly_red = Query.image(plain("red")) + 0.2 * Query.text("blue")
    assert colours.search(mostly_red, k=1).ids == ["red"]
    without = colours.search(Query.id("purple") - 0.9 * Query.id("blue"), k=2)
    assert without.ids[0] == "red"
    assert colours.search(plain("red"), text="blue", k=1).ids == ["purple"]


@pytest.mark.parametrize("size", [1e39, 1e-50, 3e38, 1e-300])
def test_only_the_proportion_of_weights_counts_under_cosine(colours, size):
    query = Query.id("purple") - 0.9 * Query.id("blue")
    scaled = size * query
    assert colours.search(scaled, k=5).ids == colours.search(query, k=5).ids
    one = colours.search(size * Query.image(plain("red")), k=3)
    assert [hit.score for hit in one] == [hit.score for hit in colours.search(plain("red"), k=3)]


def test_weights_too_large_for_the_metric_are_refused_in_words():
    with ImageIndex(embedder=SmallTextEmbedder(), store=MemoryStore(), metric="dot") as index:
        index.add(Item(plain("red"), id="red"))
        assert index.search(1e3 * Query.id("red"), exclude_self=False)
        with pytest.raises(QueryError, match="smaller weights"):
            index.search(1e39 * Query.id("red"))
    with pytest.raises(QueryError, match="must be finite"):
        1e200 * (1e200 * Query.id("red"))


def test_filters_narrow_and_k_is_still_filled(colours):
    assert set(colours.search(plain("blue"), where=Field("warm") == True, k=5).ids) == {  # noqa: E712
        "red",
        "orange",
    }
    assert colours.search(plain("blue"), where="n >= 2 and n < 4", k=9).ids == ["blue", "navy"]


def test_min_score_cuts(colours):
    hits = colours.search(plain("red"), k=7, min_score=0.9)
    assert 0 < len(hits) < 7
    assert all(hit.score >= 0.9 for hit in hits)


def test_many_queries_go_through_the_model_in_one_pass(colours):
    queries = [plain("red"), Query.text("blue"), Query.id("lime"), plain("navy")]
    together = colours.search_many(queries, k=3)
    apart = [colours.search(query, k=3) for query in queries]
    assert [hits.ids for hits in together] == [hits.ids for hits in apart]
    assert colours.search_many([]) == []


def test_an_empty_index_answers_with_no_hits(index, photos):
    assert list(index.search(photos / "00.png")) == []
    assert str(index.search(photos / "00.png")) == "no hits"


@pytest.mark.parametrize(
    ("ask", "complaint"),
    [
        (lambda index: index.search(), "needs a query"),
        (lambda index: index.search(id="pink"), "'pink' is not in the index"),
        (lambda index: index.search(vector=[1.0, 2.0]), "2 elements and the index 49"),
        (lambda index: index.search(vector=np.zeros(49)), "zero"),
        (lambda index: index.search(vector=np.full(49, np.nan)), "NaN"),
        (lambda index: index.search(Query.id("red") - Query.id("red")), "cancel out"),
        (lambda index: index.search(id="red", k=0), "k must be a whole number ≥ 1, got 0"),
        (lambda index: index.search(text="  "), "must not be empty or blank"),
        (lambda index: index.search(Query.id("red") * float("inf")), "finite"),
        (lambda index: index.search_many("red.png"), "takes a list"),
        (lambda index: index.search_many(np.zeros((3, 8, 3), np.uint8)), "takes a list"),
        (lambda index: index.search_many(Image.new("RGB", (3, 3))), "takes a list"),
        (lambda index: index.search_many(None), "takes a list"),
        (lambda index: index.search(Query("a red shoe")), "Query.text"),
        (lambda index: Query(None), "Query.image"),
        (lambda index: index.search(id="red", k="10"), "k must .* '10'"),
        (lambda index: index.search(id="red", k=2.0), "k must .* 2.0"),
        (lambda index: index.search(id="red", k=None), "k must .* None"),
        (lambda index: index.search(id="red", min_score=float("nan")), "min_score must be .* nan"),
        (lambda index: index.search(id="red", min_score=True), "min_score must be .* True"),
        (lambda index: index.search(id="red", min_score=[0.5]), r"min_score must be .*\[0.5\]"),
        (lambda index: index.search(id="red", min_score="0.5"), "min_score"),
        (lambda index: index.search(id=""), "non-empty"),
        (lambda index: index.search(id="x" * 500), "not in the index"),
        (lambda index: index.delete(), "either ids or where"),
        (lambda index: index.delete(5), "an id must be a str"),
        (lambda index: index.delete([5]), "an id must be a str"),
        (lambda index: index.get(b"red"), "an id must be a str"),
        (lambda index: index.update_metadata({}, ids=[None]), "an id must be a str"),
    ],
)
def test_a_query_that_cannot_be_asked_says_why(colours, ask, complaint):
    with pytest.raises(QueryError, match=complaint):
        ask(colours)


@pytest.mark.parametrize("where", [{"warm": True}, Field("warm"), True, 3, ["n"]], ids=repr)
def test_what_is_no_filter_is_refused_wherever_one_is_taken(colours, where):
    for ask in (
        lambda: colours.search(id="red", where=where),
        lambda: colours.count(where),
        lambda: colours.delete(where=where),
        lambda: colours.update_metadata({"n": 1}, where=where),
        lambda: list(colours.scan(where=where)),
    ):
        with pytest.raises(FilterError, match="Field"):
            ask()
    assert colours.count() == 7


def test_numbers_of_numpy_are_numbers(colours):
    found = colours.search(id="red", k=np.int64(3), min_score=np.float32(-1.0))
    assert len(found) == 3


@pytest.mark.parametrize("impossible", ["", "x" * 500, "red\0", "\ud800"])
def test_an_id_that_no_record_can_have_is_an_unknown_id(colours, impossible):
    assert colours.get(impossible) == {}
    assert list(colours.get([impossible, "red"])) == ["red"]
    assert colours.delete([impossible]) == 0
    assert colours.update_metadata({"n": 1}, ids=impossible) == 0


def test_an_unknown_id_can_be_told_from_other_questions_that_cannot_be_asked(colours):
    with pytest.raises(UnknownIdError, match="'pink' is not in the index"):
        colours.search(Query.id("red") + Query.id("pink"))


class Wordless(SmallTextEmbedder):
    """Its text tower is broken in the way that the text asks for."""

    def embed_text(self, texts):
        if texts == ["crash"]:
            raise RuntimeError("out of memory")
        width = 3 if texts == ["narrow"] else self.spec.dim
        return np.full((len(texts), width), np.nan if texts == ["nan"] else 1.0, np.float32)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("crash", "out of memory"), ("narrow", r"shape \(1, 3\)"), ("nan", "NaN")],
)
def test_a_text_tower_that_fails_is_an_error_of_the_embedder(text, complaint):
    with ImageIndex(store=MemoryStore(), embedder=Wordless()) as index:
        index.add(Image.new("RGB", (9, 9)))
        with pytest.raises(EmbeddingError, match=complaint):
            index.search(text=text)


def test_text_needs_an_embedder_that_reads(index):
    with pytest.raises(QueryError, match="no text tower"):
        index.search(text="a red shoe")


def test_a_missing_query_image_and_a_bad_filter_are_errors(index, photos):
    with pytest.raises(SourceNotFoundError):
        index.search(photos / "nowhere.png")
    with pytest.raises(FilterError):
        index.search(photos / "00.png", where="label =")


def test_delete_by_id_and_by_filter(colours):
    assert colours.delete(["red", "pink"]) == 1
    assert colours.delete([]) == 0
    assert colours.delete(where="n >= 5") == 2
    assert colours.count() == 4


def test_metadata_can_be_changed_alone(colours):
    before = colours.get("red", vectors=True)["red"].vector
    assert colours.update_metadata({"price": 3, "n": None}, ids="red") == 1
    record = colours.get("red", vectors=True)["red"]
    assert record.metadata == {"warm": True, "price": 3}
    np.testing.assert_array_equal(record.vector, before)
    assert colours.update_metadata({"cold": True}, where="not warm = true") == 5
    assert colours.update_metadata({"only": 1}, ids="red", replace=True) == 1
    assert colours.get("red")["red"].metadata == {"only": 1}


def test_hits_are_a_sequence_that_prints_as_a_table(colours):
    hits = colours.search(id="red", k=3)
    assert isinstance(hits[:2], Hits)
    assert len(hits[:2]) == 2
    lines = str(hits).splitlines()
    assert lines[0].split() == ["#", "score", "uri", "warm", "n"]
    assert lines[1].split()[0] == "1"
    assert all(len(line) <= 60 for line in hits.to_table(width=60).splitlines())


def test_hits_draw_a_contact_sheet_and_a_page_that_loads_nothing(index, photos, tmp_path):
    index.add(photos, metadata={"label": "<b>金鱼</b>"})
    (photos / "00.png").unlink()
    hits = index.search(photos / "01.png", k=7)
    with Image.open(hits.save_contact_sheet(tmp_path / "sheet.png")) as sheet:
        assert sheet.width > 800
        colours = {colour for _, colour in sheet.convert("RGB").getcolors(1_000_000)}
    assert (20, 235, 90) in colours
    page = hits.save_html(tmp_path / "hits.html").read_text()
    assert page.count("<img") == 7
    assert "&lt;b&gt;金鱼" in page
    assert "<b>金鱼" not in page
    assert "http" not in page
    assert hits._repr_html_().count("data:image") == 7
    assert "no image" in page
