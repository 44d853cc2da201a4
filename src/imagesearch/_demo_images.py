"""Images for demonstrations: scenes of a few kinds, with random colours and positions."""

from __future__ import annotations

import colorsys
import math
import random
from collections.abc import Callable, Iterator

from PIL import Image, ImageDraw

__all__ = ["draw_scene", "draw_scenes", "kinds"]


_SIZE = (320, 240)
# Drawn large and scaled down, for smooth edges.
_SCALE = 2

_Colour = tuple[int, int, int]
_Point = tuple[float, float]


class _Canvas:
    """A drawing area in units of its own height: x from 0 to 4/3, y from 0 (top) to 1."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self._image = Image.new("RGB", (_SIZE[0] * _SCALE, _SIZE[1] * _SCALE))
        self._draw = ImageDraw.Draw(self._image)
        self._unit = _SIZE[1] * _SCALE

    def fade(self, top: _Colour, bottom: _Colour, start: float = 0.0, end: float = 1.0) -> None:
        first, last = int(start * self._unit), int(end * self._unit)
        for y in range(first, last):
            share = (y - first) / max(1, last - first)
            mixed = tuple(round(a + (b - a) * share) for a, b in zip(top, bottom, strict=True))
            self._draw.line([(0, y), (self._image.width, y)], fill=mixed)

    def polygon(self, points: list[_Point], colour: _Colour) -> None:
        self._draw.polygon([(x * self._unit, y * self._unit) for x, y in points], fill=colour)

    def ellipse(self, x: float, y: float, width: float, height: float, colour: _Colour) -> None:
        left, top = (x - width / 2) * self._unit, (y - height / 2) * self._unit
        box = (left, top, left + width * self._unit, top + height * self._unit)
        self._draw.ellipse(box, fill=colour)

    def box(self, x: float, y: float, width: float, height: float, colour: _Colour) -> None:
        self.polygon([(x, y), (x + width, y), (x + width, y + height), (x, y + height)], colour)

    def line(self, start: _Point, end: _Point, width: float, colour: _Colour) -> None:
        ends = [(x * self._unit, y * self._unit) for x, y in (start, end)]
        self._draw.line(ends, fill=colour, width=max(1, round(width * self._unit)))

    def finish(self) -> Image.Image:
        return self._image.resize(_SIZE, Image.Resampling.LANCZOS)

    def colour(self, hue: float, spread: float, saturation: float, value: float) -> _Colour:
        shifted = (hue + self.dice.uniform(-spread, spread)) % 1.0
        red, green, blue = colorsys.hsv_to_rgb(shifted, saturation, value)
        return round(red * 255), round(green * 255), round(blue * 255)

    def between(self, low: float, high: float) -> float:
        return self.dice.uniform(low, high)


def _fish(canvas: _Canvas) -> None:
    canvas.fade(canvas.colour(0.5, 0.03, 0.5, 0.85), canvas.colour(0.58, 0.03, 0.9, 0.45))
    for _ in range(14):
        size = canvas.between(0.01, 0.04)
        x, y = canvas.between(0, 1.33), canvas.between(0, 0.9)
        canvas.ellipse(x, y, size, size, canvas.colour(0.5, 0.02, 0.25, 0.95))
    x, y, length = canvas.between(0.5, 0.85), canvas.between(0.35, 0.65), canvas.between(0.45, 0.7)
    body = canvas.colour(0.06, 0.04, 0.95, 0.98)
    side = canvas.dice.choice((-1, 1))
    tail = x - side * length * 0.42
    canvas.polygon(
        [
            (tail, y),
            (tail - side * length * 0.25, y - length * 0.24),
            (tail - side * length * 0.25, y + length * 0.24),
        ],
        canvas.colour(0.03, 0.02, 0.95, 0.85),
    )
    canvas.ellipse(x, y, length, length * 0.52, body)
    eye = x + side * length * 0.3
    canvas.ellipse(eye, y - length * 0.06, 0.07, 0.07, (255, 255, 255))
    canvas.ellipse(eye + side * 0.01, y - length * 0.06, 0.035, 0.035, (20, 20, 30))


def _boat(canvas: _Canvas) -> None:
    horizon = canvas.between(0.5, 0.62)
    canvas.fade(canvas.colour(0.57, 0.03, 0.45, 0.95), canvas.colour(0.1, 0.03, 0.2, 0.98), 0, 0.65)
    canvas.fade(
        canvas.colour(0.56, 0.02, 0.6, 0.7), canvas.colour(0.6, 0.02, 0.9, 0.35), horizon, 1
    )
    x, size = canvas.between(0.45, 0.85), canvas.between(0.9, 1.2)
    deck = horizon + 0.12
    sail = canvas.colour(canvas.between(0, 1), 0, 0.15, 0.98)
    canvas.line((x, deck), (x, deck - 0.5 * size), 0.015, (80, 60, 40))
    canvas.polygon(
        [(x + 0.02, deck - 0.48 * size), (x + 0.02, deck - 0.05), (x + 0.3 * size, deck - 0.05)],
        sail,
    )
    canvas.polygon(
        [(x - 0.02, deck - 0.4 * size), (x - 0.02, deck - 0.05), (x - 0.2 * size, deck - 0.05)],
        sail,
    )
    hull = canvas.colour(0.0, 0.06, 0.8, 0.6)
    canvas.polygon(
        [
            (x - 0.26 * size, deck),
            (x + 0.32 * size, deck),
            (x + 0.22 * size, deck + 0.12),
            (x - 0.18 * size, deck + 0.12),
        ],
        hull,
    )


def _house(canvas: _Canvas) -> None:
    canvas.fade(canvas.colour(0.56, 0.03, 0.4, 0.95), canvas.colour(0.55, 0.02, 0.1, 1.0), 0, 0.75)
    canvas.fade(canvas.colour(0.28, 0.03, 0.6, 0.6), canvas.colour(0.3, 0.03, 0.7, 0.4), 0.7, 1)
    width, height = canvas.between(0.5, 0.65), canvas.between(0.3, 0.4)
    x, y = canvas.between(0.25, 0.5), 0.82 - height
    wall = canvas.colour(0.1, 0.05, 0.25, 0.95)
    canvas.box(x, y, width, height, wall)
    roof = canvas.colour(0.02, 0.03, 0.75, 0.65)
    canvas.polygon([(x - 0.06, y), (x + width / 2, y - 0.24), (x + width + 0.06, y)], roof)
    canvas.box(x + width * 0.42, y + height * 0.45, width * 0.18, height * 0.55, (96, 60, 40))
    for share in (0.12, 0.7):
        canvas.box(x + width * share, y + height * 0.25, width * 0.18, height * 0.3, (90, 140, 190))


def _trees(canvas: _Canvas) -> None:
    canvas.fade(canvas.colour(0.5, 0.05, 0.2, 0.95), canvas.colour(0.3, 0.03, 0.4, 0.75))
    canvas.box(0, 0.82, 1.34, 0.2, canvas.colour(0.27, 0.03, 0.7, 0.38))
    for _ in range(canvas.dice.randint(4, 6)):
        x, foot, size = (
            canvas.between(0.05, 1.28),
            canvas.between(0.82, 0.95),
            canvas.between(0.5, 0.7),
        )
        canvas.box(x - 0.02, foot - 0.12, 0.04, 0.14, (92, 64, 40))
        green = canvas.colour(0.37, 0.05, 0.75, canvas.between(0.3, 0.5))
        for step in range(3):
            top, half = foot - size + step * size * 0.22, size * (0.14 + 0.06 * step)
            canvas.polygon(
                [(x, top), (x - half, top + size * 0.38), (x + half, top + size * 0.38)], green
            )


def _flower(canvas: _Canvas) -> None:
    canvas.fade(canvas.colour(0.3, 0.06, 0.35, 0.85), canvas.colour(0.33, 0.05, 0.7, 0.45))
    x, y, size = canvas.between(0.5, 0.85), canvas.between(0.38, 0.5), canvas.between(0.17, 0.23)
    canvas.line((x, y), (x + canvas.between(-0.08, 0.08), 1.02), 0.03, (40, 110, 50))
    petal = canvas.colour(0.92, 0.07, 0.6, 0.95)
    count = canvas.dice.randint(6, 9)
    turn = canvas.between(0, 1)
    for index in range(count):
        angle = (index / count + turn) * 2 * math.pi
        canvas.ellipse(
            x + size * math.cos(angle), y + size * math.sin(angle), size * 1.05, size * 1.05, petal
        )
    canvas.ellipse(x, y, size, size, canvas.colour(0.14, 0.02, 0.85, 0.98))


def _balloon(canvas: _Canvas) -> None:
    canvas.fade(canvas.colour(0.58, 0.02, 0.65, 0.9), canvas.colour(0.55, 0.02, 0.15, 1.0))
    for _ in range(3):
        x, y = canvas.between(0.1, 1.2), canvas.between(0.1, 0.9)
        for offset in (-0.08, 0, 0.08):
            canvas.ellipse(x + offset, y + abs(offset) * 0.3, 0.16, 0.1, (255, 255, 255))
    x, y, size = canvas.between(0.45, 0.9), canvas.between(0.35, 0.45), canvas.between(0.42, 0.56)
    main, second = canvas.colour(0.0, 0.06, 0.85, 0.9), canvas.colour(0.14, 0.02, 0.8, 0.98)
    basket = y + size * 0.8
    for side in (-1, 1):
        canvas.line(
            (x + side * size * 0.3, y + size * 0.3), (x + side * 0.04, basket), 0.006, (70, 50, 40)
        )
    for share, colour in ((1.0, main), (0.6, second), (0.24, main)):
        canvas.ellipse(x, y, size * share, size * 1.1, colour)
    canvas.box(x - 0.05, basket, 0.1, 0.08, (120, 80, 45))


def _mountains(canvas: _Canvas) -> None:
    canvas.fade(canvas.colour(0.08, 0.04, 0.45, 0.98), canvas.colour(0.02, 0.05, 0.3, 0.9))
    canvas.ellipse(canvas.between(0.2, 1.1), canvas.between(0.15, 0.3), 0.16, 0.16, (255, 236, 170))
    for layer in range(3):
        base = canvas.colour(0.65, 0.04, 0.25 + 0.15 * layer, 0.6 - 0.15 * layer)
        for _ in range(3):
            x, peak = canvas.between(0, 1.33), canvas.between(0.25, 0.4) + 0.16 * layer
            half = canvas.between(0.35, 0.55)
            canvas.polygon([(x - half, 1.0), (x, peak), (x + half, 1.0)], base)
            if layer == 0:
                snow = 0.2 * (1 - peak)
                canvas.polygon(
                    [
                        (x, peak),
                        (x - half * 0.2, peak + snow),
                        (x, peak + snow * 0.7),
                        (x + half * 0.2, peak + snow),
                    ],
                    (245, 245, 250),
                )
    canvas.box(0, 0.93, 1.34, 0.1, canvas.colour(0.65, 0.02, 0.6, 0.2))


def _city(canvas: _Canvas) -> None:
    canvas.fade(canvas.colour(0.68, 0.03, 0.8, 0.2), canvas.colour(0.78, 0.04, 0.5, 0.4))
    canvas.ellipse(canvas.between(0.2, 1.1), 0.16, 0.12, 0.12, (240, 240, 220))
    x = -0.02
    while x < 1.33:
        width, height = canvas.between(0.13, 0.22), canvas.between(0.3, 0.72)
        wall = canvas.colour(0.66, 0.04, 0.4, canvas.between(0.12, 0.25))
        canvas.box(x, 1 - height, width, height, wall)
        for row in range(int(height / 0.08)):
            for column in range(int(width / 0.05)):
                if canvas.dice.random() < 0.55:
                    left, top = x + 0.015 + column * 0.05, 1 - height + 0.025 + row * 0.08
                    canvas.box(left, top, 0.025, 0.035, canvas.colour(0.13, 0.02, 0.55, 0.98))
        x += width + 0.01


_SCENES: dict[str, Callable[[_Canvas], None]] = {
    "fish": _fish,
    "boat": _boat,
    "house": _house,
    "trees": _trees,
    "flower": _flower,
    "balloon": _balloon,
    "mountains": _mountains,
    "city": _city,
}


def kinds() -> list[str]:
    """Return the kinds of scenes that can be drawn.

    Example:
        >>> kinds()[0]
        'fish'
    """
    return list(_SCENES)


def draw_scene(kind: str, seed: int) -> Image.Image:
    """Draw one scene of 320 × 240 pixels; the same seed gives the same image.

    Example:
        >>> draw_scene("fish", 1).size
        (320, 240)
    """
    canvas = _Canvas(random.Random(f"{kind} {seed}"))  # noqa: S311  # not for secrets
    _SCENES[kind](canvas)
    return canvas.finish()


def draw_scenes(count: int) -> Iterator[tuple[str, int, Image.Image]]:
    """Draw `count` scenes of every kind, as (kind, number from 1, image).

    Example:
        >>> len(list(draw_scenes(1))) == len(kinds())
        True
    """
    for kind in _SCENES:
        for number in range(1, count + 1):
            yield kind, number, draw_scene(kind, number)
