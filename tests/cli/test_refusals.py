"""What add, sync and copy do not let pass: one image to sync with, a bad record, a doubtful copy."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from imagesearch import ImageIndex, RecordBatch
from tests.embedders.tiny import save_safetensors


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


def test_the_program_alone_shows_its_help_once(run):
    code, output, errors = run()
    assert (code, output) == (2, "")
    assert errors.count("Usage: imagesearch") == 1
    assert "doctor" in errors
    assert "Error" not in errors


def test_a_missing_path_is_named_before_weights_are_asked_for(run, tmp_path):
    for command in ("add", "sync"):
        code, _, errors = run(command, "nowhere/", "--embedder", "timm:no_such_model")
        assert (code, "nowhere/ does not exist" in errors) == (3, True), errors
    assert list(tmp_path.iterdir()) == []


def test_the_config_says_where_weights_are_also_for_an_index_that_the_command_names(
    run, photos, tmp_path
):
    weights = save_safetensors(tmp_path / "here.safetensors")
    config = tmp_path / "search.toml"
    text = (
        '[embedder]\nkind = "timm"\nmodel = "test_resnet"\nweights = "{}"\n[store]\nkind = "memory"'
    )
    config.write_text(text.format(weights))
    with_config = ("--config", config, "--store", "tiny.idx")
    assert run("add", photos / "00.png", *with_config)[0] == 0
    weights.rename(tmp_path / "there.safetensors")
    code, _, errors = run("search", photos / "00.png", "--store", "tiny.idx")
    assert (code, "here.safetensors" in errors) == (3, True)
    config.write_text(text.format(tmp_path / "there.safetensors"))
    code, output, errors = run("search", photos / "00.png", *with_config)
    assert (code, "1.000" in output) == (0, True), errors


def test_an_embedder_with_other_options_is_refused_by_naming_them(run, photos, tmp_path):
    weights = save_safetensors(tmp_path / "w.safetensors")
    config = tmp_path / "search.toml"
    text = (
        '[embedder]\nkind = "timm"\nmodel = "test_resnet"\n{}'
        f'weights = "{weights}"\n[store]\nkind = "local"\npath = "tiny.idx"\n'
    )
    config.write_text(text.format(""))
    assert run("add", photos / "00.png", "--config", config)[0] == 0
    config.write_text(text.format("preprocess.mean = [0.1, 0.2, 0.3]\n"))
    code, _, errors = run("search", photos / "00.png", "--config", config)
    assert (code, "they differ in preprocess.mean = " in errors) == (3, True), errors
