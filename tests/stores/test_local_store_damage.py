"""Any damage of any file of an index is named, repaired, refused, or changes no answer."""

from __future__ import annotations

import logging
import shutil
from collections import Counter

import pytest

from imagesearch.errors import ImageSearchError
from imagesearch.stores.local import LocalStore
from tests.stores.damages import OPTIONS, make, outcome

pytest.importorskip("usearch")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make(tmp_path_factory.mktemp("damages"))


def damage(made, tmp_path, caplog, state, seeds):
    caplog.set_level(logging.CRITICAL, "imagesearch")
    path, expected = made[state]
    outcomes = [outcome(path, tmp_path / "work.idx", seed, expected) for seed in seeds]
    assert [one for one in outcomes if one.word == "silent"] == []
    wrong = [one for one in outcomes if one.problem and not one.problem.startswith("not repaired")]
    assert wrong == []
    return Counter(one.word for one in outcomes)


@pytest.mark.parametrize("state", ["killed", "closed"])
def test_no_damage_of_any_file_is_silent(made, tmp_path, caplog, state):
    words = damage(made, tmp_path, caplog, state, range(1000, 1020))
    assert words["repaired"]


@pytest.mark.slow
@pytest.mark.parametrize("state", ["killed", "closed"])
def test_none_of_many_damages_of_any_file_is_silent(made, tmp_path, caplog, state):
    words = damage(made, tmp_path, caplog, state, range(150))
    assert words["repaired"] > 50


def test_checking_changes_nothing(made, tmp_path):
    for path, _ in made.values():
        work = tmp_path / path.name
        shutil.copytree(path, work)
        before = {file.name: file.read_bytes() for file in work.iterdir()}
        assert {result.status for result in LocalStore(work, **OPTIONS).check()} <= {"ok", "info"}
        after = {file.name: file.read_bytes() for file in work.iterdir()}
        assert {name: after[name] for name in before if "-shm" not in name} == {
            name: body for name, body in before.items() if "-shm" not in name
        }


def test_an_index_that_another_program_made_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ImageSearchError, match=r"thesis\.txt"):
        list(LocalStore(tmp_path).check())
