"""Meta, vectors and records for the tests."""

from __future__ import annotations

import numpy as np

from imagesearch.types import EmbeddingSpec, IndexMeta, RecordBatch

DIM = 8


def meta(dim=DIM, metric="cosine", name="mine", fingerprint="v1"):
    return IndexMeta(EmbeddingSpec(name, dim, False, fingerprint), metric)


def vectors(rows, dim=DIM, seed=0):
    random = np.random.default_rng(seed).normal(size=(rows, dim)).astype(np.float32)
    return random / np.linalg.norm(random, axis=1, keepdims=True)


def batch(rows, dim=DIM, metadata=None, prefix="id"):
    ids = tuple(f"{prefix}-{row:05d}" for row in range(rows))
    return RecordBatch(
        ids,
        tuple(f"/photos/{id}.jpg" for id in ids),
        ("",) * rows,
        tuple(metadata or ({},) * rows),
        vectors(rows, dim),
    )
