"""Keeping an index the same as a source."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from imagesearch import ImageIndex, Item, MemoryStore
from imagesearch.errors import SourceError, SourceNotFoundError


def uris(index):
    return {record.uri for batch in index.scan() for record in batch}


def test_a_file_that_is_gone_is_removed(index, embedder, photos):
    index.add(photos)
    (photos / "03.png").unlink()
    report = index.sync(photos)
    assert (len(report.removed), len(report.unchanged), report.embedded) == (1, 11, 0)
    assert str(photos / "03.png") not in uris(index)
    assert index.sync(photos).removed == []


def test_a_renamed_file_keeps_its_vector(index, embedder, photos):
    index.add(photos)
    (photos / "03.png").rename(photos / "renamed.png")
    report = index.sync(photos)
    assert (len(report.added), len(report.removed), report.embedded) == (1, 1, 0)
    assert embedder.embedded == 12
    assert index.search(photos / "renamed.png", k=1)[0].uri == str(photos / "renamed.png")


def test_a_moved_file_takes_its_metadata_along(index, embedder, photos):
    index.add(photos)
    [id] = index.search(photos / "03.png", k=1).ids
    index.update_metadata({"favourite": True}, ids=id)
    (photos / "more" / "deep").mkdir()
    (photos / "03.png").rename(photos / "more" / "deep" / "moved.png")
    report = index.sync(photos)
    assert (report.removed, report.embedded) == ([id], 0)
    [new] = report.added
    assert index.get(new)[new].metadata == {"favourite": True}


def test_a_copy_of_a_file_begins_without_its_metadata(index, photos):
    index.add(photos, metadata={"favourite": True})
    (photos / "copy.png").write_bytes((photos / "03.png").read_bytes())
    [new] = index.sync(photos).added
    assert index.get(new)[new].metadata == {}


def test_the_moved_file_of_two_copies_gives_its_metadata(index, photos):
    (photos / "twin.png").write_bytes((photos / "03.png").read_bytes())
    index.add(photos)
    twins = {
        record.uri[-8:]: record.id
        for batch in index.scan()
        for record in batch
        if record.uri.endswith(("/twin.png", "/03.png"))
    }
    moved = twins["twin.png"]
    index.update_metadata({"favourite": True}, ids=moved)
    (photos / "twin.png").rename(photos / "a.png")
    [new] = index.sync(photos).added
    assert index.get(new)[new].metadata == {"favourite": True}


def test_a_moved_file_with_metadata_of_its_own_takes_none(index, photos):
    index.add(photos, metadata={"favourite": True})
    (photos / "03.png").rename(photos / "moved.png")
    [new] = index.sync(photos, metadata={"album": "x"}).added
    assert index.get(new)[new].metadata == {"album": "x"}


def test_files_that_swap_their_names_swap_their_vectors(embedder, photos):
    with ImageIndex(embedder=embedder, store=MemoryStore(), batch_size=1) as index:
        index.add(photos)
        (photos / "00.png").rename(photos / "spare.png")
        (photos / "09.png").rename(photos / "00.png")
        (photos / "spare.png").rename(photos / "09.png")
        assert len(index.sync(photos).updated) == 2
        for name in ("00.png", "09.png"):
            assert index.search(photos / name, k=1)[0].uri == str(photos / name)


def test_only_records_below_the_folder_are_considered(index, photos, tmp_path):
    other = tmp_path / "photos-2"
    other.mkdir()
    (photos / "03.png").rename(other / "03.png")
    index.add([photos, other])
    (photos / "04.png").unlink()
    report = index.sync(photos)
    assert len(report.removed) == 1
    assert str(other / "03.png") in uris(index)


def test_a_manifest_names_all_that_the_index_shall_hold(index, photos):
    manifest = photos / "photos.csv"
    manifest.write_text("id,path\na,00.png\nb,01.png\nc,02.png\n")
    index.add(manifest)
    manifest.write_text("id,path\na,00.png\nc,02.png\n")
    assert index.sync(manifest).removed == ["b"]
    (photos / "02.png").unlink()
    report = index.sync(manifest)
    assert report.removed == ["c"]
    assert len(report.failed) == 1


def test_an_image_that_cannot_be_read_now_keeps_its_record(index, photos):
    index.add(photos)
    (photos / "03.png").write_bytes(b"half written")
    report = index.sync(photos)
    assert (len(report.failed), report.removed) == (1, [])
    assert index.count() == 12


def test_a_source_without_any_image_removes_nothing(index, photos, tmp_path):
    index.add(photos)
    photos.rename(tmp_path / "elsewhere")
    photos.mkdir()
    with pytest.raises(SourceError, match="not mounted"):
        index.sync(photos)
    assert index.count() == 12


def test_a_manifest_with_a_line_that_makes_no_sense_removes_nothing(index, photos):
    manifest = photos / "photos.jsonl"
    manifest.write_text('{"id": "a", "path": "00.png"}\n{"id": "b", "path": "01.png"}\n')
    index.add(manifest)
    manifest.write_text('{"id": "a", "path": "00.png"}\n{"id": "b", "pa\n')
    with pytest.raises(SourceError, match="nothing was removed"):
        index.sync(manifest)
    assert index.count() == 2


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path,
        str,
        lambda path: path.read_bytes(),
        lambda path: bytearray(path.read_bytes()),
        lambda _: Image.new("RGB", (9, 9)),
        lambda path: np.zeros((9, 9, 3), np.uint8),
        Item,
        lambda path: "https://example.org/new.png",
    ],
    ids=["path", "text", "bytes", "bytearray", "picture", "array", "item", "url"],
)
def test_one_image_by_itself_is_refused_before_anything_is_done(index, embedder, photos, make):
    index.add(photos)
    new = photos.parent / "new.png"
    Image.new("RGB", (9, 9)).save(new)
    with pytest.raises(SourceError, match=r"add.*delete"):
        index.sync(make(new))
    assert (index.count(), embedder.embedded) == (12, 12)


def test_a_list_of_one_image_is_all_that_the_index_shall_hold(index, photos):
    index.add(photos)
    assert len(index.sync([photos / "03.png"], allow_removing=True).removed) == 11


def test_a_source_that_is_not_there_is_not_found_in_a_sync_too(index, photos):
    index.add(photos)
    with pytest.raises(SourceNotFoundError, match="new"):
        index.sync(photos / "new.png")


def test_items_can_be_synced_too(index, photos):
    items = [Item(photos / f"{n:02}.png", id=str(n)) for n in range(5)]
    index.add(items)
    assert index.sync(items[2:]).removed == ["0", "1"]


def describe_each(index):
    """Give each record its own metadata, so that the test sees where they go."""
    for batch in index.scan():
        for record in batch:
            index.update_metadata({"of": record.uri}, ids=record.id)


def described(index):
    return {record.uri: record.metadata.get("of") for batch in index.scan() for record in batch}


def test_equal_images_in_a_folder_that_was_renamed_keep_their_own_metadata(index, tmp_path):
    for name in ["a/x/cover.png", "a/x/blank.png", "a/y/cover.png", "b/cover.png"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 9), "white").save(tmp_path / name)
    index.sync(tmp_path)
    describe_each(index)
    (tmp_path / "a").rename(tmp_path / "new")
    report = index.sync(tmp_path)
    assert (len(report.added), len(report.removed), report.embedded) == (3, 3, 0)
    assert described(index) == {
        f"{tmp_path}/new/x/cover.png": f"{tmp_path}/a/x/cover.png",
        f"{tmp_path}/new/x/blank.png": f"{tmp_path}/a/x/blank.png",
        f"{tmp_path}/new/y/cover.png": f"{tmp_path}/a/y/cover.png",
        f"{tmp_path}/b/cover.png": f"{tmp_path}/b/cover.png",
    }


def test_equal_images_whose_names_changed_share_their_metadata_out(index, tmp_path):
    for number in range(4):
        Image.new("RGB", (9, 9), "white").save(tmp_path / f"{number}.png")
    index.sync(tmp_path)
    describe_each(index)
    before = set(described(index))
    for number in range(4):
        (tmp_path / f"{number}.png").rename(tmp_path / f"new{number}.png")
    index.sync(tmp_path)
    assert set(described(index).values()) == before


@pytest.mark.parametrize("copies", [False, True])
def test_a_file_that_is_now_found_behind_a_link_keeps_its_metadata(index, tmp_path, copies):
    folder = tmp_path / "photos"
    (folder / "real").mkdir(parents=True)
    for number in range(3):
        image = Image.new("RGB", (9, 9), (0 if copies else 40 * number, 0, 0))
        image.save(folder / "real" / f"{number}.png")
    index.sync(f"{folder}/*/*.png")
    describe_each(index)
    before = described(index)
    (folder / "also").symlink_to("real")
    index.sync(f"{folder}/*/*.png")
    assert set(described(index).values()) == set(before)
