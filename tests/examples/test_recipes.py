"""The recipes: a dish is found by its photo, and a boat has no match."""

from __future__ import annotations

import csv

from tests.examples.printing import EXAMPLES, assert_same, promised, run

PROGRAM = "recipes/recipes.py"


def test_it_prints_what_it_says(tmp_path):
    assert_same(run(PROGRAM, cwd=tmp_path), promised(PROGRAM))


def test_its_recipes_have_eight_photos_each():
    manifest = EXAMPLES / "recipes" / "recipes.csv"
    rows = list(csv.DictReader(manifest.read_text(encoding="utf-8").splitlines()))
    assert all((manifest.parent / row["path"]).is_file() for row in rows)
    titles = [row["title"] for row in rows]
    assert {titles.count(title) for title in titles} == {8}
