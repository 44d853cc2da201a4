"""``imagesearch doctor``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from imagesearch.cli._options import json_option, print_json, store_options
from imagesearch.cli._target import DEFAULT_STORE
from imagesearch.cli._terminal import Role, fitted_lines, painted, terminal_width
from imagesearch.types import CheckResult, CheckStatus

__all__ = ["doctor"]

_EXIT_PROBLEM = 1
_ROLES: dict[CheckStatus, Role] = {
    "ok": "ok",
    "info": "faint",
    "warning": "warning",
    "problem": "error",
}
# "  problem  "
_INDENT = 11


@click.command(short_help="Check the installation and suggest fixes.")
@click.option(
    "--online",
    is_flag=True,
    help="Also check whether the model hub can be reached; takes a few seconds at most.",
)
@store_options
@json_option
def doctor(online: bool, config: Path | None, store: Path | None, as_json: bool) -> int:
    """Check what is installed and configured, report what is wrong, and how to fix it.

    Checks packages, the device, image formats, plug-ins, the config, the store, the weights of the
    model, and the disk space for both. Nothing is created or changed, and no secret is shown. A
    store on the network that the config names is contacted; the model hub only with --online.

    Missing optional packages are reported as info. The exit code is 1 if there is a problem.

    \b
    Examples:
      imagesearch doctor
      imagesearch doctor --config imagesearch.toml --online
    """
    # Imported here, so that the help of all commands loads no further package.
    from imagesearch.diagnosis import diagnose

    if config is None and store is None:
        store = Path(DEFAULT_STORE)
    width = terminal_width()
    seen: Counter[CheckStatus] = Counter()
    topic = ""
    for result in diagnose(config=config, store=store, online=online):
        seen[result.status] += 1
        if as_json:
            print_json(**result.to_dict())
            continue
        if result.topic != topic:
            topic = result.topic
            click.echo(painted(topic, "heading"))
        click.echo(_lines(result, width))
    if not as_json:
        click.echo(f"\n{_summary(seen)}")
    return _EXIT_PROBLEM if seen["problem"] else 0


def _lines(result: CheckResult, width: int | None) -> str:
    word = painted(f"{result.status:7}", _ROLES[result.status])
    lines = f"  {word}  {fitted_lines(result.text, width, indent=_INDENT)}"
    if result.remedy:
        lines += f"\n{' ' * _INDENT}{fitted_lines(f'→ {result.remedy}', width, indent=_INDENT)}"
    return lines


def _summary(seen: Counter[CheckStatus]) -> str:
    problems, warnings = seen["problem"], seen["warning"]
    parts = [
        painted(f"{count} {word}{'s' if count > 1 else ''}", role)
        for count, word, role in (
            (problems, "problem", _ROLES["problem"]),
            (warnings, "warning", _ROLES["warning"]),
        )
        if count
    ]
    return " and ".join(parts) or painted("no problems", "ok")
