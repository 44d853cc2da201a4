"""``--dry-run``: says what the real run then does, and leaves every byte as it is."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from imagesearch import ImageIndex
from tests.cli.installation import contents

FORMATS = Path(__file__).parents[1] / "stores" / "formats"


def lines(output):
    return [json.loads(line) for line in output.splitlines()]


@pytest.fixture
def changed(indexed):
    """The indexed folder, in which one file is new, one other, one gone, one moved, one broken."""
    Image.new("RGB", (30, 30), "red").save(indexed / "new.png")
    Image.new("RGB", (30, 30), "gold").save(indexed / "01.png")
    (indexed / "02.png").unlink()
    (indexed / "03.png").rename(indexed / "more" / "moved.png")
    (indexed / "bad.png").write_bytes(b"")
    return indexed


@pytest.mark.parametrize("command", ["add", "sync"])
def test_what_would_be_done_is_what_is_done_then(run, changed, tmp_path, command):
    before = contents(tmp_path)
    code, output, _ = run(command, changed, "--dry-run", "--json")
    assert code == 1
    printed = lines(output)
    assert all(line["dry_run"] for line in printed)
    assert contents(tmp_path) == before
    code, output, _ = run(command, changed, "--json")
    done = [(line["status"], line["id"]) for line in lines(output)]
    assert [(line["status"], line["id"]) for line in printed] == done
    uris = {(line["status"], Path(line["uri"]).name) for line in printed if "uri" in line}
    removed = {("removed", "02.png"), ("removed", "03.png")} if command == "sync" else set()
    assert uris == {("added", "new.png"), ("added", "moved.png"), ("updated", "01.png"), *removed}


@pytest.fixture
def emptied(run, photos):
    """Fourteen indexed images, of which twelve are gone."""
    for number in range(4):
        Image.new("RGB", (30, 30), (60 * number, 0, 60)).save(photos / f"more {number}.png")
    assert run("add", photos, "--embedder", "descriptors")[0] == 0
    for file in sorted(photos.glob("*.png")):
        file.unlink()
    return photos


def test_a_program_has_to_allow_the_removal_of_a_large_part(run, emptied, tmp_path):
    before = contents(tmp_path)
    code, output, errors = run("sync", emptied, "--dry-run")
    assert (code, output.count("would remove")) == (3, 14)
    assert "the removal would be refused: nothing was removed: 14 of 16 records" in errors
    code, output, _ = run("sync", emptied, "--dry-run", "--json")
    assert (code, lines(output)[-1]["status"], lines(output)[-1]["records"]) == (3, "refused", 14)
    assert contents(tmp_path) == before
    code, output, errors = run("sync", emptied)
    assert (code, "--yes" in errors) == (3, True)
    assert output.endswith("16 images in the index\n")
    code, output, _ = run("sync", emptied, "--json")
    refused = lines(output)[-1]
    assert (code, refused["status"], refused["records"], refused["total"]) == (3, "refused", 14, 16)
    assert run("sync", emptied, "--dry-run", "--yes")[0] == 0
    code, output, _ = run("sync", emptied, "--yes")
    assert (code, "14 removed" in output, "2 images in the index" in output) == (0, True, True)


def test_a_sync_says_which_records_it_keeps_out_of_reach(run, indexed):
    for file in (indexed / "more").iterdir():
        file.unlink()
    for option in ("--dry-run", "--no-progress"):
        code, output, errors = run("sync", indexed, option)
        assert (code, "1 failed, 2 kept" in output) == (1, True)
        assert f"failed: {indexed / 'more'}: {indexed / 'more'} is empty" in errors
    _, output, _ = run("sync", indexed, "--json")
    assert [line["status"] for line in lines(output)].count("kept") == 2


def test_a_dry_sync_shows_a_line_for_each_change_and_the_sums(run, changed):
    code, output, errors = run("sync", changed, "-n")
    assert code == 1
    assert f"would add     {changed / 'new.png'}\n" in output
    assert f"would update  {changed / '01.png'}\n" in output
    assert f"would remove  {changed / '02.png'}\n" in output
    assert "would be: 2 added, 1 updated, 9 unchanged, 1 failed, 2 removed; " in output
    assert "; 12 images" in output
    assert "nothing was changed" in output
    assert f"failed: {changed / 'bad.png'}" in errors


def test_a_dry_run_loads_no_model_and_makes_no_index(run, photos, tmp_path):
    # There is no such model, nor is any looked for.
    code, output, _ = run("add", photos, "--dry-run", "-e", "timm:no_such_model")
    assert code == 0
    assert "would be: 12 added" in output
    assert "12 images in a new index" in output
    assert not (tmp_path / "imagesearch.idx").exists()


def test_a_dry_run_stops_at_the_first_failure_if_told_so(run, changed):
    assert run("add", changed, "--dry-run", "--strict")[0] == 3


def test_a_sync_that_would_empty_the_index_is_refused_in_a_dry_run_too(run, indexed, tmp_path):
    (tmp_path / "empty").mkdir()
    for path in sorted(indexed.rglob("*.png")):
        path.unlink()
    code, _, errors = run("sync", indexed, "--dry-run")
    assert code == 3
    assert "nothing was removed" in errors


def test_a_dry_deletion_shows_what_would_go(run, photos, tmp_path):
    (photos / "list.csv").write_text("id,path,sold\na,00.png,true\nb,01.png,true\nc,02.png,false\n")
    run("add", photos / "list.csv", "-e", "descriptors")
    before = contents(tmp_path)
    code, output, _ = run("delete", "--where", "sold = true", "--dry-run")
    assert code == 0
    assert f"would delete  a  {photos / '00.png'}\n" in output
    assert "would be: 2 deleted; 1 images" in output
    code, output, errors = run("delete", "c", "missing", "-n", "--json")
    assert lines(output)[-1] == {"deleted": 1, "images": 2, "dry_run": True}
    assert [line.get("id") for line in lines(output)] == ["c", None]
    assert "1 of 2 ids are not in the index" in errors
    assert contents(tmp_path) == before
    assert run("delete", "--where", "sold = true")[1].startswith("2 deleted; 1 images")


def test_a_deletion_that_matches_nothing_names_the_field_that_nobody_has(run, indexed):
    code, output, errors = run("delete", "--where", "soldd = true")
    assert (code, output[:9]) == (0, "0 deleted")
    assert "no image has the field 'soldd'" in errors


def test_a_dry_copy_counts_what_would_be_written_and_replaced(run, photos, tmp_path):
    (photos / "list.csv").write_text("id,path,n\na,00.png,1\nb,01.png,1\nc,02.png,1\n")
    run("add", photos / "list.csv", "-e", "descriptors", "-s", "one.idx")
    (photos / "list.csv").write_text("id,path,n\na,00.png,1\nb,01.png,2\nd,03.png,2\n")
    run("add", photos / "list.csv", "-e", "descriptors", "-s", "two.idx")
    before = contents(tmp_path)
    code, output, _ = run("copy", "one.idx", "two.idx", "--dry-run")
    assert code == 0
    assert "2 copied, 1 of them replacing others, 1 unchanged; 4 records" in output
    code, output, _ = run("copy", "one.idx", "three.idx", "--dry-run", "--json")
    printed = json.loads(output)
    assert (printed["copied"], printed["replaced"], printed["target_count"]) == (3, 0, 3)
    assert contents(tmp_path) == before
    code, output, _ = run("copy", "one.idx", "two.idx", "--json")
    assert (json.loads(output)["copied"], json.loads(output)["target_count"]) == (2, 4)


def test_a_copy_says_which_notes_went_along_and_why_not(run, photos):
    run("add", photos, "-e", "descriptors", "-s", "one.idx")
    with ImageIndex("one.idx") as index:
        index.store.note("remark", {"by": "a test"})
    printed = json.loads(run("copy", "one.idx", "two.idx", "--json")[1])
    assert (printed["notes"], printed["notes_left"]) == (["remark"], None)
    printed = json.loads(run("copy", "one.idx", "three.idx", "--project", "3", "--json")[1])
    assert printed["notes"] == []
    assert "after the projection" in printed["notes_left"]


def test_a_dry_copy_refuses_what_the_copy_would_refuse(run, indexed, tmp_path):
    run("copy", "imagesearch.idx", "small.idx", "--project", "4")
    before = contents(tmp_path)
    for arguments in (
        ["imagesearch.idx", "small.idx"],
        ["imagesearch.idx", "small.idx", "--project", "5"],
        ["imagesearch.idx", "new.idx", "--project", "100000"],
        ["small.idx", "new.idx", "--project", "2"],
        ["nowhere.idx", "new.idx"],
    ):
        code, _, errors = run("copy", *arguments, "--dry-run")
        assert (code, errors[:6]) == (3, "Error:"), arguments
        assert run("copy", *arguments)[0] == 3, arguments
    assert contents(tmp_path).keys() - before.keys() <= {"new.idx/writer.lock"}
    assert run("copy", "imagesearch.idx", "small.idx", "--project", "4", "--dry-run")[0] == 0
    assert run("copy", "imagesearch.idx", "imagesearch.idx")[0] == 2


def test_an_index_of_an_older_format_is_not_brought_up_to_date_by_a_dry_run(run, tmp_path):
    folder = tmp_path / "old.idx"
    folder.mkdir()
    connection = sqlite3.connect(folder / "index.sqlite")
    connection.executescript((FORMATS / "format-1.sql").read_text())
    rows, meta = connection.execute("SELECT rows, meta FROM state").fetchone()
    connection.close()
    dim = json.loads(meta)["embedding"]["dim"]
    (folder / "vectors-1.f32").write_bytes(b"\0" * (4 * rows * dim))
    before = contents(folder)
    assert run("delete", "--where", "uri exists", "-n", "-s", folder)[0] == 0
    assert contents(folder) == before


def test_what_a_killed_writer_left_is_read_and_stays(run, indexed, tmp_path):
    index = tmp_path / "imagesearch.idx"
    dying = f"""
import os, signal
from imagesearch import LocalStore
store = LocalStore({str(index)!r})
store.open(store.describe())
store.delete([next(store.scan(batch_size=1)).ids[0]])
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", dying], check=False)
    log = (index / "index.sqlite-wal").read_bytes()
    assert log
    code, output, _ = run("delete", "--where", "uri exists", "--dry-run")
    assert (code, "11 deleted" in output) == (0, True)
    assert (index / "index.sqlite-wal").read_bytes() == log


def test_a_dry_run_on_tencent_asks_and_writes_nothing(run, photos, tmp_path, monkeypatch):
    pytest.importorskip("tcvectordb")
    from imagesearch.testing.tencent_server import TencentServer

    with TencentServer() as server:
        monkeypatch.setenv("TENCENT_KEY", server.key)
        (tmp_path / "tencent.toml").write_text(
            f'[embedder]\nkind = "descriptors"\n[store]\nkind = "tencent"\nurl = "{server.url}"\n'
            'key = "env:TENCENT_KEY"\ndatabase = "photos"\ncollection = "all"\n'
        )
        options = ("--config", "tencent.toml", "--dry-run")
        assert "12 images in a new index" in run("add", photos, *options)[1]
        assert run("add", photos, "--config", "tencent.toml")[0] == 0
        (photos / "05.png").unlink()
        before = len(server.requests)
        assert "would remove" in run("sync", photos, *options)[1]
        assert "12 of them in place" not in run("copy", "tencent.toml", "new.idx", "-n")[1]
        asked = {request.path for request in server.requests[before:]}
        assert asked <= {"/collection/describe", "/document/query", "/document/count"}
    assert not (tmp_path / "new.idx").exists()
