from __future__ import annotations

import pytest

from imagesearch.stores.local import LocalStore
from imagesearch.testing import VectorStoreConformance


class TestExactLocalStore(VectorStoreConformance):
    large_batch = 1100
    model_examples = 12

    def make_store(self, place):
        return LocalStore(place / "photos.idx", engine="exact")


class TestLocalStoreWithGraph(VectorStoreConformance):
    """The graph serves from the first hundred records on, so that every rule meets it."""

    large_batch = 1100
    model_examples = 12

    def make_store(self, place):
        pytest.importorskip("hnswlib")
        return LocalStore(place / "photos.idx", engine="hnsw", exact_below=100)
