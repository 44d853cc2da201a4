"""``imagesearch delete``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from imagesearch._validation import batched
from imagesearch.cli._options import (
    dry_run_option,
    json_option,
    print_json,
    store_options,
    where_option,
)
from imagesearch.cli._target import (
    no_index,
    note_unknown_fields,
    open_existing,
    open_read_only,
    store_config,
)
from imagesearch.cli._terminal import complain, echo_listed, is_terminal
from imagesearch.filters import as_filter
from imagesearch.index import ImageIndex
from imagesearch.protocols import VectorStore

__all__ = ["delete"]


_EXIT_DECLINED = 130
_BATCH = 1000


@click.command(short_help="Delete records by id or by filter.")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@where_option("Delete all records that match, instead of ids. On a terminal you are asked first.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@store_options
@dry_run_option
@json_option
def delete(
    ids: tuple[str, ...],
    where: str | None,
    yes: bool,
    config: Path | None,
    store: Path | None,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Delete records by id or by filter; image files are not changed.

    \b
    Examples:
      imagesearch delete 4f2a91d3 77c0be12
      imagesearch delete --where 'sold = true' --dry-run
      imagesearch delete --where 'sold = true' --yes
    """
    if bool(ids) == (where is not None):
        raise click.UsageError("give what to delete: either IDs or --where")
    chosen = list(dict.fromkeys(ids)) if ids else None
    if dry_run:
        return _dry_run(chosen, where, config, store, as_json=as_json)
    with open_existing(config, store) as index:
        if where is not None and not yes and not _agreed(index, where):
            click.echo("nothing was deleted", err=True)
            return _EXIT_DECLINED
        deleted = index.delete(chosen, where=where)
        left = index.count()
    if as_json:
        print_json(deleted=deleted, images=left)
    else:
        click.echo(f"{deleted} deleted; {left} images in the index")
    _explain(chosen, where, deleted, config, store)
    return 0


def _dry_run(
    ids: list[str] | None,
    where: str | None,
    config: Path | None,
    store: Path | None,
    *,
    as_json: bool,
) -> int:
    with open_read_only(store_config(config, store), config if store is None else None) as (
        opened,
        meta,
    ):
        if meta is None:
            raise no_index(config, store)
        uris = _matching(opened, ids, where)
        left = opened.count() - len(uris)
    if as_json:
        for id, uri in uris.items():
            print_json(status="deleted", id=id, uri=uri, dry_run=True)
        print_json(deleted=len(uris), images=left, dry_run=True)
    else:
        lines = (f"{id}  {uri}" for id, uri in uris.items())
        echo_listed("would delete ", "error", lines)
        click.echo(f"would be: {len(uris)} deleted; {left} images (dry run: nothing was changed)")
    _explain(ids, where, len(uris), config, store)
    return 0


def _matching(store: VectorStore, ids: list[str] | None, where: str | None) -> dict[str, str]:
    """Return the URIs of the records to delete, by id."""
    if ids is not None:
        records = [record for batch in batched(ids, _BATCH) for record in store.get(batch).values()]
    else:
        records = [record for batch in store.scan(where=as_filter(where)) for record in batch]
    return {record.id: record.uri for record in records}


def _agreed(index: ImageIndex, where: str) -> bool:
    """Ask for confirmation on a terminal; programs are not asked."""
    if not (is_terminal(sys.stdin) and is_terminal(sys.stderr)):
        return True
    matching = index.count(where)
    if not matching:
        return True
    try:
        return click.confirm(f"Delete {matching} of {index.count()} records?", err=True)
    except click.Abort:
        # The cursor is after the ^C.
        click.echo(err=True)
        return False


def _explain(
    ids: list[str] | None,
    where: str | None,
    deleted: int,
    config: Path | None,
    store: Path | None,
) -> None:
    if ids is not None and deleted < len(ids):
        complain(
            f"{len(ids) - deleted} of {len(ids)} ids are not in the index",
            word="Note",
            role="warning",
        )
    elif not deleted:
        note_unknown_fields(config, store, where)
