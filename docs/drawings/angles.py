"""The score as an angle: vectors of unit length are directions."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scenes import query, scenes
from svg import BLUE, LINE, MUTED, ORANGE, Point, Sheet

__all__ = ["draw_angles"]

_THUMB = (52, 39)
_CENTRE, _RADIUS = (30, 330), 268
# Degrees between two pictures that are shown.
_APART = 9


def draw_angles() -> Sheet:
    """Draw some pictures at their true angle from the query."""
    gallery, (photo, asked) = scenes(6), query()
    scores = gallery.vectors @ asked
    shown = _spread(scores)
    sheet = Sheet(
        480,
        394,
        title="The score is the cosine of an angle",
        description="; ".join(
            f"{gallery.kinds[number]}: {_degrees(scores[number]):.0f} degrees from the query, "
            f"score {scores[number]:.2f}"
            for number in shown
        ),
    )
    sheet.text((16, 28), "score = cosine of the angle to the query", bold=True)
    sheet.line([_at(degrees, 110) for degrees in range(0, 91, 3)], LINE, dash="3 5")
    sheet.line([_CENTRE, _at(0, _RADIUS)], ORANGE, 3, arrow=True)
    place = _at(0, _RADIUS + 40)
    sheet.picture(place, _THUMB, photo, edge=ORANGE)
    sheet.text((place[0], place[1] + 40), "query", colour=ORANGE, anchor="middle", bold=True)
    for number in shown:
        degrees = _degrees(scores[number])
        sheet.line([_CENTRE, _at(degrees, _RADIUS)], BLUE, 2, arrow=True)
        place = _at(degrees, _RADIUS + 38)
        sheet.picture(place, _THUMB, gallery.pictures[number])
        sheet.text((place[0] + 32, place[1] + 5), f"{scores[number]:.2f}", bold=True)
        sheet.text((place[0] + 72, place[1] + 5), f"{degrees:.0f}°", size=14, colour=MUTED)
    sheet.dot(_CENTRE, 4)
    return sheet


def _spread(scores: NDArray[np.float32]) -> list[int]:
    """Choose pictures from the nearest to the farthest that leave room between each other."""
    shown: list[int] = []
    for number in np.argsort(-scores):
        if not shown or _degrees(scores[number]) > _degrees(scores[shown[-1]]) + _APART:
            shown.append(int(number))
    return shown


def _degrees(score: np.float32) -> float:
    return math.degrees(math.acos(min(1.0, float(score))))


def _at(degrees: float, distance: float) -> Point:
    angle = math.radians(degrees)
    return _CENTRE[0] + distance * math.cos(angle), _CENTRE[1] - distance * math.sin(angle)
