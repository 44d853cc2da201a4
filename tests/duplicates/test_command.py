"""``imagesearch duplicates``, on the command line."""

from __future__ import annotations

import json

import pytest

from imagesearch.cli import main


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return stopped.value.code, captured.out, captured.err

    return run


def test_groups_are_printed_and_nothing_is_deleted(run, images):
    run("add", images, "--embedder", "descriptors")
    code, output, _ = run("duplicates")
    assert code == 0
    assert output.splitlines()[-1] == "7 groups with 7 copies (1 exact, 6 near) among 19 images"
    assert run("add", images)[1].count("19 unchanged")


def test_extras_are_ids_for_the_delete_command(run, images):
    run("add", images, "--embedder", "descriptors")
    code, output, _ = run("duplicates", "--extras")
    assert code == 0
    assert run("delete", *output.split())[1].startswith("7 deleted")
    code, output, _ = run("duplicates", "--json")
    assert json.loads(output)["groups"] == []


def test_leaks_into_another_index_are_shown_on_a_page(run, images, tmp_path):
    run("add", images / "00.png", "--embedder", "descriptors", "--store", "train.idx")
    run("add", images / "00-encoded.jpg", "--embedder", "descriptors", "--store", "test.idx")
    code, output, errors = run(
        "duplicates", "--store", "test.idx", "--against", "train.idx", "--html", "leaks.html"
    )
    assert code == 0
    assert "1 group with 1 copy (1 near) among 1 image" in output
    assert "leaks.html" in errors
    assert (tmp_path / "leaks.html").read_text().count("data:image") == 2


def test_images_that_cannot_be_opened_are_listed_and_set_the_exit_code(run, images):
    run("add", images, "--embedder", "descriptors")
    (images / "11.png").unlink()
    code, output, errors = run("duplicates", "--tier", "near")
    assert code == 1
    assert "11.png" in errors
    assert "7 near" in output


def test_options_are_checked(run, images):
    run("add", images / "00.png", "--embedder", "descriptors")
    assert run("duplicates", "--extras", "--json")[0] == 2
    assert run("duplicates", "--tier", "guess")[0] == 2
    assert run("duplicates", "--near-distance", "0.8")[0] == 3
    assert run("duplicates", "--against", "nowhere.idx")[0] == 3
