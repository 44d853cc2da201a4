"""Copies between two indexes, and uploads that are already in the index."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from imagesearch import DescriptorEmbedder, ImageIndex, Item, LocalStore, MemoryStore
from imagesearch.errors import IncompatibleIndexError, SourceError
from tests.duplicates.conftest import COPIES, texture
from tests.small_embedder import SmallEmbedder


@pytest.fixture
def split(images):
    """(train, test): originals here, copies and three new images there."""
    with (
        ImageIndex(embedder=DescriptorEmbedder(), store=MemoryStore()) as train,
        ImageIndex(embedder=DescriptorEmbedder(), store=MemoryStore()) as test,
    ):
        for path in sorted(images.iterdir()):
            leaks = "-" in path.name or path.stem in {"09", "10", "11"}
            (test if leaks else train).add(Item(path, id=path.name), on_error="raise")
        yield train, test


def test_leaks_of_every_kind_are_reported_once_with_their_original(split):
    train, test = split
    report = test.duplicates(against=train)
    assert [group.ids for group in report] == [
        *((f"{number:02}.png", f"{number:02}-{kind}.jpg") for number, kind in enumerate(COPIES)),
        ("06.png", "06-same.png"),
    ]
    assert report[-1].tier == "exact"
    assert report[4].copies[0].mirrored
    assert report.images == 10
    assert set(report.extras) <= {id for batch in test.scan() for id in batch.ids}
    assert "other" in str(report)


def test_each_tier_alone_finds_its_own_leaks(split):
    train, test = split
    assert test.duplicates(against=train, tiers=["exact"]).extras == ["06-same.png"]
    assert len(test.duplicates(against=train, tiers=["near"]).extras) == 7
    assert "00-encoded.jpg" in test.duplicates(against=train, tiers=["semantic"]).extras


def test_other_embedders_can_be_compared_by_digest_and_hash_only(split, images):
    _, test = split
    with ImageIndex(embedder=SmallEmbedder(), store=MemoryStore()) as other:
        other.add(images / "00.png")
        with pytest.raises(IncompatibleIndexError):
            test.duplicates(against=other)
        assert test.duplicates(against=other, tiers=["exact", "near"]).extras == ["00-encoded.jpg"]


def test_an_index_without_records_leaks_nothing(split):
    train, _ = split
    with ImageIndex(embedder=DescriptorEmbedder(), store=MemoryStore()) as empty:
        assert not empty.duplicates(against=train)
        assert not train.duplicates(against=empty)


@pytest.fixture
def filled(index, images):
    originals = sorted(path for path in images.iterdir() if "-" not in path.name)
    index.add([Item(path, id=path.name) for path in originals[:-1]], on_error="raise")
    return index


def test_an_upload_is_matched_by_the_strongest_tier(filled, images):
    exact = filled.is_duplicate((images / "06-same.png").read_bytes())
    assert (exact.id, exact.tier, exact.score) == ("06.png", "exact", 1.0)
    for number, kind in enumerate(COPIES):
        match = filled.is_duplicate(images / f"{number:02}-{kind}.jpg")
        assert (match.id, match.tier) == (f"{number:02}.png", "near")
        assert match.mirrored == (kind == "mirrored")
        assert match.uri == str(images / f"{number:02}.png")


def test_an_upload_is_matched_by_embedding_when_the_original_cannot_be_opened(filled, images):
    (images / "00.png").unlink()
    match = filled.is_duplicate(texture(0).resize((300, 225)))
    assert (match.id, match.tier) == ("00.png", "semantic")
    assert filled.is_duplicate(texture(0).resize((300, 225)), tiers=["exact", "near"]) is None


def test_a_new_image_is_not_a_duplicate_and_is_not_added(filled, images):
    assert filled.is_duplicate(images / "11.png") is None
    assert filled.is_duplicate(np.asarray(texture(11)), threshold=0.999) is None
    assert filled.count() == 11


def test_in_an_empty_index_nothing_is_a_duplicate(index, images):
    assert index.is_duplicate(images / "00.png") is None


def test_an_upload_that_is_not_an_image_is_an_error_that_names_it(filled, tmp_path):
    with pytest.raises(SourceError):
        filled.is_duplicate(b"no image")
    (tmp_path / "notes.png").write_text("no image")
    with pytest.raises(SourceError, match=r"notes\.png looks like text"):
        filled.is_duplicate(tmp_path / "notes.png")


def encoded(image, comment):
    """The same pixels in other bytes."""
    info, buffer = PngInfo(), io.BytesIO()
    info.add_text("Comment", comment)
    image.save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


@pytest.mark.parametrize("kept", ["memory", "int8"])
def test_the_same_bytes_are_found_among_any_number_of_images_with_the_same_pixels(tmp_path, kept):
    store = MemoryStore() if kept == "memory" else LocalStore(tmp_path / "a.idx", dtype="int8")
    image = texture(3).resize((32, 24))
    uploads = [encoded(image, f"{number}") for number in range(200)]
    with ImageIndex(embedder=DescriptorEmbedder(), store=store) as index:
        others = [Item(texture(number), id=f"other {number}") for number in range(4, 12)]
        same = [Item(upload, id=f"{number}") for number, upload in enumerate(uploads)]
        index.add([*others, *same], on_error="raise")
        for number in (0, 19, 20, 57, 199):
            match = index.is_duplicate(uploads[number], tiers=["exact"])
            assert (match.id, match.tier) == (f"{number}", "exact")
        assert index.is_duplicate(encoded(image, "new"), tiers=["exact"]) is None


def test_the_same_bytes_are_found_if_other_images_score_higher():
    with ImageIndex(embedder=SmallEmbedder(), store=MemoryStore(), metric="dot") as index:
        brighter = [Image.new("L", (8, 8), 255 - number) for number in range(90)]
        dark = Image.new("L", (8, 8), 9)
        index.add([*brighter, Item(dark, id="dark")], on_error="raise")
        assert index.search(dark, k=90).ids.count("dark") == 0
        assert index.is_duplicate(dark, tiers=["exact"]).id == "dark"
