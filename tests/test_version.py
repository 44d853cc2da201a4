"""The version is the same wherever it stands."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import imagesearch

ROOT = Path(__file__).parents[1]


def test_package_project_and_changelog_name_the_same_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    [latest, *_] = re.findall(
        r"^## \[(\d[^\]]*)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    assert imagesearch.__version__ == project["version"] == latest
