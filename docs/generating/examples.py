"""The page of examples, from the files of the folder ``examples``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

__all__ = ["examples_page"]

_CLOSING = """\
This page is generated from the files of the folder `examples` in the source.
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
_BUILT = {"__pycache__", "build", "dist"}
_LONGEST_DATA = 40  # lines; what is longer is data, and no example
_NOT_RUN = "<!-- not run: the tests of the examples run it -->\n"
_HEADING = re.compile(r"^(#+) ", re.MULTILINE)
_LINK = re.compile(r"\[([^\]]+)\]\((?!https?:|#|mailto:)([^)\s]+)\)")


def examples_page(folder: Path) -> str:
    """Return the whole page: the folder's README, then each example in the order it has there."""
    readme = (folder / "README.md").read_text(encoding="utf-8")
    found = [example for example in sorted(folder.iterdir()) if any(_files(example))]
    unnamed = [example.name for example in found if f"]({example.name}" not in readme]
    if unnamed:
        raise LookupError(f"examples/README.md does not name {', '.join(unnamed)}")
    found.sort(key=lambda example: readme.index(f"]({example.name}"))
    introduction = _prose(readme, folder, folder, deeper=0)
    sections = [_section(example, folder) for example in found]
    return "\n".join([introduction + "\n", *sections, _CLOSING])


def _section(example: Path, folder: Path) -> str:
    parts = [f"## {_title(example)}"]
    readme = example / "README.md"
    if readme.exists():
        _, _, rest = readme.read_text(encoding="utf-8").partition("\n")
        parts.append(_prose(rest, example, folder, deeper=1))
    parts.append(f"In `examples/{example.name}/`:")
    parts += [
        f"### `{path.relative_to(example).as_posix()}`\n\n{_shown(path, folder)}"
        for path in _files(example)
    ]
    return "\n\n".join(parts) + "\n"


def _title(example: Path) -> str:
    readme = example / "README.md"
    if readme.exists():
        return readme.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
    return example.name.replace("_", " ").capitalize()


def _files(example: Path) -> Iterator[Path]:
    """Give the files that say something, the outermost first."""
    if not example.is_dir():
        return
    found = [path for path in example.rglob("*") if path.suffix in {*_LANGUAGES, ".ipynb"}]
    for path in sorted(found, key=lambda path: (len(path.parts), path.name)):
        inside = path.relative_to(example).parts
        if any(part in _BUILT or part.startswith(".") or ".egg" in part for part in inside):
            continue
        lines = path.read_text(encoding="utf-8").strip().splitlines()
        if lines and (len(lines) <= _LONGEST_DATA or path.suffix not in _DATA):
            yield path


def _shown(path: Path, examples: Path) -> str:
    text = path.read_text(encoding="utf-8").strip()
    if path.suffix == ".ipynb":
        return "\n\n".join(_cells(json.loads(text), path.parent, examples))
    return _fenced(text, _LANGUAGES[path.suffix])


def _fenced(text: str, language: str) -> str:
    mark = _NOT_RUN if language == "python" else ""
    return f"{mark}```{language}\n{text}\n```"


def _cells(notebook: dict, folder: Path, examples: Path) -> Iterator[str]:
    for cell in notebook["cells"]:
        source = "".join(cell["source"]).strip()
        if cell["cell_type"] == "markdown":
            yield _prose(source, folder, examples, deeper=3)
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


def _prose(text: str, folder: Path, examples: Path, *, deeper: int) -> str:
    """Fit Markdown of a file into this page: headings go deeper, links lead to where things are."""
    pieces = re.split(r"(^```.*?^```)", text.strip(), flags=re.DOTALL | re.MULTILINE)
    return "".join(
        piece
        if piece.startswith("```")
        else _LINK.sub(
            lambda match: _relinked(match, folder, examples),
            _HEADING.sub(rf"{'#' * deeper}\1 ", piece),
        )
        for piece in pieces
    )


def _relinked(match: re.Match[str], folder: Path, examples: Path) -> str:
    words, target = match.groups()
    path, _, anchor = target.partition("#")
    place = (folder / path).resolve()
    examples = examples.resolve()
    if place.is_relative_to(examples) and place != examples:
        example = examples / place.relative_to(examples).parts[0]
        slug = re.sub(r"[^\w\s-]", "", _title(example)).lower().replace(" ", "-")
        return f"[{words}](#{slug})"
    docs = examples.parent / "docs"
    if place.is_relative_to(docs) and place.suffix == ".md":
        there = place.relative_to(docs).as_posix() + (f"#{anchor}" if anchor else "")
        return f"[{words}]({there})"
    return words
