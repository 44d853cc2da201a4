from __future__ import annotations

import os
from pathlib import Path

import pytest

from imagesearch.errors import ImageSearchError, SourceError
from imagesearch.sources import Source, expand, read
from imagesearch.types import Failure
from tests.bad_files import encode, make_bad_files, make_good_files, picture


def outcomes(source):
    """Read and open everything, as an index does; file name to image or reason."""
    found = {}
    for outcome in expand(source):
        if isinstance(outcome, Failure):
            found[Path(outcome.source).name] = outcome.error
            continue
        try:
            found[Path(outcome.uri).name] = read(outcome).open()
        except SourceError as error:
            found[Path(outcome.uri).name] = error
    return found


def test_among_forty_kinds_of_bad_files_every_good_one_is_read_and_every_bad_one_has_its_reason(
    tmp_path,
):
    good = make_good_files(tmp_path)
    bad = make_bad_files(tmp_path)
    found = outcomes(tmp_path)
    assert found.keys() == {*good, *bad}
    for name in good:
        assert not isinstance(found[name], Exception), found[name]
        assert (found[name].mode, found[name].size) == ("RGB", (64, 48))
    for name, kind in bad.items():
        assert isinstance(found[name], SourceError), (name, kind)
        assert name in str(found[name])
        assert str(tmp_path) in str(found[name])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("empty.jpg", "empty"),
        ("zeros.jpg", "zero bytes"),
        ("text.jpg", "'this is text"),
        ("error page.jpg", "HTML page"),
        ("answer.png", "JSON"),
        ("drawing.png", "SVG"),
        ("document.jpg", "PDF"),
        ("program.png", "PostScript"),
        ("archive.jpg", "ZIP"),
        ("movie.jpg", "video"),
        ("lfs.png", "git lfs pull"),
        ("half.jpg", "truncated"),
        ("half.png", "truncated"),
        ("bomb.png", "megapixels"),
        ("folder.jpg", "folder"),
        ("broken link.jpg", "nowhere.jpg"),
        ("own link.jpg", "link to itself"),
        ("pipe.jpg", "FIFO"),
    ],
)
def test_the_reason_says_what_the_file_is(tmp_path, name, words):
    make_bad_files(tmp_path)
    assert words in str(outcomes(tmp_path)[name])


def test_a_folder_that_cannot_be_listed_is_reported_and_the_rest_is_read(tmp_path):
    (tmp_path / "closed").mkdir()
    (tmp_path / "open.png").write_bytes(encode(picture(), "PNG"))
    (tmp_path / "closed").chmod(0)
    try:
        if os.access(tmp_path / "closed", os.R_OK):
            pytest.skip("this user may list every folder")
        found = outcomes(tmp_path)
    finally:
        (tmp_path / "closed").chmod(0o700)
    assert "permission denied" in str(found["closed"])
    assert found["open.png"].size == (64, 48)


def test_a_name_too_long_for_the_system_is_not_found():
    with pytest.raises(ImageSearchError, match="too long"):
        expand("x" * 5000 + ".jpg")


def test_a_file_name_that_is_no_unicode_is_reported_and_not_passed_over(tmp_path):
    try:
        (tmp_path / os.fsdecode(b"K\xf6ln.jpg")).write_bytes(encode(picture(), "JPEG"))
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    [failure] = expand(tmp_path)
    assert "not valid UTF-8" in str(failure.error)
    assert failure.source.encode().endswith(b"K\\udcf6ln.jpg")
    assert Source(tmp_path).folder == str(tmp_path)
