"""How a picture becomes a hit: the parts, with real numbers on the way."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scenes import query, scenes
from svg import BLUE, INK, LINE, MUTED, ORANGE, Sheet

__all__ = ["draw_parts"]

_THUMB = (72, 54)
_STORED = ("fish", "balloon", "city")
_HITS = 3


def draw_parts() -> Sheet:
    """Draw pictures going through the embedder into the store, and a query finding them there."""
    gallery, (photo, asked) = scenes(6), query()
    scores = gallery.vectors @ asked
    sheet = Sheet(
        480,
        500,
        title="How a picture becomes a hit",
        description="Pictures go through the embedder, which makes a vector of each; the store "
        "keeps the vectors. A query goes the same way, and the store compares its vector with "
        "those that it keeps.",
    )
    sheet.text((24, 34), "add", size=17, bold=True, colour=BLUE)
    sheet.text((364, 34), "store", size=17, bold=True, anchor="middle", colour=BLUE)
    sheet.text((24, 296), "search", size=17, bold=True, colour=ORANGE)
    sheet.box((134, 46), (104, 322), "#e6eef7", edge=BLUE, round=8)
    sheet.text((186, 196), "embedder", anchor="middle", bold=True)
    sheet.text((186, 218), "a model", size=14, anchor="middle", colour=MUTED)
    sheet.box((272, 46), (184, 182), edge=BLUE, round=8)
    for row, kind in enumerate(_STORED):
        number, middle = gallery.kinds.index(kind), 76 + 60 * row
        sheet.picture((60, middle), _THUMB, gallery.pictures[number])
        sheet.line([(100, middle), (132, middle)], INK, 1.5, arrow=True)
        sheet.line([(238, middle), (270, middle)], INK, 1.5, arrow=True)
        sheet.text((364, middle + 5), _some(gallery.vectors[number]), anchor="middle", mono=True)
    sheet.picture((60, 338), _THUMB, photo, edge=ORANGE)
    sheet.line([(100, 338), (132, 338)], ORANGE, 1.5, arrow=True)
    sheet.line([(238, 338), (270, 338)], ORANGE, 1.5, arrow=True)
    sheet.text((364, 343), _some(asked), anchor="middle", mono=True)
    sheet.line([(364, 322), (364, 232)], ORANGE, 1.5, arrow=True)
    sheet.text((376, 282), "compare", size=14, colour=ORANGE)
    sheet.line([(24, 388), (456, 388)], LINE)
    sheet.text((24, 414), "hits, best first, each with its score", bold=True)
    for place, number in enumerate(np.argsort(-scores)[:_HITS]):
        left = 60 + 148 * place
        sheet.picture((left, 458), _THUMB, gallery.pictures[number])
        sheet.text((left + 44, 463), f"{scores[number]:.2f}", bold=True)
    return sheet


def _some(vector: NDArray[np.float32]) -> str:
    """Write down a few of the numbers, some that differ from picture to picture."""
    return f"[{', '.join(f'{number:.2f}' for number in vector[[5, 268]])}, …]"
