"""``imagesearch copy``."""

from __future__ import annotations

from pathlib import Path

import click

from imagesearch.cli.options import json_option, print_json, progress_option, store_at
from imagesearch.copying import copy_projected, copy_records
from imagesearch.errors import StoreError
from imagesearch.index.progress import make_progress

__all__ = ["copy"]

_EXIT_INCOMPLETE = 1


@click.command()
@click.argument("source", metavar="FROM", type=click.Path(path_type=Path))
@click.argument("target", metavar="TO", type=click.Path(path_type=Path))
@click.option(
    "--project",
    metavar="DIM",
    type=click.IntRange(min=1),
    help="Fit a projection on FROM and write vectors of DIM elements: smaller, and better at "
    "finding the same kind of thing.",
)
@progress_option
@json_option
def copy(
    source: Path, target: Path, project: int | None, progress: bool | None, as_json: bool
) -> int:
    """Copy all records of one store into another, without embedding anything again.

    FROM and TO are local indexes or TOML files with a [store] table. Repeat an interrupted copy
    to go on with it. At the end counts and the neighbours of sampled records are compared.

    \b
    imagesearch copy photos.idx tencent.toml
    imagesearch copy photos.idx photos-128.idx --project 128
    """
    origin, copied = store_at(source), store_at(target)
    try:
        meta = origin.describe()
        if meta is None:
            raise StoreError(f"there is no index at {source}; nothing was copied")
        origin.open(meta)
        passes = 1 if project is None else 2
        bar = make_progress(progress, passes * origin.count(), unit="record")
        try:
            if project is None:
                copied.open(meta)
                report = copy_records(origin, copied, advance=bar.advance)
            else:
                report = copy_projected(origin, copied, meta, project, advance=bar.advance)
        finally:
            bar.close()
    finally:
        copied.close()
        origin.close()
    if as_json:
        print_json(
            copied=report.copied,
            unchanged=report.unchanged,
            source_count=report.source_count,
            target_count=report.target_count,
            agreement=report.agreement,
        )
    else:
        click.echo(str(report))
    return 0 if report.complete else _EXIT_INCOMPLETE
