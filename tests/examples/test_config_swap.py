"""The same program gives the same hits on every store, after changing the config alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from imagesearch._demo_images import draw_scenes

EXAMPLES = Path(__file__).parents[2] / "examples"

pytest.importorskip("tcvectordb", reason="the extra tencent is not installed")

from imagesearch.testing.tencent_server import TencentServer  # noqa: E402  # needs the extra


@pytest.fixture
def server():
    with TencentServer() as server:
        yield server


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for kind, number, picture in draw_scenes(2):
        picture.save(folder / f"{kind}-{number}.png")
    return folder


def run(program, *arguments, server=None, cwd):
    environment = {**os.environ}
    if server is not None:
        environment |= {"TCVDB_URL": server.url, "TCVDB_KEY": server.key}
    done = subprocess.run(
        [sys.executable, program, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_one_program_two_configs_the_same_hits(tmp_path, pictures, server):
    for name in ("local.toml", "tencent.toml"):
        shutil.copy(EXAMPLES / "config_swap" / name, tmp_path)
    program = EXAMPLES / "config_swap" / "search_photos.py"
    query = pictures / "boat-1.png"
    local = run(program, "local.toml", pictures, query, cwd=tmp_path)
    remote = run(program, "tencent.toml", pictures, query, server=server, cwd=tmp_path)
    assert local == remote
    assert local.splitlines()[0] == "16 added, 0 updated, 0 unchanged, 0 failed"
    assert local.splitlines()[1] == f"1.000 {query}"
    assert server.requests


def test_an_index_moves_to_the_service_without_embedding_again(tmp_path, pictures, server):
    for name in ("local.toml", "tencent.toml"):
        shutil.copy(EXAMPLES / "config_swap" / name, tmp_path)
    program = EXAMPLES / "config_swap" / "search_photos.py"
    query = pictures / "boat-1.png"
    local = run(program, "local.toml", pictures, query, cwd=tmp_path)
    copy = [sys.executable, "-m", "imagesearch", "copy", "photos.idx", "tencent.toml"]
    environment = {**os.environ, "TCVDB_URL": server.url, "TCVDB_KEY": server.key}
    done = subprocess.run(
        copy, capture_output=True, text=True, cwd=tmp_path, env=environment, check=True
    )
    assert "16 copied" in done.stdout
    assert "neighbours shared: 100.0 %" in done.stdout
    assert server.key not in done.stdout + done.stderr
    remote = run(program, "tencent.toml", pictures, query, server=server, cwd=tmp_path)
    assert remote.splitlines()[0] == "0 added, 0 updated, 16 unchanged, 0 failed"
    assert remote.splitlines()[1:] == local.splitlines()[1:]
