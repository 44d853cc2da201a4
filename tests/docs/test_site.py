"""The site builds without a warning, stands by itself, and leads nowhere that does not exist."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
import threading
import zlib
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.docs.links import Page, is_outside, styled, target_of

pytest.importorskip("mkdocs")
pytest.importorskip("material", reason="mkdocs-material is not installed")
pytest.importorskip("mkdocstrings_handlers.python")

ROOT = Path(__file__).parents[2]
CHROMIUM = Path("/usr/bin/chromium")
PUBLIC = [
    "imagesearch",
    "imagesearch.calibration",
    "imagesearch.config",
    "imagesearch.copying",
    "imagesearch.duplicates",
    "imagesearch.embedders",
    "imagesearch.errors",
    "imagesearch.evaluation",
    "imagesearch.evaluation.metrics",
    "imagesearch.filters",
    "imagesearch.qrels",
    "imagesearch.images",
    "imagesearch.plugins",
    "imagesearch.projection",
    "imagesearch.protocols",
    "imagesearch.sources",
    "imagesearch.stores",
    "imagesearch.testing",
    "imagesearch.testing.strategies",
    "imagesearch.testing.tencent_server",
    "imagesearch.types",
    "imagesearch.ui",
    "imagesearch.vectors",
]
# Markdown that the site's reader did not understand, though others may.
LEFT_OVER = re.compile(r"```|^\s*[-*] \S|^\s*\|.*\|\s*$|\]\([\w./#-]+\)|\*\*\w|^#+ ", re.MULTILINE)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    site = tmp_path_factory.mktemp("built") / "site"
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=1200,
    )
    return site, done


@pytest.fixture(scope="module")
def site(build):
    return build[0]


@pytest.fixture(scope="module")
def pages(site):
    return {path: Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}


def test_it_builds_without_a_warning(build):
    site, done = build
    assert done.returncode == 0, done.stdout
    assert "WARNING" not in done.stdout
    assert (site / "index.html").exists()


def test_every_link_leads_to_a_page_and_a_place_on_it(site, pages):
    dead = set()
    for path, page in pages.items():
        for link in page.links:
            if is_outside(link) or link.startswith("mailto:"):
                continue
            target, anchor = target_of(site, path, link)
            if not target.exists() or (
                anchor and target in pages and anchor not in pages[target].ids
            ):
                dead.add((path.relative_to(site).as_posix(), link))
    assert len(pages) > 30
    assert not dead


def test_everything_that_a_page_loads_is_in_the_site(site, pages):
    wrong = set()
    sheets = {path: styled(path.read_text(encoding="utf-8")) for path in site.rglob("*.css")}
    for path, loaded in [*((path, page.loaded) for path, page in pages.items()), *sheets.items()]:
        for reference in loaded:
            if reference.startswith(("data:", "#")):
                continue
            if is_outside(reference) or not target_of(site, path, reference)[0].is_file():
                wrong.add((path.relative_to(site).as_posix(), reference))
    assert sheets
    assert not wrong


def test_every_public_name_is_described(site, pages):
    # The inventory also knows the other names under which an object can be imported.
    inventory = (site / "objects.inv").read_bytes().split(b"\n", 4)[4]
    described = {line.split(" ")[0] for line in zlib.decompress(inventory).decode().splitlines()}
    described |= set().union(*(page.ids for page in pages.values()))
    missing = []
    for module in map(importlib.import_module, PUBLIC):
        for name in module.__all__:
            value = getattr(module, name)
            home = f"{getattr(value, '__module__', None)}.{getattr(value, '__qualname__', name)}"
            dunder = name.startswith("__")
            if not dunder and not described & {f"{module.__name__}.{name}", home}:
                missing.append(f"{module.__name__}.{name}")
    assert not missing, "describe them in docs/reference"


def test_no_markdown_is_left_over(site, pages):
    found = {
        (path.relative_to(site).as_posix(), text.strip()[:60])
        for path, page in pages.items()
        for text in page.prose
        if LEFT_OVER.search(text)
    }
    assert not found


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no browser at {CHROMIUM}")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_browser_asks_nobody_else_and_finds_what_is_searched(site):
    sync_api = pytest.importorskip("playwright.sync_api")
    handler = partial(_Quiet, directory=str(site))
    asked, missing = set(), []
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        with sync_api.sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"]
            )
            page = browser.new_page()
            page.set_default_timeout(60_000)
            page.on("request", lambda request: asked.add(urlsplit(request.url)[:2]))
            page.on("response", lambda reply: reply.status < 400 or missing.append(reply.url))
            for name in ("", "reference/image-index/", "duplicates/"):
                page.goto(f"{address}/{name}", wait_until="networkidle")
            for words, place in (("update_metadata", "image-index"), ("以图搜图", "quickstart.zh")):
                page.fill("input.md-search__input", words)
                page.press("input.md-search__input", "End")  # the page listens to keys
                page.wait_for_selector(
                    f".md-search-result__item a[href*='{place}']", state="attached"
                )
            browser.close()
        server.shutdown()
    assert {(scheme, host) for scheme, host in asked if scheme not in {"data", "blob"}} == {
        ("http", urlsplit(address).netloc)
    }
    assert not missing


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        """Say nothing."""
