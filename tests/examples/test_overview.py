"""The overview of the examples names each of them, and leads nowhere else."""

from __future__ import annotations

import re

from tests.examples.printing import EXAMPLES

LINKS = re.findall(
    r"\]\((?!https?:)([^)]+)\)", (EXAMPLES / "README.md").read_text(encoding="utf-8")
)


def test_every_example_is_listed():
    programs = {path.relative_to(EXAMPLES).parts[0] for path in EXAMPLES.glob("*/**/*.py")}
    programs |= {path.parent.name for path in EXAMPLES.glob("*/*.ipynb")}
    assert {link.split("/")[0] for link in LINKS} == programs


def test_no_link_is_dead():
    assert [link for link in LINKS if not (EXAMPLES / link).exists()] == []
