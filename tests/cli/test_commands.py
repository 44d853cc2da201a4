"""The command line, as a person runs it: one process for each command."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from PIL import Image

from tests.bad_files import make_bad_files
from tests.embedders.tiny import save_safetensors

ROOT = Path(__file__).parents[2]


def test_add_then_search_needs_no_options_but_the_first_embedder(run, indexed):
    code, output, _ = run("search", indexed / "05.png", "-k", "3")
    assert code == 0
    lines = output.splitlines()
    assert len(lines) == 4
    assert "1.000" in lines[1]
    assert str(indexed / "05.png") in lines[1]


def test_adding_again_says_that_nothing_changed(run, indexed):
    code, output, _ = run("add", indexed)
    assert code == 0
    assert "0 added, 0 updated, 12 unchanged, 0 failed" in output
    assert "12 images in the index" in output


def test_bad_files_are_named_on_standard_error_and_the_exit_code_says_so(run, photos):
    bad = make_bad_files(photos)
    code, output, errors = run("add", photos, "--embedder", "descriptors")
    assert code == 1
    assert "12 added" in output
    assert errors.count("failed: ") >= 10
    assert all("failed: " not in line for line in output.splitlines())
    assert bad


def test_json_lines_are_for_programs(run, indexed):
    (indexed / "bad.png").write_bytes(b"")
    code, output, _ = run("add", indexed, "--json")
    lines = [json.loads(line) for line in output.splitlines()]
    assert code == 1
    assert sum(line["status"] == "unchanged" for line in lines) == 12
    [failed] = [line for line in lines if line["status"] == "failed"]
    assert failed["source"].endswith("bad.png")
    assert failed["error"] == "DecodeError"
    code, output, _ = run("search", indexed / "05.png", "--json", "-k", "2")
    hits = [json.loads(line) for line in output.splitlines()]
    assert [hit["rank"] for hit in hits] == [1, 2]
    assert hits[0]["uri"] == str(indexed / "05.png")


def test_search_saves_a_sheet_and_a_page(run, indexed, tmp_path):
    code, _, errors = run("search", indexed / "05.png", "--sheet", "out.png", "--html", "out.html")
    assert code == 0
    assert str(tmp_path / "out.png") in errors
    with Image.open(tmp_path / "out.png") as sheet:
        assert sheet.format == "PNG"
    assert "data:image" in (tmp_path / "out.html").read_text()


def test_filters_have_a_text_form(run, photos):
    (photos / "list.csv").write_text("id,path,label,price\na,00.png,cat,3\nb,01.png,dog,20\n")
    run("add", photos / "list.csv", "--embedder", "descriptors")
    code, output, _ = run("search", photos / "00.png", "--where", 'label = "dog" or price > 100')
    assert code == 0
    assert "01.png" in output
    assert "00.png" not in output
    code, _, errors = run("search", photos / "00.png", "--where", "label = dog")
    assert code == 3
    assert "quotation marks" in errors


def test_info_delete_and_sync(run, indexed):
    code, output, _ = run("info")
    assert code == 0
    assert "descriptors" in output
    assert "12" in output
    (indexed / "05.png").unlink()
    code, output, _ = run("sync", indexed)
    assert "1 removed" in output
    assert "11 images in the index" in output
    code, output, _ = run("delete", "--where", "uri exists")
    assert (code, output.split()[0]) == (0, "11")


def test_deleting_needs_to_know_what(run, indexed):
    code, _, errors = run("delete")
    assert code == 2
    assert "--where" in errors


def test_a_missing_index_or_picture_says_what_to_do(run, photos, tmp_path):
    code, _, errors = run("search", photos / "00.png")
    assert code == 3
    assert "imagesearch add" in errors
    assert not (tmp_path / "imagesearch.idx").exists()
    code, _, errors = run("add", photos / "nowhere", "--embedder", "descriptors")
    assert code == 3
    assert "nowhere" in errors


def test_a_config_file_names_embedder_and_store(run, photos, tmp_path):
    (tmp_path / "imagesearch.toml").write_text(
        '[embedder]\nkind = "descriptors"\n[store]\nkind = "local"\npath = "mine.idx"\n'
    )
    assert run("add", photos, "--config", "imagesearch.toml")[0] == 0
    assert (tmp_path / "mine.idx").is_dir()
    code, output, _ = run("search", photos / "00.png", "--config", "imagesearch.toml", "-k", "1")
    assert code == 0
    assert "00.png" in output


def test_a_config_that_is_given_goes_before_the_environment(run, photos, tmp_path, monkeypatch):
    (tmp_path / "c.toml").write_text('[store]\nkind = "local"\npath = "named.idx"\n')
    monkeypatch.setenv("IMAGESEARCH_STORE", str(tmp_path / "general.idx"))
    assert run("add", photos, "--config", tmp_path / "c.toml", "-e", "descriptors")[0] == 0
    assert (tmp_path / "named.idx").is_dir()
    assert not (tmp_path / "general.idx").exists()
    assert run("add", photos, "-e", "descriptors")[0] == 0
    assert (tmp_path / "general.idx").is_dir()


def test_the_metric_of_a_config_holds_with_another_embedder_too(run, photos, tmp_path):
    (tmp_path / "c.toml").write_text(
        '[index]\nmetric = "l2"\n[store]\nkind = "local"\npath = "named.idx"\n'
    )
    assert run("add", photos, "--config", tmp_path / "c.toml", "-e", "descriptors")[0] == 0
    _, output, _ = run("info", "--store", tmp_path / "named.idx", "--json")
    assert json.loads(output)["metric"] == "l2"


def test_the_config_says_where_the_weights_are_today(run, photos, tmp_path):
    weights = save_safetensors(tmp_path / "old.safetensors")
    table = (
        '[embedder]\nkind = "timm"\nmodel = "test_resnet"\nweights = "{}"\n'
        '[store]\nkind = "local"\npath = "named.idx"\n'
    )
    config = tmp_path / "c.toml"
    config.write_text(table.format(weights.name))
    assert run("add", photos / "00.png", "--config", config)[0] == 0
    config.write_text(table.format(weights.rename(tmp_path / "new.safetensors").name))
    code, output, errors = run("search", photos / "00.png", "--config", config)
    assert (code, "00.png" in output) == (0, True), errors


def test_help_shows_examples_for_every_command(run):
    for command in ("add", "sync", "search", "delete"):
        code, output, _ = run(command, "--help")
        assert code == 0
        assert f"  imagesearch {command} " in output


def test_the_demo_finds_pictures_of_the_querys_own_kind(run, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "empty"))
    environment = {**os.environ}
    done = subprocess.run(
        [sys.executable, "-m", "imagesearch", "demo", "shown"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "using 'descriptors'" in done.stdout
    assert done.stdout.count("balloon-") >= 7
    with Image.open(tmp_path / "shown" / "similar.png") as sheet:
        assert sheet.width > 800


# A process that was started in the background inherits that interrupts are ignored.
INTERRUPTIBLE = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from imagesearch.cli import main
main(sys.argv[1:])
"""

SLOW_PLUGIN = """
import time
from tests.small_embedder import SmallEmbedder
class Slow(SmallEmbedder):
    def embed(self, batch):
        time.sleep(0.7)
        return super().embed(batch)
"""


def test_an_interrupted_add_keeps_what_it_stored_and_goes_on(tmp_path, photos):
    (tmp_path / "slow_plugin.py").write_text(SLOW_PLUGIN)
    info = tmp_path / "slow_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: slow-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[imagesearch.embedders]\nslow = slow_plugin:Slow\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    many = tmp_path / "many"
    many.mkdir()
    for number in range(300):
        shutil.copy(photos / f"{number % 10:02}.png", many / f"{number:03}.png")
    command = [sys.executable, "-c", INTERRUPTIBLE, "add", str(many), "-e", "slow"]
    process = subprocess.Popen(
        [*command, "--progress"],
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    seen = b""
    # The bar shows the first stored group; the rest takes seconds.
    while not re.search(rb" [1-9]\d*/300", seen):
        chunk = process.stderr.read1(200)
        assert chunk, seen
        seen += chunk
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"run the same command again" in errors
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert "300 images in the index" in done.stdout
    assert " 0 unchanged" not in done.stdout
