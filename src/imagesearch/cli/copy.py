"""``imagesearch copy``."""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path

import click

from imagesearch.cli._options import (
    complete_files,
    dry_run_option,
    json_option,
    print_json,
    progress_option,
)
from imagesearch.cli._target import external_collection, open_read_only, store_at
from imagesearch.cli._terminal import say
from imagesearch.cli.parquet import refuse_tables_in_copy
from imagesearch.config import PluginConfig
from imagesearch.copying import CopyReport, begun_projection, copy_projected, copy_records, is_same
from imagesearch.errors import ConfigError, StoreError
from imagesearch.index._ingest import Progress, make_progress
from imagesearch.plugins import make_store
from imagesearch.protocols import VectorStore

__all__ = ["copy"]


_EXIT_INCOMPLETE = 1
_BATCH = 1000


@click.command(short_help="Copy all records into another store.")
@click.argument(
    "source", metavar="FROM", type=click.Path(path_type=Path), shell_complete=complete_files
)
@click.argument(
    "target", metavar="TO", type=click.Path(path_type=Path), shell_complete=complete_files
)
@click.option(
    "--project",
    metavar="DIM",
    type=click.IntRange(min=1),
    help="Fit a projection on FROM and write vectors of DIM elements: smaller, and better at "
    "finding images of the same kind.",
)
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float16", "int8"]),
    help="Data type of the vectors of TO, a new local index; float16 takes half the space, int8 a "
    "quarter.  [default: float32]",
)
@dry_run_option
@progress_option
@json_option
def copy(
    source: Path,
    target: Path,
    project: int | None,
    dtype: str | None,
    dry_run: bool,
    progress: bool | None,
    as_json: bool,
) -> int:
    """Copy all records of one store into another; nothing is embedded again.

    FROM and TO are local indexes or TOML files with a [store] table. Repeat an interrupted copy to
    continue it. Records of TO with the same id are replaced if they differ; others stay. At the end,
    the counts and the nearest neighbours of sampled records are compared.

    \b
    Examples:
      imagesearch copy photos.idx tencent.toml --dry-run
      imagesearch copy photos.idx tencent.toml
      imagesearch copy photos.idx photos-128.idx --project 128 --dtype int8
    """
    if source.absolute() == target.absolute():
        raise click.UsageError(f"FROM and TO must differ, got {source} for both")
    refuse_tables_in_copy(source, target)
    tables = store_at(source), _target_config(target, dtype)
    if dry_run:
        return _dry_run(source, *tables, project, progress, as_json=as_json)
    report = _copied(source, *tables, project, progress)
    if as_json:
        print_json(
            copied=report.copied,
            unchanged=report.unchanged,
            source_count=report.source_count,
            target_count=report.target_count,
            agreement=report.agreement,
            notes=list(report.notes),
            notes_left=report.notes_left or None,
        )
    else:
        say(str(report))
    if report.doubtful:
        click.echo(
            "warning: FROM and TO have the same number of records, but most neighbours differ: TO may "
            "have other vectors for the same ids, or no vector index yet (IVF: call rebuild_index)",
            err=True,
        )
    return _EXIT_INCOMPLETE if report.doubtful or not report.complete else 0


def _copied(
    source: Path,
    origin_table: PluginConfig,
    target_table: PluginConfig,
    project: int | None,
    progress: bool | None,
) -> CopyReport:
    with (
        closing(make_store(origin_table)) as origin,
        closing(make_store(target_table)) as copied,
    ):
        meta = origin.describe()
        if meta is None:
            foreign = external_collection(source)
            if foreign is None:
                raise _no_source(source)
            meta = foreign.meta
        origin.open(meta)
        passes = 1 if project is None else 2
        with closing(make_progress(progress, passes * origin.count(), unit="record")) as bar:
            if project is not None:
                return copy_projected(origin, copied, meta, project, advance=bar.advance)
            copied.open(meta)
            return copy_records(origin, copied, advance=bar.advance)


def _dry_run(
    source: Path,
    origin_table: PluginConfig,
    target_table: PluginConfig,
    project: int | None,
    progress: bool | None,
    *,
    as_json: bool,
) -> int:
    with ExitStack() as opened:
        origin, meta = opened.enter_context(open_read_only(origin_table, source))
        if meta is None:
            raise _no_source(source)
        copied, begun = opened.enter_context(open_read_only(target_table))
        if project is not None:
            begun_projection(origin, copied, meta, project)
        elif begun is not None:
            begun.require_compatible(meta, where=repr(copied))
        bar = opened.enter_context(closing(make_progress(progress, origin.count(), unit="record")))
        new, replaced, unchanged = _compared(origin, None if begun is None else copied, bar)
        before = copied.count() if begun is not None else 0
    if as_json:
        print_json(
            copied=new + replaced,
            replaced=replaced,
            unchanged=unchanged,
            source_count=new + replaced + unchanged,
            target_count=before + new,
            dry_run=True,
        )
        return 0
    where = "" if begun is not None else " in a new index"
    click.echo(
        f"would be: {new + replaced} copied, {replaced} of them replacing others, {unchanged} "
        f"unchanged; {before + new} records in the target{where} (dry run: nothing was changed)"
    )
    return 0


def _compared(
    origin: VectorStore, copied: VectorStore | None, bar: Progress
) -> tuple[int, int, int]:
    """Count the records that are new, replace others, and are unchanged."""
    new = replaced = unchanged = 0
    for batch in origin.scan(batch_size=_BATCH):
        existing = copied.get(batch.ids) if copied is not None else {}
        for record in batch:
            other = existing.get(record.id)
            if other is None:
                new += 1
            elif is_same(record, other):
                unchanged += 1
            else:
                replaced += 1
        bar.advance(len(batch))
    return new, replaced, unchanged


def _no_source(source: Path) -> StoreError:
    return StoreError(f"there is no index at {source}, so nothing was copied; check the path FROM")


def _target_config(path: Path, dtype: str | None) -> PluginConfig:
    if dtype is None:
        return store_at(path)
    if path.suffix == ".toml":
        raise ConfigError(
            f"--dtype {dtype} needs a local index, but {path} is a TOML file; if its store is local, "
            f'add dtype = "{dtype}" to its [store] table'
        )
    return store_at(path, dtype=dtype)
