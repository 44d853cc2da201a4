"""Tables: rows of text in aligned columns, fitted to a terminal where there is one."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, TypeAlias

from imagesearch._printable import printable

__all__ = ["display_width", "one_line", "text_table"]

_GAP = 2
# What a column keeps before it goes to a block of its own; a file name needs more than a word.
_LEAST_TEXT = 8
_LEAST_PATH = 16
_ELLIPSIS = "…"
_BREAK = re.compile("[\t-\r\x85\u2028\u2029]")

_Kind: TypeAlias = Literal["number", "path", "text"]
_Row: TypeAlias = Sequence[str]


def text_table(header: _Row, rows: Sequence[_Row], *, width: int | None = None) -> str:
    """Lay out rows in aligned columns; East Asian characters count as two columns.

    In a terminal long texts are shortened: paths in front of the file name, words at the end,
    anything else in the middle. Numbers never are. Columns that still find no room follow in a
    block below, which begins with the first column again. No line is wider than the terminal.

    Args:
        header: Column names.
        rows: Cells; as many in each row as there are names.
        width: Columns of the terminal; None: no limit.

    Example:
        >>> print(text_table(["id", "n"], [["a", "1"], ["bcd", "2"]]))
        id   n
        a    1
        bcd  2
        >>> print(text_table(["uri", "n"], [["/photos/2024/beach.jpg", "1"]], width=20))
        uri                n
        /phot…4/beach.jpg  1
    """
    names = [one_line(name) for name in header]
    cells = [[one_line(cell) for cell in row] for row in rows]
    columns = [_Column(name, [row[at] for row in cells]) for at, name in enumerate(names)]
    if width is None or _total(column.natural for column in columns) <= width:
        return _block(columns, [column.natural for column in columns])
    return "\n\n".join(
        _block(block, _shrunk(block, width), width) for block in _blocks(columns, width)
    )


def one_line(text: str) -> str:
    r"""Return text on one line, without control characters, which a terminal would obey.

    Example:
        >>> print(one_line("two\nlines \x1b[2J"))
        two lines \x1b[2J
    """
    return printable(_BREAK.sub(" ", text))


def display_width(text: str) -> int:
    """Return how many columns of a terminal a text takes.

    East Asian wide characters take two (Unicode Standard Annex 11), combining marks none.

    Example:
        >>> display_width("fish"), display_width("金鱼")
        (4, 4)
    """
    return sum(map(_mark_width, text))


def _mark_width(mark: str) -> int:
    if mark.isascii():
        return 1
    if unicodedata.category(mark) in {"Mn", "Me"}:
        return 0
    return 2 if unicodedata.east_asian_width(mark) in "WF" else 1


class _Column:
    def __init__(self, name: str, cells: _Row) -> None:
        self.name = name
        self.cells = cells
        filled = [cell for cell in cells if cell]

        def mostly(test: Callable[[str], bool]) -> bool:
            return 2 * sum(map(test, filled)) > len(filled)

        self.kind: _Kind = "text"
        if mostly(lambda cell: not any(map(str.isalpha, cell))):
            self.kind = "number"
        elif mostly(lambda cell: "/" in cell or "\\" in cell):
            self.kind = "path"
        widest = max(map(display_width, cells), default=0)
        self.natural = max(display_width(name), widest)
        if self.kind == "number":
            self.least = max(widest, min(self.natural, _LEAST_TEXT))
        else:
            self.least = min(self.natural, _LEAST_PATH if self.kind == "path" else _LEAST_TEXT)

    def wish(self, width: int) -> float:
        """How readily it gives way at this width; a path tells more by its second half."""
        return width / 2 if self.kind == "path" else width

    def fitted(self, cell: str, width: int) -> str:
        if self.kind == "path":
            return _shortened(cell, width, (width - 1) // 3)
        return _shortened(cell, width, width - 1 if " " in cell else width // 2)


def _shortened(cell: str, width: int, head: int) -> str:
    """Leave out what is behind the first `head` columns, as far as need be."""
    if display_width(cell) <= width:
        return cell
    front = _front(cell, head)
    back = _front(cell[::-1], width - 1 - display_width(front))[::-1]
    return f"{front}{_ELLIPSIS}{back}" if head < width - 1 else f"{front.rstrip()}{_ELLIPSIS}"


def _blocks(columns: Sequence[_Column], width: int) -> list[list[_Column]]:
    """Gather columns into blocks that can be shrunk to the width, each with the first column."""
    first, *others = columns
    blocks = [[first]]
    for column in others:
        together = [*blocks[-1], column]
        if len(blocks[-1]) > 1 and _total(each.least for each in together) > width:
            blocks.append([first, column])
        else:
            blocks[-1] = together
    return blocks


def _shrunk(columns: Sequence[_Column], width: int) -> list[int]:
    widths = [column.natural for column in columns]
    while _total(widths) > width:
        yielding = [at for at, column in enumerate(columns) if widths[at] > column.least]
        if not yielding:
            break
        widths[max(yielding, key=lambda at: columns[at].wish(widths[at]))] -= 1
    return widths


def _block(columns: Sequence[_Column], widths: Sequence[int], width: int | None = None) -> str:
    # Names that were made from each other differ at their end.
    headings = [
        _shortened(column.name, room, room // 2)
        for column, room in zip(columns, widths, strict=True)
    ]
    rows = [headings]
    rows += (
        [column.fitted(cell, room) for cell, column, room in zip(row, columns, widths, strict=True)]
        for row in zip(*(column.cells for column in columns), strict=True)
    )
    lines = []
    for row in rows:
        padded = map(_padded, row, widths)
        line = (" " * _GAP).join(padded).rstrip()
        lines.append(line if width is None else _front(line, width))
    return "\n".join(lines)


def _total(widths: Iterable[int]) -> int:
    taken = list(widths)
    return sum(taken) + _GAP * (len(taken) - 1)


def _front(text: str, width: int) -> str:
    """Return as much of the beginning as fits."""
    room = width
    for at, mark in enumerate(text):
        room -= _mark_width(mark)
        if room < 0:
            return text[:at]
    return text


def _padded(text: str, width: int) -> str:
    return text + " " * (width - display_width(text))
