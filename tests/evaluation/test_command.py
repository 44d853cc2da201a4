"""``imagesearch eval``, as a person runs it."""

from __future__ import annotations

import json

import pytest

from imagesearch.cli import main
from tests.evaluation.colours import picture, save_folders


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run a command in this process; returns (exit code, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)
    save_folders(tmp_path / "train", each=6)
    save_folders(tmp_path / "test", each=2, first=10)

    def run(*arguments):
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return stopped.value.code, captured.out, captured.err

    return run


def rows(output):
    return {line.split("  ")[0]: line for line in output.splitlines()}


def test_a_gallery_is_built_and_measured_in_one_command(run):
    code, output, errors = run("eval", "test", "--gallery", "train", "-e", "descriptors", "-k", 6)
    assert code == 0, errors
    assert "6 queries judged, 0 unjudged, 0 failed; 18 records of 3 labels, 6 each" in output
    assert "1.000 [1.000, 1.000]" in rows(output)["mAP@6"]
    assert "mAP@6 (tutorial)" in output
    assert "searching ms p50/p95/p99" in output


def test_an_existing_index_and_its_projection_are_compared(run, tmp_path):
    assert run("add", "train", "-e", "descriptors", "-s", "photos.idx")[0] == 0
    code, output, errors = run(
        "eval", "test", "-s", "photos.idx", "--project", 4, "--html", "worst.html", "--worst", 1
    )
    assert code == 0, errors
    assert "photos.idx projected to 4" in output
    assert "gain over photos.idx, paired by query" in output
    assert str(tmp_path / "worst.html") in errors
    assert "data:image" in (tmp_path / "worst.html").read_text(encoding="utf-8")


def test_uneven_galleries_are_drawn_from_folders_and_from_indexes(run):
    run("add", "train", "-e", "descriptors")
    for source in (["--gallery", "train", "-e", "descriptors"], []):
        code, output, _ = run("eval", "test", *source, "--per-class", 2, "--r-precision")
        assert code == 0
        assert "6 records of 3 labels, 2 each" in output
        assert "R-precision" in output
    again = [run("eval", "test", "--per-class", "1-6", "--seed", 3)[1] for _ in range(2)]
    assert rows(again[0])["mAP@10"] == rows(again[1])["mAP@10"]


def test_json_is_one_object_for_each_index(run):
    arguments = ["--gallery", "train", "-e", "descriptors", "--project", 3, "--json"]
    code, output, _ = run("eval", "test", *arguments)
    assert code == 0
    plain, projected = (json.loads(line) for line in output.splitlines())
    assert plain["metrics"]["P@1"]["value"] == 1.0
    assert plain["ann_recall"]["value"] == 1.0
    assert len(plain["queries"]) == 6
    assert "gain" not in plain
    assert set(projected["gain"]) == set(projected["metrics"])
    assert projected["dim"] == 3


def test_what_cannot_be_read_or_judged_is_named_on_standard_error(run, tmp_path):
    (tmp_path / "test" / "red" / "broken.png").write_bytes(b"")
    (tmp_path / "train" / "red" / "damaged.png").write_bytes(b"")
    save_folders(tmp_path / "extra", each=1, first=20, kinds=("blue",))
    (tmp_path / "extra" / "blue").rename(tmp_path / "test" / "violet")
    code, output, errors = run("eval", "test", "--gallery", "train", "-e", "descriptors")
    assert code == 1
    assert "6 queries judged, 1 unjudged, 1 failed" in output
    assert "broken.png" in errors
    assert "damaged.png" in errors
    assert "no record labelled 'violet'" in errors


def test_pairs_take_the_place_of_labels(run, tmp_path):
    picture("red", 9).save(tmp_path / "asked.png")
    (tmp_path / "pairs.csv").write_text("query,relevant\nasked.png,train/red/05.png\n")
    run("add", "train", "-e", "descriptors")
    code, output, _ = run("eval", "--pairs", "pairs.csv", "-k", 6)
    assert code == 0
    assert "1.000" in rows(output)["recall@6"]
    assert "labels" not in output


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["test", "--pairs", "pairs.csv"],
        ["test", "-e", "descriptors"],
        ["test", "--gallery", "train", "-s", "photos.idx"],
    ],
)
def test_options_that_contradict_each_other_are_refused(run, arguments):
    assert run("eval", *arguments)[0] == 2


def test_a_config_without_an_embedder_builds_no_gallery(run, tmp_path):
    (tmp_path / "store.toml").write_text('[store]\nkind = "memory"\n')
    code, _, errors = run("eval", "test", "--gallery", "train", "--config", "store.toml")
    assert code == 2
    assert "[embedder]" in errors
