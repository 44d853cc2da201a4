"""``imagesearch export`` and ``imagesearch import``."""

from __future__ import annotations

import shlex
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import click

from imagesearch._tables import TableSchema, VectorFile, VectorType, import_arrow, open_vector_file
from imagesearch.cli._options import (
    complete_files,
    dry_run_option,
    embedder_option,
    json_option,
    print_json,
    progress_option,
    where_option,
)
from imagesearch.cli._target import open_read_only, store_at
from imagesearch.cli._terminal import complain, say
from imagesearch.config import PluginConfig
from imagesearch.errors import ConfigError, IncompatibleIndexError, StoreError
from imagesearch.filters import as_filter
from imagesearch.index._ingest import ingest_rows, make_progress
from imagesearch.index._open import LazyEmbedder, OpenIndex
from imagesearch.plugins import make_embedder, make_store
from imagesearch.types import AddReport, EmbeddingSpec, IndexMeta

__all__ = ["export", "import_", "refuse_tables_in_copy"]

_EXIT_SOME_FAILED = 1
_EXIT_INTERRUPTED = 130
_SUFFIXES = frozenset({".parquet", ".pq"})
_NAME = "imported"


@click.command(short_help="Write an index into a Parquet file.")
@click.argument("index", metavar="INDEX", type=click.Path(path_type=Path))
@click.argument("target", metavar="OUT.parquet", type=click.Path(dir_okay=False, path_type=Path))
@where_option("Only matching records.")
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float16"]),
    default="float32",
    show_default=True,
    help="Type of the numbers in the vectors.",
)
@click.option("-f", "--force", is_flag=True, help="Replace OUT.parquet if it exists.")
@dry_run_option
@progress_option
@json_option
def export(
    index: Path,
    target: Path,
    where: str | None,
    dtype: str,
    force: bool,
    dry_run: bool,
    progress: bool | None,
    as_json: bool,
) -> None:
    """Write ids, URIs, metadata and vectors into a Parquet file; images are not written.

    INDEX is a local index or a TOML file with a [store] table. The file appears when it is complete.
    Needs the extra "parquet".

    \b
    Examples:
      imagesearch export photos.idx photos.parquet
      imagesearch export photos.idx cats.parquet --where "label = 'cat'" --dtype float16
    """
    if target.suffix.lower() not in _SUFFIXES:
        raise click.UsageError(f"OUT.parquet must end in .parquet, got {target}")
    import_arrow("a Parquet file")
    with open_read_only(store_at(index), index) as (store, meta):
        if meta is None:
            raise StoreError(f"there is no index at {index}, so nothing was exported")
        if target.exists() and not force and not dry_run:
            raise ConfigError(f"{target} exists; give another name, or --force to replace it")
        filter = as_filter(where)
        vectors: VectorType = "float16" if dtype == "float16" else "float32"
        total = store.count(filter)
        passes = 1 if dry_run else 2
        with closing(make_progress(progress, passes * total, unit="record")) as bar:
            schema = TableSchema.infer(store, meta, filter, vectors, bar.advance)
            if not dry_run:
                total = schema.write(store, target, bar.advance)
    columns = schema.arrow.names
    if as_json:
        print_json(records=total, columns=columns, **({"dry_run": True} if dry_run else {}))
    elif dry_run:
        say(
            f"would export {total} records with {', '.join(columns)} (dry run: nothing was written)"
        )
    else:
        say(f"{total} records with {', '.join(columns)} written to {target}")


@click.command("import", short_help="Add records from a file of vectors.")
@click.argument(
    "source", metavar="IN", type=click.Path(path_type=Path), shell_complete=complete_files
)
@click.argument("index", metavar="INDEX", type=click.Path(path_type=Path))
@embedder_option
@click.option(
    "--name",
    metavar="TEXT",
    help="Name of the model that made the vectors, for a new index without an embedder, if IN does "
    f"not give it.  [default: {_NAME}]",
)
@dry_run_option
@progress_option
@click.option("--strict", is_flag=True, help="Stop at the first row that fails.")
@json_option
def import_(
    source: Path,
    index: Path,
    embedder: str | None,
    name: str | None,
    dry_run: bool,
    progress: bool | None,
    strict: bool,
    as_json: bool,
) -> int:
    """Add records with vectors that were made elsewhere; no image is read.

    IN is a Parquet file with a column "vector", such as one of "imagesearch export"; a folder with
    img_emb_*.npy and metadata_*.parquet, as clip-retrieval writes them; or a .npy file with a .csv
    file of the same name. INDEX is a local index or a TOML file with a [store] table, created if
    necessary. Rows that INDEX has already are skipped, so an interrupted import can be repeated.
    Needs the extra "parquet", except for .npy with .csv.

    \b
    Examples:
      imagesearch import photos.parquet photos.idx --dry-run
      imagesearch import embeddings/ laion.idx --embedder clip:ViT-B-32
      imagesearch import vectors.npy own.idx --name my-model
    """
    if embedder is not None and name is not None:
        raise click.UsageError("give either --embedder or --name")
    if source.suffix.lower() not in {*_SUFFIXES, ".npy"} and not source.is_dir():
        raise click.UsageError(
            f"IN must be a .parquet or .npy file or a folder, got {source}; to add images: "
            "imagesearch add"
        )
    _refuse_table(index)
    file = open_vector_file(source)
    given = _given_spec(embedder, name, file)
    table = store_at(index)
    with ExitStack() as opened:
        if dry_run:
            store, existing = opened.enter_context(open_read_only(table, index))
        else:
            store = opened.enter_context(closing(make_store(table)))
            existing = store.describe()
        meta = _target_meta(file, existing, given, repr(store))
        if not dry_run:
            store.open(meta)
        elif existing is None:
            store = make_store(PluginConfig("memory"))
            store.open(meta)
        try:
            report = ingest_rows(
                OpenIndex(store, meta, LazyEmbedder(None, meta, store)),
                file.rows(),
                count=file.count,
                on_error="raise" if strict else "collect",
                progress=progress,
                preview={} if dry_run else None,
            )
        except KeyboardInterrupt:
            complain(
                f"everything read so far is stored ({store.count()} records in the index); run "
                "the same command again to continue",
                word="interrupted",
                role="warning",
            )
            return _EXIT_INTERRUPTED
        count = store.count() + (len(report.added) if dry_run else 0)
    _print_report(report, count, as_json=as_json, dry_run=dry_run)
    return 0 if report.ok else _EXIT_SOME_FAILED


def refuse_tables_in_copy(source: Path, target: Path) -> None:
    """Refuse Parquet files as arguments of copy, and name the command to use."""
    words = f"{shlex.quote(str(source))} {shlex.quote(str(target))}"
    _refuse_table(source, f"; use: imagesearch import {words}")
    _refuse_table(target, f"; use: imagesearch export {words}")


def _refuse_table(path: Path, remedy: str = "") -> None:
    if path.suffix.lower() in _SUFFIXES:
        raise click.UsageError(f"{path} is a Parquet file, not an index{remedy}")


def _given_spec(embedder: str | None, name: str | None, file: VectorFile) -> EmbeddingSpec | None:
    """Return the spec that the options give for the vectors."""
    if embedder is not None:
        return make_embedder(PluginConfig.parse(embedder)).spec
    if name is None:
        return None
    if file.dim is None:
        raise ConfigError(f"the vectors in {file.path} have no fixed length; give --embedder")
    return EmbeddingSpec(name, file.dim)


def _target_meta(
    file: VectorFile, existing: IndexMeta | None, given: EmbeddingSpec | None, where: str
) -> IndexMeta:
    """Return the meta to open the index with.

    Raises:
        IncompatibleIndexError: The vectors of the file and the index are not comparable.
    """
    spec = given
    if existing is not None:
        meta = existing
    elif file.meta is not None:
        meta = file.meta
    else:
        spec = spec or _given_spec(None, _NAME, file)
        assert spec is not None
        meta = IndexMeta(spec)
    brought = file.meta
    if brought is None and spec is not None:
        brought = IndexMeta(spec, meta.metric)
    elif spec is not None and brought is not None:
        brought.require_compatible(replace(brought, embedding=spec), where=str(file.path))
    if brought is not None:
        if brought.projection is None:
            # Vectors of the embedder are projected as they are written.
            brought = replace(brought, projection=meta.projection)
        meta.require_compatible(brought, where=where)
    elif file.dim is not None and file.dim not in {meta.dim, meta.embedding.dim}:
        raise IncompatibleIndexError(
            f"{file.path} has vectors of {file.dim} elements, and {where} of {meta.embedding.dim}"
        )
    return meta


def _print_report(report: AddReport, count: int, *, as_json: bool, dry_run: bool = False) -> None:
    marks = {"dry_run": True} if dry_run else {}
    for failure in report.failed:
        if as_json:
            print_json(
                status="failed",
                source=failure.source,
                id=failure.id,
                error=type(failure.error).__name__,
                reason=str(failure.error),
                **marks,
            )
        else:
            complain(f"{failure.source}: {failure.error}", word="failed")
    if as_json:
        print_json(
            status="done",
            added=len(report.added),
            updated=len(report.updated),
            unchanged=len(report.unchanged),
            failed=len(report.failed),
            count=count,
            **marks,
        )
    elif dry_run:
        say(f"would be: {report}; {count} records in the index (dry run: nothing was changed)")
    else:
        say(f"{report} in {report.seconds:.1f} s; {count} records in the index")
