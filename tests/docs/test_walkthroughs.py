"""Whoever types what a guide says sees what the guide shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.walkthrough import TWINS, WALKTHROUGHS, blocks, walk

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # Fail at once instead of asking the hub.
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in ("IMAGESEARCH_STORE", "IMAGESEARCH_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def replacements(monkeypatch):
    pytest.importorskip("tcvectordb")
    from imagesearch.testing.tencent_server import TencentServer

    with TencentServer() as server:
        monkeypatch.setenv("TCVDB_KEY", server.key)
        yield {"http://10.0.1.17:80": server.url}


@pytest.mark.slow
@pytest.mark.parametrize("page", WALKTHROUGHS)
def test_a_guide_shows_what_its_commands_and_programs_print(page, folder, replacements):
    differences = walk(DOCS / page, folder, replacements)
    assert not differences, "\n\n".join(differences)


@pytest.mark.parametrize("page", TWINS)
def test_a_translated_guide_shows_the_same_commands_programs_and_outputs(page):
    translated, original = (
        blocks((DOCS / name).read_text(encoding="utf-8")) for name in (page, TWINS[page])
    )
    assert [block for block in translated if block in original] == original
