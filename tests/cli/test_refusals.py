"""What add, sync and copy do not let pass: one image to sync with, a bad record, a doubtful copy."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from imagesearch import ImageIndex, RecordBatch


@pytest.mark.parametrize("options", [(), ("--dry-run",)], ids=["for real", "rehearsed"])
def test_syncing_with_one_picture_names_add_and_delete_and_changes_nothing(
    run, indexed, tmp_path, options
):
    new = tmp_path / "new.png"
    Image.new("RGB", (9, 9)).save(new)
    code, _, errors = run("sync", new, *options)
    assert code == 3
    assert "use add" in errors
    assert "delete" in errors
    _, output, _ = run("add", indexed)
    assert "12 unchanged" in output


def test_an_endless_number_and_a_threshold_that_is_none_are_refused_in_a_sentence(run, indexed):
    code, _, errors = run("search", indexed / "05.png", "--where", "a = " + "9" * 5000)
    assert code == 3
    assert "digits" in errors
    assert "Traceback" not in errors
    code, _, errors = run("search", indexed / "05.png", "--min-score", "nan")
    assert code != 0
    assert "nan" in errors


def test_a_copy_whose_neighbours_differ_is_warned_of(run, indexed, tmp_path):
    assert run("copy", "imagesearch.idx", "copy.idx")[0] == 0
    for number in range(40):
        picture = np.random.default_rng(number).integers(0, 255, (24, 32, 3), np.uint8)
        Image.fromarray(picture).save(indexed / f"x{number}.png")
    run("add", indexed)
    assert run("copy", "imagesearch.idx", "copy.idx")[0] == 0
    with ImageIndex(tmp_path / "copy.idx") as index:
        [records] = index.scan(vectors=True)
        random = np.random.default_rng(0).normal(size=records.vectors.shape).astype(np.float32)
        index.store.upsert(
            RecordBatch(records.ids, records.uris, records.digests, records.metadata, random)
        )
    code, output, errors = run("copy", "imagesearch.idx", "copy.idx")
    assert code == 1
    assert "0 copied, 52 unchanged" in output
    assert "most neighbours differ" in errors
