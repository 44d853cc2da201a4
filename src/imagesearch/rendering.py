"""Rendering: captioned thumbnails as a contact sheet or an HTML page, and rows as a table."""

from __future__ import annotations

import base64
import functools
import html
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from imagesearch.tables import one_line, text_table

__all__ = [
    "Tile",
    "contact_sheet",
    "html_document",
    "html_page",
    "html_table",
    "html_text",
    "notebook_html",
    "one_line",
    "text_table",
]

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
