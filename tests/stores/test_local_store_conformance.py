from __future__ import annotations

from contextlib import suppress

import pytest

from imagesearch.errors import StoreLockedError, UnsupportedOperationError
from imagesearch.stores.local import LocalStore
from imagesearch.testing import VectorStoreConformance


def flip_a_bit(place, id):
    [vectors] = (place / "photos.idx").glob("vectors-*")
    body = bytearray(vectors.read_bytes())
    # Twelve records, then two that replace the first two.
    body[int(id[-5:]) * (len(body) // 14)] ^= 1
    vectors.write_bytes(body)
    return True


class Optimized(LocalStore):
    """Completes its graph before each search, so that every rule meets it."""

    def search(self, vectors, *, k, where=None):
        with suppress(StoreLockedError, UnsupportedOperationError):
            self.optimize()
        return super().search(vectors, k=k, where=where)


class TestExactLocalStore(VectorStoreConformance):
    large_batch = 1100
    model_examples = 12

    def make_store(self, place):
        return LocalStore(place / "photos.idx", engine="exact")

    def damage(self, place, id):
        return flip_a_bit(place, id)


class TestLocalStoreWithGraph(VectorStoreConformance):
    """The graph serves from the first hundred records on."""

    large_batch = 1100
    model_examples = 12

    def make_store(self, place):
        pytest.importorskip("usearch")
        return Optimized(place / "photos.idx", engine="usearch", exact_below=100)

    def damage(self, place, id):
        return flip_a_bit(place, id)


class TestLocalStoreWithGrowingGraph(VectorStoreConformance):
    """The graph grows in the background, and rules meet it at any stage."""

    large_batch = 1100
    model_examples = 6

    def make_store(self, place):
        pytest.importorskip("usearch")
        return LocalStore(place / "photos.idx", engine="usearch", exact_below=100)

    def damage(self, place, id):
        return flip_a_bit(place, id)


@pytest.mark.slow
class TestLocalStoreWithHnswlib(TestLocalStoreWithGraph):
    """The other engine."""

    def make_store(self, place):
        pytest.importorskip("hnswlib")
        return Optimized(place / "photos.idx", engine="hnswlib", exact_below=100)


@pytest.mark.slow
class TestLocalStoreOfHalves(VectorStoreConformance):
    """With the graph, under every metric."""

    large_batch = 1001
    model_examples = 4
    # Products of long vectors add up what their elements are off.
    tolerance = 4e-3
    vector_tolerance = 5e-4

    def make_store(self, place):
        pytest.importorskip("usearch")
        return Optimized(place / "photos.idx", engine="usearch", exact_below=100, dtype="float16")

    def damage(self, place, id):
        return flip_a_bit(place, id)


class TestLocalStoreOfBytes(VectorStoreConformance):
    large_batch = 1001
    model_examples = 4
    metrics = ("cosine",)
    # An element is off by up to 1/254 of the largest, and then scaled to unit length.
    tolerance = 0.01
    vector_tolerance = 0.006

    def make_store(self, place):
        return LocalStore(place / "photos.idx", engine="exact", dtype="int8")

    def damage(self, place, id):
        return flip_a_bit(place, id)
