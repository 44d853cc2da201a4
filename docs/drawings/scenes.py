"""Scenes: drawn pictures, their vectors, and the plane in which those differ most."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imagesearch import DescriptorEmbedder
from imagesearch._demo_images import draw_scene, kinds

__all__ = ["Scenes", "plane", "query", "scenes"]

# The picture that is asked with: a balloon that is in no index.
_QUERY = ("balloon", 0)


@dataclass(frozen=True, slots=True)
class Scenes:
    """Pictures, the kind of each, and their vectors of unit length, one row each."""

    kinds: list[str]
    pictures: list[Image.Image]
    vectors: NDArray[np.float32]


@cache
def scenes(each: int) -> Scenes:
    """Draw and embed `each` scenes of every kind."""
    pictures = {(kind, n): draw_scene(kind, n) for kind in kinds() for n in range(1, each + 1)}
    return Scenes(
        [kind for kind, _ in pictures], list(pictures.values()), _embed(pictures.values())
    )


@cache
def query() -> tuple[Image.Image, NDArray[np.float32]]:
    """Draw and embed the picture that is asked with."""
    picture = draw_scene(*_QUERY)
    return picture, _embed([picture])[0]


def plane(vectors: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean and the two axes (2, dim) along which vectors differ most (PCA)."""
    mean = vectors.astype(np.float64).mean(axis=0)
    _, _, axes = np.linalg.svd(vectors - mean, full_matrices=False)
    two = axes[:2]
    # An axis has no direction of its own: let its largest element be positive everywhere.
    largest = np.abs(two).argmax(axis=1)
    return mean, two * np.sign(two[np.arange(2), largest])[:, None]


def _embed(pictures: Iterable[Image.Image]) -> NDArray[np.float32]:
    embedder = DescriptorEmbedder()
    return embedder.embed([embedder.preprocess(picture) for picture in pictures])
