"""A page that is walked through: its commands, files and programs in order, in one folder.

What a page shows is held against what happens:

- ```` ```console ````: each ``$ command`` with the output below it. ``imagesearch`` runs in this
  process, ``rm``, ``mv`` and ``cp`` as they are; ``cat FILE`` writes the file that is shown; other
  commands (pip, export …), and those that wait, are left out. ```` ```bash ```` is not run at all.
- ```` ```toml ```` with ``# NAME.toml`` as its first line: writes that file.
- ```` ```python ````: runs, with the names of the blocks before it; a ```` ```text ```` block right
  after it is what it prints.

Numbers may differ in their last digits, times altogether, and ``…`` alone on a line stands for any
lines.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from imagesearch.cli import main

__all__ = ["HOME", "TWINS", "WALKTHROUGHS", "blocks", "walk"]

WALKTHROUGHS = ("concepts.md", "embedders.md", "filters.md", "quickstart.md", "tencent.md")

# Pages that show the same in another language.
TWINS = {"quickstart.zh-CN.md": "quickstart.md", "tencent.zh-CN.md": "tencent.md"}

# The reader's folder, as the pages show it.
HOME = "/home/ada"

_BLOCK = re.compile(
    r"^(<!-- not run: [^\n]+ -->\n\n?)?```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE
)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_SECONDS = re.compile(r"in \d+\.\d+ s")
_SHELL = {"rm", "mv", "cp", "mkdir"}
_WAITING = {"serve"}


def blocks(text: str) -> list[tuple[str, str, bool]]:
    """Return the language, the content and whether it is run, of every block."""
    return [(kind, body, not skipped) for skipped, kind, body in _BLOCK.findall(text)]


def walk(page: Path, folder: Path, replacements: dict[str, str]) -> list[str]:
    """Do all that a page says, in a folder; return what came out otherwise than it says.

    Args:
        page: The page.
        folder: An empty folder, the current one.
        replacements: Texts of the page that mean something else here, such as an address.
    """
    names: dict[str, Any] = {"__name__": "page"}
    differences: list[str] = []
    text = page.read_text(encoding="utf-8")
    for old, new in replacements.items():
        text = text.replace(old, new)
    todo = blocks(text)
    for number, (kind, body, run) in enumerate(todo):
        if not run:
            continue
        if kind == "toml" and (name := re.match(r"# (\S+\.toml)\n", body)):
            (folder / name[1]).write_text(body, encoding="utf-8")
        elif kind == "console":
            for command, shown in _commands(body):
                differences += _compare(command, shown, _run(command, shown, folder), folder)
        elif kind == "python":
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile(body, f"{page.name}, block {number}", "exec"), names)
            following = todo[number + 1] if number + 1 < len(todo) else None
            after = text.split(body, 1)[1]
            if following and following[0] == "text" and after.startswith("```\n\n```text\n"):
                differences += _compare(body, following[1], printed.getvalue(), folder)
    return differences


def _commands(body: str) -> list[tuple[str, str]]:
    """Return each command of a console block with what is shown below it."""
    parts = re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]
    found = []
    for part in parts:
        joined = part.replace("\\\n", " ")
        command, _, shown = joined.partition("\n")
        found.append((command, shown))
    return found


def _run(command: str, shown: str, folder: Path) -> str | None:
    """Return the output of a command; None if it is one of those that are not run."""
    words = shlex.split(command, comments=True)
    if words[0] == "cat":
        (folder / words[1]).write_text(shown, encoding="utf-8")
        return shown
    if words[0] in _SHELL:
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True)
        return done.stdout
    if words[0] != "imagesearch" or words[1] in _WAITING:
        return None
    if words[1] == "demo":
        # What it says depends on weights that a machine may have; here it has none.
        place = {"HF_HOME": str(folder / "no-weights"), "HF_HUB_OFFLINE": "1"}
        command = [sys.executable, "-m", "imagesearch", *words[1:]]
        return subprocess.run(
            command, cwd=folder, env=os.environ | place, capture_output=True, text=True, check=True
        ).stdout
    printed = io.StringIO()
    with (
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
        contextlib.suppress(SystemExit),
    ):
        main(words[1:])
    return printed.getvalue()


def _compare(command: str, shown: str, came: str | None, folder: Path) -> list[str]:
    if came is None or _agree(_tidy(shown), got := _tidy(came.replace(str(folder), HOME))):
        return []
    return [f"{command.strip()}\n  came out as:\n" + "\n".join(got)]


def _agree(wanted: list[str], got: list[str]) -> bool:
    """Whether lines are those that are wanted, where ``…`` is any number of any lines."""
    if not wanted:
        return not got
    if wanted[0] == "…":
        return any(_agree(wanted[1:], got[skipped:]) for skipped in range(len(got) + 1))
    return bool(got) and _alike(wanted[0], got[0]) and _agree(wanted[1:], got[1:])


def _tidy(text: str) -> list[str]:
    """Return lines without what may differ: times, and the widths of columns."""
    lines = _SECONDS.sub("in some s", text).splitlines()
    return [" ".join(line.split()) for line in lines if line.strip()]


def _alike(expected: str, came: str) -> bool:
    """Whether two lines are the same but for the last digits of numbers."""
    if _NUMBER.sub("0", expected) != _NUMBER.sub("0", came):
        return False
    pairs = zip(_NUMBER.findall(expected), _NUMBER.findall(came), strict=True)
    return all(a == b or ("." in a and abs(float(a) - float(b)) < 0.011) for a, b in pairs)
