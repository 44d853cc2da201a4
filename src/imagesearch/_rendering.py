"""Render results as text tables, contact sheets and HTML."""

from __future__ import annotations

import base64
import functools
import io
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from PIL import Image, ImageDraw, ImageFont

from imagesearch._printable import printable

if TYPE_CHECKING:
    import jinja2

__all__ = [
    "Tile",
    "contact_sheet",
    "data_uri",
    "display_width",
    "one_line",
    "render",
    "text_table",
    "thumbnail",
]


_GAP = 2
# Minimum widths of columns; if they do not fit, a new block begins.
_LEAST_TEXT = 8
_LEAST_PATH = 16
_ELLIPSIS = "…"
_BREAK = re.compile("[\t-\r\x85\u2028\u2029]")

_Kind: TypeAlias = Literal["number", "path", "text"]
_Row: TypeAlias = Sequence[str]


def text_table(header: _Row, rows: Sequence[_Row], *, width: int | None = None) -> str:
    """Lay out rows in aligned columns.

    If `width` is too small, long cells are shortened: paths before the file name, phrases at the
    end, others in the middle; numbers are kept. Columns that still do not fit follow in a block
    below, which repeats the first column. No line is wider than `width`.

    Args:
        header: Column names.
        rows: Rows of cells, one cell for each name.
        width: Maximum width in columns; None for no limit.

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
    r"""Return text on one line, with control characters escaped.

    Example:
        >>> print(one_line("two\nlines \x1b[2J"))
        two lines \x1b[2J
    """
    return printable(_BREAK.sub(" ", text))


def display_width(text: str) -> int:
    """Return the width of a text in terminal columns.

    East Asian wide characters have two columns (Unicode Standard Annex 11), combining marks none.

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

    def excess(self, width: int) -> float:
        """Return the priority for shrinking; the width of a path counts half."""
        return width / 2 if self.kind == "path" else width

    def fitted(self, cell: str, width: int) -> str:
        if self.kind == "path":
            return _shortened(cell, width, (width - 1) // 3)
        return _shortened(cell, width, width - 1 if " " in cell else width // 2)


def _shortened(cell: str, width: int, head: int) -> str:
    """Shorten a cell to `width`, with an ellipsis after about `head` columns."""
    if display_width(cell) <= width:
        return cell
    front = _front(cell, head)
    back = _front(cell[::-1], width - 1 - display_width(front))[::-1]
    return f"{front}{_ELLIPSIS}{back}" if head < width - 1 else f"{front.rstrip()}{_ELLIPSIS}"


def _blocks(columns: Sequence[_Column], width: int) -> list[list[_Column]]:
    """Split columns into blocks that can be shrunk to the width, each with the first column."""
    first, *others = columns
    blocks = [[first]]
    for column in others:
        together = [*blocks[-1], column]
        if len(blocks[-1]) > 1 and _total(member.least for member in together) > width:
            blocks.append([first, column])
        else:
            blocks[-1] = together
    return blocks


def _shrunk(columns: Sequence[_Column], width: int) -> list[int]:
    widths = [column.natural for column in columns]
    while _total(widths) > width:
        shrinkable = [at for at, column in enumerate(columns) if widths[at] > column.least]
        if not shrinkable:
            break
        widths[max(shrinkable, key=lambda at: columns[at].excess(widths[at]))] -= 1
    return widths


def _block(columns: Sequence[_Column], widths: Sequence[int], width: int | None = None) -> str:
    # Both ends are kept, because similar names often differ at the end.
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
    """Return the longest prefix of a text that fits."""
    room = width
    for at, mark in enumerate(text):
        room -= _mark_width(mark)
        if room < 0:
            return text[:at]
    return text


def _padded(text: str, width: int) -> str:
    return text + " " * (width - display_width(text))


_SIDE = 200
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


def thumbnail(image: Image.Image, side: int = _SIDE) -> Image.Image:
    """Return an RGB copy whose longer side is at most `side` pixels.

    Example:
        >>> thumbnail(Image.new("L", (400, 100)), 200).size
        (200, 50)
    """
    small = image.convert("RGB")
    small.thumbnail((side, side))
    return small


def data_uri(image: Image.Image, side: int = _SIDE) -> str:
    """Return a thumbnail as a JPEG in a ``data:`` URI.

    Example:
        >>> data_uri(Image.new("RGB", (9, 9)), 4)[:23]
        'data:image/jpeg;base64,'
    """
    buffer = io.BytesIO()
    thumbnail(image, side).save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """One image with its caption.

    Attributes:
        image: The image, or None if it cannot be shown.
        heading: A short first line, such as the score.
        name: The second line, such as the file name.
        details: The third line.
        is_query: Whether the tile has a coloured frame, to distinguish the query from the hits.
    """

    image: Image.Image | None
    heading: str
    name: str = ""
    details: str = ""
    is_query: bool = False


def contact_sheet(tiles: Iterable[Tile], *, columns: int = 5, title: str = "") -> Image.Image:
    """Draw tiles into one image.

    Args:
        tiles: The tiles, in reading order.
        columns: Tiles in a row, ≥ 1.
        title: A line above the tiles.

    Raises:
        ValueError: `columns` is less than 1.
    """
    if columns < 1:
        raise ValueError(f"columns must be at least 1, got {columns}")
    tiles = list(tiles)
    rows = max(1, -(-len(tiles) // columns))
    across = max(1, min(columns, len(tiles)))
    cell_width, cell_height = _SIDE + _MARGIN, _SIDE + 3 * _LINE + 2 * _MARGIN
    top = _MARGIN + (_LINE + _MARGIN if title else 0)
    sheet = Image.new("RGB", (_MARGIN + across * cell_width, top + rows * cell_height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    if title:
        _write(draw, (_MARGIN, _MARGIN), title, sheet.width - 2 * _MARGIN, _INK)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        _draw_tile(sheet, draw, tile, (_MARGIN + column * cell_width, top + row * cell_height))
    return sheet


def _draw_tile(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    tile: Tile,
    corner: tuple[int, int],
) -> None:
    left, top = corner
    box = (left, top, left + _SIDE - 1, top + _SIDE - 1)
    draw.rectangle(box, fill=_EMPTY)
    if tile.image is None:
        _write(draw, (left + 8, top + 8), "no image", _SIDE - 16, _FAINT)
    else:
        small = thumbnail(tile.image)
        offset = ((_SIDE - small.width) // 2, (_SIDE - small.height) // 2)
        sheet.paste(small, (left + offset[0], top + offset[1]))
    if tile.is_query:
        draw.rectangle((box[0] - 3, box[1] - 3, box[2] + 3, box[3] + 3), outline=_ACCENT, width=3)
    below = top + _SIDE + 4
    for line, ink in ((tile.heading, _INK), (tile.name, _INK), (tile.details, _FAINT)):
        _write(draw, (left, below), line, _SIDE, ink)
        below += _LINE


def _write(
    draw: ImageDraw.ImageDraw, corner: tuple[int, int], text: str, room: int, ink: str
) -> None:
    """Draw one line, shortened to `room` pixels."""
    line = one_line(text)
    font = _font(wide=not line.isascii() and any(ord(mark) > _LATIN for mark in line))
    if font.getlength(line) > room:
        while len(line) > 1 and font.getlength(line + _ELLIPSIS) > room:
            line = line[:-1]
        line += _ELLIPSIS
    draw.text(corner, line, ink, font)


@functools.cache
def _font(*, wide: bool) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """Return Pillow's own font, or a system font for scripts that it does not cover, as Chinese."""
    for name in _WIDE_FONTS if wide else ():
        try:
            return ImageFont.truetype(name, _FONT_SIZE)
        except OSError:
            continue
    return ImageFont.load_default(_FONT_SIZE)


def render(template: str, **values: Any) -> str:
    r"""Render an HTML template of the package, escaping markup and control characters in values.

    Args:
        template: The path of the template within the package.
        **values: The template's variables.

    Example:
        >>> page = render("templates/page.html", title="<b>\x1b", tiles=[])
        >>> r"<title>&lt;b&gt;\x1b</title>" in page
        True
    """
    return _environment().get_template(template).render(values)


@functools.cache
def _environment() -> jinja2.Environment:
    import jinja2

    def finalize(value: object) -> object:
        return value if hasattr(value, "__html__") else one_line(str(value))

    environment = jinja2.Environment(
        autoescape=True,
        finalize=finalize,
        loader=jinja2.PackageLoader("imagesearch", ""),
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["data_uri"] = data_uri
    environment.globals |= {
        "accent": _ACCENT,
        "empty": _EMPTY,
        "faint": _FAINT,
        "ink": _INK,
        "paper": _PAPER,
        "side": _SIDE,
    }
    return environment
