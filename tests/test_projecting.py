"""Projections: smaller vectors, fitted on an index, applied by themselves ever after."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from imagesearch import DescriptorEmbedder, ImageIndex, IndexMeta, Item, LocalStore, MemoryStore
from imagesearch.cli.pictures import draw_scene, kinds
from imagesearch.errors import ConfigError, IncompatibleIndexError, QueryError
from imagesearch.projecting import fit_projection


@pytest.fixture(scope="module")
def full():
    index = ImageIndex(embedder=DescriptorEmbedder(), store=MemoryStore())
    index.add(
        Item(draw_scene(kind, number), id=f"{kind}-{number}", metadata={"kind": kind})
        for kind in kinds()
        for number in range(4)
    )
    return index


def test_it_is_centring_and_principal_axes(full):
    vectors = np.vstack([batch.vectors for batch in full.scan(vectors=True)]).astype(np.float64)
    projection = fit_projection(full.store, 5)
    centred = vectors - vectors.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    ours = projection.components.T @ axes[:5].T
    np.testing.assert_allclose(np.abs(np.diag(ours)), 1, atol=1e-4)
    assert projection.fingerprint == fit_projection(full.store, 5).fingerprint


def test_the_new_index_projects_queries_and_additions_by_itself(full, tmp_path):
    before = full.get("fish-0", vectors=True)["fish-0"].vector
    with full.fit_projection(tmp_path / "small.idx", dim=8) as small:
        assert small.meta.dim == 8
        assert small.count() == full.count()
        assert small.search(draw_scene("boat", 2), k=1)[0].score == pytest.approx(1, abs=1e-4)
        assert small.add(Item(draw_scene("boat", 9), id="new")).added == ["new"]
        assert small.search(draw_scene("boat", 9), k=1).ids == ["new"]
        assert small.search(vector=before, k=1).ids == ["fish-0"]
        with pytest.raises(QueryError, match="7 elements"):
            small.search(vector=np.ones(7))
    with ImageIndex(tmp_path / "small.idx") as reopened:
        assert reopened.meta.projection is not None
        assert reopened.search(draw_scene("boat", 9), k=1).ids == ["new"]
        assert reopened.get("boat-1")["boat-1"].metadata == {"kind": "boat"}
    with ImageIndex(tmp_path / "small.idx", embedder=DescriptorEmbedder()) as given:
        assert given.meta.dim == 8
    assert full.meta.projection is None
    np.testing.assert_array_equal(full.get("fish-0", vectors=True)["fish-0"].vector, before)


def test_a_projected_index_is_another_index(full, tmp_path):
    with full.fit_projection(tmp_path / "small.idx", dim=8) as small:
        with pytest.raises(ConfigError, match="projected already"):
            small.fit_projection(MemoryStore())
        other = IndexMeta(small.meta.embedding, "cosine", fit_projection(full.store, 7))
    store = LocalStore(tmp_path / "small.idx")
    with pytest.raises(IncompatibleIndexError, match="projected to 8"):
        store.open(other)
    store.close()


def test_an_impossible_dimension_says_what_is_possible(full):
    with pytest.raises(ConfigError, match="1 to 31"):
        full.fit_projection(MemoryStore(), dim=32)


def test_an_index_that_has_outgrown_its_fit_says_so(full, caplog):
    with full.fit_projection(MemoryStore(), dim=4) as small:
        pictures = [draw_scene("city", 100 + number) for number in range(40)]
        with caplog.at_level(logging.WARNING, "imagesearch"):
            small.add(pictures[:10])
            assert not caplog.records
            small.add(pictures)
        assert "fitted on 32" in caplog.text


def test_the_meta_carries_the_projection_as_json(full):
    meta = IndexMeta(full.meta.embedding, "cosine", fit_projection(full.store, 3))
    back = IndexMeta.from_dict(meta.to_dict())
    assert back == meta
    assert back.projection.fitted_on == 32
