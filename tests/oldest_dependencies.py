"""Print the requirements of the core, for an installation of their oldest supported versions."""

from __future__ import annotations

import tomllib
from pathlib import Path

# Their oldest versions bring a CUDA build of gigabytes; no test of the core needs them.
_MODELS = ("torch", "timm")

if __name__ == "__main__":
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    requirements = [*project["dependencies"], *project["optional-dependencies"]["hnsw"]]
    print(*(text for text in requirements if not text.startswith(_MODELS)))
