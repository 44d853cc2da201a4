"""HTML templates: nothing that a user or a file controls becomes markup."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

import imagesearch
from imagesearch._rendering import Tile, data_uri, render, thumbnail
from imagesearch.ui._cards import Card
from imagesearch.ui._text import Message

HOSTILE = "\"'><script>alert(1)</script>\x1b[2J\u202e"
TILES = [Tile(Image.new("RGB", (4, 4)), HOSTILE, HOSTILE, HOSTILE), Tile(None, HOSTILE, HOSTILE)]
CARD = Card(HOSTILE, HOSTILE, HOSTILE, {}, 0.5)
INFO = {
    "images": 1,
    "embedder": HOSTILE,
    "dim": 2,
    "projection": {"input_dim": HOSTILE, "fitted_on": 3},
    "metric": HOSTILE,
    "searches_text": True,
    "store": HOSTILE,
}
FIELD = {"name": HOSTILE, "kind": "text", "description": HOSTILE}
VALUES = {
    "templates/page.html": {"title": HOSTILE, "tiles": TILES},
    "templates/tiles.html": {"tiles": TILES},
    "templates/comparison.html": {
        "title": HOSTILE,
        "lines": [HOSTILE],
        "header": [HOSTILE],
        "rows": [[HOSTILE]],
        "gains": ([HOSTILE], [[HOSTILE]]),
        "gains_title": HOSTILE,
        "evaluations": [
            {
                "title": HOSTILE,
                "queries": [{"heading": HOSTILE, "tiles": TILES}],
                "lists": [{"title": HOSTILE, "lines": [HOSTILE]}],
            }
        ],
    },
    "ui/templates/heading.html": {},
    "ui/templates/status.html": {
        "text": "{} pictures like {}",
        "count": 2,
        "parts": [
            {"image": None, "text": HOSTILE, "quoted": True},
            {"image": TILES[0].image, "text": HOSTILE, "quoted": False},
        ],
        "icon": 72,
    },
    "ui/templates/detail.html": {
        "card": CARD,
        "fields": [(HOSTILE, HOSTILE)],
        "image": TILES[0].image,
        "side": 320,
    },
    "ui/templates/report.html": {
        "counts": [("failed", 1)],
        "failed": [(HOSTILE, Message("bad_field", HOSTILE))],
    },
    "ui/templates/info.html": {"info": INFO, "fields": [FIELD], "note": HOSTILE},
}


def test_every_template_is_tested():
    package = Path(imagesearch.__file__).parent
    templates = {path.relative_to(package).as_posix() for path in package.rglob("*.html")}
    assert templates == VALUES.keys()


@pytest.mark.parametrize("template", VALUES)
def test_values_are_text_wherever_a_template_puts_them(template):
    def t(key):
        return "{} {}" if key == "info_projected" else HOSTILE

    page = render(template, t=t, language="en", **VALUES[template])
    assert "&lt;script&gt;" in page
    assert "<script" not in page
    assert "\"'" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page


def test_a_thumbnail_is_a_small_rgb_copy():
    image = Image.new("RGBA", (400, 100))
    assert (thumbnail(image, 200).size, thumbnail(image, 200).mode) == ((200, 50), "RGB")
    assert image.size == (400, 100)
    assert len(data_uri(image, 200)) < 2000
