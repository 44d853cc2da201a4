"""The notebook runs from top to bottom and gives what is stored in it."""

from __future__ import annotations

import shutil

import pytest

from tests.examples.printing import EXAMPLES, assert_same

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")

NOTEBOOK = EXAMPLES / "notebook" / "image_search.ipynb"


def texts(notebook):
    """What every code cell printed or gave, in words."""
    outputs = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
    return [
        "".join(
            output.text if output.output_type == "stream" else output.data["text/plain"]
            for output in cell
        )
        for cell in outputs
    ]


def pictures(notebook):
    """How many pictures each code cell shows."""
    outputs = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
    return [
        sum(output.get("data", {}).get("text/html", "").count("<img ") for output in cell)
        for cell in outputs
    ]


def read(path):
    return nbformat.read(path, as_version=4)


@pytest.mark.slow
def test_it_gives_what_is_stored_in_it(tmp_path):
    shutil.copytree(EXAMPLES / "recipes", tmp_path / "recipes")
    (tmp_path / "notebook").mkdir()
    stored, fresh = read(NOTEBOOK), read(NOTEBOOK)
    for cell in fresh.cells:
        cell.outputs = []
    nbclient.NotebookClient(
        fresh,
        kernel_name="python3",
        timeout=300,
        resources={"metadata": {"path": str(tmp_path / "notebook")}},
    ).execute()
    for new, old in zip(texts(fresh), texts(stored), strict=True):
        assert_same(new, old)
    assert pictures(fresh) == pictures(stored)


def test_it_is_small_enough_to_be_kept_and_names_nobodys_folders():
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert len(text) < 250_000
    assert "/home/" not in text
    assert all(count in (0, 5) for count in pictures(read(NOTEBOOK)))
