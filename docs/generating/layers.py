"""The table of layers, from the contract that the checks enforce."""

from __future__ import annotations

import importlib
import re
import tomllib
from pathlib import Path

from generating.cells import row

__all__ = ["layer_table"]


def layer_table(pyproject: Path) -> str:
    """Return the layers from the top down, with the first line of each module's docstring."""
    settings = tomllib.loads(pyproject.read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    [contract] = [contract for contract in contracts if contract["type"] == "layers"]
    rows = ["| layer | module | what it is |", "|---|---|---|"]
    for number, layer in enumerate(contract["layers"]):
        for module in re.split(r"\s*[|:]\s*", layer):
            name = module.removeprefix("imagesearch.")
            rows.append(row(str(len(contract["layers"]) - number), f"`{name}`", _summary(module)))
    return "\n".join(rows)


def _summary(module: str) -> str:
    first = (importlib.import_module(module).__doc__ or "").strip().splitlines()[0]
    return first.replace("``", "`")
