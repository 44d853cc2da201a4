"""How ``imagesearch add`` speaks of images that show nothing."""

from __future__ import annotations

import json

from PIL import Image


def test_blank_images_are_counted_and_named_as_json(run, tmp_path, photos):
    sheet = tmp_path / "photos" / "sheet.png"
    Image.new("RGB", (64, 64), "white").save(sheet)
    code, out, _ = run("add", photos, "--embedder", "descriptors", "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    [blank] = [line for line in lines if line["status"] == "blank"]
    assert code == 0
    assert blank["id"] in {line["id"] for line in lines if line["status"] == "added"}
    Image.new("RGB", (64, 64), "black").save(tmp_path / "photos" / "night.png")
    _, out, _ = run("add", photos, "--embedder", "descriptors")
    assert "1 added, 0 updated, 13 unchanged, 0 failed; 1 of one colour only" in out
