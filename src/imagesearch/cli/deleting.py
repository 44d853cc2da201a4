"""``imagesearch delete``."""

from __future__ import annotations

from pathlib import Path

import click

from imagesearch.cli.options import json_option, open_existing, print_json, store_options

__all__ = ["delete"]


@click.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("-w", "--where", help="All records that match, instead of ids.")
@store_options
@json_option
def delete(
    ids: tuple[str, ...],
    where: str | None,
    config: Path | None,
    store: Path | None,
    as_json: bool,
) -> None:
    """Delete records by id, or by filter; image files are never touched.

    \b
    imagesearch delete 4f2a91d3 77c0be12
    imagesearch delete --where 'sold = true'
    """
    if bool(ids) == (where is not None):
        raise click.UsageError("say what to delete: either IDs or --where")
    with open_existing(config, store) as index:
        deleted = index.delete(list(ids) if ids else None, where=where)
        left = index.count()
    if as_json:
        print_json(deleted=deleted, images=left)
    else:
        click.echo(f"{deleted} deleted; {left} images in the index")
