"""Fixtures for all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from imagesearch import ImageIndex, LocalStore
from tests.small_embedder import SmallEmbedder

_missing: list[str] = []


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest tests, so that no worker is left alone with one at the end."""
    items.sort(key=lambda item: item.get_closest_marker("longest") is None)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _note_missing_package(report)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    _note_missing_package(report)


def _note_missing_package(report: pytest.TestReport | pytest.CollectReport) -> None:
    reason = str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else ""
    if report.skipped and ("could not import" in reason or "is not installed" in reason):
        _missing.append(f"{report.nodeid}: {reason}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail where tests are skipped for lack of a package that should have been installed."""
    if (
        _missing
        and os.environ.get("IMAGESEARCH_REQUIRE_EXTRAS")
        and not hasattr(session.config, "workerinput")
    ):
        print("\nSkipped for lack of a package:", *_missing, sep="\n  ")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture
def shared() -> Path:
    """The folder with real images and weights; tests that need it skip without it."""
    default = Path(__file__).parents[1] / ".." / "shared"
    folder = Path(os.environ.get("IMAGESEARCH_SHARED", default)).resolve()
    if not (folder / "data" / "imagenet50").is_dir():
        pytest.skip(f"no images in {folder}; set IMAGESEARCH_SHARED")
    return folder


@pytest.fixture
def photos(tmp_path) -> Path:
    """A folder of twelve pictures, each of its own colours, two of them in a sub-folder."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for number in range(12):
        picture = Image.new("RGB", (40, 30), (20 * number, 255 - 20 * number, 90))
        picture.paste((255, 255, 20 * number), (number, number, number + 10, number + 10))
        name = f"more/{number:02}.png" if number >= 10 else f"{number:02}.png"
        picture.save(folder / name)
    return folder


@pytest.fixture
def embedder() -> SmallEmbedder:
    return SmallEmbedder()


@pytest.fixture
def index(tmp_path, embedder):
    """A local index that counts what it embeds."""
    with ImageIndex(embedder=embedder, store=LocalStore(tmp_path / "photos.idx")) as index:
        yield index
