"""`ImageIndex.check` names damaged records, and embeds again those whose files are there."""

from __future__ import annotations

import json
import sqlite3

import numpy as np
import pytest
from PIL import Image

from imagesearch import DescriptorEmbedder, ImageIndex, Item, MemoryStore
from imagesearch.cli._program import main
from imagesearch.errors import ConfigError, StoreCorruptError, UnsupportedOperationError

COLOURS = ("red", "green", "blue", "white", "black", "orange")


@pytest.fixture
def index(tmp_path):
    """Six images from files, and one from memory."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for colour in COLOURS:
        Image.new("RGB", (32, 32), colour).save(folder / f"{colour}.png")
    path = tmp_path / "photos.idx"
    with ImageIndex(path, embedder=DescriptorEmbedder()) as made:
        for colour in COLOURS:
            made.add(Item(folder / f"{colour}.png", colour, {"warm": colour in {"red", "orange"}}))
        made.add(Item(Image.new("RGB", (32, 32), "pink"), "pink"))
    return path


def spoil(path, *rows, value=0.5):
    dim = DescriptorEmbedder().spec.dim
    stored = np.memmap(path / "vectors-1.f32", "<f4", "r+", shape=(7, dim))
    for row in rows:
        stored[row, 0] += value
    stored.flush()


def change(path, statement):
    connection = sqlite3.connect(path / "index.sqlite")
    with connection:
        assert connection.execute(statement).rowcount
    connection.close()


def vectors_of(path):
    with ImageIndex(path) as opened:
        return {
            id: record.vector.tobytes()
            for id, record in opened.get([*COLOURS, "pink"], vectors=True).items()
        }


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    return stopped.value.code, capsys.readouterr().out


def test_a_sound_index_has_no_problems_and_is_left_as_it_is(index, capsys):
    before = {path.name: path.read_bytes() for path in index.iterdir()}
    code, output = run(capsys, "check", index)
    assert code == 0
    assert output.endswith("\nno problems\n")
    assert {path.name: path.read_bytes() for path in index.iterdir()} == before
    with ImageIndex(index) as opened:
        assert opened.check(repair=True).ok


def test_damaged_vectors_are_embedded_again_where_their_files_are_there(index):
    before = vectors_of(index)
    spoil(index, 1, 4)
    with ImageIndex(index) as opened:
        with pytest.raises(StoreCorruptError):
            opened.search(Image.new("RGB", (32, 32), "red"))
        report = opened.check()
        assert (report.ok, report.damaged) == (False, ("green", "black"))
        assert str(report) == "1 problem, 0 warnings; 2 records are damaged"
        report = opened.check(repair=True)
        assert report.ok, report
        assert sorted(report.reembedded) == ["black", "green"]
        assert opened.search(Image.new("RGB", (32, 32), "green"), k=1).ids == ["green"]
        assert opened.get("red")["red"].metadata == {"warm": True}
    assert vectors_of(index) == before


def test_what_cannot_be_embedded_again_stays_damaged_until_it_may_be_removed(index, tmp_path):
    (tmp_path / "photos" / "green.png").unlink()
    spoil(index, 1, 2, 6)
    with ImageIndex(index) as opened:
        report = opened.check(repair=True)
        assert report.damaged == ("green", "pink")
        assert report.reembedded == ("blue",)
        texts = [result.text for result in report.repairs]
        assert any("green.png" in text for text in texts)
        assert opened.count() == 7
        report = opened.check(repair=True, remove=True)
        assert report.ok
        assert report.removed == ("green", "pink")
        assert opened.count() == 5
        assert len(opened.search(Image.new("RGB", (32, 32), "red"), k=9)) == 5


def test_removing_is_refused_without_repairing(index, capsys):
    with ImageIndex(index) as opened, pytest.raises(ConfigError, match="repair"):
        opened.check(remove=True)
    assert run(capsys, "check", index, "--remove")[0] == 2


def test_a_store_without_checksums_says_so(tmp_path, capsys):
    with (
        ImageIndex(embedder=DescriptorEmbedder(), store=MemoryStore()) as opened,
        pytest.raises(UnsupportedOperationError, match="only a local index"),
    ):
        opened.check()
    config = tmp_path / "memory.toml"
    config.write_text('[store]\nkind = "memory"\n')
    assert run(capsys, "check", config)[0] == 3


def test_a_place_without_an_index_is_an_error(tmp_path, capsys):
    assert run(capsys, "check", tmp_path / "no.idx")[0] == 3
    assert not (tmp_path / "no.idx").exists()


def test_the_command_names_what_is_damaged_and_repairs_it(index, capsys):
    spoil(index, 3)
    code, output = run(capsys, "check", "-s", index)
    assert code == 1
    assert "1 of 7 vectors are damaged: 'white'" in output
    code, output = run(capsys, "check", index, "--repair", "--json")
    assert code == 0
    *results, last = map(json.loads, output.splitlines())
    assert last == {"ok": True, "damaged": [], "reembedded": ["white"], "removed": []}
    assert {"database", "records", "vectors", "filters"} <= {result["topic"] for result in results}


@pytest.mark.parametrize(
    ("statement", "topic"),
    [
        ("UPDATE records SET metadata = '{\"warm\":false}' WHERE id = 'red'", "records"),
        ("UPDATE fields SET value = 0 WHERE row = 0", "filters"),
        ("DELETE FROM fields WHERE row = 5", "filters"),
        ("UPDATE state SET live = 3", "database"),
        ("UPDATE state SET version = 1, generation = 3, rows = 70", "database"),
        ("DELETE FROM state", "database"),
        ("UPDATE dead SET row = 1", "database"),
        ("UPDATE checksums SET crcs = zeroblob(28)", "checksums"),
        ("DELETE FROM checksums", "checksums"),
        ("UPDATE checksums SET checksum = 7", "checksums"),
        ("PRAGMA user_version = 1", "database"),
    ],
)
def test_what_is_kept_twice_is_restored_without_losing_a_record(index, capsys, statement, topic):
    with ImageIndex(index) as opened:
        opened.delete("pink")
    before = vectors_of(index)
    connection = sqlite3.connect(index / "index.sqlite", isolation_level=None)
    connection.execute(statement)
    connection.close()
    code, output = run(capsys, "check", index, "--json")
    problems = [
        one for one in map(json.loads, output.splitlines()) if one.get("status") == "problem"
    ]
    assert code == 1
    assert topic in {one["topic"] for one in problems}, problems
    assert run(capsys, "check", index, "--repair")[0] == 0
    assert run(capsys, "check", index)[0] == 0
    assert vectors_of(index) == before
    with ImageIndex(index) as opened:
        assert opened.count() == 6
        assert opened.count("warm = true") == 2
        assert opened.get("red")["red"].metadata == {"warm": True}


def test_a_damaged_id_is_restored_from_the_index_of_the_database(index, capsys):
    database = index / "index.sqlite"
    body = database.read_bytes()
    record = body.index(b"orange" + str(index.parent).encode())
    database.write_bytes(body[:record] + b"prange" + body[record + 6 :])
    assert run(capsys, "check", index)[0] == 1
    assert run(capsys, "check", index, "--repair")[0] == 0
    with ImageIndex(index) as opened:
        assert opened.get("orange")["orange"].metadata == {"warm": True}
        assert opened.count() == 7


def test_a_record_that_nothing_proves_goes_only_when_it_may(index, capsys):
    change(index, "UPDATE records SET uri = '/elsewhere.png' WHERE id = 'blue'")
    code, output = run(capsys, "check", index, "--repair")
    assert code == 1
    assert "1 of 7 records are damaged: 'blue'" in output
    with ImageIndex(index) as opened:
        assert opened.count() == 7
    assert run(capsys, "check", index, "--repair", "--remove")[0] == 0
    with ImageIndex(index) as opened:
        assert opened.count() == 6
        assert opened.search(Image.new("RGB", (32, 32), "blue"), k=9).ids.count("blue") == 0


def test_a_vectors_file_that_was_cut_is_filled_from_the_images(index, capsys):
    before = vectors_of(index)
    with (index / "vectors-1.f32").open("r+b") as file:
        file.truncate(file.seek(0, 2) // 2)
    code, output = run(capsys, "check", index)
    assert (code, "must have" in output) == (1, True)
    with pytest.raises(StoreCorruptError):
        ImageIndex(index)
    assert run(capsys, "check", index, "--repair", "--remove")[0] == 0
    del before["pink"]
    assert vectors_of(index) == before


def test_an_index_of_an_older_time_is_accepted_in_words(index, capsys, tmp_path):
    backup = (index / "index.sqlite").read_bytes()
    with ImageIndex(index) as opened:
        opened.delete(["red", "green"])
        opened.add(Item(Image.new("RGB", (9, 9), "navy"), "navy"))
    (index / "index.sqlite").write_bytes(backup)
    with pytest.raises(StoreCorruptError, match="lost acknowledged writes"):
        ImageIndex(index)
    code, output = run(capsys, "check", index)
    assert (code, "lost acknowledged writes" in output) == (1, True)
    code, output = run(capsys, "check", index, "--repair")
    assert code == 0
    assert "it has 7 records, 1 more than were acknowledged" in " ".join(output.split())
    assert len(vectors_of(index)) == 7
