"""Write the pages that the code describes itself: ``python docs/generate.py``, or ``make docs``."""

from __future__ import annotations

import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))  # for the package beside this file, however this file is run

from generating.command_line import command_line_guide  # noqa: E402  # needs the path
from generating.errors import errors_page  # noqa: E402
from generating.examples import examples_page  # noqa: E402
from generating.layers import layer_table  # noqa: E402
from generating.option_tables import option_tables  # noqa: E402
from generating.reliability import reliability_figures  # noqa: E402
from generating.sections import fill  # noqa: E402


def pages() -> dict[Path, str]:
    """Return every page that is generated, whole or in parts, with its text as it should be."""
    tables = {f"{group} keys": option_tables(group) for group in ("embedders", "stores")}
    layers = {"layers": layer_table(DOCS.parent / "pyproject.toml")}
    return {
        DOCS / "command-line.md": command_line_guide(),
        DOCS / "examples.md": examples_page(DOCS.parent / "examples"),
        DOCS / "reference" / "errors.md": errors_page(),
        DOCS / "configuration.md": _filled("configuration.md", tables),
        DOCS / "design.md": _filled("design.md", layers),
        DOCS / "reliability.md": _filled("reliability.md", reliability_figures(DOCS / "figures")),
    }


def _filled(name: str, sections: dict[str, str]) -> str:
    return fill((DOCS / name).read_text(encoding="utf-8"), sections)


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
