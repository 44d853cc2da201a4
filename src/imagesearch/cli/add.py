"""``imagesearch add`` and ``imagesearch sync``."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import click

from imagesearch.cli._options import (
    complete_files,
    device_options,
    dry_run_option,
    embedder_option,
    json_option,
    print_json,
    progress_option,
    store_options,
)
from imagesearch.cli._target import empty_index, open_index, open_read_only, store_config
from imagesearch.cli._terminal import Role, complain, echo_listed, is_terminal
from imagesearch.errors import RemovalRefusedError
from imagesearch.index import ImageIndex
from imagesearch.index._ingest import OnError, ingest
from imagesearch.index._open import LazyEmbedder, OpenIndex
from imagesearch.sources import expand
from imagesearch.types import AddReport

__all__ = ["add", "sync"]


_EXIT_SOME_FAILED = 1
_EXIT_INTERRUPTED = 130
_EXIT_REFUSED = 3
_STATUSES = ("added", "updated", "unchanged", "removed", "kept")
_PREVIEWS: dict[str, tuple[str, Role]] = {
    "added": ("would add    ", "ok"),
    "updated": ("would update ", "warning"),
    "removed": ("would remove ", "error"),
}

_strict_option = click.option(
    "--strict", is_flag=True, help="Stop at the first input that fails instead of reporting it."
)


@click.command(short_help="Add images to an index.")
@click.argument(
    "sources", nargs=-1, required=True, metavar="SOURCE...", shell_complete=complete_files
)
@store_options
@embedder_option
@device_options
@dry_run_option
@progress_option
@_strict_option
@json_option
def add(
    sources: tuple[str, ...],
    config: Path | None,
    store: Path | None,
    embedder: str | None,
    batch_size: int | None,
    device: str | None,
    dry_run: bool,
    progress: bool | None,
    strict: bool,
    as_json: bool,
) -> int:
    """Add images: files, folders, globs, CSV or JSONL manifests, URLs.

    Images that are in the index and unchanged are skipped.

    \b
    Examples:
      imagesearch add photos/
      imagesearch add photos/ --dry-run
      imagesearch add products.csv --store products.idx --embedder timm:mobilenetv3_large_100
    """
    if dry_run:
        return _dry_run(config, store, sources, progress, strict, as_json, prune=False)
    _require_there(sources)
    opened = open_index(config, store, embedder, batch_size=batch_size, device=device)
    with opened as index:
        return _run(index, sources, progress, strict, as_json, removing=False)


@click.command(short_help="Add images and remove those that are gone.")
@click.argument("source", metavar="SOURCE", shell_complete=complete_files)
@store_options
@embedder_option
@device_options
@dry_run_option
@progress_option
@_strict_option
@click.option(
    "-y",
    "--yes",
    is_flag=True,
    help="Also remove more than a tenth of the records, without asking.",
)
@json_option
def sync(
    source: str,
    config: Path | None,
    store: Path | None,
    embedder: str | None,
    batch_size: int | None,
    device: str | None,
    dry_run: bool,
    progress: bool | None,
    strict: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Add images, and remove records whose file is gone.

    For a folder, only records below it are considered; a manifest or a glob must name everything that
    the index should contain. A file that moved keeps its vector. Records whose image cannot be read,
    such as below an empty mount point, stay. --dry-run shows what would be added, updated and
    removed.

    More than ten records that are more than a tenth of the index are removed only after
    confirmation, or with --yes.

    \b
    Examples:
      imagesearch sync photos/ --dry-run
      imagesearch sync photos/
    """
    if dry_run:
        return _dry_run(
            config, store, (source,), progress, strict, as_json, prune=True, allowed=yes
        )
    _require_there((source,))
    opened = open_index(config, store, embedder, batch_size=batch_size, device=device)
    with opened as index:
        return _run(index, (source,), progress, strict, as_json, removing=True, allowed=yes)


def _require_there(sources: tuple[str, ...]) -> None:
    """Refuse a missing source before a new index loads the weights of its model."""
    if len(sources) == 1:
        expand(sources[0])  # checks the path itself; what is below it is read later


def _run(
    index: ImageIndex,
    sources: tuple[str, ...],
    progress: bool | None,
    strict: bool,
    as_json: bool,
    *,
    removing: bool,
    allowed: bool = False,
) -> int:
    refused, asks = None, False
    try:
        report = _ingest(index, sources, progress, strict, removing=removing, allowed=allowed)
    except RemovalRefusedError as error:
        report, refused = error.report, error
        asks = error.allowable and is_terminal(sys.stdin) and is_terminal(sys.stderr)
        if asks and _agreed(error):
            index.delete(error.ids)
            report, refused = replace(report, removed=list(error.ids)), None
    except KeyboardInterrupt:
        complain(
            f"everything embedded so far is stored ({index.count()} images in the index); run the "
            "same command again to continue",
            word="interrupted",
            role="warning",
        )
        return _EXIT_INTERRUPTED
    if as_json:
        _print_json_lines(report, refused=refused)
    else:
        _print_failures(report)
        click.echo(f"{report} in {report.seconds:.1f} s; {index.count()} images in the index")
    if refused is not None and asks:
        click.echo("nothing was removed", err=True)
        return _EXIT_INTERRUPTED
    if refused is not None:
        complain(str(refused))
        return _EXIT_REFUSED
    return 0 if report.ok else _EXIT_SOME_FAILED


def _agreed(error: RemovalRefusedError) -> bool:
    try:
        return click.confirm(
            f"Remove {len(error.ids):,} of {error.total:,} records whose images are gone?",
            err=True,
        )
    except click.Abort:
        # The cursor is after the ^C.
        click.echo(err=True)
        return False


def _dry_run(
    config: Path | None,
    store: Path | None,
    sources: tuple[str, ...],
    progress: bool | None,
    strict: bool,
    as_json: bool,
    *,
    prune: bool,
    allowed: bool = False,
) -> int:
    refused = None
    uris: dict[str, str] = {}
    with open_read_only(store_config(config, store), config if store is None else None) as (
        opened,
        meta,
    ):
        index = (
            empty_index()
            if meta is None
            else OpenIndex(opened, meta, LazyEmbedder(None, meta, opened))
        )
        before = index.store.count()
        try:
            report = ingest(
                index,
                _given(sources),
                metadata=None,
                on_error="raise" if strict else "collect",
                group_size=None,
                progress=progress,
                prune=prune,
                allow_removing=allowed,
                preview=uris,
            )
        except RemovalRefusedError as error:
            refused = error
            # Listed as with --yes, to help decide whether to give it.
            gone = list(error.ids) if error.allowable else []
            uris |= {id: record.uri for id, record in index.store.get(gone).items()}
            report = replace(error.report, removed=gone)
    after = before + len(report.added) - len(report.removed)
    if as_json:
        _print_json_lines(report, uris, refused=refused)
    else:
        for status, (word, role) in _PREVIEWS.items():
            echo_listed(word, role, (uris.get(id, id) for id in getattr(report, status)))
        _print_failures(report)
        new = "" if meta is not None else " in a new index"
        click.echo(
            f"would be: {report}; {after} images{new} (dry run: nothing was changed, and "
            f"{report.embedded} images would go through the model)"
        )
    if refused is not None:
        complain(f"the removal would be refused: {refused}")
        return _EXIT_REFUSED
    return 0 if report.ok else _EXIT_SOME_FAILED


def _given(sources: tuple[str, ...]) -> object:
    return sources[0] if len(sources) == 1 else list(sources)


def _ingest(
    index: ImageIndex,
    sources: tuple[str, ...],
    progress: bool | None,
    strict: bool,
    *,
    removing: bool,
    allowed: bool = False,
) -> AddReport:
    source = _given(sources)
    on_error: OnError = "raise" if strict else "collect"
    if not removing:
        return index.add(source, progress=progress, on_error=on_error)
    return index.sync(source, progress=progress, on_error=on_error, allow_removing=allowed)


def _print_json_lines(
    report: AddReport,
    uris: dict[str, str] | None = None,
    *,
    refused: RemovalRefusedError | None = None,
) -> None:
    marks = {} if uris is None else {"dry_run": True}
    for status in _STATUSES:
        for id in getattr(report, status):
            if uris is None:
                print_json(status=status, id=id)
            elif status in ("unchanged", "kept"):
                print_json(status=status, id=id, dry_run=True)
            else:
                print_json(status=status, id=id, uri=uris.get(id, id), dry_run=True)
    for id in report.blank:
        print_json(status="blank", id=id, **marks)
    for suffix, count in sorted(report.skipped.items()):
        print_json(
            status="skipped",
            suffix=suffix,
            count=count,
            **marks,
        )
    for failure in report.failed:
        print_json(
            status="failed",
            source=failure.source,
            id=failure.id,
            error=type(failure.error).__name__,
            reason=str(failure.error),
            **marks,
        )
    if refused is not None:
        print_json(
            status="refused",
            records=len(refused.ids),
            total=refused.total,
            reason=str(refused),
            **marks,
        )


def _print_failures(report: AddReport) -> None:
    for failure in report.failed:
        complain(f"{failure.source}: {failure.error}", word="failed")
