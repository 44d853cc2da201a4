"""``imagesearch optimize``."""

from __future__ import annotations

from pathlib import Path

import click

from imagesearch.cli._options import (
    complete_folders,
    json_option,
    print_json,
    progress_option,
    store_options,
)
from imagesearch.cli._target import open_existing

__all__ = ["optimize"]


@click.command(short_help="Complete the search graph of a large index.")
@click.argument(
    "place",
    required=False,
    metavar="[INDEX|CONFIG]",
    type=click.Path(path_type=Path),
    shell_complete=complete_folders,
)
@store_options
@progress_option
@json_option
def optimize(
    place: Path | None,
    config: Path | None,
    store: Path | None,
    progress: bool | None,
    as_json: bool,
) -> None:
    """Complete the search graph of a local index now, with all processors.

    The graph grows while images are added. Without it, or where it lacks images, searches scan
    vectors: they find the same, more slowly. An interrupted run keeps what is done.

    \b
    Examples:
      imagesearch optimize photos.idx
      imagesearch optimize imagesearch.toml
    """
    if place is not None and place.suffix == ".toml":
        config, store = place, None
    elif place is not None:
        store = place
    with open_existing(config, store) as index:
        index.optimize(progress=progress)
        images, searching = index.count(), repr(index.store)
    if as_json:
        print_json(images=images, store=searching)
    else:
        click.echo(searching)
