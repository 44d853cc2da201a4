"""Projections: smaller vectors, fitted on an index, applied by themselves ever after."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from imagesearch import (
    DescriptorEmbedder,
    EmbeddingSpec,
    ImageIndex,
    IndexMeta,
    Item,
    LocalStore,
    MemoryStore,
    RecordBatch,
)
from imagesearch._demo_images import draw_scene, kinds
from imagesearch.copying import copy_projected
from imagesearch.errors import (
    ConfigError,
    IncompatibleIndexError,
    QueryError,
    StoreUnavailableError,
)
from imagesearch.projection import fit_projection
from imagesearch.vectors import normalise

META = IndexMeta(EmbeddingSpec("mine", 12, normalised=True, fingerprint="1"))


def filled(store, numbers, meta=META):
    """Add records to a store, opened if need be, each with a vector of its own."""
    if store.describe() is None:
        store.open(meta)
    vectors = [np.random.default_rng(number).normal(size=12) for number in numbers]
    names = tuple(f"id-{number}" for number in numbers)
    store.upsert(
        RecordBatch(
            names,
            names,
            names,
            ({},) * len(names),
            normalise(np.array(vectors, np.float32)),
        )
    )
    return store


class BreakingOff(MemoryStore):
    """Fails after its first upsert, until it is repaired."""

    broken = True

    def upsert(self, batch):
        if self.broken and self.count():
            raise StoreUnavailableError("the connection broke")
        super().upsert(batch)


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


@pytest.mark.parametrize("kind", ["metric 'l2'", "projected already"])
def test_what_cannot_be_projected_is_refused_before_anything_is_made(kind):
    projection = fit_projection(filled(MemoryStore(), range(9)), 6)
    meta = (
        IndexMeta(META.embedding, "l2")
        if "l2" in kind
        else IndexMeta(META.embedding, "cosine", projection)
    )
    source, target = MemoryStore(), MemoryStore()
    source.open(meta)
    with pytest.raises(ConfigError, match=kind):
        copy_projected(source, target, meta, 3)
    assert target.describe() is None


def test_an_impossible_dimension_says_what_is_possible(full):
    with pytest.raises(ConfigError, match="1 to 31"):
        full.fit_projection(MemoryStore(), dim=32)


def test_projected_vectors_are_shorter_so_that_query_vectors_of_both_kinds_are_told_apart():
    store = filled(MemoryStore(), range(40))
    with pytest.raises(ConfigError, match="1 to 11"):
        fit_projection(store, 12)
    assert fit_projection(store, 11).dim == 11


@pytest.mark.parametrize("dim", [2.5, True, "3", None])
def test_a_dimension_that_is_no_whole_number_is_refused(full, dim):
    with pytest.raises(ConfigError, match="whole number"):
        full.fit_projection(MemoryStore(), dim=dim)


def test_a_dimension_may_be_a_number_of_numpy(full):
    assert full.fit_projection(MemoryStore(), dim=np.int64(3)).meta.dim == 3


def test_a_copy_that_broke_off_goes_on_with_the_projection_that_it_was_begun_with():
    source, target = filled(MemoryStore(), range(300)), BreakingOff()
    with pytest.raises(StoreUnavailableError):
        copy_projected(source, target, META, 6)
    begun = target.describe().projection
    assert target.count() == 256
    filled(source, range(300, 310))
    target.broken = False
    report = copy_projected(source, target, META, 6)
    assert (report.copied, report.unchanged) == (54, 256)
    assert target.describe().projection == begun


def test_a_finished_copy_may_be_repeated_while_there_is_nothing_new_to_fit_on():
    source, target = filled(MemoryStore(), range(20)), MemoryStore()
    copy_projected(source, target, META, 6)
    assert copy_projected(source, target, META, 6).unchanged == 20


@pytest.mark.parametrize("both", [True, False], ids=["in both", "in the source"])
def test_a_finished_copy_is_not_fitted_anew_in_place_and_names_the_way_out(both):
    source, target = filled(MemoryStore(), range(10)), MemoryStore()
    copy_projected(source, target, META, 6)
    filled(source, range(10, 25))
    if both:
        vector = target.get(["id-3"], vectors=True)["id-3"].vector
        target.upsert(RecordBatch(("new",), ("new",), ("new",), ({},), vector[None]))
    with pytest.raises(ConfigError, match=r"fitted on 10 records.* 25 records .*new path"):
        copy_projected(source, target, META, 6)
    assert target.count() == 10 + both
    assert copy_projected(source, MemoryStore(), META, 6).copied == 25


@pytest.mark.parametrize("dim", [3, 6])
def test_a_target_that_holds_another_index_is_refused_and_stays_as_it_is(full, dim):
    other = filled(MemoryStore(), range(10))
    with pytest.raises(IncompatibleIndexError, match=r"not projected.*new path"):
        full.fit_projection(other, dim=dim)
    assert other.count() == 10
    projected = full.fit_projection(MemoryStore(), dim=5).store
    with pytest.raises(IncompatibleIndexError, match=r"5 elements.*new path"):
        full.fit_projection(projected, dim=dim)
    assert projected.count() == full.count()
    mine = MemoryStore()
    copy_projected(other, mine, META, dim)
    with pytest.raises(IncompatibleIndexError, match="'mine'"):
        full.fit_projection(mine, dim=dim)
    assert mine.count() == 10


def test_an_index_cannot_be_projected_into_itself(tmp_path):
    with ImageIndex(tmp_path / "full.idx", embedder=DescriptorEmbedder()) as index:
        index.add([draw_scene("boat", number) for number in range(8)])
        with pytest.raises(ConfigError, match="keeps its own vectors"):
            index.fit_projection(index.store, dim=3)
        with pytest.raises(IncompatibleIndexError, match="new path"):
            index.fit_projection(tmp_path / "full.idx", dim=3)
        assert index.count() == 8


def test_an_index_that_has_outgrown_its_fit_says_so(full, caplog):
    with full.fit_projection(MemoryStore(), dim=4) as small:
        pictures = [draw_scene("city", 100 + number) for number in range(40)]
        with caplog.at_level(logging.WARNING, "imagesearch"):
            small.add(pictures[:10])
            assert not caplog.records
            small.add(pictures)
        assert "fitted on 32" in caplog.text
        assert "imagesearch copy FULL.idx NEW.idx --project 4" in caplog.text


def test_the_meta_carries_the_projection_as_json(full):
    meta = IndexMeta(full.meta.embedding, "cosine", fit_projection(full.store, 3))
    back = IndexMeta.from_dict(meta.to_dict())
    assert back == meta
    assert back.projection.fitted_on == 32
