"""``imagesearch check``."""

from __future__ import annotations

from pathlib import Path

import click

from imagesearch._printable import printable
from imagesearch.cli._options import (
    complete_folders,
    json_option,
    print_json,
    progress_option,
    store_options,
)
from imagesearch.cli._target import store_at, store_config
from imagesearch.cli._terminal import Role, fitted_lines, painted, say, terminal_width
from imagesearch.config import load_config
from imagesearch.index._check import check_store
from imagesearch.index._open import open_index
from imagesearch.plugins import make_embedder, make_store
from imagesearch.protocols import Embedder
from imagesearch.types import CheckReport, CheckResult, CheckStatus

__all__ = ["check"]

_EXIT_DAMAGED = 1
_IDS_SHOWN = 20
_ROLES: dict[CheckStatus, Role] = {
    "ok": "ok",
    "info": "faint",
    "warning": "warning",
    "problem": "error",
}
# "problem  "
_INDENT = 9


@click.command(short_help="Find damage in an index and repair it.")
@click.argument(
    "path",
    required=False,
    metavar="[INDEX|CONFIG]",
    type=click.Path(path_type=Path),
    shell_complete=complete_folders,
)
@click.option(
    "--repair",
    is_flag=True,
    help="Repair what can be repaired: embed the images of damaged vectors again if their files exist, "
    "rebuild redundant data, and accept a database that lost acknowledged writes.",
)
@click.option(
    "--remove",
    is_flag=True,
    help="With --repair: remove the records that cannot be repaired from the index. Image files are "
    "not changed.",
)
@store_options
@progress_option
@json_option
def check(
    path: Path | None,
    repair: bool,
    remove: bool,
    config: Path | None,
    store: Path | None,
    progress: bool | None,
    as_json: bool,
) -> int:
    """Verify everything that a local index stores, and list the damaged records.

    Checked are the database, every record, filter entry and vector, the saved graph, and whether
    acknowledged writes are missing. Nothing is changed without --repair, and no record is removed
    without --remove. The exit code is 1 while there is damage.

    \b
    Examples:
      imagesearch check photos.idx
      imagesearch check photos.idx --repair
      imagesearch check imagesearch.toml --repair --remove
    """
    if remove and not repair:
        raise click.UsageError("--remove needs --repair")
    if path is not None and path.suffix == ".toml":
        config, store = path, None
    elif path is not None:
        store = path
    chosen = make_store(store_at(path) if path is not None else store_config(config, store))
    try:
        report = check_store(
            chosen,
            lambda: open_index(None, chosen, _embedder(config), None),
            repair=repair,
            remove=remove,
            group_size=None,
            progress=progress,
        )
    finally:
        chosen.close()
    if as_json:
        _print_json(report)
    else:
        _print(report)
    return 0 if report.ok else _EXIT_DAMAGED


def _embedder(config: Path | None) -> Embedder | None:
    """Make the embedder of a config, which knows where the weights are now."""
    table = None if config is None else load_config(config).embedder
    return None if table is None else make_embedder(table)


def _print(report: CheckReport) -> None:
    width = terminal_width()
    for result in (*report.repairs, *report.results):
        click.echo(_line(result, width))
    say(f"\n{report}")


def _line(result: CheckResult, width: int | None) -> str:
    word = painted(f"{result.status:7}", _ROLES[result.status])
    line = f"{word}  {fitted_lines(f'{result.topic}: {result.text}', width, indent=_INDENT)}"
    for id in result.ids[:_IDS_SHOWN] if result.status == "problem" else ():
        line += f"\n{' ' * _INDENT}{printable(id)}"
    if result.status == "problem" and len(result.ids) > _IDS_SHOWN:
        line += f"\n{' ' * _INDENT}and {len(result.ids) - _IDS_SHOWN} more; --json prints all"
    if result.remedy:
        line += f"\n{' ' * _INDENT}{fitted_lines(f'→ {result.remedy}', width, indent=_INDENT)}"
    return line


def _print_json(report: CheckReport) -> None:
    for result in report.repairs:
        print_json(repair=True, **result.to_dict())
    for result in report.results:
        print_json(repair=False, **result.to_dict())
    print_json(
        ok=report.ok,
        damaged=list(report.damaged),
        reembedded=list(report.reembedded),
        removed=list(report.removed),
    )
