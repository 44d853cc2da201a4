"""A sync as a user who may not look into every folder."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from imagesearch import ImageIndex, MemoryStore

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")

MODES = {"closed": 0, "cannot be listed": 0o111, "cannot be entered": 0o444}
SOURCES = {
    "folder": lambda folder: folder,
    "list": lambda folder: [str(folder)],
    "generator": lambda folder: iter([folder]),
    "glob": lambda folder: f"{folder}/*/*.png",
    "deep glob": lambda folder: f"{folder}/**/*.png",
    "literal": lambda folder: f"{folder}/*/1.png",
}


@contextmanager
def unprivileged():
    """Be a user whom permissions hold back, which root is not."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.fixture
def library():
    """A folder that every user can reach, with two images in each of two folders."""
    top = Path(tempfile.mkdtemp())
    top.chmod(0o755)
    for number, name in enumerate(["open/1", "open/2", "shut/1", "shut/2"]):
        draw(top / f"{name}.png", number)
    yield top
    for folder, _, _ in os.walk(top):
        Path(folder).chmod(0o755)
    shutil.rmtree(top)


def draw(path, number):
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", (9, 9), (60 * number, 0, 90)).save(path)


@pytest.fixture
def index(embedder):
    with ImageIndex(embedder=embedder, store=MemoryStore()) as index:
        yield index


def behind(index, folder):
    return {
        record.id
        for batch in index.scan()
        for record in batch
        if record.uri.startswith(f"{folder}/")
    }


@pytest.mark.parametrize("name", ["shut", "new\nline", "\u202etxt"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("source", SOURCES)
def test_records_below_a_folder_that_may_not_be_read_stay(index, library, source, mode, name):
    shut = library / name
    (library / "shut").rename(shut)
    source = SOURCES[source]
    index.sync(source(library))
    kept = behind(index, shut)
    shut.chmod(MODES[mode])
    with unprivileged():
        report = index.sync(source(library))
    assert (report.removed, set(report.kept) | set(report.unchanged)) == ([], set(index_ids(index)))
    assert kept <= set(index_ids(index))


def index_ids(index):
    return [id for batch in index.scan() for id in batch.ids]


@pytest.mark.parametrize("mode", MODES)
def test_a_name_with_wildcards_that_a_glob_matches_is_no_glob_again(index, library, mode):
    draw(library / "shut" / "star*.png", 7)
    source = f"{library}/*/*.png"
    index.sync(source)
    (library / "shut").chmod(MODES[mode])
    with unprivileged():
        report = index.sync(source)
    assert (report.removed, len(report.unchanged) + len(report.kept)) == ([], 5)


@pytest.mark.parametrize("mode", MODES)
def test_a_copy_of_an_image_that_may_not_be_read_does_not_take_its_place(index, library, mode):
    index.sync(library)
    kept = behind(index, library / "shut")
    shutil.copy(library / "shut" / "1.png", library / "open" / "copy.png")
    index.update_metadata({"favourite": True}, ids=kept)
    (library / "shut").chmod(MODES[mode])
    with unprivileged():
        report = index.sync(library)
    assert (report.removed, set(report.kept), len(report.added)) == ([], kept, 1)
    assert index.count("favourite = true") == 2
