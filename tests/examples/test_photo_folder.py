"""The folder that is followed: each change is reported as what it is."""

from __future__ import annotations

import os
import runpy
import shutil

from imagesearch import DescriptorEmbedder
from tests.examples.printing import EXAMPLES, assert_same, promised, run

PROGRAM = "photo_folder/photo_folder.py"


def test_it_prints_what_it_says_and_leaves_nothing_behind(tmp_path):
    assert_same(run(PROGRAM, cwd=tmp_path), promised(PROGRAM))
    assert not list(tmp_path.iterdir())


def test_a_users_folder_is_only_read(tmp_path, capsys):
    photos = tmp_path / "photos"
    shutil.copytree(EXAMPLES / "photos" / "fish", photos)
    shutil.copy(photos / "1.jpg", photos / "1 (copy).jpg")
    before = {path: path.read_bytes() for path in photos.iterdir()}
    main = runpy.run_path(os.fspath(EXAMPLES / PROGRAM))["main"]
    main(photos, tmp_path / "photos.idx", DescriptorEmbedder())
    assert {path: path.read_bytes() for path in photos.iterdir()} == before
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("7 added, 0 updated, 0 unchanged, 0 failed")
    assert "  copy 1 (copy).jpg 160×120, exact" in printed
