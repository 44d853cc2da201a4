"""CSV and JSONL manifests."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from imagesearch.errors import FetchError, ManifestError, SourceNotFoundError
from imagesearch.sources import Source, expand
from imagesearch.types import Failure, Item


@pytest.fixture
def manifest(tmp_path):
    """Write a manifest and expand it."""

    def write(content, name="photos.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return list(expand(path))

    return write


def metadata(outcomes):
    return [outcome.metadata for outcome in outcomes]


def test_a_csv_row_is_an_item_whose_path_is_looked_for_beside_the_file(manifest, tmp_path):
    [first, second] = manifest("path,id,label\nsub/a.jpg,one,fish\n/abs/b.jpg,,bird\n")
    assert first == Item(f"{tmp_path}/sub/a.jpg", "one", {"label": "fish"}, f"{tmp_path}/sub/a.jpg")
    assert (second.uri, second.id, second.metadata) == ("/abs/b.jpg", None, {"label": "bird"})


def test_a_type_belongs_to_a_whole_column(manifest):
    rows = manifest(
        "path,whole,number,flag,mixed,code,phone,empty\n"
        "a.jpg,1,1,true,1,00123,+8613800138000,\n"
        "b.jpg,-20,2.5,FALSE,x,456,13800138000,\n"
        "c.jpg,,1e+3,,2.5,,,\n"
    )
    assert metadata(rows) == [
        {"whole": 1, "number": 1.0, "flag": True, "mixed": "1", "code": "00123",
         "phone": "+8613800138000"},
        {"whole": -20, "number": 2.5, "flag": False, "mixed": "x", "code": "456",
         "phone": "13800138000"},
        {"number": 1000.0, "mixed": "2.5"},
    ]  # fmt: skip
    assert isinstance(rows[0].metadata["number"], float)


def test_numbers_that_would_lose_digits_stay_text(manifest):
    [row, _] = manifest(
        "path,order,wide,big,never\n"
        "a.jpg,12345678901234567890,9007199254740993,9223372036854775807,nan\n"
        "b.jpg,1,0.5,1,inf\n"
    )
    assert row.metadata == {
        "order": "12345678901234567890",
        "wide": "9007199254740993",
        "big": 9223372036854775807,
        "never": "nan",
    }


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_separators_line_ends_and_byte_order_marks_make_no_difference(
    manifest, separator, ending, mark
):
    lines = [["path", "标签", "note"], ["a.jpg", "金鱼", f'"two{ending}lines{separator}more"']]
    text = ending.join(separator.join(line) for line in lines) + ending
    [row] = manifest(mark + text.encode())
    assert row.metadata == {"标签": "金鱼", "note": f"two{ending}lines{separator}more"}


@pytest.mark.parametrize(
    ("header", "separator", "name"),
    [
        ("x,y;path", ";", "x,y"),
        ('"two\nlines";path', ";", "two\nlines"),
        ('5" screen;path;"colour"', ";", '5" screen'),
        ("x;y,path", ",", "x;y"),
    ],
)
def test_the_separator_is_that_which_makes_a_column_of_images(manifest, header, separator, name):
    columns = len(header.split(separator))
    [row] = manifest(f"{header}\n" + separator.join(["1", "a.jpg", "red"][:columns]) + "\n")
    assert row.uri.endswith("a.jpg")
    assert row.metadata[name] == 1


def test_a_tsv_is_separated_by_tabs_whatever_else_is_in_its_header(manifest):
    [row] = manifest("path\ta,b,c\nx.jpg\t1\n", name="photos.tsv")
    assert row.metadata == {"a,b,c": 1}


def test_urls_may_stand_in_either_column(manifest, tmp_path):
    rows = manifest("path,url\nhttps://e.org/a.jpg#x,\n,https://e.org/b.jpg\nc.jpg,\n")
    assert [row.uri for row in rows] == [
        "https://e.org/a.jpg",
        "https://e.org/b.jpg",
        f"{tmp_path}/c.jpg",
    ]
    assert metadata(rows) == [None, None, None]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.csv", "path,id\na.jpg,1\nb.jpg,2\n", [None, None]),
        ("a.csv", "path,label\na.jpg,\nb.jpg,cat\n", [{}, {"label": "cat"}]),
        ("a.csv", "path,label\na.jpg,\n", [{}]),
        ("a.jsonl", '{"path": "a.jpg"}\n{"path": "b.jpg", "id": "b"}\n', [None, None]),
        ("a.jsonl", '{"path": "a.jpg"}\n{"path": "b.jpg", "n": 1}\n', [{}, {"n": 1}]),
        ("a.jsonl", '{"path": "a.jpg", "metadata": {}}\n', [{}]),
    ],
)
def test_a_manifest_with_metadata_says_of_every_row_what_it_has(manifest, name, text, expected):
    assert metadata(manifest(text, name=name)) == expected


def test_a_bad_row_is_reported_with_its_line_and_the_rest_is_read(manifest, tmp_path):
    (tmp_path / "folder").mkdir()
    long = "x" * 129
    outcomes = manifest(
        "path,id,label\n"
        "a.jpg,1,fish\n"
        "b.jpg,2\n"
        "c.jpg,3,fish,extra\n"
        '"d.jpg",4,"two\nlines"\n'
        ",5,no path\n"
        "\n"
        f"e.jpg,{long},id too long\n"
        "folder,6,no image\n"
        's3://b/f.jpg,7,scheme\n"g"x.jpg,8,quote\n'
        "last.jpg,9,fish\n"
    )
    bad = {
        outcome.source.rsplit(":")[-1]: outcome
        for outcome in outcomes
        if isinstance(outcome, Failure)
    }
    assert [outcome.id for outcome in outcomes if isinstance(outcome, Item)] == ["1", "4", "9"]
    assert list(bad) == ["3", "4", "7", "9", "10", "11", "12"]
    assert "2 cells and the header 3" in str(bad["3"].error)
    assert "names no image" in str(bad["7"].error)
    assert bad["7"].id == "5"
    assert "128 UTF-8 bytes" in str(bad["9"].error)
    assert "is a folder" in str(bad["10"].error)
    assert "s3://" in str(bad["11"].error)
    assert "quote" in str(bad["12"].error)
    assert all(str(tmp_path / "photos.csv") in str(failure.error) for failure in bad.values())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"file,label\na.jpg,x\n", "no column 'path' or 'url', but 'file', 'label'"),
        (b"Path,label\na.jpg,x\n", "rename 'Path', in lower case"),
        (b"path,label,label\na.jpg,x,y\n", "two columns named 'label'"),
        (b"path,,x\na.jpg,1,2\n", "column 2 has no name"),
        (b"path,uri\na.jpg,x\n", "'uri'"),
        ("path,标签\na.jpg,金鱼\n".encode("gbk"), "photos.csv:1: .*not UTF-8 .*GBK"),
        (b"path,label\na.jpg,ok\nb.jpg,K\xf6ln\n", "photos.csv:3: .*Latin-1"),
        ("path\na.jpg\n".encode("utf-16"), "UTF-16"),
        (b'path,label\na.jpg,"never closed\nb.jpg,x\n', "photos.csv:2: .*quote"),
    ],
)
def test_a_malformed_file_is_refused_before_its_first_row(manifest, content, words):
    with pytest.raises(ManifestError, match=words):
        manifest(content)


def test_in_a_list_a_malformed_manifest_is_a_failure(tmp_path):
    (tmp_path / "bad.csv").write_text("nothing\n")
    (tmp_path / "good.csv").write_text("path\na.jpg\n")
    failure, item = expand([tmp_path / "bad.csv", tmp_path / "good.csv"])
    assert failure.source == str(tmp_path / "bad.csv")
    assert item.uri == str(tmp_path / "a.jpg")


def test_a_glob_may_name_manifests(tmp_path):
    (tmp_path / "1.csv").write_text("path\na.jpg\n")
    (tmp_path / "2.csv").write_text("path\nb.jpg\n")
    assert [item.source for item in expand(f"{tmp_path}/*.csv")] == [
        f"{tmp_path}/a.jpg",
        f"{tmp_path}/b.jpg",
    ]


def test_a_missing_manifest_and_one_that_is_a_pipe_are_refused(tmp_path):
    with pytest.raises(SourceNotFoundError):
        expand(tmp_path / "none.csv")
    import os

    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.csv")
        with pytest.raises(FetchError, match="FIFO"):
            expand(tmp_path / "pipe.csv")


def test_a_jsonl_line_is_an_item_with_its_metadata_as_it_stands(manifest, tmp_path):
    rows = [
        {"path": "a.jpg", "id": "one", "label": "fish", "tags": ["x", 1], "price": 2.0},
        {"path": "b.jpg", "id": 17, "metadata": {"code": "00123", "size": {"w": 3}}, "more": None},
        {"url": "https://e.org/c.jpg"},
    ]
    text = "\ufeff" + "\n\n".join(json.dumps(row) for row in rows) + "\n"
    first, second, third = manifest(text, name="photos.jsonl")
    assert (first.uri, first.id) == (f"{tmp_path}/a.jpg", "one")
    assert first.metadata == {"label": "fish", "tags": ["x", 1], "price": 2.0}
    assert (second.id, second.metadata) == (
        "17",
        {"code": "00123", "size": {"w": 3}, "more": None},
    )
    assert (third.uri, third.metadata) == ("https://e.org/c.jpg", {})
    assert Source(tmp_path / "photos.jsonl").estimate() == 3


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "not a valid JSON object"),
        ('"a.jpg"', "must be a JSON object, got str"),
        ("{}", "names no image"),
        ('{"path": 3}', "names no image"),
        ('{"path": "a.jpg", "id": [1]}', "the id must be text"),
        ('{"path": "a.jpg", "id": true}', "the id must be text"),
        ('{"path": "a.jpg", "price": NaN}', "NaN"),
        ('{"path": "a.jpg", "x": 1, "x": 2}', "'x' is repeated"),
        ('{"path": "a.jpg", "metadata": 3}', "'metadata' must be an object, got int"),
        ('{"path": "a.jpg", "metadata": {"x": 1}, "x": 2}', "'x' is both"),
        ('{"path": "a.jpg", "uri": "u"}', "'uri'"),
        ('{"path": "a.jpg", "n": 99999999999999999999}', "64 bits"),
        ('{"path": "a\\ud800.jpg"}', "not valid"),
        ("[" * 100_000, "not a valid JSON object"),
        ('{"path": "K\xf6ln"}'.encode("latin-1"), "not UTF-8"),
    ],
)
def test_a_bad_jsonl_line_is_reported_with_its_number_and_the_rest_is_read(manifest, line, words):
    line = line if isinstance(line, bytes) else line.encode()
    good, bad, last = manifest(b'{"path": "a.jpg"}\n' + line + b'\n{"path": "b.jpg"}\n', "p.jsonl")
    assert isinstance(good, Item)
    assert isinstance(last, Item)
    assert bad.source.endswith("p.jsonl:2")
    assert "p.jsonl:2: " in str(bad.error)
    assert words in str(bad.error)


def test_a_json_array_is_refused_with_its_remedy(manifest):
    with pytest.raises(ManifestError, match="one object on each line"):
        manifest('[{"path": "a.jpg"}]', name="p.jsonl")


def test_a_csv_of_very_many_columns_is_checked_in_one_pass(tmp_path):
    # Comparing each name with all others would take 40 thousand million steps.
    manifest = tmp_path / "wide.csv"
    columns = [f"c{number}" for number in range(200_000)]
    manifest.write_text(",".join(["path", *columns]) + "\n", encoding="utf-8")
    code = f"from imagesearch.sources import expand; print(len(list(expand({str(manifest)!r}))))"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert run.stdout.strip() == "0"
    manifest.write_text(",".join(["path", *columns, "c7"]) + "\n", encoding="utf-8")
    with pytest.raises(ManifestError, match="two columns named 'c7'"):
        expand(str(manifest))
