"""Check a store, and embed the images of damaged vectors again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from imagesearch._pipeline import Pipeline, group_size_of
from imagesearch._validation import batched
from imagesearch.errors import UnsupportedOperationError
from imagesearch.index._ingest import WRITE_SIZE, Ingestion, Progress, make_progress
from imagesearch.index._open import OpenIndex
from imagesearch.index._plan import Planned, Planner
from imagesearch.protocols import SupportsCheck, SupportsOptimize, VectorStore, supports
from imagesearch.sources import Payload
from imagesearch.types import AddReport, CheckReport, CheckResult, Failure, Item, Record

__all__ = ["check_store", "optimize_store"]

T = TypeVar("T")

_VECTORS = "vectors"
_BATCH = 1000


def check_store(
    store: VectorStore,
    opened: Callable[[], OpenIndex],
    *,
    repair: bool,
    remove: bool,
    group_size: int | None,
    progress: bool | None,
) -> CheckReport:
    """Check a store, and repair it on request; see `ImageIndex.check`.

    Args:
        store: A store, which need not be open.
        opened: Returns the open index; called to embed images, after the store's own repair.
        repair: Whether to repair.
        remove: Whether to remove what cannot be repaired; with `repair` only.
        group_size: Images in one call of the embedder, ≥ 1; None for what it prefers.
        progress: Whether to show a progress bar; None: if standard error is a terminal.
    """
    if not supports(store, SupportsCheck):
        raise UnsupportedOperationError(
            f"{store!r} cannot be checked: only a local index has checksums; a service verifies its "
            "own data"
        )
    results = _checked(store, progress)
    if not repair or all(result.status in {"ok", "info"} for result in results):
        return CheckReport(results)
    repairs = _with_bar(progress, lambda count: store.repair(remove=remove, progress=count))
    results = _checked(store, progress)
    damaged = [id for result in results if result.topic == _VECTORS for id in result.ids]
    if not damaged:
        return CheckReport(results, repairs)
    report = _reembed(opened(), damaged, group_size, progress)
    for failure in report.failed:
        ids = (failure.id,) if failure.id is not None else ()
        text = f"{failure.source} could not be embedded again: {failure.error}"
        repairs.append(CheckResult(_VECTORS, "info", text, ids=ids))
    removed: list[str] = []
    if remove:
        removed = [id for id in damaged if id not in set(report.updated)]
        for batch in batched(removed, _BATCH):
            store.delete(batch)
    return CheckReport(_checked(store, progress), repairs, tuple(report.updated), tuple(removed))


def _checked(store: SupportsCheck, progress: bool | None) -> list[CheckResult]:
    return _with_bar(progress, lambda count: list(store.check(progress=count)))


def optimize_store(store: VectorStore, progress: bool | None) -> None:
    """Complete what makes searches fast, where a store has something to complete."""
    if supports(store, SupportsOptimize):
        _with_bar(progress, lambda count: store.optimize(progress=count))


def _with_bar(progress: bool | None, work: Callable[[Callable[[int, int], None]], T]) -> T:
    """Do work that reports its steps, and show them."""
    bar: Progress | None = None
    seen = 0

    def count(done: int, total: int) -> None:
        nonlocal bar, seen
        if bar is None:
            bar = make_progress(progress, total, unit="step")
        bar.advance(done - seen)
        seen = done

    try:
        return work(count)
    finally:
        if bar is not None:
            bar.close()


class _EmbedAll(Planner):
    """Plans to embed every image, whatever the index contains."""

    def plan(self, group: Sequence[Payload]) -> list[Planned]:
        return [
            Planned(
                Record(payload.id, payload.uri, payload.digest, payload.metadata or {}), "updated"
            )
            for payload in group
        ]


def _reembed(
    index: OpenIndex, ids: Sequence[str], group_size: int | None, progress: bool | None
) -> AddReport:
    """Embed the images of records again, from their URIs."""

    def items() -> Iterable[Item | Failure]:
        for batch in batched(ids, _BATCH):
            for record in index.store.get(batch).values():
                yield Item(record.uri, record.id, dict(record.metadata), record.uri)

    bar = make_progress(progress, len(ids))
    try:
        with Pipeline(index.embedder) as pipeline:
            ingestion = Ingestion(
                store=index.store,
                meta=index.meta,
                pipeline=pipeline,
                planner=_EmbedAll(index.store),
                group_size=lambda: (
                    group_size_of(index.embedder.if_made) if group_size is None else group_size
                ),
                write_size=WRITE_SIZE if group_size is None else group_size,
                on_error="collect",
                metadata={},
                progress=bar,
            )
            ingestion.run(items())
    finally:
        bar.close()
    return ingestion.report
