"""Generated pages say what the code says, and every page can be found."""

from __future__ import annotations

import re
import runpy
import textwrap
from pathlib import Path

import pytest

from imagesearch import errors
from imagesearch.filters import _parse
from imagesearch.protocols import Capability

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PIPE_IN_CODE = re.compile(r"^\|.*`[^`|]*\\\|[^`]*`", re.MULTILINE)
LISTED = re.compile(r"^ +- [^\n]*?([\w./-]+\.md)$", re.MULTILINE)
PATH = re.compile(r"`([\w./-]+\.(?:py|md|toml|yml)|(?:src|tests|docs|examples)/[\w./-]+)`")
FOR_CONTRIBUTORS = ["CONTRIBUTING.md", "SECURITY.md", "docs/design.md", "docs/releasing.md"]
VARIABLE = re.compile(r"\bIMAGESEARCH_[A-Z_]+\b")


@pytest.fixture(scope="module")
def generated():
    return runpy.run_path(str(DOCS / "generate.py"))["pages"]()


def test_generated_pages_are_current(generated):
    outdated = [
        path.relative_to(ROOT).as_posix()
        for path, text in generated.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    assert not outdated, "run: make docs"


def test_every_page_is_in_the_navigation():
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = LISTED.findall(settings)
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    assert pages - set(listed) == set(), "add them to nav in mkdocs.yml"
    assert set(listed) - pages == set(), "nav in mkdocs.yml names pages that do not exist"
    assert len(listed) == len(set(listed))


def test_code_in_tables_shows_no_backslash_before_a_pipe():
    # GitHub takes the backslash away and the site's reader does not; both know <code>&#124;</code>.
    for page in DOCS.rglob("*.md"):
        assert not PIPE_IN_CODE.findall(page.read_text(encoding="utf-8")), page.name


def test_every_error_says_when_it_is_raised_and_what_to_do(generated):
    page = generated[DOCS / "reference" / "errors.md"]
    for name in errors.__all__:
        _, _, section = page.partition(f"\n## {name}\n")
        section, _, _ = section.partition("\n## ")
        assert "**Raised when**: " in section, name
        assert "**What to do**: " in section, name


def test_the_guide_to_filters_has_the_grammar_of_the_parser():
    # The guide describes texts below its grammar.
    grammar = re.search(
        r"^    filter +:=.*?(?=\n    text)", _parse.__doc__, re.DOTALL | re.MULTILINE
    )[0]
    shown = textwrap.dedent(grammar).strip()
    assert f"```text\n{shown}\n```" in (DOCS / "filters.md").read_text(encoding="utf-8")


def test_the_guide_to_plugins_lists_every_capability():
    guide = (DOCS / "plugins.md").read_text(encoding="utf-8")
    assert not [name for name in Capability.__members__ if f"| `{name}` |" not in guide]


def test_every_benchmark_is_described():
    page = (DOCS / "benchmarks.md").read_text(encoding="utf-8")
    programs = [path.name for path in (ROOT / "benchmarks").glob("*.py")]
    assert programs
    assert not [name for name in programs if f"python benchmarks/{name}" not in page]


@pytest.mark.parametrize("page", FOR_CONTRIBUTORS)
def test_files_that_contributors_are_sent_to_exist(page):
    named = set(PATH.findall((ROOT / page).read_text(encoding="utf-8")))
    folders = [ROOT, ROOT / "src/imagesearch", *(ROOT / "src/imagesearch").rglob("*/")]
    missing = [path for path in named if not any((folder / path).exists() for folder in folders)]
    missing = [path for path in missing if "NAME" not in path]
    assert not missing


def test_every_environment_variable_is_documented():
    written = (DOCS / "configuration.md").read_text(encoding="utf-8")
    source = [path for path in (ROOT / "src").rglob("*.py") if "testing" not in path.parts]
    used = {name for path in source for name in VARIABLE.findall(path.read_text(encoding="utf-8"))}
    assert "IMAGESEARCH_CONFIG" in used
    assert not [name for name in sorted(used) if f"`{name}`" not in written]


def test_pages_speak_of_no_place_on_the_machine_that_wrote_them(generated):
    for path, text in generated.items():
        assert str(ROOT) not in text, path
