"""The example of a plug-in: installed it is found by its names, works, and keeps every rule."""

from __future__ import annotations

import ast
import io
import os
import re
import shutil
import subprocess
import sys
import textwrap
import tokenize
import tomllib
from pathlib import Path

import pytest

from imagesearch._demo_images import draw_scene

ROOT = Path(__file__).parents[2]
PLUGIN = ROOT / "examples" / "plugin"
GUIDE = ROOT / "docs" / "plugins.md"
PACKAGE = PLUGIN / "src" / "shopsearch"
FROM_THE_EXAMPLE = re.compile(
    r"<!-- (?:not run: )?from (examples/plugin/\S+) -->\n+```\w+\n(.*?)```", re.DOTALL
)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Put the package where Python looks, with the entry points that its pyproject.toml declares."""
    site = tmp_path_factory.mktemp("site")
    shutil.copytree(PACKAGE, site / "shopsearch")
    project = tomllib.loads((PLUGIN / "pyproject.toml").read_text())["project"]
    info = site / f"{project['name']}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    lines = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {target}" for name, target in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines))
    return site


def run(*arguments, cwd, site):
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def lines_of_code(path, within=None):
    """Count lines that are neither blank nor comment nor docstring, in a file or in a class of it."""
    source = path.read_text()
    tree = ast.parse(source)
    without = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
            node
        ):
            without |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    nothing = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    counted = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in {*nothing, tokenize.ENDMARKER}:
            counted |= set(range(token.start[0], token.end[0] + 1))
    if within is not None:
        [place] = [one for one in tree.body if isinstance(one, ast.ClassDef) and one.name == within]
        counted &= set(range(place.lineno, place.end_lineno + 1))
    return len(counted - without)


def test_a_store_is_short():
    assert lines_of_code(PACKAGE / "store.py", "SQLiteStore") <= 75
    assert lines_of_code(PACKAGE / "store.py") < 100
    assert lines_of_code(PACKAGE / "embedder.py") < 50


def test_the_guide_shows_the_code_of_the_example():
    shown = FROM_THE_EXAMPLE.findall(GUIDE.read_text())
    assert len(shown) > 10
    for name, code in shown:
        text = (ROOT / name).read_text()
        assert code in text or textwrap.indent(code, "    ") in text, f"{name} has no\n{code}"


def test_the_guide_leaves_no_other_code_unrun():
    text = GUIDE.read_text()
    reasons = re.findall(r"<!-- not run: (.*?) -->", text)
    others = [reason for reason in reasons if not reason.startswith("from examples/plugin/")]
    # The example needs no check of its own for the doctor.
    assert others == ["an optional method"]
    configs = [name for name, _ in FROM_THE_EXAMPLE.findall(text) if name.endswith(".toml")]
    assert len(configs) == text.count("```toml")


@pytest.mark.slow
def test_the_package_keeps_every_rule(installed, tmp_path):
    shutil.copytree(PLUGIN / "tests", tmp_path / "tests")
    shutil.copy(PLUGIN / "pyproject.toml", tmp_path)
    done = run("-m", "pytest", "-q", "-W", "error", cwd=tmp_path, site=installed)
    assert done.returncode == 0, done.stdout + done.stderr
    summary = done.stdout.splitlines()[-1]
    assert int(re.search(r"(\d+) passed", summary)[1]) > 150, summary


@pytest.mark.slow
def test_a_config_brings_trained_weights_and_one_file_to_the_command_line(installed, tmp_path):
    for kind in ("fish", "boat", "trees"):
        (tmp_path / "photos" / kind).mkdir(parents=True)
        for number in range(6):
            draw_scene(kind, number).save(tmp_path / "photos" / kind / f"{number}.png")
    shutil.copy(PLUGIN / "imagesearch.toml", tmp_path)
    query = tmp_path / "photos" / "boat" / "3.png"

    def imagesearch(*arguments):
        done = run("-m", "imagesearch", *arguments, cwd=tmp_path, site=installed)
        assert done.returncode == 0, done.stderr
        return done.stdout

    trained = run("-m", "shopsearch.train", "photos", "shop.pt", cwd=tmp_path, site=installed)
    assert "saved shop.pt" in trained.stdout, trained.stderr
    config = ("--config", "imagesearch.toml")
    assert imagesearch("add", "photos", *config).startswith("18 added, 0 updated, 0 unchanged")
    assert imagesearch("add", "photos", *config).startswith("0 added, 0 updated, 18 unchanged")
    first = imagesearch("search", query, "-k", "3", *config).splitlines()[1]
    assert first.split() == ["1", "1.000", str(query)]
    described = imagesearch("info", *config)
    assert "SQLiteStore" in described
    assert "trained/shop" in described
    assert (tmp_path / "shop.sqlite").is_file()
    # The file alone is an index: it knows its embedder, and where the weights are.
    lone = (
        "from imagesearch import ImageIndex; from shopsearch.store import SQLiteStore\n"
        "with ImageIndex(store=SQLiteStore('shop.sqlite')) as index:\n"
        f"    print(index.search({str(query)!r}, k=1)[0].uri, index.count('uri != \"\"'))"
    )
    found = run("-c", lone, cwd=tmp_path, site=installed)
    assert found.stdout.split() == [str(query), "18"], found.stderr


@pytest.mark.slow
def test_pip_installs_it(tmp_path):
    pytest.importorskip("hatchling", reason="the build backend hatchling is not installed")
    pytest.importorskip("pip", reason="pip is not installed")
    source = shutil.copytree(PLUGIN, tmp_path / "plugin")
    site = tmp_path / "site"
    alone = ("--no-deps", "--no-build-isolation", "--no-index", "--target", site)
    done = run("-m", "pip", "install", *alone, source, cwd=tmp_path, site="")
    assert done.returncode == 0, done.stderr
    listed = "from imagesearch.plugins import *; print(plugin_class('stores', 'sqlite'))"
    assert "shopsearch.store.SQLiteStore" in run("-c", listed, cwd=tmp_path, site=site).stdout
