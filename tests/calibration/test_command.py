"""``imagesearch calibrate``, and the commands that know what it learned."""

from __future__ import annotations

import json
import shutil

import pytest
from PIL import Image

from imagesearch import DescriptorEmbedder, ImageIndex
from imagesearch.cli import main


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Pictures of two kinds, a manifest of them, and their index."""
    folder = tmp_path_factory.mktemp("built")
    lines = ["path,kind"]
    for kind, colour in (("warm", (250, 60, 0)), ("cold", (0, 60, 250))):
        for number in range(40):
            name = f"{kind}-{number:02}.png"
            Image.new("RGB", (8, 8), (*colour[:1], number, *colour[2:])).save(folder / name)
            lines.append(f"{name},{kind}")
    (folder / "all.csv").write_text("\n".join(lines))
    with ImageIndex(folder / "imagesearch.idx", embedder=DescriptorEmbedder()) as index:
        index.add(folder / "all.csv", on_error="raise")
    return folder


@pytest.fixture
def run(tmp_path, built, monkeypatch, capsys):
    """Run a command beside the index; returns (code, standard output, errors)."""
    shutil.copytree(built, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return stopped.value.code, captured.out, captured.err

    return run


def test_a_threshold_is_learned_shown_and_used(run, tmp_path):
    Image.new("RGB", (8, 8), (20, 250, 20)).save(tmp_path / "green.png")
    assert run("search", "green.png", "--min-score", "calibrated")[0] == 3
    code, output, errors = run("calibrate", "--label", "kind", "--precision", "0.9")
    assert code == 0, errors
    assert "100.0 % of the hits are relevant" in output
    assert "learned from 80 records" in output
    assert "calibration  score >= " in run("info")[1]
    assert json.loads(run("info", "--json")[1])["calibration"]["wanted"] == 0.9
    code, output, _ = run("search", "green.png", "--min-score", "calibrated", "--json")
    assert (code, output) == (0, "")
    code, output, _ = run("search", "warm-00.png", "--min-score", "calibrated", "--json")
    assert len(output.splitlines()) == 10


def test_nothing_is_kept_with_no_save(run):
    code, output, _ = run(
        "calibrate", "--label", "kind", "--precision", "0.9", "--no-save", "--json"
    )
    assert code == 0
    assert json.loads(output)["learned_from"] == "labels"
    assert "calibration" not in run("info")[1]


def test_queries_that_cannot_be_read_are_named(run, tmp_path, caplog):
    (tmp_path / "broken.png").write_bytes(b"")
    (tmp_path / "more.csv").write_text((tmp_path / "all.csv").read_text() + "\nbroken.png,warm\n")
    code, output, _ = run("calibrate", "more.csv", "--label", "kind", "--precision", "0.9")
    assert code == 1
    assert "learned from 80 labelled queries" in output
    assert "broken.png" in caplog.text


@pytest.mark.parametrize(
    "arguments",
    [
        ["calibrate", "all.csv", "--pairs", "pairs.csv"],
        ["calibrate", "--precision", "1"],
        ["search", "warm-00.png", "--min-score", "high"],
    ],
)
def test_wrong_usage_is_refused(run, arguments):
    assert run(*arguments)[0] == 2
