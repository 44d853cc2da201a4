"""The products: one hit for each, and a wish in words."""

from __future__ import annotations

import importlib.util
import os
import runpy

import numpy as np
import pytest
from PIL import Image

from imagesearch.testing import EmbedderConformance
from tests.examples.printing import EXAMPLES, assert_same, promised, run

PROGRAM = "products/products.py"
FOLDER = EXAMPLES / "products"


def colour_words():
    return runpy.run_path(os.fspath(FOLDER / "colour_words.py"))["ColourWords"]()


class TestColourWords(EmbedderConformance):
    """The example's own embedder keeps the rules, so that it may serve as a pattern."""

    def make_embedder(self):
        return colour_words()


def test_it_prints_what_it_says(tmp_path):
    assert_same(run(PROGRAM, cwd=tmp_path), promised(PROGRAM))


def test_a_wish_without_a_colour_changes_no_order():
    embedder = colour_words()
    with Image.open(FOLDER / "photo.jpg") as photo:
        [picture] = embedder.embed([embedder.preprocess(photo)])
    red, none = embedder.embed_text(["in red", "made to last"])
    assert np.linalg.norm(none) == pytest.approx(1)
    assert none @ picture == none @ red == 0


@pytest.mark.slow
def test_a_clip_model_takes_the_place_of_the_colour_words(tmp_path, monkeypatch, capsys):
    if importlib.util.find_spec("open_clip") is None:
        pytest.skip("the extra clip is not installed")
    from imagesearch import OpenClipEmbedder
    from tests.embedders.tiny_clip import save_folder

    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(FOLDER)
    main = runpy.run_path(os.fspath(EXAMPLES / PROGRAM))["main"]
    model = save_folder(tmp_path / "clip")
    main(FOLDER / "products.csv", FOLDER / "photo.jpg", OpenClipEmbedder(f"local-dir:{model}"))
    blocks = capsys.readouterr().out.split("\n\n")
    assert blocks[0] == "33 added, 0 updated, 0 unchanged, 0 failed"
    assert [len(block.splitlines()) for block in blocks[1:]] == [4, 4, 4]
