"""The terminal: whether there is one, how wide it is, and whether it shows colours."""

from __future__ import annotations

import os
import shutil
import sys
from typing import IO, Any, Literal

import click

from imagesearch._printable import printable
from imagesearch._rendering import display_width

__all__ = [
    "Role",
    "colour_choice",
    "complain",
    "echo_table",
    "fitted_lines",
    "is_terminal",
    "painted",
    "say",
    "terminal_width",
]


Role = Literal["error", "warning", "ok", "heading", "faint"]

_STYLES: dict[Role, dict[str, Any]] = {
    "error": {"fg": "red", "bold": True},
    "warning": {"fg": "yellow"},
    "ok": {"fg": "green"},
    "heading": {"bold": True},
    "faint": {"dim": True},
}


def colour_choice() -> bool | None:
    """Return whether the environment asks for colours; None leaves it to each stream.

    ``NO_COLOR`` (no-color.org) takes precedence over ``FORCE_COLOR``, and both before ``TERM=dumb``, as in
    Python's own programs.
    """
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR", "0") not in {"", "0"}:
        return True
    return False if os.environ.get("TERM") == "dumb" else None


def painted(text: str, role: Role) -> str:
    """Return text in the colour of its role; `click.echo` takes it away where none are shown.

    Control characters in the text are escaped.
    """
    return click.style(printable(text, lines=True), **_STYLES[role])


def is_terminal(stream: IO[Any] | None) -> bool:
    """Return whether a person sees what is written there."""
    return stream is not None and not stream.closed and stream.isatty()


def terminal_width() -> int | None:
    """Return the columns of the terminal on standard output; None where it goes elsewhere."""
    return shutil.get_terminal_size().columns if is_terminal(sys.stdout) else None


def complain(message: str, *, word: str = "Error", role: Role = "error") -> None:
    """Write a message to standard error, after a word that gives its severity.

    Control characters are escaped, and further lines are indented, so that no text from outside
    looks like a message of the program.
    """
    text = printable(message, lines=True).replace("\n", "\n  ")
    click.echo(f"{painted(f'{word}:', role)} {text}", err=True, color=colour_choice())


def say(text: str, *, err: bool = False) -> None:
    """Print plain text that may hold words from outside, with control characters escaped."""
    click.echo(printable(text, lines=True), err=err)


def echo_table(table: str) -> None:
    """Print a text table; its first line is the heading."""
    heading, newline, rows = printable(table, lines=True).partition("\n")
    click.echo(f"{painted(heading, 'heading') if newline else heading}{newline}{rows}")


def fitted_lines(text: str, width: int | None, *, indent: int = 0) -> str:
    """Break text into lines of at most `width` columns, those after the first indented.

    Words longer than a line, such as paths, stay whole. East Asian characters count as two columns.

    Args:
        text: Line breaks in it stay.
        width: Columns; None breaks nothing.
        indent: Spaces before every line but the first, which has as much before it already.
    """
    text = printable(text, lines=True)
    gap = "\n" + " " * indent
    lines: list[str] = []
    for paragraph in text.splitlines() or [""]:
        line = ""
        for word in paragraph.split(" "):
            longer = f"{line} {word}" if line else word
            if width is None or not line or indent + display_width(longer) <= width:
                line = longer
            else:
                lines.append(line)
                line = word
        lines.append(line)
    return gap.join(lines)
