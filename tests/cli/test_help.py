"""Help: every command shows examples that work, and asking for help costs next to nothing."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys

import click
import pytest

from imagesearch.cli._program import program

COMMANDS = sorted(program.commands)

# What a shell does with the rest of a line is not the program's.
SHELL = {"|", ">", "2>", ">>", ";", "&&"}

LOADED = """
import atexit, json, sys
def tell():
    tops = {name.partition(".")[0] for name in sys.modules}
    known = sys.stdlib_module_names
    print(json.dumps(sorted(t for t in tops if t not in known and t[0] != "_")), file=sys.stderr)
atexit.register(tell)
from imagesearch.cli import main
main()
"""
# NumPy and Pillow are imported by `import imagesearch` already, and click is the command line.
LIGHT = {"PIL", "click", "imagesearch", "numpy"}


def examples(text):
    """Return the command lines in a help text, as words, without the program's name."""
    found = []
    for line in text.splitlines():
        if not line.strip().startswith("imagesearch "):
            continue
        # Where an example is explained, two spaces stand before the words.
        words = shlex.split(line.strip().partition("  ")[0])
        end = next((at for at, word in enumerate(words) if word in SHELL), len(words))
        found.append(words[1:end])
    return found


def parse(words):
    """Parse a command line as the program does, and run nothing."""
    name, *arguments = words
    with (
        click.Context(program, info_name="imagesearch", **program.context_settings) as context,
        program.commands[name].make_context(name, arguments, parent=context),
    ):
        return name


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_shows_examples_of_itself_that_can_be_parsed(name):
    shown = examples(program.commands[name].help)
    assert any(words[0] == name for words in shown), f"{name} shows no example of itself"
    for words in shown:
        assert parse(words) == words[0]


def test_examples_of_the_whole_program_can_be_parsed():
    assert [parse(words) for words in examples(program.help)] == ["add", "search", "doctor"]


def test_an_example_with_an_option_that_does_not_exist_would_be_noticed():
    [words] = examples("\b\nimagesearch search a.jpg --colour blue | head")
    with pytest.raises(click.NoSuchOption):
        parse(words)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_tells_each_in_one_line(name):
    command = program.commands[name]
    assert len(command.short_help) <= 46
    # A comma ends the words that fish shows.
    assert "," not in command.short_help


@pytest.mark.parametrize("arguments", [["--help"], ["eval", "--help"], ["completion", "bash"]])
def test_asking_for_help_loads_no_heavy_package(arguments):
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *arguments], capture_output=True, text=True, check=True
    )
    loaded = json.loads(done.stderr.splitlines()[-1])
    heavy = {name for name in loaded if name not in LIGHT}
    # What an editable installation or the test run itself puts into every process.
    assert not heavy & {"torch", "timm", "scipy", "pandas", "tqdm", "gradio", "huggingface_hub"}
    assert heavy <= {"sitecustomize", "usercustomize"} | {n for n in heavy if "editable" in n}


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("searchh", "'search'"), ("rm", "'delete'"), ("Index", "'add'"), ("evall", "'eval'")],
)
def test_an_unknown_command_names_the_one_that_may_be_meant(run, typed, meant):
    code, _, errors = run(typed, "x")
    assert code == 2
    assert f"did you mean {meant}?" in errors
    assert "\nError: " in errors


def test_a_path_instead_of_a_command_says_what_to_do_with_it(run, photos):
    assert f"imagesearch add {photos}" in run(photos)[2]
    assert "imagesearch search" in run(photos / "00.png")[2]
    assert "the commands are: add, calibrate" in run("xyzzy")[2]


def test_an_unknown_option_names_the_one_that_may_be_meant(run):
    assert "--store" in run("info", "--stor", "a.idx")[2]
    assert "imagesearch -v COMMAND" in run("info", "-v")[2]
