"""A small embedder of the tests' own, which counts what goes through it."""

from __future__ import annotations

import threading

import numpy as np

from imagesearch import EmbeddingSpec


class SmallEmbedder:
    """Colours of a 4 × 4 grid, with texts for colour names; a third party's embedder."""

    COLOURS = {"red": (255, 0, 0), "green": (0, 128, 0), "blue": (0, 0, 255)}

    def __init__(self, fingerprint: str = "small-1") -> None:
        self.spec = EmbeddingSpec("small", dim=49, normalised=False, fingerprint=fingerprint)
        self.embedded = 0
        self._lock = threading.Lock()

    def preprocess(self, image):
        return np.asarray(image.resize((4, 4)), np.float32)

    def embed(self, batch):
        with self._lock:
            self.embedded += len(batch)
        pixels = np.stack(batch).reshape(len(batch), 48) / 255
        return np.hstack([pixels, np.full((len(batch), 1), 0.1, np.float32)]).astype(np.float32)


class SmallTextEmbedder(SmallEmbedder):
    def embed_text(self, texts):
        grids = [np.tile(np.array(self.COLOURS[text], np.uint8), (4, 4, 1)) for text in texts]
        vectors = self.embed([grid.astype(np.float32) for grid in grids])
        self.embedded -= len(texts)
        return vectors
