"""Tables: they fit the terminal, count wide characters as it does, and never cut a number."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesearch._rendering import display_width, text_table
from imagesearch.types import Hit, Hits

HEADER = ["#", "score", "uri", "label", "note", "sha"]
ROWS = [
    [
        str(number),
        f"{1 - number / 7:.3f}",
        f"/home/ann/照片/2024/春节 除夕夜全家福合影原图未压缩版本第{number}张.jpg",
        "fish" if number % 2 else "金鱼",
        "a rather long description that goes on and on and on",
        "ee84d136eb5adfc36f3bfae0a2c41f55",
    ]
    for number in range(12)
]


@pytest.mark.parametrize("width", [24, 40, 60, 80, 120, 200])
def test_no_line_is_wider_than_the_terminal_and_all_numbers_stay_whole(width):
    table = text_table(HEADER, ROWS, width=width)
    assert max(map(display_width, table.splitlines())) <= width
    for row in ROWS:
        assert row[1] in table
    # The end of a file name tells more than its path.
    assert table.count("张.jpg") == len(ROWS)


def test_columns_stand_under_their_names_whatever_the_width_of_characters():
    lines = text_table(HEADER, ROWS, width=100).splitlines()
    places = [
        {
            display_width(line[: line.index(word)])
            for line, word in zip(lines[1:], words, strict=True)
        }
        for words in ([row[1] for row in ROWS], [row[3] for row in ROWS])
    ]
    assert [len(each) for each in places] == [1, 1]


def test_without_a_terminal_nothing_is_shortened():
    table = text_table(HEADER, ROWS)
    assert "…" not in table
    assert all(cell in table for row in ROWS for cell in row)


def test_columns_without_room_follow_in_a_block_that_repeats_the_first_one():
    table = text_table(
        ["metric", "a.idx", "b.idx"], [["mAP", "0.812 [0.790, 0.834]"] * 1 + ["0.9"]], width=30
    )
    first, second = table.split("\n\n")
    assert first.splitlines()[0].split() == ["metric", "a.idx"]
    assert second.splitlines()[0].split() == ["metric", "b.idx"]
    assert "0.812 [0.790, 0.834]" in first


def test_long_names_of_columns_keep_the_end_that_tells_them_apart():
    names = ["metric", "photos.idx, expand 5", "photos.idx, expand 5, augment 5"]
    table = text_table(names, [["mAP", "0.812 [0.790, 0.834]", "0.9"]], width=50)
    assert table.splitlines()[0].endswith("augment 5")


def test_hits_with_many_fields_show_all_of_them_in_a_narrow_terminal():
    fields = {f"field{number}": f"value {number}" for number in range(9)}
    table = Hits([Hit("a", 0.93, "/photos/a.jpg", fields)]).to_table(width=40)
    assert max(map(display_width, table.splitlines())) <= 40
    assert re.findall(r"field\d", table) == list(fields)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(
    rows=st.lists(st.lists(TEXT, min_size=3, max_size=3), max_size=4),
    header=st.lists(TEXT, min_size=3, max_size=3),
    width=st.integers(1, 90),
)
def test_any_text_fits(rows, header, width):
    table = text_table(header, rows, width=width)
    assert all(display_width(line) <= width for line in table.split("\n"))
    text_table(header, rows)
