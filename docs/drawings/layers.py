"""HNSW: a small graph layer by layer, with the way of searches through it."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from small_graph import SmallGraph, Walk
from svg import BLUE, GREEN, INK, LINE, MUTED, ORANGE, PAPER, RED, Point, Sheet

__all__ = ["draw_breadth", "draw_layers"]

# Chosen so that the graph has three layers and the search moves on each of them.
_POINTS, _SEED = 70, 76
_TARGET = np.array([386.0, 39.0])
_STOREY = 196
_LINK = "#a9b4c0"
# A search that shows what ef is for: few candidates move and end so much too far away.
_FEW, _MANY, _MOVES, _MISSED, _CLEAR = 1, 4, 2, 1.6, 9

_Placing: TypeAlias = Callable[[NDArray[np.float64]], Point]


def draw_layers() -> Sheet:
    """Draw the way of a search from the highest layer to the lowest."""
    graph = _graph()
    walk = graph.search(_TARGET, k=1, ef=1)
    levels = range(len(graph.layers) - 1, -1, -1)
    floors = [_floor(_STOREY * row + 48) for row in range(len(levels))]
    sheet = Sheet(
        480,
        len(levels) * _STOREY + 40,
        title="A search walks down through the layers of a graph",
        description=f"{len(levels)} layers with "
        f"{', '.join(str(len(graph.layers[level])) for level in levels)} points, from above. The "
        f"search compared {walk.compared} of {_POINTS} points and found the nearest.",
    )
    for row, (level, onto, path) in enumerate(zip(levels, floors, walk.paths, strict=True)):
        _draw_floor(sheet, onto)
        sheet.text(
            (16, 28 + _STOREY * row), f"layer {level}: {len(graph.layers[level])} points", bold=True
        )
        _draw_links(sheet, graph, level, onto)
        sheet.line([onto(graph.points[point]) for point in path], ORANGE, 3)
        for point in graph.layers[level]:
            sheet.dot(onto(graph.points[point]), 4 if point in path else 2.5, INK)
    for above, below, path in zip(floors, floors[1:], walk.paths[1:], strict=False):
        point = graph.points[path[0]]
        sheet.line([above(point), below(point)], ORANGE, 2, dash="2 5")
    sheet.dot(floors[0](graph.points[graph.entry]), 6.5, ORANGE, edge=PAPER)
    sheet.dot(floors[-1](graph.points[walk.found[0]]), 6.5, GREEN, edge=PAPER)
    for onto in floors:
        _draw_target(sheet, onto(_TARGET))
    foot = len(levels) * _STOREY + 24
    sheet.dot((24, foot - 5), 6, ORANGE)
    sheet.text((38, foot), "start", size=14)
    _draw_target(sheet, (120, foot - 5))
    sheet.text((136, foot), "what is looked for", size=14)
    sheet.dot((306, foot - 5), 6, GREEN)
    sheet.text((320, foot), "found", size=14)
    return sheet


def draw_breadth() -> Sheet:
    """Draw one search twice: with one candidate it gets stuck, with more it does not."""
    graph = _graph()
    target, few, many = _stuck(graph)
    sheet = Sheet(
        480,
        2 * _STOREY + 40,
        title="A search that keeps too few candidates gets stuck",
        description=f"With ef = {_FEW} the search looks at {len(few.looked_at)} points of the "
        f"lowest layer and stops at one that is not the nearest. With ef = {_MANY} it looks at "
        f"{len(many.looked_at)} and finds the nearest.",
    )
    for row, (ef, walk) in enumerate(((_FEW, few), (_MANY, many))):
        onto = _floor(_STOREY * row + 48)
        won = walk.found[0] == many.found[0]
        ending = "the nearest is found" if won else "stuck beside the nearest"
        _draw_floor(sheet, onto)
        sheet.text((16, _STOREY * row + 28), f"ef = {ef}: {ending}", bold=True)
        _draw_links(sheet, graph, 0, onto)
        for point in range(_POINTS):
            sheet.dot(onto(graph.points[point]), 2.5, MUTED)
        for point in walk.looked_at:
            sheet.dot(onto(graph.points[point]), 4.5, BLUE)
        sheet.dot(onto(graph.points[walk.looked_at[0]]), 6.5, ORANGE, edge=PAPER)
        sheet.dot(onto(graph.points[walk.found[0]]), 6.5, GREEN if won else RED, edge=PAPER)
        _draw_target(sheet, onto(target))
    foot = 2 * _STOREY + 24
    sheet.dot((24, foot - 5), 6, ORANGE)
    sheet.text((36, foot), "start", size=14)
    sheet.dot((88, foot - 5), 5, BLUE)
    sheet.text((99, foot), "looked at", size=14)
    _draw_target(sheet, (184, foot - 5))
    sheet.text((198, foot), "looked for", size=14)
    sheet.dot((290, foot - 5), 6, GREEN)
    sheet.text((302, foot), "nearest", size=14)
    sheet.dot((374, foot - 5), 6, RED)
    sheet.text((386, foot), "stuck", size=14)
    return sheet


@cache
def _graph() -> SmallGraph:
    """Build the graph that is drawn: points scattered evenly over the floor, as it is seen."""
    dice = random.Random(_SEED)  # noqa: S311  # scatters points, keeps no secret
    points: list[Point] = []
    while len(points) < _POINTS:
        tries = [_seen(dice.random(), dice.random()) for _ in range(12)]
        points.append(max(tries, key=lambda one: min([_apart(one, p) for p in points] or [0.0])))
    return SmallGraph(np.array(points), M=4, ef_construction=12, seed=_SEED)


def _stuck(graph: SmallGraph) -> tuple[NDArray[np.float64], Walk, Walk]:
    """Return the first of many targets that few candidates miss and more find."""
    dice = random.Random(_SEED)  # noqa: S311  # scatters points, keeps no secret
    while True:
        target = np.array(_seen(dice.random(), dice.random()))
        distances = np.linalg.norm(graph.points - target, axis=1)
        few, many = (graph.search(target, k=1, ef=ef) for ef in (_FEW, _MANY))
        missed = distances[few.found[0]] > _MISSED * distances.min() > _MISSED * _CLEAR
        found = many.found[0] == distances.argmin()
        if missed and found and len(few.paths[-1]) > _MOVES:
            return target, few, many


def _seen(across: float, back: float) -> Point:
    """Return where a point of the unit square stands on a floor that is seen from the side."""
    return across * 340 + back * 90, (1 - back) * 130


def _floor(top: float) -> _Placing:
    """Return how points come onto the paper, on a floor whose far edge is `top` from above."""
    return lambda point: (24 + float(point[0]), top + float(point[1]))


def _draw_floor(sheet: Sheet, onto: _Placing) -> None:
    corners = [_seen(x, y) for x, y in ((-0.03, -0.06), (1.03, -0.06), (1.03, 1.06), (-0.03, 1.06))]
    edge = [onto(np.array(corner)) for corner in (*corners, corners[0])]
    sheet.line(edge, LINE, fill="#f1efe8")


def _draw_links(sheet: Sheet, graph: SmallGraph, level: int, onto: _Placing) -> None:
    links = {
        tuple(sorted((one, other)))
        for one, others in graph.layers[level].items()
        for other in others
    }
    for one, other in sorted(links):
        sheet.line([onto(graph.points[one]), onto(graph.points[other])], _LINK, 1)


def _draw_target(sheet: Sheet, at: Point) -> None:
    for sign in (-1, 1):
        sheet.line([(at[0] - 6, at[1] - 6 * sign), (at[0] + 6, at[1] + 6 * sign)], INK, 2.5)


def _apart(one: Point, other: Point) -> float:
    return (one[0] - other[0]) ** 2 + (one[1] - other[1]) ** 2
