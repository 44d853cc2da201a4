"""The page of examples, from the files of the folder ``examples``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

__all__ = ["examples_page"]

_INTRODUCTION = """\
# Examples

Complete programs, as they stand in the folder `examples` of the source. Each is run by the tests.
"""

_CLOSING = """\
This page is generated from the files of the folder `examples`.
"""

_LANGUAGES = {
    ".csv": "text",
    ".html": "html",
    ".jsonl": "json",
    ".py": "python",
    ".sh": "bash",
    ".toml": "toml",
    ".txt": "text",
    ".yml": "yaml",
}
_DATA = {".csv", ".jsonl", ".txt"}
_FIRST = ("quickstart", "tutorial")
_LONGEST_DATA = 40  # lines; what is longer is data, and no example
_NOT_RUN = "<!-- not run: the tests of the examples run it -->\n"
_HEADING = re.compile(r"^(#+) ", re.MULTILINE)


def examples_page(folder: Path) -> str:
    """Return the whole page: a section for each folder of examples, with all of its files."""
    sections = [_section(example) for example in sorted(folder.iterdir()) if any(_files(example))]
    return "\n".join([_INTRODUCTION, *sections, _CLOSING])


def _section(example: Path) -> str:
    readme = example / "README.md"
    parts = [
        _demoted(readme.read_text(encoding="utf-8")).strip()
        if readme.exists()
        else f"## {example.name.replace('_', ' ').capitalize()}",
        f"In `examples/{example.name}/`:",
    ]
    for path in _files(example):
        parts.append(f"### `{path.relative_to(example).as_posix()}`\n\n{_shown(path)}")
    return "\n\n".join(parts) + "\n"


def _files(example: Path) -> Iterator[Path]:
    """Give the files that say something, the outermost first."""
    if not example.is_dir():
        return
    found = [path for path in example.rglob("*") if path.suffix in {*_LANGUAGES, ".ipynb"}]
    for path in sorted(found, key=lambda path: (len(path.parts), path.name)):
        lines = path.read_text(encoding="utf-8").strip().splitlines()
        if lines and (len(lines) <= _LONGEST_DATA or path.suffix not in _DATA):
            yield path


def _shown(path: Path) -> str:
    text = path.read_text(encoding="utf-8").strip()
    if path.suffix == ".ipynb":
        return "\n\n".join(_cells(json.loads(text)))
    return _fenced(text, _LANGUAGES[path.suffix])


def _fenced(text: str, language: str) -> str:
    mark = _NOT_RUN if language == "python" else ""
    return f"{mark}```{language}\n{text}\n```"


def _cells(notebook: dict) -> Iterator[str]:
    for cell in notebook["cells"]:
        source = "".join(cell["source"]).strip()
        if cell["cell_type"] == "markdown":
            yield _HEADING.sub(r"###\1 ", source)
        elif source:
            yield _fenced(source, "python")
            output = "".join(_printed(cell)).strip()
            if output:
                yield _fenced(output, "text")


def _printed(cell: dict) -> Iterator[str]:
    for output in cell.get("outputs", ()):
        if output["output_type"] == "stream":
            yield "".join(output["text"])
        elif "text/plain" in output.get("data", {}):
            yield "".join(output["data"]["text/plain"]) + "\n"


def _demoted(text: str) -> str:
    """Move every heading one level down, outside of code."""
    pieces = re.split(r"(^```.*?^```)", text, flags=re.DOTALL | re.MULTILINE)
    return "".join(
        piece if piece.startswith("```") else _HEADING.sub(r"#\1 ", piece) for piece in pieces
    )
