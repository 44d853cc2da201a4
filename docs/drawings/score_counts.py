"""How scores spread: of pairs of one kind and of two, before and after a projection."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scenes import scenes
from svg import BLUE, INK, MUTED, ORANGE, Sheet

from imagesearch import ImageIndex, Item, MemoryStore
from imagesearch.embedders.descriptors import DescriptorEmbedder

__all__ = ["draw_projected_scores", "draw_scores"]

_BINS = np.linspace(-0.6, 1.0, 41)
_LEFT, _WIDTH, _HEIGHT = 20, 440, 120


def draw_scores() -> Sheet:
    """Draw how many pairs have which score, as the embedder gives them."""
    sheet = Sheet(
        480,
        234,
        title="Scores of all pairs of 80 drawn pictures",
        description=_words(_plain()),
    )
    sheet.text((16, 28), "Scores of all pairs of 80 pictures", bold=True)
    _histogram(sheet, 50, *_plain(), labels=True)
    return sheet


def draw_projected_scores() -> Sheet:
    """Draw the same before and after centre and PCA."""
    sheet = Sheet(
        480,
        450,
        title="The same pairs before and after a projection",
        description=f"Before: {_words(_plain())}. After: {_words(_projected())}",
    )
    sheet.text((16, 28), "as the embedder gives them, 508 numbers", bold=True)
    _histogram(sheet, 50, *_plain(), labels=True)
    sheet.text((16, 262), "centred, and projected to 16 numbers", bold=True)
    _histogram(sheet, 268, *_projected())
    return sheet


def _plain() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return _pairs(scenes(10).vectors)


def _projected() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    gallery = scenes(10)
    index = ImageIndex(embedder=DescriptorEmbedder(), store=MemoryStore())
    ids = [f"{number:03}" for number in range(len(gallery.pictures))]
    index.add(
        [Item(picture, id=id) for id, picture in zip(ids, gallery.pictures, strict=True)],
        progress=False,
    )
    small = index.fit_projection(MemoryStore(), dim=16, progress=False)
    records = small.get(ids, vectors=True)
    return _pairs(np.stack([records[id].vector for id in ids]))


def _pairs(vectors: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the scores of pairs of one kind, and of two kinds."""
    kinds = np.array(scenes(10).kinds)
    first, second = np.triu_indices(len(kinds), k=1)
    scores = (vectors @ vectors.T)[first, second]
    alike = kinds[first] == kinds[second]
    return scores[alike], scores[~alike]


def _words(pairs: tuple[NDArray[np.float32], NDArray[np.float32]]) -> str:
    same, other = (float(np.median(scores)) for scores in pairs)
    return f"half of the pairs of one kind score above {same:.2f}, of two kinds above {other:.2f}"


def _histogram(
    sheet: Sheet,
    top: float,
    same: NDArray[np.float32],
    other: NDArray[np.float32],
    *,
    labels: bool = False,
) -> None:
    bottom = top + _HEIGHT

    def across(score: float) -> float:
        return _LEFT + (score - _BINS[0]) / (_BINS[-1] - _BINS[0]) * _WIDTH

    for scores, colour in ((other, ORANGE), (same, BLUE)):
        counts, _ = np.histogram(scores, _BINS)
        # Both kinds of pairs fill the same area: there are far more pairs of two kinds.
        heights = counts / len(scores) * _HEIGHT * 2.4
        for count, low in zip(heights, _BINS[:-1], strict=True):
            if count:
                sheet.box((across(low) + 1, bottom - count), (9, count), colour, opacity=0.8)
        middle = float(np.median(scores))
        sheet.line([(across(middle), bottom), (across(middle), bottom + 8)], colour, 3)
        sheet.text(
            (across(middle), bottom + 46),
            f"{middle:.2f}",
            colour=colour,
            bold=True,
            size=14,
            anchor="middle",
        )
    sheet.line([(_LEFT, bottom), (_LEFT + _WIDTH, bottom)], MUTED, 1.5)
    for score in (-0.5, 0.0, 0.5, 1.0):
        sheet.line([(across(score), bottom), (across(score), bottom + 5)], MUTED, 1.5)
        sheet.text((min(across(score), 456), bottom + 22), f"{score:g}", size=13, anchor="middle")
    if labels:
        for row, (words, colour) in enumerate((("same kind", BLUE), ("two kinds", ORANGE))):
            sheet.box((24, top + 14 + 24 * row), (12, 12), colour, opacity=0.8)
            sheet.text((44, top + 25 + 24 * row), words, size=14, colour=INK)
