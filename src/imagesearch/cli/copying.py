"""``imagesearch copy``."""

from __future__ import annotations

from pathlib import Path

import click

from imagesearch.cli.options import json_option, print_json, progress_option, store_at
from imagesearch.config import PluginConfig
from imagesearch.copying import copy_projected, copy_records
from imagesearch.errors import ConfigError, StoreError
from imagesearch.index.progress import make_progress
from imagesearch.plugins import make_store
from imagesearch.protocols import VectorStore

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
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float16", "int8"]),
    help="How TO, a new local index, keeps its vectors: in half or a quarter of the bytes.  "
    "[default: float32]",
)
@progress_option
@json_option
def copy(
    source: Path,
    target: Path,
    project: int | None,
    dtype: str | None,
    progress: bool | None,
    as_json: bool,
) -> int:
    """Copy all records of one store into another, without embedding anything again.

    FROM and TO are local indexes or TOML files with a [store] table. Repeat an interrupted copy
    to go on with it. At the end counts and the neighbours of sampled records are compared.

    \b
    imagesearch copy photos.idx tencent.toml
    imagesearch copy photos.idx photos-128.idx --project 128 --dtype int8
    """
    origin, copied = store_at(source), _target_at(target, dtype)
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


def _target_at(place: Path, dtype: str | None) -> VectorStore:
    if dtype is None:
        return store_at(place)
    if place.suffix == ".toml":
        raise ConfigError(
            f"--dtype {dtype} is for a local index, and {place} is a TOML file; write "
            f'dtype = "{dtype}" into its [store] table if its kind is "local"'
        )
    return make_store(PluginConfig("local", {"path": str(place), "dtype": dtype}))
