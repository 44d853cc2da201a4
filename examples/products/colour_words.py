"""ColourWords: an embedder for shapes and colours that, of a text, uses only the colour words.

It stands in for a CLIP model, which reads whole sentences, so that the example needs no weights.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from imagesearch import DescriptorEmbedder, EmbeddingSpec

WORDS = {
    "red": (200, 36, 40),
    "blue": (38, 84, 190),
    "green": (44, 140, 70),
    "black": (44, 44, 48),
    "yellow": (240, 196, 40),
    "white": (238, 236, 232),
}
SHAPE, COLOUR = 0.94, 0.34  # shares of the vector of an image; their squares add up to 1
AXES = len(WORDS) + 1  # one for each colour, the last for texts without any


class ColourWords:
    """Shapes by `DescriptorEmbedder`, and beside them how much of each colour there is."""

    def __init__(self) -> None:
        self._shapes = DescriptorEmbedder()
        dim = self._shapes.spec.dim + AXES
        self.spec = EmbeddingSpec("colour-words", dim, normalised=True, fingerprint="1")

    def preprocess(self, image: Image.Image) -> NDArray[np.uint8]:
        return self._shapes.preprocess(image)

    def embed(self, batch: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        grey = [pixels.mean(axis=2, keepdims=True).repeat(3, axis=2) for pixels in batch]
        shapes = self._shapes.embed([pixels.astype(np.uint8) for pixels in grey])
        colours = np.stack([_colours(pixels) for pixels in batch])
        vectors = np.hstack([SHAPE * shapes, COLOUR * colours])
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(unit, np.float32)

    def embed_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = np.zeros((len(texts), self.spec.dim), np.float32)
        for vector, text in zip(vectors, texts, strict=True):
            named = [word in text.lower().split() for word in WORDS]
            vector[-AXES:] = _unit([*named, not any(named)])
        return vectors


def _colours(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Count the pixels that are nearest to each colour; white is mostly background, and ignored."""
    distances = np.linalg.norm(pixels[:, :, None] - np.array([*WORDS.values()]), axis=3)
    counts = np.bincount(distances.argmin(axis=2).ravel(), minlength=AXES)
    counts[list(WORDS).index("white")] = 1
    return _unit(counts)


def _unit(numbers: ArrayLike) -> NDArray[np.float32]:
    vector = np.asarray(numbers, np.float32)
    return np.asarray(vector / np.linalg.norm(vector), np.float32)
