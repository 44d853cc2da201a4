"""In a terminal: lines that fit, modest colours, a question before much goes. In a pipe: none."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import unicodedata

import pytest
from PIL import Image

from imagesearch import DescriptorEmbedder, ImageIndex, Item
from imagesearch.cli._terminal import fitted_lines

if sys.platform == "win32":
    pytest.skip("there are no pseudo-terminals", allow_module_level=True)

from tests.cli.terminal import in_terminal

COLOUR = re.compile(r"\x1b\[[\d;]*m")
NAMES = [
    "二零二四年除夕夜全家福合影原图未压缩版本.png",
    "a-photo-with-a-really-long-name-of-a-beach.png",
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with an index of pictures, whose names are long and partly Chinese."""
    folder = tmp_path_factory.mktemp("place")
    items = []
    for number in range(6):
        path = folder / f"{number}-{NAMES[number % 2]}"
        Image.new("RGB", (30, 30), (40 * number, 90, 200 - 30 * number)).save(path)
        note = "a rather long description that goes on and on"
        items.append(Item(path, id=f"{number:032}", metadata={"note": note, "price": number / 2}))
    with ImageIndex(folder / "imagesearch.idx", embedder=DescriptorEmbedder()) as index:
        index.add(items)
    return folder


@pytest.fixture
def own(place, tmp_path):
    """An index of the test's own, to delete from."""
    with (
        ImageIndex(place / "imagesearch.idx") as index,
        ImageIndex(tmp_path / "imagesearch.idx", embedder=DescriptorEmbedder()) as copy,
    ):
        copy.add(Item(record.uri, id=record.id) for batch in index.scan() for record in batch)
    return tmp_path


def in_pipe(folder, *arguments, stdin=subprocess.DEVNULL, **variables):
    hidden = {"COLUMNS", "NO_COLOR", "FORCE_COLOR"}
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    return subprocess.run(
        [sys.executable, "-m", "imagesearch", *map(str, arguments)],
        cwd=folder,
        env={**kept, **variables},
        stdin=stdin,
        capture_output=True,
        check=False,
    )


def columns_of(line):
    return sum(2 if unicodedata.east_asian_width(mark) in "WF" else 1 for mark in line)


SEARCH = ("search", "--id", f"{0:032}")


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_no_line_of_a_table_is_wider_than_the_terminal(place, columns):
    code, shown = in_terminal(place, *SEARCH, columns=columns)
    assert code == 0
    lines = COLOUR.sub("", shown).splitlines()
    assert lines[0].split()[:3] == ["#", "score", "uri"]
    assert sum(line.endswith(".png") or ".png " in line for line in lines) == 5
    assert max(map(columns_of, lines)) <= columns


def test_duplicates_and_sums_fit_too(place):
    _, shown = in_terminal(place, "duplicates", "--threshold", "0.5", columns=60)
    # The bar is drawn over itself, behind a carriage return.
    lines = [line.rpartition("\r")[2] for line in COLOUR.sub("", shown).splitlines()]
    assert any(re.match(r"1 +semantic", line) for line in lines)
    assert max(map(columns_of, lines)) <= 60


def test_what_goes_through_a_pipe_is_whole_and_plain(place):
    done = in_pipe(place, *SEARCH, TERM="xterm-256color")
    assert b"\x1b" not in done.stdout
    assert str(place / f"1-{NAMES[1]}").encode() in done.stdout
    assert str(place / f"2-{NAMES[0]}").encode() in done.stdout
    assert "…".encode() not in done.stdout


def test_colours_are_for_terminals_and_the_environment_decides(place):
    assert COLOUR.search(in_terminal(place, *SEARCH)[1])
    assert not COLOUR.search(in_terminal(place, *SEARCH, NO_COLOR="1")[1])
    assert not COLOUR.search(in_terminal(place, *SEARCH, TERM="dumb")[1])
    assert not COLOUR.search(in_terminal(place, *SEARCH, NO_COLOR="1", FORCE_COLOR="1")[1])
    assert b"\x1b" in in_pipe(place, *SEARCH, FORCE_COLOR="1").stdout
    assert b"\x1b" not in in_pipe(place, *SEARCH, FORCE_COLOR="0").stdout


def test_errors_stand_out_in_a_terminal_and_are_plain_in_a_file(place):
    code, shown = in_terminal(place, "search", "nowhere.png")
    assert code == 3
    assert re.match(r"\x1b\[31m\x1b\[1mError:\x1b\[0m nowhere.png does not exist", shown)
    assert in_pipe(place, "search", "nowhere.png").stderr.startswith(b"Error: nowhere.png")
    code, shown = in_terminal(place, "info", "--stor", NO_COLOR="1")
    assert code == 2
    assert "\nError: No such option" in shown


def count(folder):
    with ImageIndex(folder / "imagesearch.idx") as index:
        return index.count()


def test_a_person_is_asked_before_a_filter_deletes(own):
    delete = ("delete", "--where", "uri exists")
    question = "Delete 6 of 6 records? [y/N]"
    for keys in ("n\n", "\x03"):
        code, shown = in_terminal(own, *delete, answer=(question, keys))
        assert (code, "nothing was deleted" in shown, count(own)) == (130, True, 6)
    code, shown = in_terminal(own, *delete, answer=(question, "y\n"))
    assert (code, "6 deleted" in shown, count(own)) == (0, True, 0)
    # There is nothing left to ask about.
    code, shown = in_terminal(own, *delete)
    assert (code, "0 deleted" in shown) == (0, True)


def test_nobody_is_asked_who_said_yes_or_named_ids_or_is_a_program(own):
    code, shown = in_terminal(own, "delete", f"{0:032}")
    assert (code, "Delete" in shown, count(own)) == (0, False, 5)
    done = in_pipe(own, "delete", "--where", f'id = "{1:032}"')
    assert (done.returncode, count(own)) == (0, 4)
    code, shown = in_terminal(own, "delete", "--where", "uri exists", "--yes")
    assert (code, "Delete" in shown, count(own)) == (0, False, 0)


def test_a_person_is_asked_before_a_sync_removes_a_large_part(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(15):
        Image.new("RGB", (9, 9), (15 * number, 0, 0)).save(folder / f"{number:02}.png")
    sync = ("sync", folder, "--embedder", "descriptors", "--no-progress")
    assert in_terminal(tmp_path, *sync)[0] == 0
    for number in range(12):
        (folder / f"{number:02}.png").unlink()
    question = "Remove 12 of 15 records whose images are gone? [y/N]"
    for keys in ("n\n", "\x03"):
        code, shown = in_terminal(tmp_path, *sync, answer=(question, keys))
        assert (code, "nothing was removed" in shown, count(tmp_path)) == (130, True, 15)
    code, shown = in_terminal(tmp_path, *sync, answer=(question, "y\n"))
    assert (code, "12 removed" in shown, count(tmp_path)) == (0, True, 3)


def test_only_the_first_of_many_changes_are_listed_in_a_terminal(own):
    for number in range(40):
        Image.new("RGB", (9, 9), (number, 0, 0)).save(own / f"{number:02}.png")
    code, shown = in_terminal(own, "add", own, "--dry-run", "--no-progress")
    assert code == 0
    assert COLOUR.sub("", shown).count("would add") == 20
    assert "… and 20 more" in shown
    assert in_pipe(own, "add", own, "--dry-run").stdout.count(b"would add") == 40


def test_names_that_the_terminal_cannot_write_are_spelled_out(place):
    done = in_pipe(place, *SEARCH, PYTHONIOENCODING="latin-1")
    assert done.returncode == 0
    assert b"2-\\u4e8c\\u96f6" in done.stdout
    done = in_pipe(place, *SEARCH, "--json", PYTHONIOENCODING="latin-1")
    assert done.returncode == 0
    assert b"2-\\u4e8c\\u96f6" in done.stdout


def test_info_hangs_long_values_under_their_beginning(place):
    _, shown = in_terminal(place, "info", columns=50, NO_COLOR="1")
    lines = shown.splitlines()
    assert lines[0].startswith("store        <LocalStore")
    assert lines[1].startswith(" " * 13)
    assert lines[1][13] != " "


def test_lines_are_broken_between_words_and_wide_characters_count_twice():
    assert fitted_lines("one two three", 9, indent=2) == "one two\n  three"
    assert fitted_lines("金鱼 金鱼 金鱼", 10) == "金鱼 金鱼\n金鱼"
    assert fitted_lines("a /very/long/path b", 6) == "a\n/very/long/path\nb"
    assert fitted_lines("one two three", None) == "one two three"
