"""Made-up vectors for an index: five kinds on axes of their own, and what lies between them."""

from __future__ import annotations

import numpy as np

from imagesearch import EmbeddingSpec, Item, RecordBatch

KINDS = 5


class Axes:
    """An embedder whose images are arrays that hold the vector in their first row."""

    def __init__(self, fingerprint="axes-1"):
        self.spec = EmbeddingSpec("axes", 8, True, fingerprint)
        self.embedded = 0

    def preprocess(self, image):
        return np.asarray(image, np.float32)[0, :8, 0]

    def embed(self, batch):
        self.embedded += len(batch)
        pixels = np.stack(batch) + 1e-3
        return pixels / np.linalg.norm(pixels, axis=1, keepdims=True)


def near(kind, count, seed, *, spread=0.1):
    """Vectors around the axis of a kind; others score about 0 against them."""
    vectors = np.random.default_rng([seed, kind]).normal(0, spread, (count, 8))
    vectors[:, kind] += 1
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def fill(index, *, each=40, label="label", digest=""):
    """Add `each` records of every kind."""
    for kind in range(KINDS):
        names = tuple(f"{kind}-{number:03}" for number in range(each))
        fields = {label: f"kind {kind}"} if label else {}
        index.store.upsert(
            RecordBatch(
                names,
                tuple(f"/photos/kind {kind}/{name}.png" for name in names),
                (digest,) * each,
                (fields,) * each,
                near(kind, each, 0),
            )
        )
    return index


def labelled(kind, count, *, label=None):
    """Query images of a kind."""
    for vector in near(kind, count, 9):
        pixels = np.zeros((1, 8, 3), np.uint8)
        pixels[0, :, 0] = np.clip(vector * 255, 0, 255)
        yield Item(pixels, metadata={"label": label or f"kind {kind}"})
