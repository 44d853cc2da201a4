"""``imagesearch copy``."""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path

import click

from imagesearch.cli._options import (
    complete_files,
    foreign_collection,
    json_option,
    print_json,
    progress_option,
    table_at,
)
from imagesearch.cli._preview import dry_run_option, open_untouched
from imagesearch.cli._terminal import say
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
    "finding the same kind of thing.",
)
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float16", "int8"]),
    help="How TO, a new local index, keeps its vectors: in half or a quarter of the bytes.  "
    "[default: float32]",
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
    """Copy all records of one store into another, without embedding anything again.

    FROM and TO are local indexes or TOML files with a [store] table. Repeat an interrupted copy
    to go on with it. Records of TO with the same id are replaced, unless they are the same; others
    stay. At the end counts and the neighbours of sampled records are compared.

    \b
    Examples:
      imagesearch copy photos.idx tencent.toml --dry-run
      imagesearch copy photos.idx tencent.toml
      imagesearch copy photos.idx photos-128.idx --project 128 --dtype int8
    """
    if source.absolute() == target.absolute():
        raise click.UsageError(f"FROM and TO are both {source}; give TO another path")
    tables = table_at(source), _target_table(target, dtype)
    if dry_run:
        return _rehearse(source, *tables, project, progress, as_json=as_json)
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
            "warning: FROM and TO hold as many records, but most neighbours differ: TO may hold "
            "other vectors under the same ids, or have no index over them yet (IVF: call "
            "rebuild_index)",
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
            foreign = foreign_collection(source)
            if foreign is None:
                raise _nothing(source)
            meta = foreign.meta
        origin.open(meta)
        passes = 1 if project is None else 2
        with closing(make_progress(progress, passes * origin.count(), unit="record")) as bar:
            if project is not None:
                return copy_projected(origin, copied, meta, project, advance=bar.advance)
            copied.open(meta)
            return copy_records(origin, copied, advance=bar.advance)


def _rehearse(
    source: Path,
    origin_table: PluginConfig,
    target_table: PluginConfig,
    project: int | None,
    progress: bool | None,
    *,
    as_json: bool,
) -> int:
    with ExitStack() as opened:
        origin, meta = opened.enter_context(open_untouched(origin_table, source))
        if meta is None:
            raise _nothing(source)
        copied, begun = opened.enter_context(open_untouched(target_table))
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
        f"would be: {new + replaced} copied, {replaced} of them in place of others, {unchanged} "
        f"unchanged; {before + new} records in the target{where} (dry run: nothing was changed)"
    )
    return 0


def _compared(
    origin: VectorStore, copied: VectorStore | None, bar: Progress
) -> tuple[int, int, int]:
    """Count the records that would be new, would replace others, and are there already."""
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


def _nothing(source: Path) -> StoreError:
    return StoreError(
        f"there is no index at {source}, so nothing was copied; check the path of FROM"
    )


def _target_table(place: Path, dtype: str | None) -> PluginConfig:
    if dtype is None:
        return table_at(place)
    if place.suffix == ".toml":
        raise ConfigError(
            f"--dtype {dtype} is for a local index, and {place} is a TOML file; write "
            f'dtype = "{dtype}" into its [store] table if its kind is "local"'
        )
    return table_at(place, dtype=dtype)
