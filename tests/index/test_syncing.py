"""Keeping an index the same as a source."""

from __future__ import annotations

import pytest

from imagesearch import Item
from imagesearch.errors import SourceError


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


def test_items_can_be_synced_too(index, photos):
    items = [Item(photos / f"{n:02}.png", id=str(n)) for n in range(5)]
    index.add(items)
    assert index.sync(items[2:]).removed == ["0", "1"]
