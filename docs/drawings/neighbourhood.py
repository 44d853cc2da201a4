"""A map of pictures: their vectors, laid flat, with a query and its nearest."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scenes import plane, query, scenes
from svg import INK, LINE, MUTED, ORANGE, Point, Sheet

__all__ = ["draw_neighbourhood"]

_THUMB = (40, 30)
_LARGE = (64, 48)
_NEAREST = 3


def draw_neighbourhood() -> Sheet:
    """Draw every picture at the place of its vector, as far as two dimensions can tell."""
    gallery, (photo, asked) = scenes(6), query()
    mean, axes = plane(gallery.vectors)
    places, own = (gallery.vectors - mean) @ axes.T, (asked - mean) @ axes.T
    scores = gallery.vectors @ asked
    nearest = np.argsort(-scores)[:_NEAREST]
    sheet = Sheet(
        480,
        610,
        title="48 drawn pictures at the places of their vectors",
        description="Pictures of one kind lie together. The query, a balloon, lies among the "
        "balloons; enlarged, lines lead to the three pictures with the highest scores: "
        + ", ".join(f"{scores[number]:.2f}" for number in nearest),
    )
    sheet.text((16, 28), "48 pictures, each at the place of its vector", bold=True)
    on_map = _scale(places, (36, 60), (408, 264))
    for number in np.argsort(scores):
        sheet.picture(on_map(places[number]), _THUMB, gallery.pictures[number])
    left, top = on_map(own)
    sheet.picture((left, top), _THUMB, photo, edge=ORANGE)

    sheet.line([(16, 352), (464, 352)], LINE)
    sheet.text((16, 378), "around the query, enlarged", bold=True)
    around = np.vstack([places[nearest], own])
    enlarged = _scale(around, (96, 424), (276, 150))
    for number in nearest:
        sheet.line([enlarged(own), enlarged(places[number])], ORANGE, 2)
    sheet.picture(enlarged(own), _LARGE, photo, edge=ORANGE)
    _label(sheet, enlarged(own), "query", ORANGE)
    for number in nearest:
        sheet.picture(enlarged(places[number]), _LARGE, gallery.pictures[number])
        _label(sheet, enlarged(places[number]), f"{scores[number]:.2f}", INK)
    sheet.text((464, 378), "with scores", size=14, anchor="end", colour=MUTED)
    return sheet


def _scale(
    places: NDArray[np.float64], corner: Point, size: Point
) -> Callable[[NDArray[np.float64]], Point]:
    """Return how places of the plane come onto a rectangle of the paper, at one scale each way."""
    low, high = places.min(axis=0), places.max(axis=0)

    def onto(place: NDArray[np.float64]) -> Point:
        across, up = (place - low) / (high - low)
        return float(corner[0] + across * size[0]), float(corner[1] + (1 - up) * size[1])

    return onto


def _label(sheet: Sheet, at: Point, words: str, colour: str) -> None:
    if at[0] < sheet.width / 2:
        sheet.text((at[0] - 38, at[1] + 5), words, colour=colour, bold=True, anchor="end")
    else:
        sheet.text((at[0] + 38, at[1] + 5), words, colour=colour, bold=True)
