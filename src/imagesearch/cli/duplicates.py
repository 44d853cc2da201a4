"""``imagesearch duplicates``."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

import click

from imagesearch._printable import printable
from imagesearch.cli._options import (
    OutputFile,
    complete_folders,
    json_option,
    print_json,
    progress_option,
    store_options,
    where_option,
)
from imagesearch.cli._target import open_existing
from imagesearch.cli._terminal import complain, echo_table, is_terminal, say, terminal_width
from imagesearch.duplicates import NEAR_DISTANCE, TIERS, DuplicateReport, Tier

__all__ = ["duplicates"]


@click.command(short_help="Find images that are copies.")
@click.option(
    "-t",
    "--tier",
    "tiers",
    multiple=True,
    type=click.Choice(TIERS),
    help="What to compare: 'exact' (bytes), 'near' (perceptual hashes; opens the images), 'semantic' "
    "(embeddings); repeatable.  [default: all]",
)
@click.option(
    "--threshold",
    type=float,
    help="Lowest score of a 'semantic' copy.  [default: derived from the index]",
)
@click.option(
    "--near-distance",
    default=NEAR_DISTANCE,
    show_default=True,
    type=float,
    help="Largest share of hash bits in which 'near' copies may differ; unrelated images differ "
    "in about 0.5.",
)
@click.option("--max-bits", type=int, hidden=True, deprecated="use --near-distance")
@click.option(
    "--mirrored/--no-mirrored",
    default=True,
    show_default=True,
    help="Whether 'near' recognises mirror images.",
)
@where_option("Only records that match, such as 'label = \"cat\"'.")
@click.option(
    "--against",
    type=click.Path(path_type=Path),
    shell_complete=complete_folders,
    help="Folder of another local index: find images of this index that are copies of images "
    "there, such as test images in a training set.",
)
@click.option(
    "--extras", is_flag=True, help="Print only the ids of the copies to remove, one per line."
)
@click.option(
    "--html",
    type=OutputFile(),
    help="Save an HTML page with thumbnails.",
)
@progress_option
@store_options
@json_option
def duplicates(
    tiers: tuple[Tier, ...],
    threshold: float | None,
    near_distance: float,
    max_bits: int | None,
    mirrored: bool,
    where: str | None,
    against: Path | None,
    extras: bool,
    html: Path | None,
    progress: bool | None,
    config: Path | None,
    store: Path | None,
    as_json: bool,
) -> None:
    """Find images that are copies of each other; nothing is deleted.

    \b
    Examples:
      imagesearch duplicates
      imagesearch duplicates --tier exact --extras | xargs -r imagesearch delete
      imagesearch duplicates --store test.idx --against train.idx --html leaks.html
    """
    if extras and as_json:
        raise click.UsageError("give either --extras or --json, not both")
    with ExitStack() as opened:
        index = opened.enter_context(open_existing(config, store))
        other = None
        if against is not None:
            other = opened.enter_context(open_existing(None, against))
        report = index.duplicates(
            tiers=tiers or TIERS,
            threshold=threshold,
            near_distance=near_distance if max_bits is None else max_bits / 512,
            mirrored=mirrored,
            where=where,
            against=other,
            progress=progress,
        )
    _print(report, extras=extras, as_json=as_json)
    for failure in report.unread:
        complain(f"{failure.source}: {failure.error}", word="not opened", role="warning")
    if html is not None:
        say(f"saved {report.save_html(html)}", err=True)
    # As for inputs that fail: there is a result, but some images were not compared.
    if report.unread:
        click.get_current_context().exit(1)


def _print(report: DuplicateReport, *, extras: bool, as_json: bool) -> None:
    if as_json:
        print_json(**report.to_dict())
    elif extras:
        for id in report.extras:
            # Other programs need the unescaped id.
            click.echo(printable(id) if is_terminal(sys.stdout) else id)
    else:
        echo_table(report.to_table(width=terminal_width()))
