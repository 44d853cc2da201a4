"""Recall against ef, and what it costs: measured on the graph of small_graph.py."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from small_graph import SmallGraph
from svg import BLUE, INK, LINE, MUTED, ORANGE, Point, Sheet

__all__ = ["draw_recall"]

_POINTS, _DIM, _CLUSTERS, _QUERIES, _K = 1000, 32, 20, 100, 10
_BREADTHS = (10, 15, 20, 30, 40, 60, 80, 120)
_COLOURS = {4: ORANGE, 8: BLUE}
_LEFT, _RIGHT, _HEIGHT = 62, 456, 170


def draw_recall() -> Sheet:
    """Draw recall@10 and the share of vectors compared, against ef, for two values of M."""
    curves = _measure()
    sheet = Sheet(
        480,
        540,
        title="A larger ef finds more and compares more",
        description="; ".join(
            f"M = {m}, ef = {ef}: recall {recall:.2f}, {compared:.0%} of the vectors compared"
            for m, curve in curves.items()
            for ef, recall, compared in curve
        ),
    )
    sheet.text((16, 28), "recall@10: share of the true ten that are found", bold=True)
    _axes(sheet, 50, [(0.6, "60 %"), (0.8, "80 %"), (1.0, "100 %")])
    for m, curve in curves.items():
        _curve(sheet, m, [(ef, _up(50, recall, 0.6, 1.0)) for ef, recall, _ in curve])
    sheet.text((16, 290), "cost: share of all vectors that are compared", bold=True)
    _axes(sheet, 312, [(0.0, "0 %"), (0.25, "25 %"), (0.5, "50 %")])
    for m, curve in curves.items():
        _curve(sheet, m, [(ef, _up(312, compared, 0.0, 0.5)) for ef, _, compared in curve])
    sheet.text(((_LEFT + _RIGHT) / 2, 530), "ef, the candidates kept", anchor="middle", size=14)
    for row, (m, colour) in enumerate(_COLOURS.items()):
        sheet.line([(352, 168 + 22 * row), (376, 168 + 22 * row)], colour, 3)
        sheet.text((384, 173 + 22 * row), f"M = {m}", size=14)
    return sheet


@cache
def _measure() -> dict[int, list[tuple[int, float, float]]]:
    """Return (ef, recall, share of vectors compared) for each M."""
    dice = np.random.default_rng(0)
    centres = dice.standard_normal((_CLUSTERS, _DIM))
    points = centres[dice.integers(_CLUSTERS, size=_POINTS + _QUERIES)]
    points = points + dice.standard_normal(points.shape)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    stored, asked = points[:_POINTS], points[_POINTS:]
    truth = [set(row.tolist()) for row in np.argsort(-(asked @ stored.T), axis=1)[:, :_K]]
    curves: dict[int, list[tuple[int, float, float]]] = {}
    for m in _COLOURS:
        graph = SmallGraph(stored, M=m, ef_construction=40, seed=0)
        curves[m] = []
        for ef in _BREADTHS:
            walks = [graph.search(target, k=_K, ef=ef) for target in asked]
            found = [len(set(w.found) & best) / _K for w, best in zip(walks, truth, strict=True)]
            compared = [walk.compared / _POINTS for walk in walks]
            curves[m].append((ef, float(np.mean(found)), float(np.mean(compared))))
    return curves


def _axes(sheet: Sheet, top: float, marks: list[tuple[float, str]]) -> None:
    low, high = marks[0][0], marks[-1][0]
    for value, words in marks:
        y = _up(top, value, low, high)
        sheet.line([(_LEFT, y), (_RIGHT, y)], LINE, 1)
        sheet.text((_LEFT - 8, y + 5), words, size=13, anchor="end", colour=MUTED)
    for ef in (10, 20, 40, 80, 120):
        sheet.text((_across(ef), top + _HEIGHT + 20), str(ef), size=13, anchor="middle", colour=INK)


def _curve(sheet: Sheet, m: int, points: list[Point]) -> None:
    places = [(_across(ef), y) for ef, y in points]
    sheet.line(places, _COLOURS[m], 2.5)
    for place in places:
        sheet.dot(place, 3.5, _COLOURS[m])


def _across(ef: float) -> float:
    low, high = math.log(_BREADTHS[0]), math.log(_BREADTHS[-1])
    return _LEFT + 8 + (math.log(ef) - low) / (high - low) * (_RIGHT - _LEFT - 16)


def _up(top: float, value: float, low: float, high: float) -> float:
    return top + (1 - (value - low) / (high - low)) * _HEIGHT
