"""Svg: a sheet of paper that shapes, words and pictures are put on, written as one SVG file."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from PIL import Image

__all__ = ["BLUE", "GREEN", "INK", "LINE", "MUTED", "ORANGE", "PAPER", "RED", "Sheet"]

# An opaque sheet is readable on a light and on a dark page alike; on it all of these have a
# contrast of at least 4.5, but for lines, which carry no meaning by themselves.
PAPER = "#fbfaf6"
INK = "#22252b"
MUTED = "#62666d"
LINE = "#c9c6bd"
BLUE = "#1f5fa8"
ORANGE = "#b9480f"
GREEN = "#20703f"
RED = "#a31621"

_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'DejaVu Sans', sans-serif"

# Points of the path of a text, shape or picture: (x, y) in pixels from the upper left corner.
Point = tuple[float, float]


class Sheet:
    """A sheet of `width` × `height` pixels; 480 wide, text of 15 stays readable on a phone.

    Args:
        width: In pixels.
        height: In pixels.
        title: What it shows, in a few words.
        description: The same for those who cannot see it.
    """

    def __init__(self, width: int, height: int, *, title: str, description: str) -> None:
        self.width, self.height = width, height
        self._shapes: list[str] = [
            f"<title>{escape(title)}</title>",
            f"<desc>{escape(description)}</desc>",
            f'<rect width="{width}" height="{height}" rx="10" fill="{PAPER}"/>',
        ]

    def line(
        self,
        points: Iterable[Point],
        colour: str = LINE,
        width: float = 1.5,
        *,
        dash: str | None = None,
        arrow: bool = False,
        fill: str = "none",
        opacity: float = 1.0,
    ) -> None:
        """Draw a line through points, with an arrow head at its end if wanted."""
        line = list(points)
        if arrow:
            line = [*line[:-1], _towards(line[-1], line[-2], 2 * width)]
        self._shape(
            "polyline",
            points=" ".join(f"{_number(x)},{_number(y)}" for x, y in line),
            fill=fill,
            stroke=colour,
            stroke_width=width,
            stroke_linejoin="round",
            stroke_linecap="round",
            **({"stroke_dasharray": dash} if dash else {}),
            **({"opacity": opacity} if opacity < 1 else {}),
        )
        if arrow:
            self._head(line[-1], line[-2], colour, width)

    def dot(self, at: Point, radius: float, fill: str = INK, *, edge: str | None = None) -> None:
        """Draw a disc."""
        self._shape(
            "circle",
            cx=at[0],
            cy=at[1],
            r=radius,
            fill=fill,
            **({"stroke": edge, "stroke_width": 2} if edge else {}),
        )

    def box(
        self,
        at: Point,
        size: Point,
        fill: str = "none",
        *,
        edge: str | None = None,
        round: float = 0,
        opacity: float = 1.0,
    ) -> None:
        """Draw a rectangle from its upper left corner."""
        self._shape(
            "rect",
            x=at[0],
            y=at[1],
            width=size[0],
            height=size[1],
            fill=fill,
            **({"rx": round} if round else {}),
            **({"stroke": edge, "stroke_width": 1.5} if edge else {}),
            **({"opacity": opacity} if opacity < 1 else {}),
        )

    def text(
        self,
        at: Point,
        words: str,
        *,
        colour: str = INK,
        size: float = 15,
        anchor: str = "start",
        bold: bool = False,
        mono: bool = False,
    ) -> None:
        """Write a line of words; `at` is the left, middle or right end of its base line."""
        font = " font-family=\"ui-monospace, 'DejaVu Sans Mono', monospace\"" if mono else ""
        weight = ' font-weight="600"' if bold else ""
        self._shapes.append(
            f'<text x="{_number(at[0])}" y="{_number(at[1])}" fill="{colour}" '
            f'font-size="{_number(size)}" text-anchor="{anchor}"{weight}{font}>'
            f"{escape(words)}</text>"
        )

    def picture(self, at: Point, size: Point, image: Image.Image, *, edge: str = PAPER) -> None:
        """Put a picture with its middle at a point."""
        left, top = at[0] - size[0] / 2, at[1] - size[1] / 2
        # Twice the size, for dense screens.
        small = image.resize((round(size[0] * 2), round(size[1] * 2)), Image.Resampling.LANCZOS)
        file = io.BytesIO()
        small.save(file, "JPEG", quality=80)
        data = base64.b64encode(file.getvalue()).decode()
        self._shape(
            "image",
            x=left,
            y=top,
            width=size[0],
            height=size[1],
            href=f"data:image/jpeg;base64,{data}",
        )
        self.box((left, top), size, edge=edge)

    def save(self, path: Path) -> None:
        """Write the file."""
        body = "\n".join(self._shapes)
        path.write_text(
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
            f'width="{self.width}" height="{self.height}" role="img" font-family={quoteattr(_FONT)}>\n'
            f"{body}\n</svg>\n",
            encoding="utf-8",
        )

    def _shape(self, kind: str, **attributes: object) -> None:
        written = " ".join(
            f'{name.replace("_", "-")}="{_number(value) if isinstance(value, int | float) else value}"'
            for name, value in attributes.items()
        )
        self._shapes.append(f"<{kind} {written}/>")

    def _head(self, tip: Point, tail: Point, colour: str, width: float) -> None:
        length = ((tip[0] - tail[0]) ** 2 + (tip[1] - tail[1]) ** 2) ** 0.5
        along = ((tip[0] - tail[0]) / length, (tip[1] - tail[1]) / length)
        across, size = (-along[1], along[0]), 2.2 * width
        ahead = (tip[0] + along[0] * 2 * width, tip[1] + along[1] * 2 * width)
        back = (tip[0] - along[0] * size, tip[1] - along[1] * size)
        corners = [
            ahead,
            (back[0] + across[0] * size, back[1] + across[1] * size),
            (back[0] - across[0] * size, back[1] - across[1] * size),
        ]
        points = " ".join(f"{_number(x)},{_number(y)}" for x, y in corners)
        self._shape("polygon", points=points, fill=colour)


def _towards(point: Point, other: Point, distance: float) -> Point:
    length = ((point[0] - other[0]) ** 2 + (point[1] - other[1]) ** 2) ** 0.5
    share = min(1.0, distance / length) if length else 0.0
    return (
        point[0] + (other[0] - point[0]) * share,
        point[1] + (other[1] - point[1]) * share,
    )


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
