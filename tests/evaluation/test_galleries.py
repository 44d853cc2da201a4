"""Galleries that are drawn label by label."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from imagesearch import ImageIndex, Item, MemoryStore
from imagesearch.errors import ConfigError, QueryError
from imagesearch.evaluation import PerLabel, build_gallery, draw_gallery
from tests.evaluation.colours import picture, save_folders
from tests.small_embedder import SmallEmbedder


def sizes(index):
    folders = (Path(uri).parent.name for batch in index.scan() for uri in batch.uris)
    return Counter(folders)


@pytest.fixture
def folder(tmp_path):
    return save_folders(tmp_path / "train", each=10)


def test_two_of_each_label_are_drawn_and_only_those_are_embedded(folder):
    embedder = SmallEmbedder()
    index, report = build_gallery(folder, embedder, per_label=PerLabel(2, 2))
    assert sizes(index) == {"red": 2, "green": 2, "blue": 2}
    assert embedder.embedded == len(report.added) == 6


def test_uneven_galleries_follow_the_seed(folder):
    drawn = [
        sizes(build_gallery(folder, SmallEmbedder(), per_label=PerLabel(1, 10, seed))[0])
        for seed in (0, 0, *range(1, 9))
    ]
    assert drawn[0] == drawn[1]
    counts = {count for one in drawn for count in one.values()}
    assert counts <= set(range(1, 11))
    assert len(counts) > 5


def test_a_small_draw_is_part_of_a_larger_one(folder):
    small, _ = build_gallery(folder, SmallEmbedder(), per_label=PerLabel(2, 2, 7))
    large, _ = build_gallery(folder, SmallEmbedder(), per_label=PerLabel(5, 5, 7))
    ids = [{id for batch in index.scan() for id in batch.ids} for index in (small, large)]
    assert ids[0] < ids[1]


def test_a_label_with_too_few_images_gives_all_it_has(folder):
    index, _ = build_gallery(folder, SmallEmbedder(), per_label=PerLabel(50, 50))
    assert index.count() == 30


def test_inputs_that_fail_are_reported_from_a_draw_too(folder):
    sources = [*folder.glob("red/*.png"), folder / "red" / "gone.png"]
    _, report = build_gallery(sources, SmallEmbedder(), per_label=PerLabel(1, 1))
    assert len(report.added) == 1
    [failure] = report.failed
    assert failure.source.endswith("gone.png")


def test_a_draw_from_an_index_embeds_nothing_and_leaves_it_alone():
    embedder = SmallEmbedder()
    index = ImageIndex(embedder=embedder, store=MemoryStore())
    index.add(
        [
            Item(picture(kind, n), metadata={"label": kind})
            for kind in ("red", "blue")
            for n in range(5)
        ]
    )
    index.add(Item(picture("green", 0), id="unlabelled"))
    before = embedder.embedded
    drawn = draw_gallery(index, PerLabel(3, 3))
    assert embedder.embedded == before
    assert (index.count(), drawn.count()) == (11, 6)
    kept = [record for batch in drawn.scan(vectors=True) for record in batch]
    assert Counter(record.metadata["label"] for record in kept) == {"red": 3, "blue": 3}
    originals = index.get([record.id for record in kept], vectors=True)
    assert all((record.vector == originals[record.id].vector).all() for record in kept)


def test_an_index_without_labels_cannot_be_drawn_from():
    index = ImageIndex(embedder=SmallEmbedder(), store=MemoryStore())
    index.add(picture("red", 0))
    with pytest.raises(QueryError, match="'label'"):
        draw_gallery(index, PerLabel(1, 1))


@pytest.mark.parametrize("text", ["0", "3-2", "two", "-1", "1-", ""])
def test_a_number_for_each_label_that_means_nothing_is_refused(text):
    with pytest.raises(ConfigError):
        PerLabel.parse(text)
