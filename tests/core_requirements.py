"""Print the requirements of the library without those of models, for other environments."""

from __future__ import annotations

import tomllib
from pathlib import Path

# They take gigabytes, in old versions with CUDA; the tests that run there need none of them.
_MODELS = ("torch", "timm")

if __name__ == "__main__":
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    requirements = [*project["dependencies"], *project["optional-dependencies"]["hnsw"]]
    print(*(text for text in requirements if not text.startswith(_MODELS)))
