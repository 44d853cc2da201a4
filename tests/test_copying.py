"""Copying one store into another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from imagesearch import (
    EmbeddingSpec,
    ImageIndex,
    IndexMeta,
    LocalStore,
    MemoryStore,
    RecordBatch,
)
from imagesearch.copying import copy_projected, copy_records
from imagesearch.errors import StoreUnavailableError
from tests.calibration.axes import Axes, fill

META = IndexMeta(EmbeddingSpec("mine", 8, normalised=True, fingerprint="1"))


def filled(store, count):
    store.open(META)
    vectors = np.random.default_rng(0).normal(size=(count, 8)).astype(np.float32)
    store.upsert(
        RecordBatch(
            tuple(f"id-{n}" for n in range(count)),
            tuple(f"/photos/{n}.jpg" for n in range(count)),
            tuple(f"{n:064x}" for n in range(count)),
            tuple({"n": n, "tags": ["a", None, {"b": n}]} for n in range(count)),
            vectors,
        )
    )
    return store


def test_everything_arrives(tmp_path):
    source, target = filled(MemoryStore(), 700), LocalStore(tmp_path / "copy.idx")
    target.open(META)
    report = copy_records(source, target)
    assert (report.copied, report.unchanged, report.complete) == (700, 0, True)
    assert report.agreement == 1.0
    [record] = target.get(["id-13"], vectors=True).values()
    [original] = source.get(["id-13"], vectors=True).values()
    assert record.metadata == original.metadata
    assert (record.uri, record.digest) == (original.uri, original.digest)
    np.testing.assert_array_equal(record.vector, original.vector)
    target.close()


def test_a_copy_that_broke_off_goes_on_where_it_was(tmp_path):
    class Failing(MemoryStore):
        left = 2

        def upsert(self, batch):
            if self.left == 0:
                raise StoreUnavailableError("the connection broke")
            self.left -= 1
            super().upsert(batch)

    source, target = filled(MemoryStore(), 700), Failing()
    target.open(META)
    with pytest.raises(StoreUnavailableError):
        copy_records(source, target)
    target.left = 100
    report = copy_records(source, target)
    assert report.unchanged == 512
    assert report.copied == 188


def test_changed_records_are_sent_again_and_progress_is_told():
    source, target = filled(MemoryStore(), 10), filled(MemoryStore(), 10)
    [record] = source.get(["id-3"], vectors=True).values()
    source.upsert(
        RecordBatch((record.id,), (record.uri,), ("ff",), ({"n": True},), record.vector[None])
    )
    advances = []
    report = copy_records(source, target, advance=advances.append)
    assert (report.copied, report.unchanged, sum(advances)) == (1, 9, 10)
    assert target.get(["id-3"])["id-3"].metadata == {"n": True}


def renewed(store, digest):
    """Give every record another vector."""
    vectors = np.random.default_rng(9).normal(size=(store.count(), 8)).astype(np.float32)
    [records] = store.scan()
    digests = (digest,) * len(records)
    store.upsert(RecordBatch(records.ids, records.uris, digests, records.metadata, vectors))
    return vectors


def test_records_without_a_digest_are_sent_again_for_their_vectors_may_have_changed():
    source, target = filled(MemoryStore(), 50), MemoryStore()
    renewed(source, "")
    target.open(META)
    copy_records(source, target)
    vectors = renewed(source, "")
    report = copy_records(source, target)
    assert (report.copied, report.unchanged, report.agreement) == (50, 0, 1.0)
    got = target.get(["id-13"], vectors=True)["id-13"].vector
    np.testing.assert_allclose(got, vectors[13] / np.linalg.norm(vectors[13]), atol=1e-6)


def test_a_copy_that_finds_others_than_its_source_is_doubtful():
    source, target = filled(MemoryStore(), 500), MemoryStore()
    target.open(META)
    assert not copy_records(source, target).doubtful
    # Another program has put other vectors under the same digests.
    [records] = target.scan()
    vectors = np.random.default_rng(9).normal(size=(500, 8)).astype(np.float32)
    target.upsert(
        RecordBatch(records.ids, records.uris, records.digests, records.metadata, vectors)
    )
    report = copy_records(source, target)
    assert (report.unchanged, report.complete, report.doubtful) == (500, True, True)


def test_a_copy_beside_other_records_is_not_doubted_for_finding_those():
    source, target = filled(MemoryStore(), 30), MemoryStore()
    target.open(META)
    near = source.get([f"id-{n}" for n in range(30)], vectors=True)
    for copy in range(20):
        target.upsert(
            RecordBatch.of([replace(record, id=f"{copy} {id}") for id, record in near.items()])
        )
    report = copy_records(source, target)
    assert report.agreement < 0.5
    assert not report.doubtful


def test_an_empty_source_is_copied():
    source, target = MemoryStore(), MemoryStore()
    source.open(META)
    target.open(META)
    report = copy_records(source, target)
    assert (report.copied, report.agreement, report.complete) == (0, None, True)


def test_notes_travel_with_the_records(tmp_path):
    source, target = filled(MemoryStore(), 10), LocalStore(tmp_path / "copy.idx")
    source.note("calibration", {"threshold": 0.5})
    target.open(META)
    report = copy_records(source, target)
    assert target.notes() == {"calibration": {"threshold": 0.5}}
    assert str(report).endswith("; notes copied: calibration")
    target.note("calibration", {"threshold": 0.9})
    target.note("other", 1)
    assert copy_records(source, target).notes == ("calibration",)
    assert target.notes() == {"calibration": {"threshold": 0.5}, "other": 1}
    target.close()


def test_a_copied_calibration_is_used_by_the_copy():
    with (
        ImageIndex(embedder=Axes(), store=MemoryStore()) as index,
        ImageIndex(embedder=Axes(), store=MemoryStore()) as copy,
    ):
        calibration = fill(index).calibrate(precision=0.9, k=50)
        copy_records(index.store, copy.store)
        assert copy.calibration == calibration
        wanted = {"id": "0-000", "k": 60, "min_score": "calibrated"}
        assert copy.search(**wanted).ids == index.search(**wanted).ids


def test_notes_stay_behind_where_they_would_say_something_wrong():
    class Forgetful(MemoryStore):
        notes = None

    source = filled(MemoryStore(), 10)
    assert copy_records(source, filled(Forgetful(), 0)).notes_left == ""
    source.note("calibration", {"threshold": 0.5})

    report = copy_records(source, filled(Forgetful(), 0))
    assert (report.notes, report.notes_left) == ((), "the target does not support notes")
    assert str(report).endswith("; notes not copied: the target does not support notes")

    larger = filled(MemoryStore(), 12)
    report = copy_records(source, larger)
    assert "source and target have different records" in str(report)
    assert larger.notes() == {}

    projected = MemoryStore()
    report = copy_projected(source, projected, META, 4)
    assert "scores differ after the projection" in str(report)
    assert projected.notes() == {}
    assert report.complete


def test_a_copy_between_stores_without_notes_says_nothing_of_them():
    report = copy_records(filled(MemoryStore(), 3), filled(MemoryStore(), 0))
    assert "notes" not in str(report)
