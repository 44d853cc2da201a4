"""Pages that are served while tests run."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from imagesearch._demo_images import draw_scene

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Page:
    """The address of a page, and the folder with its images and uploads."""

    url: str
    folder: Path

    @property
    def connections(self) -> list[list[str]]:
        """The addresses that the server looked up and connected to."""
        lines = (self.folder / "connections.log").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]


@contextmanager
def serving(folder: Path, **options: object) -> Iterator[Page]:
    """Serve a page in a process of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "tests.ui.served", str(folder), str(port)]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, json.dumps(options)], cwd=ROOT, stdout=subprocess.PIPE, stderr=log
        )
    try:
        address = process.stdout.readline().decode().strip()
        assert address, (folder / "server.log").read_text()
        yield Page(address.rstrip("/"), folder)
    finally:
        process.terminate()
        try:
            process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


@pytest.fixture(scope="session")
def page(tmp_path_factory) -> Iterator[Page]:
    """A page that accepts uploads; all tests share it."""
    pytest.importorskip("gradio")
    with serving(tmp_path_factory.mktemp("page")) as page:
        yield page


@pytest.fixture
def query(tmp_path) -> Path:
    """A balloon that is not in the index."""
    path = tmp_path / "query.png"
    draw_scene("balloon", 77).save(path)
    return path
