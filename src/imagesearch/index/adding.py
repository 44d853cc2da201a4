"""Adding and syncing: a source is brought into the index, and what it has lost goes."""

from __future__ import annotations

import logging
import time
from collections import Counter
from dataclasses import replace

from imagesearch.errors import ConfigError, SourceError
from imagesearch.index.assembly import Assembly
from imagesearch.index.ingestion import Ingestion, OnError
from imagesearch.index.planning import Planner
from imagesearch.index.progress import make_progress
from imagesearch.index.removal import Removal
from imagesearch.pipeline import Pipeline
from imagesearch.sources import describe, estimate, expand, folder_of, is_one_image
from imagesearch.sources._reach import listed_roots
from imagesearch.types import AddReport, Metadata, check_metadata

__all__ = ["bring_in"]

# A projection that was fitted on other pictures than those in the index is worse than none, so
# one that has seen less than half of them is due.
_OUTGROWN = 2

_logger = logging.getLogger("imagesearch")


def bring_in(
    index: Assembly,
    source: object,
    *,
    metadata: Metadata | None,
    on_error: OnError,
    batch_size: int,
    progress: bool | None,
    removing: bool,
    allow_removing: bool = False,
) -> AddReport:
    """Add a source, and with `removing` delete what it has lost.

    See `ImageIndex.add` and `ImageIndex.sync`; `batch_size` is the index's own.
    """
    if on_error not in ("collect", "raise"):
        raise ConfigError(f"on_error={on_error!r}; use 'collect' or 'raise'")
    if removing and is_one_image(source):
        raise SourceError(
            f"{describe(source)} is one image, and sync makes the index hold nothing but what its "
            "source names: use add to bring it in, and delete to take records out"
        )
    started = time.monotonic()
    # A generator cannot be looked at once more afterwards.
    roots = listed_roots(source) if removing else ()
    planner = Planner(index.store, reuse=removing)
    bar = make_progress(progress, estimate(source))
    try:
        with Pipeline(index.embedder) as pipeline:
            ingestion = Ingestion(
                store=index.store,
                meta=index.meta,
                pipeline=pipeline,
                planner=planner,
                batch_size=batch_size,
                on_error=on_error,
                metadata=check_metadata({} if metadata is None else metadata),
                progress=bar,
            )
            skipped: Counter[str] = Counter()
            ingestion.run(expand(source, skipped=skipped))
    finally:
        bar.close()
    report = replace(ingestion.report, embedded=ingestion.embedded, skipped=dict(skipped))
    _warn_if_outgrown(index)
    if removing:
        removal = Removal(
            store=index.store,
            folder=folder_of(source),
            roots=roots,
            seen=ingestion.seen,
            moved=planner.moved,
            report=replace(report, seconds=time.monotonic() - started),
            allowed=allow_removing,
            strict=on_error == "raise",
        )
        report = removal.run()
    return replace(report, seconds=time.monotonic() - started)


def _warn_if_outgrown(index: Assembly) -> None:
    projection = index.meta.projection
    if projection is None:
        return
    count = index.store.count()
    if count > _OUTGROWN * projection.fitted_on:
        _logger.warning(
            "%r holds %d records, but its projection was fitted on %d. Add what is new to the "
            "index with full vectors, too, then fit a new projection on that and write it to a "
            "new path, such as: imagesearch copy FULL.idx NEW.idx --project %d",
            index.store,
            count,
            projection.fitted_on,
            projection.dim,
        )
