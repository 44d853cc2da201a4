"""``imagesearch doctor``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from imagesearch.cli._options import DEFAULT_STORE, json_option, print_json, store_options
from imagesearch.cli._terminal import Role, fitted_lines, painted, terminal_width
from imagesearch.diagnosis import Finding, Status, diagnose

__all__ = ["doctor"]

_EXIT_PROBLEM = 1
_ROLES: dict[Status, Role] = {
    "ok": "ok",
    "info": "faint",
    "warning": "warning",
    "problem": "error",
}
# "  problem  "
_INDENT = 11


@click.command(short_help="Say what is installed and what is wrong.")
@click.option(
    "--online",
    is_flag=True,
    help="Ask the model hub whether it can be reached, for a few seconds at most.",
)
@store_options
@json_option
def doctor(online: bool, config: Path | None, store: Path | None, as_json: bool) -> int:
    """Look at what is installed and configured, say what is wrong, and how to fix it.

    Packages, the device, image formats, plug-ins, the config, the store, the weights of the model,
    and the room for both. Nothing is made or changed, and no secret is shown. A store on the network that
    the config names is asked; the model hub is not, unless --online is given.

    What is missing but optional is reported as info. The exit code is 1 if there is a problem.

    \b
    Examples:
      imagesearch doctor
      imagesearch doctor --config imagesearch.toml --online
    """
    if config is None and store is None:
        store = Path(DEFAULT_STORE)
    width = terminal_width()
    seen: Counter[Status] = Counter()
    topic = ""
    for finding in diagnose(config=config, store=store, online=online):
        seen[finding.status] += 1
        if as_json:
            print_json(**finding.to_dict())
            continue
        if finding.topic != topic:
            topic = finding.topic
            click.echo(painted(topic, "heading"))
        click.echo(_lines(finding, width))
    if not as_json:
        click.echo(f"\n{_summary(seen)}")
    return _EXIT_PROBLEM if seen["problem"] else 0


def _lines(finding: Finding, width: int | None) -> str:
    word = painted(f"{finding.status:7}", _ROLES[finding.status])
    lines = f"  {word}  {fitted_lines(finding.text, width, indent=_INDENT)}"
    if finding.remedy:
        lines += f"\n{' ' * _INDENT}{fitted_lines(f'→ {finding.remedy}', width, indent=_INDENT)}"
    return lines


def _summary(seen: Counter[Status]) -> str:
    problems, warnings = seen["problem"], seen["warning"]
    parts = [
        painted(f"{count} {word}{'s' if count > 1 else ''}", role)
        for count, word, role in (
            (problems, "problem", _ROLES["problem"]),
            (warnings, "warning", _ROLES["warning"]),
        )
        if count
    ]
    return " and ".join(parts) or painted("all is well", "ok")
