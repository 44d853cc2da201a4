"""The view behind the page; these tests run without Gradio."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from imagesearch import ImageIndex, Item, LocalStore, MemoryStore, Secret
from imagesearch._demo_images import draw_scene
from imagesearch.errors import (
    FilterError,
    StoreLockedError,
)
from imagesearch.ui import Login, PageSettings
from imagesearch.ui._cards import placeholder
from imagesearch.ui._errors import explain
from imagesearch.ui._text import PageError, UploadError
from imagesearch.ui._view import IndexView
from tests.small_embedder import SmallEmbedder, SmallTextEmbedder

LOGIN = (Login("ada", Secret("sesame")),)


@pytest.fixture
def view(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    items = []
    for kind in ("balloon", "boat", "city"):
        for number in range(3):
            path = folder / f"{kind}-{number}.png"
            draw_scene(kind, number).save(path)
            items.append(Item(path, id=path.stem, metadata={"kind": kind, "n": number}))
    with ImageIndex(embedder=SmallTextEmbedder(), store=MemoryStore()) as index:
        index.add(items)
        yield IndexView(index, PageSettings(uploads=tmp_path / "uploads"))


@pytest.fixture
def query(tmp_path):
    path = tmp_path / "query.png"
    draw_scene("balloon", 77).save(path)
    return path


def ids(answer):
    return [card.id for card in answer.cards]


def test_a_picture_is_answered_with_similar_ones_thumbnails_and_captions(view, query):
    answer = view.search(query, k=3)
    assert {card.metadata["kind"] for card in answer.cards} == {"balloon"}
    assert all(max(image.size) <= 384 for image in answer.images)
    image, caption = answer.gallery[0]
    assert image is answer.images[0]
    assert caption.startswith(f"{answer.cards[0].score:.3f} · balloon-")
    assert answer.status.startswith("3 pictures like <img ")


def test_the_results_are_those_of_the_index(view, query):
    hits = view.index.search(query, k=5, where="n > 0", min_score=0.5)
    answer = view.search(query, k=5, where="n > 0", min_score=0.5)
    assert ids(answer) == hits.ids
    assert [card.score for card in answer.cards] == [hit.score for hit in hits]


def test_picture_text_and_id_are_combined(view, query):
    answer = view.search(query, text="red", id="city-1", k=20)
    assert "your picture + <q>red</q> + <img" in answer.status
    assert "city-1.png" in answer.status
    assert "city-1" not in ids(answer)


def test_no_query_shows_the_index_and_a_filter_narrows_it(view):
    assert len(view.search(k=4).cards) == 4
    assert view.search(k=4).status.startswith("4 of 9 pictures")
    answer = view.search(where='kind = "boat"')
    assert sorted(ids(answer)) == ["boat-0", "boat-1", "boat-2"]
    assert all(card.score is None for card in answer.cards)


def test_empty_results_say_what_to_do(view, query, tmp_path):
    assert "Lower the minimum score" in view.search(query, min_score=2).status
    assert "widen the filter" in view.search(where='kind = "shoe"').status
    with ImageIndex(embedder=SmallEmbedder(), store=MemoryStore()) as index:
        empty = IndexView(index, PageSettings())
        assert "This index is empty" in empty.browse().status
        assert "This index is empty" in empty.search(query).status
        assert "没有可供" not in empty.info_html("zh")


def test_a_part_of_a_picture_is_cut_out_upright(view, tmp_path):
    both = Image.new("RGB", (640, 240))
    both.paste(draw_scene("boat", 2), (0, 0))
    both.paste(draw_scene("city", 1), (320, 0))
    # Stored lying on its side, with the note to turn it: what people see is what is cut.
    exif = Image.Exif()
    exif[0x0112] = 6
    both.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    left = view.search(tmp_path / "turned.png", crop="0, 0, 50, 100", k=1)
    right = view.search(tmp_path / "turned.png", crop="50, 0, 100, 100", k=1)
    assert (ids(left), ids(right)) == (["boat-2"], ["city-1"])
    assert right.cards[0].score == pytest.approx(1)
    assert "part of your picture" in right.status


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"crop": "1, 2, 3"}, PageError, "four numbers"),
        ({"crop": "60, 0, 40, 100"}, PageError, "left must be less"),
        ({"crop": "nan, 0, 40, 100"}, PageError, "from 0 to 100"),
        ({"crop": "0, 0, 140, 100"}, PageError, "from 0 to 100"),
        ({"k": 0}, PageError, "1 to 100"),
        ({"k": 101}, PageError, "1 to 100"),
        ({"where": "kind ="}, FilterError, "value"),
        ({"id": "nowhere"}, PageError, "not in the index"),
    ],
)
def test_invalid_arguments_are_refused(view, query, arguments, error, words):
    with pytest.raises(error, match=words):
        view.search(query, **arguments)


def test_a_picture_over_the_limits_is_refused_before_it_is_decoded(view, tmp_path):
    Image.new("L", (3000, 2000)).save(tmp_path / "large.png")
    small = IndexView(view.index, PageSettings(max_megapixels=5))
    with pytest.raises(UploadError, match="6 megapixels"):
        small.search(tmp_path / "large.png")
    (tmp_path / "heavy.png").write_bytes(b"x" * 2_000_000)
    with pytest.raises(UploadError, match=r"at most 1\.0 MB"):
        IndexView(view.index, PageSettings(max_upload_mb=1)).search(tmp_path / "heavy.png")


def test_details_show_every_field_and_escape_all_of_them(view, tmp_path):
    evil = "<script>alert(1)</script>"
    draw_scene("trees", 1).save(tmp_path / "a&b.png")
    view.index.add(
        Item(tmp_path / "a&b.png", id='"><img src=x>', metadata={evil: evil, "t": [evil]})
    )
    [card] = [card for card in view.browse(k=100).cards if card.name == "a&b.png"]
    detail = view.detail(card)
    assert "<script" not in detail
    assert "<img src=x>" not in detail
    assert "&lt;script&gt;alert(1)" in detail
    assert "<script" not in view.info_html()
    assert "<img src=x>" not in view.search(id='"><img src=x>', text="red", k=1).status


def test_a_picture_that_is_gone_has_a_placeholder_and_can_still_be_queried(view, tmp_path):
    (tmp_path / "pictures" / "boat-1.png").unlink()
    answer = view.search(id="boat-0", where='id = "boat-1"')
    assert ids(answer) == ["boat-1"]
    assert answer.images[0].tobytes() == placeholder().tobytes()
    assert ids(view.more_like_this("boat-1", k=2))


def test_pictures_by_url_are_not_fetched_by_default(view):
    record = Item(draw_scene("city", 8), id="far", uri="http://127.0.0.1:9/far.png")
    view.index.add(record)
    answer = view.search(where='id = "far"')
    assert answer.images[0].tobytes() == placeholder().tobytes()
    assert answer.cards[0].uri == "http://127.0.0.1:9/far.png"


def test_visitors_from_elsewhere_do_not_see_paths(view, query, tmp_path):
    public = IndexView(view.index, PageSettings(host="0.0.0.0", logins=LOGIN))
    answer = public.search(query, k=5)
    shown = json.dumps([card.to_json() for card in answer.cards]) + public.detail(answer.cards[0])
    shown += json.dumps(public.facts()) + public.info_html() + json.dumps(public.record("boat-1"))
    assert str(tmp_path) not in shown
    assert str(tmp_path) in view.detail(view.search(query).cards[0])


def test_added_pictures_are_stored_once_and_shown(view, tmp_path):
    draw_scene("flower", 1).save(tmp_path / "my rose.PNG")
    (tmp_path / "letter.png").write_text("words")
    added = view.add([tmp_path / "my rose.PNG", tmp_path / "letter.png"], "kind = flower\n\nn: 7")
    [id] = added.added
    assert [name for name, _ in added.failed] == ["letter.png"]
    answer = view.search(id="boat-1", where='kind = "flower"')
    assert ids(answer) == [id]
    assert answer.cards[0].metadata == {"kind": "flower", "n": 7}
    assert answer.cards[0].name.startswith("my rose-")
    assert answer.images[0].tobytes() != placeholder().tobytes()
    (tmp_path / "other name.png").write_bytes((tmp_path / "my rose.PNG").read_bytes())
    again = view.add([tmp_path / "other name.png"])
    assert (again.added, again.unchanged) == ([], [id])
    assert len(list((tmp_path / "uploads").iterdir())) == 1


@pytest.mark.parametrize(
    "name", ["..%2f..%2fetc.png", "a;rm -rf.png", "名字 🐟.jpg", ".hidden.png", "x" * 200 + ".png"]
)
def test_any_file_name_is_kept_inside_the_folder(view, tmp_path, name):
    draw_scene("flower", 2).save(tmp_path / name, "PNG")
    assert len(view.add([tmp_path / name]).added) == 1
    [kept] = (tmp_path / "uploads").iterdir()
    assert kept.suffix in {".png", ".jpg"}
    assert not kept.name.startswith(".")
    assert len(kept.name.encode()) < 200


def test_a_file_without_an_image_suffix_gets_one(view, tmp_path):
    draw_scene("flower", 3).save(tmp_path / "download", "JPEG")
    view.add([tmp_path / "download"])
    [kept] = (tmp_path / "uploads").iterdir()
    assert kept.suffix == ".jpg"


def test_when_the_store_fails_no_file_is_left_behind(view, tmp_path, query):
    view.index.close()
    with pytest.raises(Exception, match="open"):
        view.add([query])
    assert list((tmp_path / "uploads").iterdir()) == []


@pytest.mark.parametrize("fields", ["kind", "= fish", "kind =", "id = 3", "x = 1e400"])
def test_invalid_fields_are_refused_before_anything_is_added(view, query, fields):
    with pytest.raises(PageError):
        view.add([query], fields)
    assert view.index.count() == 9


def test_a_read_only_page_adds_nothing(view, query):
    read_only = IndexView(view.index, PageSettings(read_only=True))
    with pytest.raises(PageError, match="read-only"):
        read_only.add([query])


def test_facts_describe_what_the_index_contains(view):
    facts = view.facts()
    assert (facts["images"], facts["dim"], facts["searches_text"]) == (9, 49, True)
    kinds = {field["name"]: field for field in facts["fields"]}
    assert kinds["kind"]["values"] == ["balloon", "boat", "city"]
    assert (kinds["n"]["kind"], kinds["n"]["low"], kinds["n"]["high"]) == ("number", 0, 2)


def test_facts_name_the_projection_and_the_dimensions_of_what_is_stored(view):
    assert view.facts()["projection"] is None
    with view.index.fit_projection(MemoryStore(), dim=5) as index:
        projected = IndexView(index, PageSettings())
        facts = projected.facts()
        assert facts["dim"] == 5
        assert facts["projection"]["input_dim"] == 49
        assert facts["projection"]["fitted_on"] == 9
        assert "from 49 dimensions, fitted on 9 pictures" in projected.info_html()
        assert "由 49 维降维，基于 9 张图片拟合" in projected.info_html("zh")


def test_one_picture_is_described_in_the_singular(view):
    with ImageIndex(embedder=SmallTextEmbedder(), store=MemoryStore()) as index:
        index.add([Item(draw_scene("boat", 1), id="boat-1", metadata={"kind": "boat"})])
        one = IndexView(index, PageSettings())
        assert one.browse().status.startswith("1 of 1 picture in this index.")
        assert one.browse(where='kind = "boat"').status.startswith("1 picture that matches the")
        assert one.search(text="red").status.startswith("1 picture like")
        assert "in the first picture<" in one.info_html()
        assert "索引共有 1 张图片，显示其中 1 张" in one.browse(language="zh").status
    assert view.browse(k=1).status.startswith("1 of 9 pictures in this index.")


def test_new_fields_are_offered_once_a_picture_has_them(view, query):
    assert "colour" not in [field.name for field in view.fields()[1]]
    view.add([query], "colour = red")
    assert "colour" in [field.name for field in view.fields()[1]]


def test_a_picture_that_browsers_show_is_left_alone_and_another_is_converted(view, query, tmp_path):
    assert view.displayable(query) is None
    draw_scene("city", 1).save(tmp_path / "scan.tiff")
    assert view.displayable(tmp_path / "scan.tiff").size == (320, 240)
    (tmp_path / "words.tiff").write_text("words")
    assert view.displayable(tmp_path / "words.tiff") is None


def test_other_processes_can_add_while_the_page_is_open(tmp_path, query):
    place = tmp_path / "photos.idx"
    with ImageIndex(embedder=SmallEmbedder(), store=LocalStore(place)) as index:
        index.add([Item(draw_scene("boat", 1), id="boat-1")])
    with (
        ImageIndex(embedder=SmallEmbedder(), store=LocalStore(place)) as index,
        ImageIndex(embedder=SmallEmbedder(), store=LocalStore(place)) as other,
    ):
        page = IndexView(index, PageSettings(uploads=tmp_path / "uploads"))
        assert ids(page.search(query)) == ["boat-1"]
        other.add([Item(draw_scene("boat", 2), id="boat-2")])
        assert sorted(ids(page.search(query))) == ["boat-1", "boat-2"]
        with pytest.raises(StoreLockedError) as locked:
            page.add([query])
        assert explain(locked.value, page).text("zh") == "另一个进程正在写入索引，请稍后再试。"
        assert query.exists()
        assert list((tmp_path / "uploads").iterdir()) == []
        other.release()
        assert len(page.add([query]).added) == 1
        # The page goes on, and so do others.
        other.add([Item(draw_scene("boat", 3), id="boat-3")])
        assert "boat-3" in ids(page.search(query, k=9))
