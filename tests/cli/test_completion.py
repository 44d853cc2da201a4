"""Completion: what a shell is offered, asked through click's own protocol in a process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

from imagesearch import DescriptorEmbedder, ImageIndex, Item
from tests.cli.installation import contents
from tests.cli.test_help import LIGHT, LOADED


@pytest.fixture
def place(tmp_path, photos):
    """A folder with an index, whose images have a few fields."""
    items = [
        Item(photos / f"{number:02}.png", metadata={"label": "a", "price": number, "place": "x"})
        for number in range(3)
    ]
    with ImageIndex(tmp_path / "imagesearch.idx", embedder=DescriptorEmbedder()) as index:
        index.add(items)
    return tmp_path


@pytest.fixture
def offer(place):
    """Return what is offered for the last of some words, as (kind, text)."""

    def offer(*words, **variables):
        # click splits the words as a shell does.
        line = " ".join(["imagesearch", *words])
        environment = {
            **{name: value for name, value in os.environ.items() if "IMAGESEARCH" not in name},
            "_IMAGESEARCH_COMPLETE": "bash_complete",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(words)),
            **variables,
        }
        done = subprocess.run(
            [sys.executable, "-c", LOADED],
            cwd=place,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        *errors, loaded = done.stderr.splitlines()
        assert errors == []
        heavy = set(json.loads(loaded)) - LIGHT
        assert heavy <= {name for name in heavy if "editable" in name or "customize" in name}
        return [tuple(line.split(",", 1)) for line in done.stdout.splitlines() if line]

    return offer


def words(offered):
    assert {kind for kind, _ in offered} <= {"plain"}
    return [word for _, word in offered]


def test_commands_options_and_choices_are_offered(offer):
    assert words(offer("d")) == ["delete", "demo", "doctor", "duplicates"]
    assert words(offer("sync", "--dr")) == ["--dry-run"]
    assert words(offer("duplicates", "--tier", "''")) == ["exact", "near", "semantic"]


def test_names_of_embedders_are_offered_and_models_that_are_in_the_cache(offer, tmp_path):
    assert words(offer("add", "-e", "d")) == ["descriptors"]
    cached = tmp_path / "cache" / "hub"
    (cached / "models--timm--resnet50.a1_in1k").mkdir(parents=True)
    (cached / "models--someone--other").mkdir()
    offered = offer("add", "-e", "timm:res", HF_HOME=str(tmp_path / "cache"), HF_HUB_CACHE="")
    assert words(offered) == ["timm:resnet50.a1_in1k"]


def test_fields_of_the_index_are_offered_and_its_files_stay_as_they_are(offer, place):
    before = contents(place / "imagesearch.idx")
    assert words(offer("search", "--group-by", "p")) == ["place", "price"]
    assert words(offer("search", "--where", "pr")) == ["price"]
    assert words(offer("search", "--where", "'price < 10 and la")) == ["price < 10 and label"]
    assert words(offer("search", "--where", "'price < pl")) == []
    assert contents(place / "imagesearch.idx") == before


def test_fields_come_from_the_index_that_the_line_names(offer, place):
    (place / "other.toml").write_text('[store]\nkind = "local"\npath = "imagesearch.idx"\n')
    assert words(offer("search", "-s", "none.idx", "--group-by", "p")) == []
    assert words(offer("search", "--config", "other.toml", "--group-by", "l")) == ["label"]
    offered = offer("eval", "--label", "p", IMAGESEARCH_STORE="imagesearch.idx")
    assert words(offered) == ["place", "price"]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (["add", "ph"], "file"),
        (["search", "ph"], "file"),
        (["info", "--store", "i"], "dir"),
        (["info", "--config", "i"], "file"),
        (["copy", "i"], "file"),
    ],
    ids=["add", "search", "store", "config", "copy"],
)
def test_paths_are_left_to_the_shell(offer, line, kind):
    assert [offered[0] for offered in offer(*line)] == [kind]


@pytest.mark.parametrize("broken", ["a letter", "[store"], ids=["file", "toml"])
def test_what_cannot_be_read_offers_nothing_and_says_nothing(offer, place, broken):
    (place / "broken.toml").write_text(broken)
    assert offer("search", "--config", "broken.toml", "--group-by", "p") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_is_printed_and_understood_by_it(run, shell, monkeypatch):
    code, script, _ = run("completion", shell)
    assert code == 0
    assert "_IMAGESEARCH_COMPLETE" in script
    monkeypatch.setenv("SHELL", f"/usr/bin/{shell}")
    assert run("completion")[1] == script
    if shutil.which(shell) is not None:
        subprocess.run([shell, "-n"], input=script, text=True, check=True)


def test_a_shell_that_is_not_known_is_refused_with_those_that_are(run, monkeypatch):
    monkeypatch.setenv("SHELL", "/bin/csh")
    code, _, errors = run("completion")
    assert code == 2
    assert "bash, zsh, fish" in errors


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_with_the_script(place):
    # The program's name means this very Python, wherever it is installed.
    program = place / "bin" / "imagesearch"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m imagesearch "$@"\n')
    program.chmod(0o755)
    typed = """
eval "$(imagesearch completion bash)"
COMP_WORDS=(imagesearch search --where "'price < 10 and pl")
COMP_CWORD=3
_imagesearch_completion imagesearch
printf '%s\\n' "${COMPREPLY[@]}"
"""
    done = subprocess.run(
        ["bash", "--norc", "-c", typed],
        cwd=place,
        env={**os.environ, "PATH": os.pathsep.join([str(program.parent), os.environ["PATH"]])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "price < 10 and place\n", done.stderr
