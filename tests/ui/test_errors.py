"""Messages of the page in the visitor's language."""

from __future__ import annotations

import pytest

from imagesearch import ImageIndex, Item, MemoryStore, Secret
from imagesearch._demo_images import draw_scene
from imagesearch.errors import (
    DecodeError,
    ManifestError,
    QueryError,
    StoreLockedError,
    StoreUnavailableError,
    UnsupportedFilterError,
)
from imagesearch.ui import Login, PageSettings
from imagesearch.ui._errors import explain, guarded
from imagesearch.ui._text import PHRASES
from imagesearch.ui._view import IndexView
from tests.bad_files import png_chunk, png_header
from tests.small_embedder import SmallEmbedder, SmallTextEmbedder

gradio = pytest.importorskip("gradio")

from imagesearch.ui._actions import report_html  # noqa: E402  # it imports Gradio

LOGIN = (Login("ada", Secret("sesame")),)
HUGE = png_header(30_000, 30_000) + png_chunk(b"IDAT", b"")


@pytest.fixture
def view(tmp_path):
    with ImageIndex(embedder=SmallTextEmbedder(), store=MemoryStore()) as index:
        index.add([Item(draw_scene("boat", 1), id="boat-1", metadata={"kind": "boat"})])
        settings = PageSettings(uploads=tmp_path / "uploads", max_upload_mb=1)
        yield IndexView(index, settings)


def said(action, view, *arguments, **named):
    """Return the title and the message that a visitor sees."""
    with pytest.raises(gradio.Error) as raised:
        guarded(action, view)(*arguments, **named)
    return raised.value.title, raised.value.message


@pytest.mark.parametrize(
    ("arguments", "english", "chinese"),
    [
        (
            {"id": "nowhere"},
            "id 'nowhere' is not in the index",
            "索引中没有 ID 为 'nowhere' 的图片",
        ),
        ({"crop": "1, 2"}, "must be four numbers", "必须是四个数字"),
        ({"crop": "60, 0, 40, 100"}, "empty or outside", "为空或超出"),
        ({"where": "kind ="}, "expected a value", "筛选条件无效"),
        ({"k": 0}, "1 to 100", "1 到 100"),
        ({"k": "many"}, "got 'many'", "当前值为 'many'"),
        ({"k": None}, "got None", "1 到 100"),
        (
            {"id": "boat-1", "min_score": "high"},
            "number or empty, got 'high'",
            "最低分数必须是数字",
        ),
    ],
)
def test_invalid_arguments_are_explained_in_the_visitors_language(
    view, arguments, english, chinese
):
    title, message = said(view.search, view, **arguments, language="en")
    assert (title, english in message) == ("Error", True), message
    title, message = said(view.search, view, **arguments, language="zh")
    assert (title, chinese in message) == ("出错了", True), message


@pytest.mark.parametrize(
    ("data", "english", "chinese"),
    [
        (b"hello", "not an image", "不是可识别的图片"),
        (b"", "empty", "文件是空的"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "damaged", "已损坏"),
        (HUGE, "megapixels", "像素过多，最多 50 百万像素"),
        (b"x" * 2_000_000, "at most 1.0 MB", "最多 1.0 MB"),
    ],
    ids=["text", "empty", "damaged", "huge", "heavy"],
)
def test_a_bad_picture_is_explained_in_the_visitors_language(
    view, tmp_path, data, english, chinese
):
    (tmp_path / "bad.png").write_bytes(data)
    assert english in said(view.search, view, tmp_path / "bad.png")[1]
    assert chinese in said(view.search, view, tmp_path / "bad.png", language="zh")[1]
    added = view.add([tmp_path / "bad.png"])
    assert english in report_html(added, "en")
    assert chinese in report_html(added, "zh")
    assert english in added.to_json()["failed"][0]["reason"]


@pytest.mark.parametrize(
    ("fields", "chinese"),
    [("kind = boat\nprice", "第 2 行必须写成 名称 = 值"), ("id = 3", "字段无法保存")],
)
def test_a_bad_field_is_explained_in_chinese(view, tmp_path, fields, chinese):
    draw_scene("boat", 2).save(tmp_path / "boat.png")

    def add(files, fields, language):
        return view.add(files, fields)

    assert chinese in said(add, view, [tmp_path / "boat.png"], fields, "zh")[1]


def test_text_is_refused_in_chinese_if_the_embedder_has_no_text_tower():
    with ImageIndex(embedder=SmallEmbedder(), store=MemoryStore()) as index:
        view = IndexView(index, PageSettings())
        assert "不支持文字搜索" in said(view.search, view, text="red", language="zh")[1]
        assert "text search" in said(view.search, view, text="red")[1]


def test_the_language_is_the_chosen_one_whatever_was_typed(view):
    assert said(view.search, view, id="zh")[0] == "Error"

    def search(text, id, language="en"):
        return view.search(text=text, id=id, language=language)

    assert said(search, view, "", "zh")[0] == "Error"
    assert said(search, view, "", "zh", "zh")[0] == "出错了"
    assert said(view.more_like_this, view, "zh")[0] == "Error"
    assert said(view.more_like_this, view, "zh", language="zh")[0] == "出错了"


@pytest.mark.parametrize(("language", "title"), [("zh", "出错了"), ("auto", "Error")])
def test_an_action_without_a_language_uses_that_of_the_page(view, language, title):
    page = IndexView(view.index, PageSettings(language=language))
    assert said(page.record, page, "nowhere")[0] == title


def test_messages_escape_markup_of_visitors(view):
    assert "<b>" not in said(view.search, view, id="<b>bold</b>")[1]


def test_messages_keep_the_servers_secrets(view, caplog):
    public = IndexView(view.index, PageSettings(host="0.0.0.0", logins=LOGIN))
    assert "无法使用" in explain(DecodeError("the image is empty"), view).text("zh")
    secret = StoreUnavailableError("cannot reach 10.0.0.8, account root")
    assert "10.0.0.8" in explain(secret, view).text("en")
    assert "10.0.0.8" not in explain(secret, public).text("en")
    assert "10.0.0.8" not in explain(KeyError("10.0.0.8"), view).text("en")
    assert "10.0.0.8" in caplog.text


@pytest.mark.parametrize(
    ("error", "chinese"),
    [
        (QueryError("a text needs …"), "无法查询（a text needs …）"),
        (ManifestError("x is too long"), "无法添加（x is too long）"),
        (UnsupportedFilterError("kind is not declared"), "不支持这个筛选条件（kind"),
        (StoreLockedError("process 7 writes to /srv/x"), "另一个进程正在写入"),
    ],
)
def test_english_details_follow_a_chinese_sentence(view, error, chinese):
    assert chinese in explain(error, view).text("zh")


def test_every_phrase_exists_in_both_languages_with_every_placeholder():
    for key, (english, chinese) in PHRASES.items():
        assert english, key
        assert chinese, key
        # The Chinese sentence may say what the English detail in it says too.
        assert english.count("{") <= chinese.count("{"), key
