"""The page of the command line, from the help texts of the commands."""

from __future__ import annotations

import click

from imagesearch.cli._program import program

__all__ = ["command_line_guide"]

_INTRODUCTION = """\
# Command line

Every command reads `--store` (a local index, `imagesearch.idx` by default) or `--config` (a TOML
file, see [configuration](configuration.md)). Results go to standard output, everything else to
standard error. With `--json` a command prints one JSON object per line.

Exit codes: 0 success; 1 some inputs failed, or check or doctor found problems, each of which is named;
2 invalid usage; 3 the command failed, for the reason in the message; 130 interrupted, what was stored
until then is kept.

This page is generated from the commands' own help texts.
"""


def command_line_guide() -> str:
    """Return the whole page."""
    parts = [_INTRODUCTION]
    settings = {**program.context_settings, "terminal_width": 84, "max_content_width": 84}
    with click.Context(program, info_name="imagesearch", **settings) as context:
        parts.append(f"```text\n{program.get_help(context)}\n```\n")
        for name, command in sorted(program.commands.items()):
            with click.Context(command, info_name=name, parent=context, **settings) as inner:
                text = command.get_help(inner)
            parts.append(f"## imagesearch {name}\n\n```text\n{text}\n```\n")
    return "\n".join(parts)
