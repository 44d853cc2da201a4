"""The quickstart, as its first user runs it."""

from __future__ import annotations

import os
import runpy
import shutil

import pytest
from PIL import Image

from imagesearch import DescriptorEmbedder, TimmEmbedder
from tests.examples.printing import EXAMPLES, assert_same, promised, run

PROGRAM = "quickstart/quickstart.py"


@pytest.fixture
def main():
    return runpy.run_path(os.fspath(EXAMPLES / PROGRAM))["main"]


def test_it_prints_what_it_says_and_saves_what_it_found(tmp_path):
    assert_same(run(PROGRAM, cwd=tmp_path), promised(PROGRAM))
    with Image.open(tmp_path / "similar.png") as sheet:
        assert sheet.width > 5 * 160  # the query and four hits side by side
    again = run(PROGRAM, cwd=tmp_path).splitlines()
    assert again[0] == "0 added, 0 updated, 48 unchanged, 0 failed"
    assert_same("\n".join(again[1:]), "\n".join(promised(PROGRAM).splitlines()[1:]))


def test_a_folder_without_sub_folders_will_do(main, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for number in (1, 2, 3):
        shutil.copy(EXAMPLES / "photos" / "boat" / f"{number}.jpg", tmp_path)
    main(tmp_path, tmp_path / "1.jpg", embedder=DescriptorEmbedder())
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "3 added, 0 updated, 0 unchanged, 0 failed"
    assert printed[3].startswith("1.00")
    assert printed[3].endswith("/1.jpg")


@pytest.mark.weights
def test_with_a_trained_model_it_finds_the_same_kind(main, shared, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    kinds = ["ambulance", "goblet", "magpie"]
    images = shared / "data" / "imagenet50"
    for kind in kinds:
        shutil.copytree(images / "train" / kind, tmp_path / "photos" / kind)
    [query] = (images / "test" / "ambulance").iterdir()
    weights = shared / "weights" / "mobilenetv2_100.tf_in1k.safetensors"
    main("photos", query, embedder=TimmEmbedder("mobilenetv2_100", weights=weights))
    found = [line.split()[1] for line in capsys.readouterr().out.splitlines() if "/" in line]
    assert [name.split("/")[0] for name in found[:4]] == ["ambulance"] * 4
    assert len(found) == 7
    assert not any(name.startswith("ambulance") for name in found[4:])
