"""Duplicates within an index: the right tier finds each kind of copy, and nothing else."""

from __future__ import annotations

import io
import json
import random
import shutil

import numpy as np
import pytest
from PIL import Image

from imagesearch import (
    EmbeddingSpec,
    Field,
    ImageIndex,
    IndexMeta,
    Item,
    MemoryStore,
    RecordBatch,
    duplicates,
)
from imagesearch.duplicates import DuplicateFinder, Rules
from imagesearch.errors import ConfigError, QueryError
from imagesearch.vectors import normalise
from tests.duplicates.conftest import COPIES, texture
from tests.small_embedder import SmallEmbedder


def add_by_name(index, folder, order=sorted):
    paths = order(folder.iterdir())
    index.add([Item(path, id=path.name) for path in paths], on_error="raise")


def found(report):
    return {copy.id: copy.tier for group in report for copy in group.copies}


def test_the_near_tier_finds_every_kind_of_changed_copy(copied):
    groups = {group.copies[0].id: group for group in copied.duplicates(tiers=["near"])}
    for number, kind in enumerate(COPIES):
        group = groups[f"{number:02}-{kind}.jpg"]
        assert group.keep.id == f"{number:02}.png"
        assert group.copies[0].mirrored == (kind == "mirrored")
        assert group.score > 0.78


def test_the_exact_tier_finds_the_same_bytes_and_nothing_more(copied):
    report = copied.duplicates(tiers=["exact"])
    assert [group.ids for group in report] == [("06.png", "06-same.png")]
    assert (report[0].tier, report[0].score) == ("exact", 1.0)


def test_groups_come_in_the_order_of_their_files(tmp_path):
    for name in "abc":
        texture(ord(name)).save(tmp_path / f"{name}.png")
        shutil.copy(tmp_path / f"{name}.png", tmp_path / f"{name}-again.png")
    with ImageIndex(store=MemoryStore(), embedder=SmallEmbedder()) as index:
        names = sorted(path.name for path in tmp_path.iterdir())
        # Ids that sort the other way round.
        index.add(
            [Item(tmp_path / name, id=f"{99 - row}") for row, name in enumerate(names)],
            on_error="raise",
        )
        report = index.duplicates(tiers=["exact"])
    kept = [group.keep.uri for group in report]
    assert len(kept) == 3
    assert kept == sorted(kept)


def test_the_semantic_tier_finds_close_embeddings(copied):
    copies = found(copied.duplicates(tiers=["semantic"]))
    assert {"00-encoded.jpg", "01-half.jpg", "02-squashed.jpg"} <= set(copies)
    assert set(copies.values()) == {"semantic"}


def test_all_tiers_together_find_all_copies_and_no_other_image(copied):
    report = copied.duplicates()
    groups = sorted(tuple(sorted(group.ids)) for group in report)
    planted = [f"{number:02}-{kind}.jpg" for number, kind in enumerate(COPIES)]
    assert groups == [
        *((name, f"{name[:2]}.png") for name in planted),
        ("06-same.png", "06.png"),
    ]
    assert report.images == 19
    assert found(report)["06-same.png"] == "exact"


def test_groups_do_not_depend_on_the_order_in_which_images_were_added(images):
    reports = []
    for seed in range(3):
        with ImageIndex(embedder=SmallEmbedder(), store=MemoryStore()) as index:
            add_by_name(index, images, lambda paths, s=seed: random.Random(s).sample([*paths], 19))
            reports.append(index.duplicates().to_dict())
    assert reports[0]["groups"]
    assert reports[0] == reports[1] == reports[2]


def test_the_largest_image_is_kept_and_then_the_shortest_path(index, tmp_path):
    texture(1).resize((160, 120)).save(tmp_path / "a.png")
    texture(1).save(tmp_path / "b (copy).png")
    shutil.copy(tmp_path / "b (copy).png", tmp_path / "b.png")
    add_by_name(index, tmp_path)
    [group] = index.duplicates()
    assert group.ids == ("b.png", "b (copy).png", "a.png")
    assert group.keep.dimensions == "320×240"
    assert group.tier == "near"
    assert index.duplicates().extras == ["b (copy).png", "a.png"]


def test_an_image_that_cannot_be_opened_is_reported_and_never_the_one_to_keep(index, tmp_path):
    for name in ("a.png", "longer.png"):
        texture(2).save(tmp_path / name)
    texture(3).save(tmp_path / "other.png")
    add_by_name(index, tmp_path)
    (tmp_path / "a.png").unlink()
    (tmp_path / "other.png").write_bytes(b"")
    report = index.duplicates()
    assert [group.ids for group in report] == [("longer.png", "a.png")]
    assert sorted(failure.id for failure in report.unread) == ["a.png", "other.png"]
    assert "a.png" in str(report.unread[0].error)
    assert "2 images could not be opened" in str(report)


def test_copies_of_a_image_whose_first_file_is_gone_are_still_found(index, tmp_path):
    texture(2).save(tmp_path / "a.png")
    shutil.copy(tmp_path / "a.png", tmp_path / "b.png")
    texture(2).save(tmp_path / "c.jpg", quality=60)
    add_by_name(index, tmp_path)
    (tmp_path / "a.png").unlink()
    report = index.duplicates(tiers=["exact", "near"])
    assert found(report) == {"a.png": "exact", "c.jpg": "near"}


def test_a_file_that_changed_since_it_was_indexed_is_not_compared(index, tmp_path):
    texture(2).save(tmp_path / "a.png")
    texture(3).save(tmp_path / "b.png")
    add_by_name(index, tmp_path)
    shutil.copy(tmp_path / "a.png", tmp_path / "b.png")
    report = index.duplicates()
    assert not report
    assert "has changed since" in str(report.unread[0].error)


def test_images_from_memory_are_compared_by_digest_and_embedding(index):
    small = texture(4).resize((310, 232))
    others = [Item(texture(number), id=f"x{number}") for number in range(5, 12)]
    index.add([Item(texture(4), id="a"), Item(texture(4), id="b"), Item(small, id="c"), *others])
    report = index.duplicates()
    assert found(report) == {"b": "exact", "c": "semantic"}
    assert "added from memory" in str(report.unread[0].error)


def test_a_recoloured_image_and_plain_surfaces_are_not_near_copies(index, tmp_path):
    image = texture(5)
    image.save(tmp_path / "a.png")
    Image.merge("RGB", [image.getchannel(band) for band in "BRG"]).save(tmp_path / "b.png")
    Image.new("RGB", (90, 90), (200, 0, 0)).save(tmp_path / "c.png")
    Image.new("RGB", (80, 80), (0, 0, 130)).save(tmp_path / "d.png")
    add_by_name(index, tmp_path)
    assert not index.duplicates(tiers=["near"])


def test_mirror_images_can_be_ignored(copied):
    copies = found(copied.duplicates(tiers=["near"], mirrored=False))
    assert "04-mirrored.jpg" not in copies
    assert "00-encoded.jpg" in copies


def test_a_filter_leaves_other_records_out(index, images):
    index.add(images, metadata={"sold": False})
    index.add(images / "06-same.png", metadata={"sold": True})
    everything = index.duplicates(tiers=["exact", "semantic"])
    some = index.duplicates(tiers=["exact", "semantic"], where=Field("sold") == False)  # noqa: E712  # a filter
    assert (everything.images, some.images) == (19, 18)
    assert len(some.extras) == len(everything.extras) - 1


def test_an_empty_index_has_no_duplicates(index):
    report = index.duplicates()
    assert list(report) == []
    assert str(report) == "no duplicates among 0 images"


def test_options_out_of_range_are_refused(index):
    with pytest.raises(ConfigError, match="exact, near, semantic"):
        index.duplicates(tiers=["looks"])
    with pytest.raises(ConfigError, match="near_distance"):
        index.duplicates(near_distance=0.6)
    with pytest.raises(ConfigError, match="at most 1"):
        index.duplicates(threshold=95)
    with pytest.raises(ConfigError, match="another index"):
        index.duplicates(against=index)


@pytest.mark.parametrize(
    "options",
    [
        {"threshold": "x"},
        {"threshold": True},
        {"threshold": float("nan")},
        {"near_distance": "a"},
        {"near_distance": -0.1},
        {"near_distance": True},
        {"tiers": None},
        {"tiers": 5},
        {"tiers": [["exact"]]},
        {"tiers": []},
    ],
    ids=str,
)
def test_options_of_another_type_are_refused_by_name(index, options):
    [name] = options
    for ask in (index.duplicates, lambda **given: index.is_duplicate(texture(1), **given)):
        with pytest.raises(ConfigError, match=f"{name} must be"):
            ask(**options)


def test_options_may_be_numbers_of_numpy(copied):
    usual = copied.duplicates(tiers=["near", "semantic"], threshold=0.9, near_distance=0.08)
    same = {"threshold": np.float32(0.9), "near_distance": np.float64(0.08)}
    assert found(copied.duplicates(tiers=("near", "semantic"), **same)) == found(usual)


def test_a_metric_without_comparable_scores_is_refused_for_the_semantic_tier(images):
    with ImageIndex(embedder=SmallEmbedder(), store=MemoryStore(), metric="dot") as index:
        add_by_name(index, images)
        with pytest.raises(QueryError, match="tiers"):
            index.duplicates()
        assert index.duplicates(tiers=["exact", "near"])


def test_the_report_is_written_as_table_json_and_page(copied, tmp_path):
    report = copied.duplicates()
    table = str(report)
    assert "near, mirrored" in table
    assert table.splitlines()[-1] == "7 groups with 7 copies (1 exact, 6 near) among 19 images"
    data = json.loads(json.dumps(report.to_dict()))
    assert len(data["groups"]) == 7
    assert data["groups"][0]["keep"]["width"] == 320
    page = report.save_html(tmp_path / "page.html").read_text()
    assert page.count("data:image/jpeg") == 14


def test_progress_counts_every_record_once_per_tier(copied):
    counted = []
    DuplicateFinder(
        copied.store, copied.meta, Rules.of(["near", "semantic"]), advance=counted.append
    ).run()
    assert sum(counted) == 38


def made_store(vectors, digests=None, store=None):
    store, meta = store or MemoryStore(), IndexMeta(EmbeddingSpec("v", vectors.shape[1], True, "v"))
    store.open(meta)
    ids = tuple(f"{number:04}" for number in range(len(vectors)))
    digests = digests or ("",) * len(ids)
    store.upsert(RecordBatch(ids, ids, digests, ({},) * len(ids), vectors))
    return store, meta


def angles(*degrees):
    radians = np.radians(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def test_in_a_chain_every_copy_matches_the_keeper_itself():
    store, meta = made_store(angles(0, 10, 20, 30, 90))
    rules = Rules.of(["semantic"], threshold=float(np.cos(np.radians(12))))
    groups = [group.ids for group in DuplicateFinder(store, meta, rules).run()]
    assert groups == [("0000", "0001"), ("0002", "0003")]


def test_a_group_larger_than_the_first_search_is_found_completely():
    many = np.repeat(angles(0, 5), 60, axis=0)
    store, meta = made_store(np.concatenate([many, angles(90)]))
    [group] = DuplicateFinder(store, meta, Rules.of(["semantic"], threshold=0.99)).run()
    assert len(group.ids) == 120


class Counting(MemoryStore):
    """Counts the requested hits."""

    asked = 0

    def search(self, vectors, *, k, where=None):
        self.asked += k * len(vectors)
        return super().search(vectors, k=k, where=where)


@pytest.mark.parametrize("noise", [0, 1e-5])
def test_records_that_share_a_vector_are_searched_for_together(noise):
    dice = np.random.default_rng(2)
    kinds = normalise(dice.standard_normal((4, 8)).astype(np.float32))
    vectors = np.concatenate([np.repeat(kinds[:1], 2500, axis=0), np.repeat(kinds[1:], 50, axis=0)])
    vectors += noise * dice.uniform(-1, 1, vectors.shape).astype(np.float32)
    store, meta = made_store(normalise(vectors)[dice.permutation(2650)], store=Counting())
    groups = DuplicateFinder(store, meta, Rules.of(["semantic"], threshold=0.99)).run()
    assert sorted(len(group.ids) for group in groups) == [50, 50, 50, 2500]
    assert store.asked < 10_000


def test_the_semantic_groups_are_those_of_a_full_comparison():
    dice = np.random.default_rng(3)
    centres = dice.standard_normal((60, 16))
    vectors = centres[dice.integers(0, 60, 400)] + 0.1 * dice.standard_normal((400, 16))
    vectors = normalise(vectors.astype(np.float32))
    store, meta = made_store(vectors)
    report = DuplicateFinder(store, meta, Rules.of(["semantic"], threshold=0.9)).run()
    left, expected = list(range(400)), []
    close = vectors.astype(np.float64) @ vectors.T >= 0.9
    while left:
        taken = [row for row in left[1:] if close[left[0], row]]
        if taken:
            expected.append({f"{row:04}" for row in [left[0], *taken]})
        left = [row for row in left[1:] if row not in taken]
    assert [set(group.ids) for group in report] == expected


def test_an_image_kept_in_another_format_is_one_group_with_its_thumbnail(index, tmp_path):
    buffer = io.BytesIO()
    texture(7).resize((80, 60)).save(buffer, "WEBP", quality=60)
    (tmp_path / "thumbnail.webp").write_bytes(buffer.getvalue())
    texture(7).save(tmp_path / "original.png")
    add_by_name(index, tmp_path)
    assert [group.ids for group in index.duplicates()] == [("original.png", "thumbnail.webp")]


def test_images_with_equal_hashes_are_one_group_with_near_ones(index, tmp_path):
    for number in range(30):
        texture(4).save(tmp_path / f"{number:02}.png", compress_level=number % 10)
        texture(4).save(tmp_path / f"{number:02}.bmp")
    texture(4).resize((160, 120)).save(tmp_path / "small.png")
    texture(4).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "turned.png")
    texture(5).save(tmp_path / "other.png")
    add_by_name(index, tmp_path)
    [group] = index.duplicates(tiers=["near"])
    assert len(group.ids) == 62
    assert "other.png" not in group.ids
    assert [copy.id for copy in group.copies if copy.mirrored] == ["turned.png"]


def test_images_with_equal_hashes_leak_with_the_first_of_the_other_index(index, tmp_path):
    for number in range(6):
        texture(4).save(tmp_path / f"{number}.png", compress_level=number)
    with ImageIndex(embedder=SmallEmbedder(), store=MemoryStore()) as other:
        add_by_name(other, tmp_path)
        for number in range(6):
            texture(4).save(tmp_path / f"{number}.bmp")
        index.add([Item(path, id=path.name) for path in sorted(tmp_path.glob("*.bmp"))])
        [group] = index.duplicates(against=other, tiers=["near"])
    assert group.ids == ("0.png", *(f"{number}.bmp" for number in range(6)))


def test_old_names_and_bits_work_with_a_warning(copied):
    with pytest.warns(DeprecationWarning, match="near_distance") as caught:
        report = copied.duplicates(tiers=["near"], max_bits=40)
    assert caught[0].filename == __file__
    assert found(report) == found(copied.duplicates(tiers=["near"], near_distance=40 / 512))
    with (
        pytest.warns(DeprecationWarning, match="max_bits"),
        pytest.raises(ConfigError, match="max_bits"),
    ):
        copied.is_duplicate(texture(1), max_bits=300)
    with pytest.warns(DeprecationWarning, match=r"Match\.image"):
        assert report[0].copies[0].picture is report[0].copies[0].image
    for old, new in (
        ("Finding", "DuplicateFinder"),
        ("Leaks", "CrossIndexFinder"),
        ("Picture", "DuplicateImage"),
        ("MAX_BITS", "NEAR_DISTANCE"),
    ):
        with pytest.warns(DeprecationWarning, match=new):
            getattr(duplicates, old)
