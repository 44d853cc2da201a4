"""Output for terminals: width, colours, messages and tables."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable
from typing import IO, Any, Literal

import click

from imagesearch._printable import printable
from imagesearch._rendering import display_width, one_line

__all__ = [
    "Role",
    "colour_choice",
    "complain",
    "echo_listed",
    "echo_table",
    "fitted_lines",
    "is_terminal",
    "painted",
    "say",
    "terminal_width",
]


_LISTED = 20  # lines of each kind that a person reads

Role = Literal["error", "warning", "ok", "heading", "faint"]

_STYLES: dict[Role, dict[str, Any]] = {
    "error": {"fg": "red", "bold": True},
    "warning": {"fg": "yellow"},
    "ok": {"fg": "green"},
    "heading": {"bold": True},
    "faint": {"dim": True},
}


def colour_choice() -> bool | None:
    """Return whether the environment turns colours on or off; None leaves it to each stream.

    ``NO_COLOR`` (no-color.org) takes precedence over ``FORCE_COLOR``, and both over ``TERM=dumb``, as
    in Python's own programs.
    """
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR", "0") not in {"", "0"}:
        return True
    return False if os.environ.get("TERM") == "dumb" else None


def painted(text: str, role: Role) -> str:
    """Return text in the colour of its role; `click.echo` removes it where colours are off.

    Control characters in the text are escaped.
    """
    return click.style(printable(text, lines=True), **_STYLES[role])


def is_terminal(stream: IO[Any] | None) -> bool:
    """Return whether a stream is a terminal."""
    return stream is not None and not stream.closed and stream.isatty()


def terminal_width() -> int | None:
    """Return the columns of the terminal on standard output; None if it is not a terminal."""
    return shutil.get_terminal_size().columns if is_terminal(sys.stdout) else None


def complain(message: str, *, word: str = "Error", role: Role = "error") -> None:
    """Write a message to standard error after a word for its severity.

    Control characters are escaped and further lines indented, so that text from outside cannot pass
    for a message of the program.
    """
    text = printable(message, lines=True).replace("\n", "\n  ")
    click.echo(f"{painted(f'{word}:', role)} {text}", err=True, color=colour_choice())


def say(text: str, *, err: bool = False) -> None:
    """Print plain text that may contain text from outside; control characters are escaped."""
    click.echo(printable(text, lines=True), err=err)


def echo_table(table: str) -> None:
    """Print a text table; its first line is the heading."""
    heading, newline, rows = printable(table, lines=True).partition("\n")
    click.echo(f"{painted(heading, 'heading') if newline else heading}{newline}{rows}")


def fitted_lines(text: str, width: int | None, *, indent: int = 0) -> str:
    """Break text into lines of at most `width` columns, those after the first indented.

    Words longer than a line, such as paths, stay whole. East Asian characters count as two columns.

    Args:
        text: The text; its line breaks are kept.
        width: Columns; None for no limit.
        indent: Spaces before every line but the first, which the caller has indented.
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


def echo_listed(word: str, role: Role, names: Iterable[str]) -> None:
    """Print a line for each name, after a word; on a terminal only the first 20."""
    listed = list(names)
    shown = listed[:_LISTED] if is_terminal(sys.stdout) else listed
    for name in shown:
        click.echo(f"{painted(word, role)} {one_line(name)}")
    if len(listed) > len(shown):
        rest = f"… and {len(listed) - len(shown)} more; --json lists all"
        click.echo(painted(rest, "faint"))
