"""A sync keeps what is only out of reach, and asks before it removes a large part of an index."""

from __future__ import annotations

import os
import shutil

import pytest
from PIL import Image

from imagesearch import ImageIndex, Item, MemoryStore
from imagesearch.errors import (
    FetchError,
    RemovalRefusedError,
    SourceError,
    SourceNotFoundError,
)


def draw(path, number=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (12, 9), (number % 256, 7 * number % 256, 90)).save(path)


@pytest.fixture
def index(embedder):
    with ImageIndex(embedder=embedder, store=MemoryStore()) as index:
        yield index


@pytest.fixture
def library(tmp_path):
    """Twenty local images, and four below ``nas``, where a share is mounted."""
    folder = tmp_path / "library"
    for number in range(20):
        draw(folder / f"{number:02}.png", number)
    for number in range(4):
        draw(folder / "nas" / "2024" / f"{number}.png", 100 + number)
    return folder


def unmount(folder):
    """Leave an empty folder, as the operating system shows a share that is not mounted."""
    shutil.rmtree(folder)
    folder.mkdir()


def ids_below(index, folder):
    return sorted(
        record.id
        for batch in index.scan()
        for record in batch
        if record.uri.startswith(f"{folder}{os.sep}")
    )


@pytest.fixture
def synced(index, library):
    index.sync(library)
    return ids_below(index, library / "nas")


def test_records_below_a_mount_point_that_is_empty_stay_and_are_reported(index, library, synced):
    index.update_metadata({"favourite": True}, ids=synced)
    unmount(library / "nas")
    (library / "03.png").unlink()
    report = index.sync(library)
    assert (len(report.removed), len(report.unchanged), sorted(report.kept)) == (1, 19, synced)
    [failure] = report.failed
    assert failure.source == str(library / "nas")
    assert isinstance(failure.error, FetchError)
    assert "is empty" in str(failure.error)
    assert "4 records" in str(failure.error)
    assert not report.ok
    assert "4 kept" in str(report)
    assert index.get(synced)[synced[0]].metadata == {"favourite": True}
    for number in range(4):
        draw(library / "nas" / "2024" / f"{number}.png", 100 + number)
    assert (index.sync(library).ok, index.count()) == (True, 23)


def test_hidden_files_at_a_mount_point_do_not_count(index, library, synced):
    unmount(library / "nas")
    (library / "nas" / ".DS_Store").write_bytes(b"")
    assert sorted(index.sync(library).kept) == synced


def test_a_folder_that_is_gone_from_its_parent_was_removed(index, library, synced):
    shutil.rmtree(library / "nas")
    report = index.sync(library)
    assert (sorted(report.removed), report.kept, report.ok) == (synced, [], True)


def test_a_folder_that_was_replaced_by_a_file_was_removed(index, library, synced):
    shutil.rmtree(library / "nas")
    (library / "nas").write_text("moved to the cellar")
    assert sorted(index.sync(library).removed) == synced


def test_an_empty_folder_keeps_its_records_until_it_is_removed_too(index, library, synced):
    for file in (library / "nas" / "2024").iterdir():
        file.unlink()
    assert sorted(index.sync(library).kept) == synced
    (library / "nas" / "2024").rmdir()
    assert sorted(index.sync(library).kept) == synced
    (library / "nas").rmdir()
    assert sorted(index.sync(library).removed) == synced


def test_files_that_moved_out_of_a_folder_leave_no_records_behind(index, library, synced):
    index.update_metadata({"favourite": True}, ids=synced)
    (library / "sorted").mkdir()
    for file in (library / "nas" / "2024").iterdir():
        file.rename(library / "sorted" / file.name)
    report = index.sync(library)
    assert (sorted(report.removed), report.kept, report.ok) == (synced, [], True)
    assert all(record.metadata for record in index.get(report.added).values())
    assert len(report.added) == 4


@pytest.mark.parametrize("linked", ["file", "folder"])
def test_records_behind_a_link_that_dangles_stay(index, library, synced, tmp_path, linked):
    if linked == "file":
        draw(tmp_path / "elsewhere.png", 77)
        link, target = library / "link.png", tmp_path / "elsewhere.png"
    else:
        draw(tmp_path / "elsewhere" / "a.png", 77)
        link, target = library / "link", tmp_path / "elsewhere"
    link.symlink_to(target)
    [behind] = index.sync(library).added
    target.rename(tmp_path / "unplugged")
    report = index.sync(library)
    assert (report.removed, report.kept) == ([], [behind])
    [failure] = report.failed
    assert failure.source == str(link)
    assert "symbolic link" in str(failure.error)
    link.unlink()
    assert index.sync(library).removed == [behind]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may do anything")
def test_records_below_an_unreadable_folder_of_an_odd_name_stay(index, library):
    folder = library / "tab\there"
    draw(folder / "a.png", 50)
    index.sync(library)
    folder.chmod(0)
    try:
        report = index.sync(library)
    finally:
        folder.chmod(0o700)
    assert (report.removed, len(report.kept), len(report.failed)) == ([], 1, 1)


def test_an_empty_folder_ends_a_strict_sync_before_anything_is_removed(index, library, synced):
    unmount(library / "nas")
    (library / "03.png").unlink()
    with pytest.raises(FetchError, match="is empty"):
        index.sync(library, on_error="raise")
    assert index.count() == 24


@pytest.mark.parametrize(
    "source",
    [
        lambda library: f"{library}/**/*.png",
        lambda library: [str(library)],
        lambda library: [library, library / "nas"],
        lambda library: [f"{library}/*.png", f"{library}/nas/*/*.png"],
    ],
    ids=["glob", "list", "folders", "globs"],
)
def test_globs_and_lists_of_folders_keep_what_is_out_of_reach_too(index, library, source):
    index.sync(source(library))
    behind = ids_below(index, library / "nas")
    unmount(library / "nas")
    report = index.sync(source(library))
    assert (report.removed, sorted(report.kept)) == ([], behind)
    assert not report.ok


def test_a_folder_in_a_list_that_is_missing_keeps_its_records(index, library, synced, tmp_path):
    other = tmp_path / "other"
    draw(other / "a.png", 60)
    [behind] = index.sync([library, other]).added
    shutil.rmtree(other)
    report = index.sync([library, other])
    assert (report.removed, report.kept) == ([], [behind])
    assert [type(failure.error) for failure in report.failed] == [SourceNotFoundError]


def test_rows_of_a_manifest_whose_folder_is_missing_or_empty_keep_their_records(index, tmp_path):
    lines = ["id,path"]
    for number in range(12):
        draw(tmp_path / "here" / f"{number}.png", number)
        draw(tmp_path / "share" / f"{number}.png", 100 + number)
        lines += [f"h{number},here/{number}.png", f"s{number},share/{number}.png"]
    manifest = tmp_path / "photos.csv"
    manifest.write_text("\n".join(lines))
    index.sync(manifest)
    (tmp_path / "here" / "3.png").unlink()
    unmount(tmp_path / "share")
    report = index.sync(manifest)
    assert (report.removed, len(report.failed), len(report.kept)) == (["h3"], 13, 12)
    (tmp_path / "share").rmdir()
    report = index.sync(manifest)
    assert (report.removed, len(report.failed), len(report.kept)) == ([], 13, 12)


def test_a_manifest_of_which_most_rows_are_gone_removes_nothing(index, tmp_path):
    manifest = tmp_path / "photos.csv"
    for number in range(40):
        draw(tmp_path / f"{number}.png", number)
    rows = [f"n{number},{number}.png" for number in range(40)]
    manifest.write_text("\n".join(["id,path", *rows]))
    index.sync(manifest)
    draw(tmp_path / "new.png", 99)
    manifest.write_text("\n".join(["id,path", "new,new.png", "missing,missing.png", *rows[:3]]))
    with pytest.raises(RemovalRefusedError, match="37 of 40") as caught:
        index.sync(manifest)
    error = caught.value
    assert sorted(error.ids) == sorted(f"n{number}" for number in range(3, 40))
    assert (error.total, error.allowable, error.report.added) == (40, True, ["new"])
    assert (len(error.report.failed), error.report.removed, index.count()) == (1, [], 41)
    report = index.sync(manifest, allow_removing=True)
    assert (len(report.removed), index.count()) == (37, 4)


@pytest.mark.parametrize(
    ("held", "gone", "refused"),
    [(12, 10, False), (12, 11, True), (119, 11, False), (109, 11, True)],
    ids=["ten", "eleven", "less than a tenth", "more than a tenth"],
)
def test_more_than_ten_and_more_than_a_tenth_is_refused(index, tmp_path, held, gone, refused):
    items = []
    for number in range(held):
        draw(tmp_path / f"{number}.png", number)
        items.append(Item(tmp_path / f"{number}.png", id=f"n{number}"))
    index.sync(items)
    if refused:
        with pytest.raises(RemovalRefusedError):
            index.sync(items[gone:])
        assert index.count() == held
    else:
        assert len(index.sync(items[gone:]).removed) == gone


def test_a_folder_counts_only_its_own_records(index, library, tmp_path):
    for number in range(300):
        draw(tmp_path / "other" / f"{number}.png", number)
    index.add([library, tmp_path / "other"])
    for number in range(15):
        (library / f"{number:02}.png").unlink()
    with pytest.raises(RemovalRefusedError, match="15 of 24"):
        index.sync(library)
    assert len(index.sync(library, allow_removing=True).removed) == 15


def test_a_large_folder_that_was_renamed_is_not_taken_for_an_accident(index, library):
    index.sync(library)
    (library / "renamed").mkdir()
    for number in range(18):
        (library / f"{number:02}.png").rename(library / "renamed" / f"{number:02}.png")
    report = index.sync(library)
    assert (len(report.added), len(report.removed), report.embedded) == (18, 18, 0)


@pytest.mark.parametrize("allow", [False, True])
@pytest.mark.parametrize("source", ["list", "generator", "csv", "jsonl", "folder"])
def test_a_source_that_became_empty_removes_nothing_even_if_allowed(
    index, library, tmp_path, source, allow
):
    index.sync(library)
    empty = tmp_path / f"empty.{source}"
    if source == "folder":
        unmount(library)
    else:
        empty.write_text("path\n" if source == "csv" else "")
    given = {"list": [], "generator": iter(()), "folder": library}.get(source, empty)
    with pytest.raises(RemovalRefusedError, match="no readable image") as caught:
        index.sync(given, allow_removing=allow)
    assert (caught.value.allowable, index.count()) == (False, 24)
    assert isinstance(caught.value, SourceError)


def test_a_glob_whose_root_is_missing_is_not_found(index, library, synced):
    unmount(library)
    with pytest.raises(SourceNotFoundError):
        index.sync(f"{library}/**/[0-9]*.png")
    assert index.count() == 24


@pytest.mark.parametrize("left", ["an empty folder", "nothing"])
@pytest.mark.parametrize(
    "source",
    [
        lambda *folders: iter(folders),
        lambda *folders: (str(folder) for folder in folders),
        lambda *folders: [iter([folder]) for folder in folders],
        lambda *folders: (f"{folder}/*.png" for folder in folders),
    ],
    ids=["iterator", "generator", "list of iterators", "globs"],
)
def test_iterators_of_folders_keep_what_is_out_of_reach_too(index, tmp_path, source, left):
    here, share = tmp_path / "here", tmp_path / "share"
    for number in range(4):
        draw(here / f"{number}.png", number)
        draw(share / f"{number}.png", 100 + number)
    index.sync(source(here, share))
    behind = ids_below(index, share)
    unmount(share)
    if left == "nothing":
        share.rmdir()
    report = index.sync(source(here, share))
    assert (report.removed, sorted(report.kept), report.ok) == ([], behind, False)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_a_manifest_in_a_list_that_cannot_be_read_ends_the_sync(index, tmp_path, suffix):
    manifests = [tmp_path / f"here{suffix}", tmp_path / f"share{suffix}"]
    for number, manifest in enumerate(manifests):
        draw(tmp_path / f"{number}.png", number)
        rows = {".jsonl": f'{{"path": "{number}.png"}}\n'}
        manifest.write_text(rows.get(suffix, f"path\n{number}.png\n"))
    index.sync(manifests)
    manifests[1].rename(tmp_path / "unplugged")
    with pytest.raises(SourceError, match="nothing was removed"):
        index.sync(manifests, allow_removing=True)
    with pytest.raises(SourceError, match="nothing was removed"):
        index.sync(map(str, manifests), allow_removing=True)
    assert index.count() == 2


def test_a_named_image_stays_whatever_was_looked_for_before_it(index, tmp_path):
    folder = tmp_path / "photos"
    for name in ["trip/0.png", "trip/1.png", "trip/2.png", "9.png"]:
        draw(folder / name, len(name))
    manifest = tmp_path / "best.csv"
    manifest.write_text("path\nphotos/trip/1.png\n")
    index.sync([folder, manifest])
    [named] = [id for id in ids_below(index, folder) if "1.png" in index.get(id)[id].uri]
    shutil.rmtree(folder / "trip")
    report = index.sync([folder, manifest])
    assert (len(report.removed), report.kept) == (2, [named])


def test_a_row_whose_new_place_is_out_of_reach_keeps_its_record(index, tmp_path):
    rows = []
    for number in range(4):
        draw(tmp_path / "old" / f"{number}.png", number)
        rows.append(f"n{number},old/{number}.png")
    manifest = tmp_path / "photos.csv"
    manifest.write_text("\n".join(["id,path", *rows]))
    index.sync(manifest)
    (tmp_path / "old" / "1.png").unlink()
    (tmp_path / "old" / "2.png").unlink()
    draw(tmp_path / "new" / "3.png", 3)
    manifest.write_text("id,path\nn0,old/0.png\nn1,share/1.png\nn2,new/2.png\nn3,new/3.png\n")
    report = index.sync(manifest)
    assert (report.removed, report.kept) == (["n2"], ["n1"])
