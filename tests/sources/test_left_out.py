"""What folders and globs leave out, and how the report accounts for it."""

import csv
from collections import Counter

import pytest
from PIL import Image

from imagesearch import DescriptorEmbedder, ImageIndex
from imagesearch.errors import ManifestError
from imagesearch.sources import expand
from imagesearch.stores.memory import MemoryStore


def make_images(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 9), (number * 20, 90, 30)).save(path, "PNG")


def names(source):
    return [outcome.source.rsplit("/", 1)[-1] for outcome in expand(str(source))]


@pytest.mark.parametrize(
    "system",
    ["@eaDir", "#recycle", "#snapshot", "@Recycle", "$RECYCLE.BIN", "System Volume Information",
     "lost+found", "@Recently-Snapshot", "__MACOSX", "RECYCLER", "@tmp"],
)  # fmt: skip
def test_folders_that_systems_keep_for_themselves_are_left_out(tmp_path, system):
    make_images(tmp_path, "a.png", f"{system}/deleted.png", f"inner/{system}/thumb.png")
    assert names(tmp_path) == ["a.png"]
    assert names(f"{tmp_path}/**/*.png") == ["a.png"]
    # A user who names such a folder means it.
    assert names(tmp_path / system) == ["deleted.png"]


def test_a_part_that_exists_as_it_is_written_is_not_a_pattern(tmp_path):
    make_images(tmp_path, "Rome [2024]/a.png", "Rome 2/b.png", "Rome 4/c.png")
    assert names(f"{tmp_path}/Rome [2024]/*.png") == ["a.png"]
    assert names(f"{tmp_path}/Rome [24]/*.png") == ["b.png", "c.png"]


def test_a_folder_of_unsupported_images_says_so(tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    for name in ("a.CR2", "b.cr2", "c.dng", "d.psd", "e.jxl", "notes.txt", ".hidden.cr2"):
        (folder / name).write_bytes(b"anything")
    with ImageIndex(store=MemoryStore(), embedder=DescriptorEmbedder()) as index:
        report = index.add(folder)
    assert report.skipped == {".cr2": 2, ".dng": 1, ".psd": 1, ".jxl": 1, ".txt": 1}
    assert "5 skipped, unsupported image format (.cr2, .dng, .jxl, .psd)" in str(report)
    assert report.ok


def test_a_folder_without_any_image_says_what_it_holds(tmp_path):
    (tmp_path / "film.mp4").write_bytes(b"film")
    (tmp_path / "README").write_bytes(b"read me")
    with ImageIndex(store=MemoryStore(), embedder=DescriptorEmbedder()) as index:
        assert "2 skipped, not images by name (.mp4, no suffix)" in str(index.add(tmp_path))
        make_images(tmp_path, "a.png")
        assert "skipped" not in str(index.add(tmp_path))


def test_globs_and_lists_count_what_they_leave_out(tmp_path):
    make_images(tmp_path, "a.png")
    (tmp_path / "b.nef").write_bytes(b"raw")
    skipped = Counter()
    list(expand([f"{tmp_path}/*", str(tmp_path)], skipped=skipped))
    assert skipped == {".nef": 2}


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_url_beside_a_path_is_kept_as_metadata(tmp_path, suffix):
    file = tmp_path / f"photos.{suffix}"
    file.write_text(
        "path,url\na.png,https://example.org/a.png\nb.png,\n,https://example.org/c.png\n"
        if suffix == "csv"
        else '{"path": "a.png", "url": "https://example.org/a.png"}\n{"path": "b.png"}\n'
        '{"url": "https://example.org/c.png"}\n'
    )
    first, second, third = expand(str(file))
    assert (first.uri, first.metadata) == (
        f"{tmp_path}/a.png",
        {"url": "https://example.org/a.png"},
    )
    assert (second.uri, second.metadata) == (f"{tmp_path}/b.png", {})
    assert (third.uri, third.metadata) == ("https://example.org/c.png", {})


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["0.1", "1.5e-07", "1.0"], [0.1, 1.5e-07, 1.0]),
        (["0.1234567890123456789", "1"], None),
        (["1E5", "2E7"], None),
        (["1e5", "12e3"], None),
        (["3.14159265358979323846", "2"], None),
        (["-0", "1"], None),
        (["9007199254740993.5", "1"], None),
        (["1" + "0" * 450 + ".5", "1"], None),
        (["123456.789", "-0.5"], [123456.789, -0.5]),
    ],
)
def test_a_column_becomes_numbers_only_where_none_of_them_changes(tmp_path, cells, values):
    file = tmp_path / "photos.csv"
    file.write_text("path,value\n" + "".join(f"a.png,{cell}\n" for cell in cells))
    assert [item.metadata["value"] for item in expand(str(file))] == (values or cells)


def test_a_very_long_cell_fails_its_own_row_and_says_why(tmp_path):
    file = tmp_path / "photos.csv"
    long = "x" * (csv.field_size_limit() + 1)
    file.write_text(f'path,note\na.png,short\nb.png,{long}\nc.png,"quoted\nline"\n')
    first, second, third = expand(str(file))
    assert first.metadata == {"note": "short"}
    assert "photos.csv:3" in second.source
    assert "more than 131072 characters" in str(second.error)
    assert third.metadata == {"note": "quoted\nline"}


def test_a_row_may_be_long_if_its_cells_are_not(tmp_path):
    file = tmp_path / "photos.csv"
    columns = [f"c{number}" for number in range(200)]
    row = ",".join(["x" * 1000] * 200)
    file.write_text(f"path,{','.join(columns)}\na.png,{row}\n")
    [item] = expand(str(file))
    assert set(item.metadata.values()) == {"x" * 1000}


@pytest.mark.parametrize(
    "content",
    [
        'path,note\na.png,"never closed\nb.png,x\n',
        'path,note\na.png,x\n"b.png,y\n',
    ],
)
def test_a_quote_that_is_never_closed_refuses_the_file(tmp_path, content):
    file = tmp_path / "photos.csv"
    file.write_text(content)
    with pytest.raises(ManifestError, match="never closed"):
        list(expand(str(file)))


def test_quotes_inside_cells_are_text_as_for_the_csv_module(tmp_path):
    file = tmp_path / "photos.csv"
    rows = [
        ["path", "note"],
        ["a.png", '5" disk'],
        ["b.png", 'he said "yes", twice'],
        ["c.png", 'two\nlines with "quotes"\n'],
        ["d.png", '""'],
    ]
    with file.open("w", newline="") as opened:
        csv.writer(opened).writerows(rows)
    file.write_text(file.read_text() + 'e.png,6" disk\n')
    assert [item.metadata["note"] for item in expand(str(file))] == [
        '5" disk',
        'he said "yes", twice',
        'two\nlines with "quotes"',
        '""',
        '6" disk',
    ]
