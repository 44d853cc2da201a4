"""Commands and configs that the documents show work as they are written."""

from __future__ import annotations

import importlib.util
import inspect
import re
import shlex
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from imagesearch.cli._program import program
from imagesearch.config import check_options, load_config

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
SHELLS = {"", "bash", "console", "sh", "shell"}
EVERYWHERE = {"-h", "--help"}
ENDS = {"|", "&&", ";", ">", "<", "2>"}


def blocks(page, kinds):
    text = page.read_text(encoding="utf-8")
    return [
        re.sub(f"^{indent}", "", body, flags=re.MULTILINE)
        for indent, kind, body in BLOCK.findall(text)
        if kind in kinds
    ]


def named(page):
    return page.relative_to(ROOT).as_posix()


def with_blocks(*kinds):
    return pytest.mark.parametrize(
        "page", [page for page in PAGES if blocks(page, set(kinds))], ids=named
    )


@with_blocks("toml")
def test_a_config_that_is_shown_names_options_that_exist(page, tmp_path, monkeypatch):
    for number, body in enumerate(blocks(page, {"toml"})):
        tables = tomllib.loads(body)
        if not tables.keys() & {"embedder", "store", "index"}:
            continue
        file = tmp_path / f"{number}.toml"
        file.write_text(body, encoding="utf-8")
        for name in re.findall(r'"env:(\w+)"', body):
            monkeypatch.setenv(name, "set")
        config = load_config(file)
        for group, chosen in (("embedders", config.embedder), ("stores", config.store)):
            known = {point.name: point for point in entry_points(group=f"imagesearch.{group}")}
            if chosen is None or chosen.kind not in known:
                continue
            if chosen.kind == "tencent":
                skip_without("tcvectordb")
            if chosen.kind == "clip":
                skip_without("open_clip")
            kind = known[chosen.kind].load()
            if "…" in body:  # a part of a config
                assert chosen.options.keys() <= inspect.signature(kind).parameters.keys()
            else:
                check_options(kind, chosen)


@with_blocks(*SHELLS)
def test_a_command_that_is_shown_exists_with_its_options(page):
    wrong = []
    for body in blocks(page, SHELLS):
        for line in body.replace("\\\n", " ").splitlines():
            words = words_of(line)
            if words[:1] == ["imagesearch"]:
                wrong += [f"{line}: {what}" for what in unknown_in(words[1:])]
    assert not wrong, "\n".join(wrong)


@with_blocks(*SHELLS)
def test_a_program_of_ours_that_is_shown_exists(page):
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    missing = []
    for body in blocks(page, SHELLS):
        for line in body.splitlines():
            words = words_of(line)
            if words[:1] == ["make"]:
                missing += [word for word in words[1:] if word not in targets]
            if words[:1] == ["python"] and words[1].startswith(
                ("benchmarks/", "docs/", "examples/")
            ):
                missing += [words[1]] * (not (ROOT / words[1]).is_file())
    assert not missing


def skip_without(package):
    # Without importing it: torchvision has to be repaired first.
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")


def words_of(line):
    """Return the words of the first command on a line; an empty list if it is not a command."""
    try:
        words = shlex.split(line.removeprefix("$ "), comments=True)
    except ValueError:  # prose or output with an apostrophe
        return []
    ends = [number for number, word in enumerate(words) if word in ENDS]
    return words[: ends[0]] if ends else words


def unknown_in(words):
    """Return what a command line names that the program does not have."""
    words = [word for word in words if word not in {"-v", "--verbose"}]
    if not words or words[0].startswith("-"):
        return []
    command = program.commands.get(words[0])
    if command is None:
        return [f"no command {words[0]!r}"]
    known = {option for one in command.params for option in (*one.opts, *one.secondary_opts)}
    return [
        f"no option {word!r}"
        for word in (word.partition("=")[0] for word in words[1:])
        if re.match(r"--?[a-z]", word) and word not in known | EVERYWHERE
    ]
