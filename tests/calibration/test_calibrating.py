"""Calibrating an index, and searching with what was learned."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from imagesearch import (
    ImageIndex,
    Item,
    LocalStore,
    MemoryStore,
    Query,
    RecordBatch,
)
from imagesearch.calibration import Calibration
from imagesearch.errors import (
    ConfigError,
    QueryError,
    StoreLockedError,
    UnsupportedOperationError,
)
from imagesearch.evaluation import EvaluationQuery
from tests.calibration.axes import KINDS, fill, labelled, near
from tests.small_embedder import SmallTextEmbedder

# Kinds lie on axes of their own, so that scores within one are above and others below.
WITHIN, ACROSS = 0.8, 0.4


_READER = """
import sys, json
from imagesearch import ImageIndex, LocalStore
with ImageIndex(store=LocalStore(sys.argv[1], read_only=True)) as index:
    found = index.search(id="0-000", k=60, min_score="calibrated")
    print(json.dumps([index.calibration.to_dict(), len(found)]))
"""


def between(kind, other):
    """A query as far from one kind as from another."""
    vector = np.zeros(8, np.float32)
    vector[[kind, other, 7]] = 1
    return vector


class WithoutNotes(MemoryStore):
    notes = None


def test_labels_of_the_index_teach_where_other_kinds_begin(kinds, axes):
    # Of 50 hits 39 are of the own kind.
    calibration = kinds.calibrate(precision=0.95, k=50)
    assert ACROSS < calibration.threshold < WITHIN + 0.1
    assert calibration.precision >= calibration.precision_low >= 0.95
    assert calibration.recall > 0.8
    assert (calibration.queries, calibration.pairs) == (200, 10_000)
    assert (calibration.learned_from, calibration.kind, calibration.records) == (
        "labels",
        "image",
        200,
    )
    assert axes.embedded == 0


def test_search_uses_the_calibration_that_is_saved(kinds):
    calibration = kinds.calibrate(precision=0.95, k=50)
    assert kinds.calibration == calibration
    hits = kinds.search(id="0-000", k=60, min_score="calibrated")
    assert 20 < len(hits) < 40
    assert {hit.metadata["label"] for hit in hits} == {"kind 0"}
    assert hits.ids == kinds.search(id="0-000", k=60, min_score=calibration.threshold).ids
    assert len(kinds.search(vector=between(0, 1), min_score="calibrated")) == 0
    [first, second] = kinds.search_many(
        [Query.id("0-000"), Query.vector(between(0, 1))], min_score="calibrated"
    )
    assert (len(first), len(second)) == (10, 0)


def test_the_sample_depends_on_the_seed_alone(kinds):
    one, same, other = (
        kinds.calibrate(precision=0.8, k=50, sample=100, seed=seed, save=False)
        for seed in (0, 0, 1)
    )
    assert one == same
    assert one.queries == 100
    assert one.threshold != other.threshold


def test_records_without_a_label_neither_ask_nor_count(kinds):
    everybody = kinds.calibrate(precision=0.8, k=50, save=False)
    kinds.update_metadata({"label": None}, ids=[f"0-{number:03}" for number in range(40)])
    calibration = kinds.calibrate(precision=0.8, k=50, save=False)
    assert calibration.queries == 160
    assert calibration.pairs < everybody.pairs


def test_records_with_the_same_bytes_are_not_counted_as_hits(axes):
    with ImageIndex(embedder=axes, store=MemoryStore()) as index:
        fill(index, digest="same")
        with pytest.raises(QueryError, match="no judged hit"):
            index.calibrate()


def test_one_label_for_all_teaches_nothing(kinds):
    kinds.update_metadata({"label": "all"}, where="label != ''")
    with pytest.raises(QueryError, match="all records have the label 'all'"):
        kinds.calibrate()


def test_too_few_records_are_refused_and_an_earlier_calibration_stays(kinds):
    calibration = kinds.calibrate(precision=0.9, k=5)
    with pytest.raises(QueryError, match=r"precision=0\.99 cannot be ensured.*precision=0\.9"):
        kinds.calibrate(precision=0.99, k=5)
    assert kinds.calibration == calibration


def test_labelled_images_teach_and_those_of_unknown_labels_say_what_no_match_looks_like(
    kinds, axes
):
    known = [item for kind in range(5) for item in labelled(kind, 16)]
    calibration = kinds.calibrate(known, precision=0.9, save=False)
    assert (calibration.learned_from, calibration.queries, calibration.skipped) == (
        "queries",
        80,
        0,
    )
    assert axes.embedded == 80
    # The lowest score of all: no query showed something of another kind.
    assert calibration.precision == 1.0
    strangers = [*labelled(6, 40, label="stranger")]
    stricter = kinds.calibrate([*known, *strangers], precision=0.9)
    assert stricter.queries == 120
    [stranger] = labelled(6, 1, label="stranger")
    assert len(kinds.search(stranger.source, min_score="calibrated")) == 0
    assert len(kinds.search(known[0].source, min_score="calibrated")) > 0


def test_queries_that_cannot_be_read_or_judged_are_left_out_and_counted(kinds, caplog):
    source = [
        *(item for kind in range(5) for item in labelled(kind, 16)),
        Item(b"no image", metadata={"label": "kind 0"}),
        Item(Image.new("RGB", (8, 8))),
    ]
    calibration = kinds.calibrate(source, precision=0.9)
    assert (calibration.queries, calibration.skipped) == (80, 2)
    assert "the query has no label" in caplog.text
    with pytest.raises(QueryError, match="none of the 1 queries can be used"):
        kinds.calibrate([Item(b"no image", metadata={"label": "kind 0"})])


def test_a_query_that_cannot_be_decoded_is_named_in_the_reason(kinds, tmp_path):
    (tmp_path / "notes.png").write_text("no image at all")
    source = [Item(tmp_path / "notes.png", metadata={"label": "kind 0"})]
    with pytest.raises(QueryError, match=r"the first: .*notes\.png looks like text"):
        kinds.calibrate(source)


def test_folders_are_labels_where_no_record_has_one(axes, tmp_path):
    for kind in range(5):
        folder = tmp_path / f"kind {kind}"
        folder.mkdir()
        for number, item in enumerate(labelled(kind, 16)):
            Image.fromarray(item.source).save(folder / f"{number}.png")
    with ImageIndex(embedder=axes, store=MemoryStore()) as index:
        fill(index, label=None)
        calibration = index.calibrate(tmp_path, precision=0.9)
    assert calibration.queries == 80
    assert calibration.precision == 1.0


def pairs_of(kinds, *, broken=False):
    return [
        EvaluationQuery(
            Query.id("missing" if broken and not number else f"{kind}-{number:03}"),
            f"{kind}-{number}",
            relevant={f"{kind}-{other:03}": 1.0 for other in range(40)},
        )
        for kind in range(5)
        for number in range(16)
    ]


def test_pairs_say_which_records_are_right(kinds, tmp_path):
    lines = ["query_id,relevant_id"]
    lines += [
        f"{kind}-{number:03},{kind}-{other:03}"
        for kind in range(5)
        for number in range(40)
        for other in range(40)
        if other != number
    ]
    (tmp_path / "pairs.csv").write_text("\n".join(lines))
    calibration = kinds.calibrate(pairs=tmp_path / "pairs.csv", precision=0.95, k=50)
    assert (calibration.learned_from, calibration.queries) == ("pairs", 200)
    assert ACROSS < calibration.threshold < WITHIN + 0.1
    labels = kinds.calibrate(precision=0.95, k=50, save=False)
    assert calibration.threshold == pytest.approx(labels.threshold, abs=0.1)


def test_queries_given_as_objects_are_passed_through_and_unknown_ids_left_out(kinds):
    calibration = kinds.calibrate(pairs_of(kinds, broken=True), precision=0.9)
    assert (calibration.queries, calibration.skipped) == (75, 5)


def test_copies_within_the_index_teach_where_labels_are_missing_and_that_is_said(axes, caplog):
    with ImageIndex(embedder=axes, store=MemoryStore()) as index:
        for kind in range(KINDS):
            pictures = near(kind, 20, 0)
            twins = pictures + np.random.default_rng(kind).normal(0, 0.001, pictures.shape)
            for name, vectors in (("a", pictures), ("b", twins.astype(np.float32))):
                index.store.upsert(
                    RecordBatch(
                        tuple(f"{kind}-{number:02}-{name}" for number in range(20)),
                        tuple(f"memory:{kind}-{number}{name}" for number in range(20)),
                        tuple(f"digest {kind}-{number}" for number in range(20)),
                        ({},) * 20,
                        vectors,
                    )
                )
        calibration = index.calibrate(precision=0.9)
        assert (calibration.learned_from, calibration.queries) == ("duplicates", 200)
        assert "no record has the field 'label'" in caplog.text
        assert calibration.threshold > 0.98
        assert index.search(id="0-00-a", min_score="calibrated").ids == ["0-00-b"]


def test_an_index_without_labels_or_copies_cannot_be_calibrated_by_itself(axes):
    with ImageIndex(embedder=axes, store=MemoryStore()) as index:
        fill(index, label=None, each=3)
        with pytest.raises(QueryError, match="no record has the field 'label'"):
            index.calibrate()


def test_a_search_without_a_calibration_names_what_learns_one(kinds):
    with pytest.raises(QueryError, match=r"index\.calibrate"):
        kinds.search(id="0-000", min_score="calibrated")
    with pytest.raises(QueryError, match="a number or 'calibrated'"):
        kinds.search(id="0-000", min_score="best")
    assert kinds.calibration is None


def test_a_reopened_index_remembers_and_so_does_another_process(axes, tmp_path):
    with ImageIndex(tmp_path / "kinds.idx", embedder=axes) as index:
        calibration = fill(index).calibrate(precision=0.9, k=50)
        again = subprocess.run(
            [
                sys.executable,
                "-c",
                _READER,
                str(tmp_path / "kinds.idx"),
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        here = len(index.search(id="0-000", k=60, min_score="calibrated"))
    seen, found = json.loads(again.stdout)
    assert Calibration.from_dict(seen) == calibration
    assert found == here
    with ImageIndex(tmp_path / "kinds.idx", embedder=axes) as index:
        assert index.calibration == calibration


def test_a_calibration_of_a_projected_index_is_its_own(kinds):
    kinds.calibrate(precision=0.9, k=50)
    with kinds.fit_projection(MemoryStore(), dim=4) as projected:
        assert projected.calibration is None
        projected.store.note("calibration", kinds.store.notes()["calibration"])
        with pytest.raises(QueryError, match="projection none and this index has projection '"):
            projected.search(id="0-000", min_score="calibrated")
        projected.calibrate(precision=0.9, k=50)
        assert len(projected.search(id="0-000", min_score="calibrated")) > 0


@pytest.mark.parametrize("what", ["fingerprint", "metric"])
def test_a_calibration_of_another_embedder_or_metric_is_refused(kinds, what):
    calibration = kinds.calibrate(precision=0.9, k=50)
    kinds.store.note("calibration", replace(calibration, **{what: "other"}).to_dict())
    with pytest.raises(QueryError, match=r"learned with .* 'other'"):
        kinds.search(id="0-000", min_score="calibrated")


def test_a_calibration_that_cannot_be_read_is_refused_in_words(kinds):
    kinds.store.note("calibration", {"threshold": "high"})
    with pytest.raises(QueryError, match="create a new one"):
        kinds.search(id="0-000", min_score="calibrated")


@pytest.mark.parametrize(
    "query",
    [
        Query.image(np.zeros((4, 8, 3), np.uint8), box=(0, 0, 8, 1)),
        Query.id("0-000") + Query.id("0-001"),
        Query.id("0-000") - 0.5 * Query.id("1-000"),
        -Query.id("0-000"),
    ],
    ids=["a region", "a sum", "a difference", "the opposite"],
)
def test_scores_of_regions_and_combinations_are_not_what_was_calibrated(kinds, query):
    kinds.calibrate(precision=0.97, k=50)
    with pytest.raises(QueryError, match=r"one whole image.*use a number"):
        kinds.search(query, min_score="calibrated")
    with pytest.raises(QueryError, match=r"one whole image.*use a number"):
        kinds.search_many([Query.id("0-000"), query], min_score="calibrated")
    assert len(kinds.search(query, min_score=-1.0)) == 10


def test_one_plain_query_may_be_weighted_and_a_box_without_weight_is_none(kinds):
    threshold = kinds.calibrate(precision=0.97, k=50).threshold
    whole = next(labelled(0, 1)).source
    for query in (2 * Query.id("0-000"), Query.image(whole, box=(0, 0, 8, 1), focus=0.0)):
        found = kinds.search(query, k=60, min_score="calibrated")
        assert found.ids == kinds.search(query, k=60, min_score=threshold).ids != []


def test_regions_and_combinations_do_not_teach(kinds, caplog):
    asked = [
        *pairs_of(kinds),
        EvaluationQuery(Query.id("0-000") + Query.id("0-001"), "a sum", relevant={"0-002": 1.0}),
    ]
    calibration = kinds.calibrate(asked, precision=0.9)
    assert (calibration.queries, calibration.skipped) == (80, 1)
    assert "a sum" in caplog.text


def test_texts_and_images_are_calibrated_apart():
    with ImageIndex(embedder=SmallTextEmbedder(), store=MemoryStore()) as index:
        colours = ("red", "green", "blue")
        index.add(
            Item(Image.new("RGB", (9, 9), SmallTextEmbedder.COLOURS[name]), id=f"{name}-{number}")
            for name in colours
            for number in range(3)
        )
        asked = [
            EvaluationQuery(Query.text(name), name, relevant={f"{name}-{n}": 1.0 for n in range(3)})
            for name in colours
            for _ in range(30)
        ]
        assert index.calibrate(asked, precision=0.9).kind == "text"
        assert sorted(index.search(text="red", min_score="calibrated").ids) == [
            "red-0",
            "red-1",
            "red-2",
        ]
        with pytest.raises(QueryError, match="learned from text queries"):
            index.search(id="red-0", min_score="calibrated")
        mixed = [*asked, EvaluationQuery(Query.id("red-0"), "red", relevant={"red-1": 1.0})]
        with pytest.raises(QueryError, match="one kind of query at a time"):
            index.calibrate(mixed)


def test_a_store_without_notes_gives_the_threshold_but_cannot_keep_it(axes):
    with ImageIndex(embedder=axes, store=WithoutNotes()) as index:
        fill(index)
        with pytest.raises(
            UnsupportedOperationError, match="pass the calibration's threshold as min_score"
        ):
            index.calibrate(precision=0.9)
        calibration = index.calibrate(precision=0.9, k=50, save=False)
        assert 0 < len(index.search(id="0-000", k=60, min_score=calibration.threshold)) < 60
        with pytest.raises(QueryError, match="its store cannot save one"):
            index.search(id="0-000", min_score="calibrated")


def test_an_index_that_may_not_be_written_says_so_before_the_work(axes, tmp_path):
    with ImageIndex(tmp_path / "kinds.idx", embedder=axes) as index:
        fill(index)
        with ImageIndex(tmp_path / "kinds.idx", embedder=axes) as other:
            with pytest.raises(StoreLockedError):
                other.calibrate(precision=0.9, k=50)
            assert other.calibrate(precision=0.9, k=50, save=False)
    with (
        ImageIndex(store=LocalStore(tmp_path / "kinds.idx", read_only=True)) as reader,
        pytest.raises(UnsupportedOperationError, match="read_only"),
    ):
        reader.calibrate(precision=0.9, k=50)


@pytest.mark.parametrize(
    "options",
    [
        {"precision": 1.0},
        {"precision": "0.9"},
        {"k": 0},
        {"k": 2.5},
        {"sample": True},
        {"sample": "9"},
        {"source": [], "pairs": "pairs.csv"},
    ],
    ids=str,
)
def test_options_out_of_range_are_refused(kinds, options):
    with pytest.raises(ConfigError):
        kinds.calibrate(**options)


def test_options_may_be_numbers_of_numpy(kinds):
    calibration = kinds.calibrate(precision=np.float32(0.75), k=np.int64(50), sample=np.int32(200))
    assert kinds.calibration == calibration == kinds.calibrate(precision=0.75, k=50)
