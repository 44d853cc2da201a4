"""The pictures of the guides show what the program that draws them computes today."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "docs" / "images" / "concepts"
NAMES = sorted(path.name for path in PICTURES.glob("*.svg"))
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "drawings" / "draw.py", folder],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_every_picture_that_is_drawn_is_kept_and_no_other(drawn):
    assert sorted(path.name for path in drawn.iterdir()) == NAMES


# Processors and versions of Pillow and numpy may differ in the last digits of a computation.
@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_picture_shows_what_is_computed_today(drawn, name):
    kept, fresh = (list(ET.parse(folder / name).iter()) for folder in (PICTURES, drawn))
    assert [one.tag for one in kept] == [one.tag for one in fresh]
    for before, now in zip(kept, fresh, strict=True):
        assert like(before.text or "", now.text or "", within=0.03), (before.text, now.text)
        assert before.attrib.keys() == now.attrib.keys()
        for key in before.attrib:
            if key == "href":
                assert before.get(key)[:23] == now.get(key)[:23] == "data:image/jpeg;base64,"
            else:
                assert like(before.get(key), now.get(key), within=4), (before.attrib, now.attrib)


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_says_what_it_shows_and_asks_nobody_for_anything(name):
    text = (PICTURES / name).read_text(encoding="utf-8")
    picture = ET.fromstring(text)
    assert [len(one.text) > 10 for one in picture[:2]] == [True, True]
    assert "<script" not in text
    assert set(re.findall(r'(?:href|src)="(\w+:)', text)) <= {"data:"}


def test_every_picture_is_on_the_page_of_concepts():
    page = (ROOT / "docs" / "concepts.md").read_text(encoding="utf-8")
    assert sorted(set(re.findall(r"\(images/concepts/([\w.-]+)\)", page))) == NAMES


def like(one: str, other: str, *, within: float) -> bool:
    """Whether two texts are the same but for numbers that differ by little."""
    pairs = zip(NUMBER.findall(one), NUMBER.findall(other), strict=False)
    return NUMBER.sub("0", one) == NUMBER.sub("0", other) and all(
        abs(float(a) - float(b)) <= within + 0.03 * abs(float(a)) for a, b in pairs
    )
