"""Which items come out of what is handed in."""

from __future__ import annotations

import hashlib
import inspect
import io
import itertools
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imagesearch import sources
from imagesearch.errors import (
    DecodeError,
    FetchError,
    SourceError,
    SourceNotFoundError,
    StoreRequestError,
)
from imagesearch.sources import (
    Source,
    canonical_uri,
    derive_id,
    describe,
    expand,
    open_image,
    read,
)
from imagesearch.types import Failure, Item
from tests.bad_files import encode, picture

PNG = encode(picture((8, 6)), "PNG")


@pytest.fixture
def tree(tmp_path):
    """photos/{b.png, a.JPG, notes.txt, .hidden.png, .cache/x.png, sub/{c.png, deep/d.png}}."""
    root = tmp_path / "photos"
    (root / "sub" / "deep").mkdir(parents=True)
    (root / ".cache").mkdir()
    for name in ("b.png", "a.JPG", "notes.txt", ".hidden.png", ".cache/x.png", "sub/c.png"):
        (root / name).write_bytes(PNG)
    (root / "sub" / "deep" / "d.png").write_bytes(PNG)
    return root


def names(source, root):
    """What `expand` gives, as paths relative to a folder; failures in angle brackets."""
    return [
        f"<{Path(outcome.source).relative_to(root)}>"
        if isinstance(outcome, Failure)
        else str(Path(outcome.uri).relative_to(root))
        for outcome in expand(source)
    ]


def test_a_folder_gives_its_images_in_the_order_of_their_names(tree):
    expected = ["a.JPG", "b.png", "sub/c.png", "sub/deep/d.png"]
    assert names(tree, tree) == expected
    assert names(f"{tree}/", tree) == expected
    assert Source(tree).estimate() == 4
    assert Source(f"{tree}/").folder == str(tree)


def test_an_empty_folder_gives_nothing_and_no_error(tmp_path):
    assert list(expand(tmp_path)) == []


def test_linked_files_and_folders_are_followed_and_circles_end(tree, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "far.png").write_bytes(PNG)
    (tree / "z.png").symlink_to(other / "far.png")
    (tree / "more").symlink_to(other)
    (tree / "sub" / "up").symlink_to(tree)
    (tree / "sub" / "here").symlink_to(tree / "sub")
    found = names(tree, tree)
    assert found == ["a.JPG", "b.png", "more/far.png", "sub/c.png", "sub/deep/d.png", "z.png"]
    assert set(names(f"{tree}/**/*.png", tree)) >= {"b.png", "sub/c.png", "sub/deep/d.png", "z.png"}


def test_folders_may_be_nested_deeper_than_python_calls(tmp_path):
    depth, limit = 250, sys.getrecursionlimit()
    (tmp_path / "/".join(["d"] * depth)).mkdir(parents=True)
    (tmp_path / "/".join(["d"] * depth) / "a.png").write_bytes(PNG)
    sys.setrecursionlimit(len(inspect.stack()) + 200)
    try:
        found = [len(list(expand(tmp_path))), len(list(expand(f"{tmp_path}/**/*.png")))]
    finally:
        sys.setrecursionlimit(limit)
    assert found == [1, 1]


def test_a_glob_reports_a_folder_that_cannot_be_listed(tree):
    (tree / "sub").chmod(0)
    try:
        if os.access(tree / "sub", os.R_OK):
            pytest.skip("this user may list every folder")
        assert names(f"{tree}/**/*.png", tree) == ["b.png", "<sub>"]
    finally:
        (tree / "sub").chmod(0o700)


def test_a_folder_named_like_an_image_is_read_as_a_folder(tmp_path):
    (tmp_path / "album.jpg").mkdir()
    (tmp_path / "album.jpg" / "a.png").write_bytes(PNG)
    assert names(tmp_path, tmp_path) == ["album.jpg/a.png"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.png", ["b.png"]),
        ("*", ["a.JPG", "b.png", "sub/c.png", "sub/deep/d.png"]),
        ("*.txt", ["notes.txt"]),
        ("[ab].*", ["a.JPG", "b.png"]),
        ("?.png", ["b.png"]),
        ("**/*.png", ["b.png", "sub/c.png", "sub/deep/d.png"]),
        ("**/deep/*", ["sub/deep/d.png"]),
        ("**/**/d.png", ["sub/deep/d.png"]),
        ("**/**/**/**/*.png", ["b.png", "sub/c.png", "sub/deep/d.png"]),
        ("**/*/**/d.png", ["sub/deep/d.png"]),
        ("sub/**", ["sub/c.png", "sub/deep/d.png"]),
        ("sub/**/**", ["sub/c.png", "sub/deep/d.png"]),
        ("s*/*.png", ["sub/c.png"]),
        (".*.png", [".hidden.png"]),
    ],
)
def test_a_glob_gives_what_it_matches_once_each_and_in_order(tree, pattern, expected):
    assert names(f"{tree}/{pattern}", tree) == expected


@pytest.mark.parametrize("pattern", ["/".join(["**"] * 9), "/".join(["**", "*"] * 9)])
def test_a_glob_lists_a_folder_no_more_often_for_more_stars(tmp_path, monkeypatch, pattern):
    folder = tmp_path
    for _ in range(12):
        folder /= "d"
        folder.mkdir()
        (folder / "e").mkdir()
    (folder / "a.png").write_bytes(b"")
    listed = []
    listdir = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: listed.append(path) or listdir(path))
    assert names(f"{tmp_path}/{pattern}", tmp_path) == ["/".join(["d"] * 12 + ["a.png"])]
    # For each of 25 folders and 18 parts at most what lies below; nested walks would be millions.
    assert len(listed) <= 25 * 18 * 25


def test_a_relative_glob_gives_absolute_uris(tree, monkeypatch):
    monkeypatch.chdir(tree)
    assert names("**/c*.png", tree) == ["sub/c.png"]
    assert names("*.png", tree) == ["b.png"]


def test_a_file_whose_own_name_has_brackets_is_not_taken_for_a_glob(tmp_path):
    (tmp_path / "b[1].png").write_bytes(PNG)
    (tmp_path / "b1.png").write_bytes(PNG)
    assert names(f"{tmp_path}/b[1].png", tmp_path) == ["b[1].png"]


@pytest.mark.parametrize("name", ["missing.jpg", "missing/", "*.gif", "**/*.gif", "no/*/a.png", ""])
def test_what_names_nothing_is_an_error_alone_and_a_failure_in_a_list(tree, name, monkeypatch):
    monkeypatch.chdir(tree)
    with pytest.raises(SourceNotFoundError):
        expand(name)
    good, failure = expand(["b.png", name])
    assert good.uri == str(tree / "b.png")
    assert isinstance(failure.error, SourceNotFoundError)
    assert failure.source == name


def test_a_missing_file_is_an_ordinary_file_not_found_error_that_says_where_it_looked(tree):
    with pytest.raises(FileNotFoundError, match=r"no\.jpg does not exist \(looked for from"):
        expand("no.jpg")


@pytest.mark.parametrize("make", [list, tuple, iter, lambda many: (one for one in many)])
def test_an_iterable_of_everything_is_read_one_by_one(tree, make):
    array = np.zeros((4, 5, 3), np.uint8)
    sources = [
        str(tree / "b.png"),
        tree / "sub",
        f"{tree}/*.JPG",
        PNG,
        bytearray(PNG),
        memoryview(PNG),
        picture(),
        array,
        "https://example.org/a.jpg",
        Item(tree / "b.png", id="mine", metadata={"price": np.int64(3)}),
        [tree / "b.png", PNG],
    ]
    outcomes = list(expand(make(sources)))
    assert len(outcomes) == 13
    assert all(isinstance(outcome, Item) for outcome in outcomes)
    assert outcomes[10].id == "mine"
    assert outcomes[10].metadata == {"price": 3}


def test_an_endless_generator_is_read_only_as_far_as_asked():
    endless = (PNG for _ in itertools.count())
    assert len(list(itertools.islice(expand(endless), 3))) == 3


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (None, "None"),
        (3, r"3 \(int\)"),
        (3.5, "3.5"),
        ({"path": "a.jpg"}, r"give Item\(path"),
        (np.zeros((2, 4, 5, 3), np.uint8), r"list\(array\)"),
        (np.array(["a.jpg"]), "tolist"),
        (io.BytesIO(PNG), r"file\.read\(\)"),
        (object(), "object"),
        ("s3://bucket/a.jpg", "s3:// is not supported"),
        ("file:///a.jpg", "file:// is not supported"),
        ("https://me:hunter2@example.org/a.jpg", "user name or password"),
        ("http://[1::/a.jpg", "not a valid URL"),
        ("https:///a.jpg", "has no host"),
        ("a\0.jpg", "not a valid path"),
        (Item("a.jpg", id=""), "id"),
        (Item(7), "source is 7"),
        (Item("a.jpg", metadata=["x"]), "metadata"),
        (Item("a.jpg", metadata={"id": 1}), "'id'"),
        (Item("a.jpg", uri=""), "uri"),
        (Item(["a.jpg"]), "list"),
        (Item(os.curdir), "is a folder"),
    ],
)
def test_what_holds_no_image_is_refused_alone_and_reported_in_a_list(source, words):
    with pytest.raises((SourceError, StoreRequestError), match=words):
        expand(source)
    failure, good = expand([source, PNG])
    assert isinstance(failure, Failure)
    assert isinstance(good, Item)
    assert "hunter2" not in f"{failure.source} {failure.error}"


def test_lists_deeper_than_one_level_are_reported():
    [failure] = expand([[[PNG]]])
    assert "flatten" in str(failure.error)
    circle = []
    circle.append(circle)
    assert all(isinstance(outcome, Failure) for outcome in expand(circle))


def test_the_failure_of_an_item_keeps_the_items_id():
    [failure] = expand([Item("a.jpg", id="mine", metadata={"a": {1}})])
    assert failure.id == "mine"


@pytest.mark.parametrize("form", ["{0}/b.png", "{0}/./b.png", "{0}//b.png", "{0}/sub/../b.png"])
def test_every_way_of_writing_a_path_has_the_same_uri_and_id(tree, form):
    [item] = expand(form.format(tree))
    payload = read(item)
    assert payload.uri == str(tree / "b.png")
    assert payload.id == derive_id(str(tree / "b.png"))
    assert payload.digest == hashlib.sha256(PNG).hexdigest()


def test_a_glob_names_a_picture_once_whatever_links_lead_to_it(tmp_path):
    folder = tmp_path / "p"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.png", "sub/b.png"):
        Image.new("RGB", (4, 4)).save(folder / name)
    (folder / "me").symlink_to(folder)
    expected = [str(folder / "a.png"), str(folder / "sub" / "b.png")]
    for source in (folder, f"{folder}/*", f"{folder}/**/*", f"{folder}/**/*.png"):
        assert [item.uri for item in expand(source)] == expected
    (folder / "zub").symlink_to(folder / "sub")
    for source in (folder, f"{folder}/*", f"{folder}/**/*"):
        assert [item.uri for item in expand(source)] == expected


def test_the_folder_above_a_linked_folder_is_the_real_one(tree, tmp_path):
    (tmp_path / "link").symlink_to(tree / "sub" / "deep")
    (tmp_path / "c.png").write_bytes(b"another file")
    payload = read(Item(f"{tmp_path}/link/../c.png"))
    assert payload.content == PNG
    assert payload.uri == str(tree / "sub" / "c.png")


def test_a_url_keeps_its_query_and_loses_its_fragment():
    assert canonical_uri("https://e.org/a.jpg?size=2#top") == "https://e.org/a.jpg?size=2"
    assert describe("https://u:p@e.org/a.jpg?token=1#top") == "https://e.org/a.jpg"


def test_bytes_and_images_in_memory_are_known_by_their_content():
    payload = read(Item(PNG))
    assert payload.uri == f"sha256:{payload.digest}"
    assert payload.id == payload.digest[:32]
    image = read(Item(picture()))
    assert read(Item(picture())).id == image.id
    assert read(Item(np.asarray(picture()))).id == image.id
    assert read(Item(picture((48, 64)))).id != image.id
    assert image.open().mode == "RGB"
    assert read(Item(PNG, uri="cam://7")).id == derive_id("cam://7")
    assert read(Item(PNG, id="mine")).id == "mine"


def test_two_images_with_the_same_bytes_in_another_shape_are_two():
    flat, tall = np.zeros((2, 8, 3), np.uint8), np.zeros((8, 2, 3), np.uint8)
    assert read(Item(flat)).digest != read(Item(tall)).digest


def test_reading_what_cannot_be_read_says_why(tmp_path):
    with pytest.raises(SourceNotFoundError, match="does not exist"):
        read(Item(tmp_path / "gone.jpg"))
    with pytest.raises(FetchError, match="is a folder"):
        read(Item(tmp_path))
    with pytest.raises(SourceNotFoundError):
        read(Item(tmp_path / "a.jpg" / "b.jpg"))
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(FetchError, match="FIFO"):
            read(Item(tmp_path / "pipe"))
    if Path("/dev/zero").exists():
        with pytest.raises(FetchError, match="device"):
            read(Item("/dev/zero"))
    with pytest.raises(DecodeError, match="NaN"):
        read(Item(np.full((2, 2), np.nan)))


def test_a_file_larger_than_the_limit_is_refused_without_reading_it(tmp_path):
    with (tmp_path / "huge.jpg").open("wb") as file:
        file.truncate(600 * 1024 * 1024)  # sparse: takes no room
    with pytest.raises(FetchError, match="629 MB"):
        read(Item(tmp_path / "huge.jpg"))


def test_a_query_image_is_opened_from_every_kind_of_source(tree):
    for source in (
        tree / "b.png",
        str(tree / "b.png"),
        PNG,
        bytearray(PNG),
        Image.open(io.BytesIO(PNG)),
        np.zeros((6, 8), np.uint8),
        Item(PNG),
    ):
        image = open_image(source)
        assert (image.mode, image.size) == ("RGB", (8, 6))
    with pytest.raises(SourceNotFoundError, match=r"no\.jpg"):
        open_image("no.jpg")
    with pytest.raises(FetchError, match="folder"):
        open_image(tree)
    with pytest.raises(SourceError, match="None"):
        open_image(None)


def test_what_an_estimate_says_is_what_expanding_gives(tree):
    manifest = tree / "list.csv"
    manifest.write_text("path\nb.png\na.JPG\n")
    for source in (tree, tree / "b.png", PNG, [tree, PNG, [PNG, PNG]], manifest, [manifest, PNG]):
        assert Source(source).estimate() == len(list(expand(source)))
    assert Source([tree, "missing.jpg", 3]).estimate() == 6
    assert Source(iter([PNG])).estimate() is None
    assert Source(f"{tree}/*.png").estimate() is None


def test_only_a_folder_is_a_folder(tree):
    assert Source(tree / "b.png").folder is None
    assert Source([tree]).folder is None
    assert Source("https://example.org/").folder is None
    assert Source(PNG).folder is None


@pytest.mark.parametrize(("name", "expected"), [("estimate", 4), ("is_one_image", False)])
def test_old_functions_of_a_source_still_work_with_a_warning(tree, name, expected):
    with pytest.warns(DeprecationWarning, match=r"Source\(…\)"):
        function = getattr(sources, name)
    assert function(tree) == expected
