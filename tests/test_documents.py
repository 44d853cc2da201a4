"""Every Python block of the documents runs, in a folder with the files that they name."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from imagesearch import ImageIndex, RecordBatch
from imagesearch._demo_images import draw_scene
from imagesearch.config import PluginConfig
from imagesearch.plugins import make_embedder
from tests.docs.walkthrough import TWINS, WALKTHROUGHS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "README.zh-CN.md", *sorted(DOCS.rglob("*.md"))]
FOR_CONTRIBUTORS = [ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]
BLOCK = re.compile(r"(<!-- not run: [^\n]+ -->\n\n?)?```python\n(.*?)```", re.DOTALL)
CODE = re.compile(r"^( *)```.*?^\1```|`[^`\n]+`", re.DOTALL | re.MULTILINE)
FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
IN_A_LIST = re.compile(r"^ {1,3}(?:```|[-*] |\d+\. )", re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")

# An embedder with texts that an index can make again by name, as an installed plug-in would be.
PLUGIN = """
import zlib
import numpy as np
from tests.small_embedder import SmallEmbedder
from imagesearch import EmbeddingSpec
class Reading(SmallEmbedder):
    def __init__(self):
        super().__init__()
        self.spec = EmbeddingSpec("reading", 49, False, "1", kind="reading")
    def embed_text(self, texts):
        dice = [np.random.default_rng(zlib.crc32(text.encode())) for text in texts]
        return np.stack([die.random(49, np.float32) for die in dice])
"""


def name(page):
    return page.relative_to(ROOT).as_posix()


def blocks(page):
    return [
        (text, bool(skipped)) for skipped, text in BLOCK.findall(page.read_text(encoding="utf-8"))
    ]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "reading_plugin.py").write_text(PLUGIN)
    info = tmp_path / "reading_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: reading-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[imagesearch.embedders]\nreading = reading_plugin:Reading\n"
    )
    (tmp_path / "photos").mkdir()
    for number in range(6):
        draw_scene("fish", number).save(tmp_path / "photos" / f"{number}.png")
    for name in ("query", "shoe", "sandal", "a", "b", "c"):
        Image.new("RGB", (30, 20), (len(name) * 40, 90, ord(name[0]))).save(
            tmp_path / f"{name}.jpg"
        )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    with ImageIndex("photos.idx", embedder=make_embedder(PluginConfig("reading"))) as index:
        index.add("photos/")
        index.add("shoe.jpg")
        [id] = index.search("shoe.jpg", k=1).ids
        record = index.get(id, vectors=True)[id]
        index.store.upsert(
            RecordBatch(("sku-1",), (record.uri,), ("",), ({"price": 9.5},), record.vector[None])
        )
    (tmp_path / "imagesearch.toml").write_text('[store]\nkind = "local"\npath = "photos.idx"\n')
    return tmp_path


# Walkthroughs are run with their commands and outputs, in tests/docs.
@pytest.mark.parametrize(
    "page",
    [p for p in PAGES if blocks(p) and p.name not in {*WALKTHROUGHS, *TWINS}],
    ids=lambda page: page.name,
)
def test_every_block_runs(page, folder):
    code = "\n".join(text for text, skipped in blocks(page) if not skipped)
    if "tencent" in code:
        pytest.importorskip("tcvectordb")
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", [*PAGES, *FOR_CONTRIBUTORS], ids=name)
def test_no_link_is_dead(page):
    for target in LINK.findall(CODE.sub("", page.read_text(encoding="utf-8"))):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", [page for page in PAGES if DOCS in page.parents], ids=name)
def test_what_belongs_to_a_list_is_indented_as_the_site_wants_it(page):
    # Four blanks: with fewer, the site's reader ends the list there.
    prose = FENCED.sub("", page.read_text(encoding="utf-8"))
    assert not IN_A_LIST.findall(prose)
