"""Render results as tables, HTML and contact sheets."""

from __future__ import annotations

import base64
import functools
import html
import io
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from PIL import Image, ImageDraw, ImageFont

from imagesearch._printable import printable

__all__ = [
    "Tile",
    "contact_sheet",
    "display_width",
    "html_document",
    "html_page",
    "html_table",
    "html_text",
    "notebook_html",
    "one_line",
    "text_table",
]


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


_THUMBNAIL = 200
_MARGIN = 12
_LINE = 18
_FONT_SIZE = 13
_LATIN = 0x24F
_WIDE_FONTS = (
    "NotoSansCJK-Regular.ttc",
    "wqy-zenhei.ttc",
    "wqy-microhei.ttc",
    "DroidSansFallbackFull.ttf",
    "PingFang.ttc",
    "Hiragino Sans GB.ttc",
    "STHeiti Light.ttc",
    "msyh.ttc",
    "simsun.ttc",
    "DejaVuSans.ttf",
)
_INK = "#1f2328"
_FAINT = "#656d76"
_PAPER = "#ffffff"
_ACCENT = "#0969da"
_EMPTY = "#eaeef2"


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """One captioned picture.

    Attributes:
        image: The picture, or None if it cannot be shown.
        heading: A short first line, such as the score.
        name: The second line, such as the file name.
        details: A third line.
        is_query: Drawn with an accent, to tell it from the answers.
    """

    image: Image.Image | None
    heading: str
    name: str = ""
    details: str = ""
    is_query: bool = False


def contact_sheet(tiles: Iterable[Tile], *, columns: int = 5, title: str = "") -> Image.Image:
    """Draw tiles into one picture, `columns` in a row.

    Args:
        tiles: What to draw, in reading order.
        columns: Tiles in a row, ≥ 1.
        title: A line above.

    Raises:
        ValueError: `columns` is less than 1.
    """
    if columns < 1:
        raise ValueError(f"columns={columns}; a row needs at least one")
    drawn = list(tiles)
    rows = max(1, -(-len(drawn) // columns))
    across = max(1, min(columns, len(drawn)))
    cell_width, cell_height = _THUMBNAIL + _MARGIN, _THUMBNAIL + 3 * _LINE + 2 * _MARGIN
    top = _MARGIN + (_LINE + _MARGIN if title else 0)
    sheet = Image.new("RGB", (_MARGIN + across * cell_width, top + rows * cell_height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    if title:
        _write(draw, (_MARGIN, _MARGIN), title, sheet.width - 2 * _MARGIN, _INK)
    for place, tile in enumerate(drawn):
        left = _MARGIN + (place % columns) * cell_width
        _draw_tile(sheet, draw, tile, (left, top + (place // columns) * cell_height))
    return sheet


def html_page(tiles: Iterable[Tile], *, title: str = "") -> str:
    """Return one complete HTML page with the tiles; pictures are inside, nothing is loaded."""
    return html_document(title or "imagesearch", notebook_html(tiles))


def html_document(title: str, body: str) -> str:
    """Return one complete HTML page around an HTML fragment.

    Args:
        title: Plain text.
        body: HTML, taken as it is.
    """
    heading = html_text(title)
    return (
        "<!doctype html>\n"
        f'<html lang="en"><head><meta charset="utf-8"><title>{heading}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<style>body{font:15px/1.4 system-ui,sans-serif;margin:2rem;"
        f"color:{_INK};background:{_PAPER}}}h1{{font-size:1.2rem}}h2{{font-size:1.1rem}}"
        "h3{font-size:1rem}</style></head>\n"
        f"<body><h1>{heading}</h1>\n{body}\n"
        "</body></html>\n"
    )


def html_text(text: str, *, quote: bool = True) -> str:
    r"""Return text for an HTML page: markup and control characters are escaped.

    Args:
        text: Plain text.
        quote: Whether quotation marks are escaped, as inside of an attribute.

    Example:
        >>> print(html_text("<b>\x1b\u202e"))
        &lt;b&gt;\x1b\u202e
    """
    return html.escape(one_line(text), quote=quote)


def html_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows of plain text as an HTML table.

    Example:
        >>> html_table(["a"], [["<1>"]]).count("&lt;1&gt;")
        1
    """
    style = f"text-align:left;padding:2px 16px 2px 0;border-bottom:1px solid {_EMPTY}"
    lines = [
        "<tr>"
        + "".join(f'<{tag} style="{style}">{html_text(cell)}</{tag}>' for cell in row)
        + "</tr>"
        for tag, row in [("th", header), *(("td", row) for row in rows)]
    ]
    return f'<table style="border-collapse:collapse">{"".join(lines)}</table>'


def notebook_html(tiles: Iterable[Tile]) -> str:
    """Return the tiles as an HTML fragment with inline pictures and styles."""
    return (
        '<div style="display:flex;flex-wrap:wrap;gap:12px">'
        + "".join(_html_tile(tile) for tile in tiles)
        + "</div>"
    )


def _html_tile(tile: Tile) -> str:
    border = f"2px solid {_ACCENT}" if tile.is_query else "2px solid transparent"
    box = (
        f"width:{_THUMBNAIL}px;height:{_THUMBNAIL}px;display:flex;align-items:center;"
        f"justify-content:center;background:{_EMPTY};color:{_FAINT}"
    )
    picture = "no picture"
    if tile.image is not None:
        buffer = io.BytesIO()
        _thumbnail(tile.image).save(buffer, "JPEG", quality=85)
        data = base64.b64encode(buffer.getvalue()).decode()
        picture = f'<img alt="{html_text(tile.name)}" src="data:image/jpeg;base64,{data}">'
    clip = "overflow:hidden;text-overflow:ellipsis;white-space:nowrap"
    return (
        f'<figure style="margin:0;width:{_THUMBNAIL + 4}px;border:{border}">'
        f'<div style="{box}">{picture}</div>'
        f'<figcaption style="{clip};padding:4px"><b>{html_text(tile.heading)}</b><br>'
        f'<span title="{html_text(tile.name)}">{html_text(tile.name)}</span><br>'
        f'<small style="color:{_FAINT}" title="{html_text(tile.details)}">'
        f"{html_text(tile.details)}&nbsp;</small></figcaption></figure>"
    )


def _draw_tile(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    tile: Tile,
    corner: tuple[int, int],
) -> None:
    left, top = corner
    box = (left, top, left + _THUMBNAIL - 1, top + _THUMBNAIL - 1)
    draw.rectangle(box, fill=_EMPTY)
    if tile.image is None:
        _write(draw, (left + 8, top + 8), "no picture", _THUMBNAIL - 16, _FAINT)
    else:
        thumbnail = _thumbnail(tile.image)
        offset = ((_THUMBNAIL - thumbnail.width) // 2, (_THUMBNAIL - thumbnail.height) // 2)
        sheet.paste(thumbnail, (left + offset[0], top + offset[1]))
    if tile.is_query:
        draw.rectangle((box[0] - 3, box[1] - 3, box[2] + 3, box[3] + 3), outline=_ACCENT, width=3)
    below = top + _THUMBNAIL + 4
    for line, ink in ((tile.heading, _INK), (tile.name, _INK), (tile.details, _FAINT)):
        _write(draw, (left, below), line, _THUMBNAIL, ink)
        below += _LINE


def _thumbnail(image: Image.Image) -> Image.Image:
    small = image.convert("RGB")
    small.thumbnail((_THUMBNAIL, _THUMBNAIL))
    return small


def _write(
    draw: ImageDraw.ImageDraw, corner: tuple[int, int], text: str, room: int, ink: str
) -> None:
    """Draw one line, shortened to `room` pixels."""
    line = one_line(text)
    font = _font(wide=not line.isascii() and any(ord(mark) > _LATIN for mark in line))
    if font.getlength(line) > room:
        while len(line) > 1 and font.getlength(line + "…") > room:
            line = line[:-1]
        line += "…"
    draw.text(corner, line, ink, font)


@functools.cache
def _font(*, wide: bool) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """Return Pillow's own font, or a system font for scripts that it lacks, such as Chinese."""
    for name in _WIDE_FONTS if wide else ():
        try:
            return ImageFont.truetype(name, _FONT_SIZE)
        except OSError:
            continue
    return ImageFont.load_default(_FONT_SIZE)
