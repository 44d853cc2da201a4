"""The page as people use it, in a real browser that reaches this machine only.

The picture of the page in the documentation is made here, with
IMAGESEARCH_SCREENSHOT=docs/images/web-page.png.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from PIL import Image

from imagesearch._demo_images import draw_scene
from tests.ui.conftest import serving

pytest.importorskip("gradio")
sync_api = pytest.importorskip("playwright.sync_api")

CHROMIUM = Path("/usr/bin/chromium")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no browser at {CHROMIUM}"),
    # Playwright leaves an event loop to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WAIT = 60_000
expect = sync_api.expect
expect.set_options(timeout=WAIT)


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield browser
        browser.close()


class Visitor:
    """A visitor of the page, with all requests of the browser."""

    def __init__(self, browser, page, *, opened=True, **context):
        self.context = browser.new_context(**context)
        self.tab = self.context.new_page()
        self.tab.set_default_timeout(WAIT)
        self.requests: list[str] = []
        self.failures: list[str] = []
        self.context.on("request", lambda request: self.requests.append(request.url))
        self.tab.on("pageerror", lambda error: self.failures.append(str(error)))
        self.tab.goto(page.url)
        if opened:
            self.wait_for_pictures()

    def wait_for_pictures(self):
        self.tab.wait_for_selector("#is-gallery img")

    def give(self, file):
        self.tab.set_input_files("#is-picture input[type=file]", file)

    def box(self, name: str):
        return self.tab.locator(f"#is-{name} textarea, #is-{name} input").first

    def press(self, name: str):
        self.tab.click(f"#is-{name}")

    def status(self, pattern: str) -> str:
        status = self.tab.locator("#is-status")
        expect(status).to_contain_text(re.compile(pattern))
        return status.inner_text()

    @property
    def captions(self):
        return self.tab.locator("#is-gallery .caption-label")

    def results(self, *patterns: str, more: bool = False):
        """Wait until the gallery shows these pictures: only these, or first with `more`."""
        if not more:
            expect(self.captions).to_have_count(len(patterns))
        for number, pattern in enumerate(patterns):
            expect(self.captions.nth(number)).to_have_text(re.compile(pattern))

    def pick(self, value: str):
        """Choose a value of the first field."""
        field = self.tab.locator(".is-choice input").first
        field.click()
        self.tab.get_by_role("option", name=value).click()
        field.blur()

    def choose(self, number: int):
        self.tab.locator("#is-gallery .thumbnail-item").nth(number).click()
        self.tab.wait_for_selector("#is-more")

    def strangers(self) -> list[str]:
        return [
            url
            for url in self.requests
            if urlsplit(url).scheme not in {"data", "blob"}
            and urlsplit(url).hostname not in {"127.0.0.1", "localhost"}
        ]


@pytest.fixture
def visit(browser, page):
    visitors = []

    def visit(**context):
        context.setdefault("viewport", {"width": 1280, "height": 800})
        context.setdefault("locale", "en-GB")
        visitors.append(Visitor(browser, page, **context))
        return visitors[-1]

    yield visit
    for visitor in visitors:
        visitor.context.close()
        assert visitor.strangers() == []
        assert visitor.failures == []
        assert visitor.requests


def test_a_dropped_picture_shows_similar_ones_with_scores(visit, query):
    visitor = visit()
    visitor.status(r"12 of \d+ pictures in this index")
    visitor.give(query)
    visitor.status("like .*your picture")
    visitor.results(*[r"^0\.\d{3} · balloon-\d\.png · balloon"] * 3, more=True)


def test_words_find_pictures(visit):
    visitor = visit()
    visitor.box("text").fill("green")
    visitor.box("text").press("Enter")
    visitor.status("like .*green")
    visitor.results("green.png", more=True)


def test_a_choice_among_the_values_of_a_field_searches_at_once(visit, query):
    visitor = visit()
    visitor.give(query)
    visitor.status("your picture")
    visitor.pick("city")
    visitor.status(r"\b5 pictures .*your picture")
    visitor.tab.locator(".is-to input").first.fill("25")
    visitor.tab.keyboard.press("Tab")
    visitor.status(r"\b3 pictures .*your picture")
    visitor.results(*["city-[012]"] * 3)
    expect(visitor.box("choices-text")).to_have_value('kind = "city" and price <= 25')


def test_choices_and_a_written_filter_are_combined_and_stay_separate(visit):
    visitor = visit()
    written = "price > 40 or price < 12 and sold exists"
    visitor.box("where").fill(written)
    visitor.box("where").press("Enter")
    visitor.status(r"\b12 pictures that match the filter")
    visitor.pick("boat")
    visitor.status(r"\b3 pictures that match the filter")
    visitor.pick("city")
    visitor.status(r"\b6 pictures that match the filter")
    expect(visitor.box("where")).to_have_value(written)
    visitor.tab.locator(".is-choice .token-remove").first.click()
    visitor.status(r"\b3 pictures that match the filter")
    visitor.tab.locator(".is-choice .token-remove").first.click()
    visitor.status(r"\b12 pictures that match the filter")
    expect(visitor.box("where")).to_have_value(written)
    expect(visitor.box("choices-text")).to_be_hidden()


def test_choices_narrow_more_like_this_too(visit):
    visitor = visit()
    visitor.box("text").fill("green")
    visitor.choose(0)
    name = visitor.tab.locator("#is-detail h3").inner_text()
    visitor.press("more")
    visitor.status(f"like .*{re.escape(name)}")
    visitor.pick("trees")
    visitor.status(rf"\b5 pictures like .*{re.escape(name)}")
    visitor.results(*["trees"] * 5)
    visitor.press("search")
    visitor.status(r"\b5 pictures like green")


def test_a_bad_file_gives_a_clear_message_and_keeps_the_results(visit, query, tmp_path):
    visitor = visit()
    visitor.give(query)
    visitor.status("your picture")
    visitor.choose(0)
    visitor.tab.get_by_label("Remove Image").or_(visitor.tab.get_by_label("Clear")).first.click()
    (tmp_path / "holiday.png").write_text("these are words")
    visitor.give(tmp_path / "holiday.png")
    toast = visitor.tab.locator(".toast-body")
    expect(toast).to_contain_text("This picture cannot be used")
    expect(toast).to_contain_text("not an image")
    assert str(tmp_path.parent) not in toast.inner_text()
    expect(visitor.captions).to_have_count(12)
    for name in ("gallery", "detail-box"):
        expect(visitor.tab.locator(f"#is-{name} > .wrap .error")).to_be_hidden()


def test_a_chinese_visitor_reads_messages_in_chinese(visit):
    visitor = visit(locale="zh-CN")
    visitor.box("id").fill("nowhere")
    visitor.box("id").press("Enter")
    expect(visitor.tab.locator(".toast-body")).to_contain_text("索引中没有 ID 为 'nowhere' 的图片")
    title = visitor.tab.locator(".toast-title")
    shown = "element => [getComputedStyle(element, '::after').content, getComputedStyle(element).fontSize]"
    assert title.evaluate(shown) == ['"出错了"', "0px"]


def test_a_file_over_the_limit_is_refused_in_the_visitors_language(browser, tmp_path):
    Image.effect_noise((400, 400), 90).save(tmp_path / "large.png")
    with serving(tmp_path, max_upload_mb=0.05) as page:
        for locale, words in (
            ("en-GB", "exceed the maximum"),
            ("zh-CN", "文件过大，最多接受 48.8 Kb"),
        ):
            visitor = Visitor(browser, page, locale=locale)
            visitor.give(tmp_path / "large.png")
            toast = visitor.tab.locator("[data-testid=toast-text]")
            expect(toast).to_contain_text(words)
            expect(toast).to_contain_text("large.png")
            visitor.context.close()


def test_files_of_the_server_cannot_be_opened(visit, page):
    visitor = visit()
    for place in ("/etc/passwd", page.folder / "pictures" / "boat-1.png", page.folder):
        answer = visitor.tab.request.get(f"{page.url}/gradio_api/file={place}")
        assert answer.status == 403
        assert "root:" not in answer.text()


def test_more_like_this_searches_from_a_result(visit):
    visitor = visit()
    visitor.choose(0)
    name = visitor.tab.locator("#is-detail h3").inner_text()
    visitor.press("more")
    visitor.status(f"like .*{re.escape(name)}")
    expect(visitor.tab.locator("#is-gallery")).not_to_contain_text(name)
    expect(visitor.tab.locator("#is-more")).to_be_hidden()


def test_a_box_that_is_drawn_on_the_picture_searches_a_part(visit, tmp_path):
    both = Image.new("RGB", (640, 240))
    both.paste(draw_scene("boat", 2), (0, 0))
    both.paste(draw_scene("city", 3), (320, 0))
    both.save(tmp_path / "both.png")
    visitor = visit()
    visitor.give(tmp_path / "both.png")
    visitor.status("your picture")
    visitor.tab.check("#is-crop-on input")
    expect(visitor.box("crop")).to_be_visible()
    place = visitor.tab.locator("#is-picture img").bounding_box()
    pointer = visitor.tab.mouse
    pointer.move(place["x"] + place["width"] * 0.52, place["y"] + place["height"] * 0.3)
    pointer.down()
    pointer.move(place["x"] + place["width"] - 2, place["y"] + place["height"] * 0.69, steps=5)
    pointer.up()
    visitor.status("part of your picture")
    visitor.results("city-3.png", more=True)
    expect(visitor.tab.locator(".is-crop-box")).to_be_visible()
    left, _, right, _ = map(int, visitor.box("crop").input_value().split(", "))
    assert 50 <= left <= 54
    assert right >= 98


def test_pictures_are_added_and_found(visit, tmp_path):
    draw_scene("flower", 5).save(tmp_path / "rose.png")
    (tmp_path / "letter.png").write_text("words")
    visitor = visit()
    visitor.tab.get_by_role("tab", name="Add pictures").click()
    files = [tmp_path / "rose.png", tmp_path / "letter.png"]
    visitor.tab.set_input_files("#is-add-files input[type=file]", files)
    expect(visitor.tab.locator("#is-add-files")).to_contain_text("rose")
    visitor.box("add-fields").fill("kind = flower")
    visitor.press("add")
    report = visitor.tab.locator("#is-report")
    expect(report).to_contain_text("1 added")
    expect(report).to_contain_text("letter.png")
    visitor.tab.get_by_role("tab", name="Search").click()
    visitor.give(tmp_path / "rose.png")
    visitor.status("your picture")
    visitor.results(r"^1\.000 · rose-\w+\.png · flower", more=True)
    visitor.tab.locator(".is-choice input").first.click()
    expect(visitor.tab.get_by_role("option", name="flower")).to_be_visible()


def test_a_pasted_picture_is_searched(visit, page):
    visitor = visit(permissions=["clipboard-read", "clipboard-write"])
    visitor.tab.evaluate(
        """async (url) => {
            const blob = await (await fetch(url)).blob();
            const bitmap = await createImageBitmap(blob);
            const canvas = document.createElement('canvas');
            canvas.width = bitmap.width; canvas.height = bitmap.height;
            canvas.getContext('2d').drawImage(bitmap, 0, 0);
            const png = await new Promise((done) => canvas.toBlob(done, 'image/png'));
            await navigator.clipboard.write([new ClipboardItem({'image/png': png})]);
        }""",
        visitor.tab.locator("#is-gallery img").first.get_attribute("src"),
    )
    visitor.tab.get_by_label("Paste from clipboard").or_(
        visitor.tab.locator("#is-picture button[aria-label*=lipboard]")
    ).first.click()
    visitor.status("your picture")
    visitor.results(r"^(1\.000|0\.99\d) ", more=True)


def test_the_language_follows_the_browser_and_the_switch(visit):
    visitor = visit(locale="zh-CN")
    visitor.status("索引共有")
    expect(visitor.tab.locator("#is-search")).to_have_text("搜索")
    visitor.tab.get_by_text("English", exact=True).click()
    expect(visitor.tab.locator("#is-search")).to_have_text("Search")
    visitor.tab.get_by_role("tab", name="About this index").click()
    expect(visitor.tab.locator("#is-info")).to_contain_text("vector dimensions")
    visitor.tab.get_by_text("中文", exact=True).click()
    expect(visitor.tab.locator("#is-info")).to_contain_text("向量维度")
    visitor.tab.get_by_role("tab", name="搜索").click()
    visitor.box("id").fill("boat-3")
    visitor.box("id").press("Enter")
    visitor.status("相似")


def test_a_picture_that_browsers_cannot_show_is_converted(visit, tmp_path):
    draw_scene("balloon", 8).save(tmp_path / "scan.tiff")
    visitor = visit()
    visitor.give(tmp_path / "scan.tiff")
    visitor.status("your picture")
    shown = "e => e.complete && e.naturalWidth"
    visitor.tab.wait_for_function(f"({shown})(document.querySelector('#is-picture img')) > 0")


def test_the_page_fits_the_width_of_a_phone(visit, query):
    visitor = visit(viewport={"width": 390, "height": 844}, has_touch=True)
    visitor.give(query)
    visitor.status("your picture")
    visitor.choose(1)
    expect(visitor.tab.locator("#is-more")).to_be_in_viewport()
    assert visitor.tab.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_phone_shows_pictures_before_the_options_which_are_open_on_a_desktop(visit, query):
    phone = visit(viewport={"width": 390, "height": 844}, has_touch=True)
    expect(phone.tab.locator("#is-gallery img").first).to_be_in_viewport()
    expect(phone.box("where")).to_be_hidden()
    phone.tab.locator("#is-options > button").click()
    expect(phone.box("where")).to_be_visible()
    phone.pick("boat")
    phone.status(r"\b5 pictures that match")
    desk = visit()
    expect(desk.box("where")).to_be_visible()


def test_clearing_goes_back_to_the_index(visit, query):
    visitor = visit()
    visitor.give(query)
    visitor.status("your picture")
    visitor.box("where").fill('kind = "boat"')
    visitor.press("search")
    visitor.status(r"\b5 pictures")
    visitor.press("clear")
    visitor.status("in this index")
    expect(visitor.box("where")).to_have_value("")
    expect(visitor.tab.locator("#is-picture img")).to_have_count(0)


def test_a_visitor_logs_in_and_the_page_has_its_picture_taken(browser, tmp_path, query):
    with serving(tmp_path, login="open sesame", allow_hosts=["photos.example"]) as page:
        visitor = Visitor(browser, page, viewport={"width": 1280, "height": 1080}, opened=False)
        visitor.tab.get_by_label(re.compile("user", re.IGNORECASE)).fill("ada")
        visitor.tab.get_by_label(re.compile("password", re.IGNORECASE)).fill("open sesame")
        visitor.tab.get_by_role("button", name="Login").click()
        visitor.wait_for_pictures()
        visitor.give(query)
        visitor.status("your picture")
        visitor.box("k").fill("8")
        visitor.press("search")
        visitor.status(r"\b8 pictures")
        visitor.choose(1)
        assert str(tmp_path) not in visitor.tab.locator("#is-detail").inner_text()
        visitor.tab.mouse.move(5, 5)
        # The page scrolls smoothly to the details.
        visitor.tab.wait_for_timeout(1500)
        visitor.tab.evaluate("window.scrollTo({top: 0, behavior: 'instant'})")
        visitor.tab.screenshot(path=tmp_path / "page.png")
        assert visitor.strangers() == []
        visitor.context.close()
    with Image.open(tmp_path / "page.png") as picture:
        colours = picture.convert("RGB").getcolors(maxcolors=1 << 24)
        if "IMAGESEARCH_SCREENSHOT" in os.environ:
            target = Path(os.environ["IMAGESEARCH_SCREENSHOT"])
            picture.convert("RGB").quantize(256).save(target, optimize=True)
    assert len(colours) > 5000, "the pictures of the index are on it"
