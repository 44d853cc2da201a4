"""``imagesearch add`` and ``imagesearch sync``."""

from __future__ import annotations

from pathlib import Path

import click

from imagesearch.cli.options import (
    embedder_option,
    json_option,
    open_index,
    print_json,
    progress_option,
    store_options,
)
from imagesearch.index import ImageIndex
from imagesearch.types import AddReport

__all__ = ["add", "sync"]

_EXIT_SOME_FAILED = 1
_EXIT_INTERRUPTED = 130

_strict_option = click.option(
    "--strict", is_flag=True, help="Stop at the first input that fails instead of reporting it."
)


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@store_options
@embedder_option
@progress_option
@_strict_option
@json_option
def add(
    sources: tuple[str, ...],
    config: Path | None,
    store: Path | None,
    embedder: str | None,
    progress: bool | None,
    strict: bool,
    as_json: bool,
) -> int:
    """Add images: files, folders, globs, CSV or JSONL manifests, URLs.

    What is in the index and unchanged is skipped.

    \b
    imagesearch add photos/
    imagesearch add products.csv --store products.idx --embedder timm:mobilenetv3_large_100
    """
    with open_index(config, store, embedder) as index:
        return _run(index, sources, progress, strict, as_json, removing=False)


@click.command()
@click.argument("source", metavar="SOURCE")
@store_options
@embedder_option
@progress_option
@_strict_option
@json_option
def sync(
    source: str,
    config: Path | None,
    store: Path | None,
    embedder: str | None,
    progress: bool | None,
    strict: bool,
    as_json: bool,
) -> int:
    """Add images, and remove those whose file is gone.

    For a folder only records below it are considered; a manifest or a glob is taken to name all
    that the index shall hold. A file that moved keeps its vector.

    \b
    imagesearch sync photos/
    """
    with open_index(config, store, embedder) as index:
        return _run(index, (source,), progress, strict, as_json, removing=True)


def _run(
    index: ImageIndex,
    sources: tuple[str, ...],
    progress: bool | None,
    strict: bool,
    as_json: bool,
    *,
    removing: bool,
) -> int:
    work = index.sync if removing else index.add
    try:
        report = work(
            sources[0] if len(sources) == 1 else list(sources),
            progress=progress,
            on_error="raise" if strict else "collect",
        )
    except KeyboardInterrupt:
        click.echo(
            f"interrupted: what was embedded until now is stored ({index.count()} images in the "
            "index); run the same command again to go on",
            err=True,
        )
        return _EXIT_INTERRUPTED
    _print_report(report, index, as_json=as_json)
    return 0 if report.ok else _EXIT_SOME_FAILED


def _print_report(report: AddReport, index: ImageIndex, *, as_json: bool) -> None:
    if as_json:
        for status in ("added", "updated", "unchanged", "removed"):
            for id in getattr(report, status):
                print_json(status=status, id=id)
        for failure in report.failed:
            print_json(
                status="failed",
                source=failure.source,
                id=failure.id,
                error=type(failure.error).__name__,
                reason=str(failure.error),
            )
        return
    for failure in report.failed:
        click.echo(f"failed: {failure.source}: {failure.error}", err=True)
    click.echo(f"{report} in {report.seconds:.1f} s; {index.count()} images in the index")
