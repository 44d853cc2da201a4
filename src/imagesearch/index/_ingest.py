"""Add a source: read, embed and store what is new, and report on every input."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

import numpy as np

from imagesearch._pipeline import Embedded, Pipeline, grouped
from imagesearch._printable import shorten
from imagesearch._validation import is_one_of
from imagesearch.errors import (
    ConfigError,
    EmbeddingError,
    ImageSearchError,
    SourceError,
    StoreRequestError,
)
from imagesearch.index._open import Assembly
from imagesearch.index._plan import Fate, Planned, Planner, Removal
from imagesearch.index._progress import Progress, make_progress
from imagesearch.protocols import VectorStore
from imagesearch.sources import Payload, describe, estimate, expand, folder_of, is_one_image
from imagesearch.sources._reach import watch_roots
from imagesearch.types import (
    AddReport,
    Failure,
    IndexMeta,
    Item,
    Metadata,
    Record,
    RecordBatch,
    canonical_metadata,
    check_metadata,
)
from imagesearch.vectors import normalise

__all__ = ["Ingestion", "OnError", "bring_in", "store_records"]


def store_records(store: VectorStore, records: Sequence[Record]) -> dict[str, StoreRequestError]:
    """Upsert records, and return the errors of those that the store refuses, by id.

    The records that an error names are left out, and the others are sent again.

    Raises:
        StoreRequestError: The store refused the request without naming any of the records.
        StoreError: The store failed.

    Example:
        >>> import numpy as np
        >>> from imagesearch.stores.memory import MemoryStore
        >>> from imagesearch.types import EmbeddingSpec, IndexMeta
        >>> store = MemoryStore()
        >>> store.open(IndexMeta(EmbeddingSpec("mine", 2, True, "1")))
        >>> good, bad = np.ones(2, np.float32), np.full(2, np.nan, np.float32)
        >>> records = [Record("a", "/a", "", {}, good), Record("b", "/b", "", {}, bad)]
        >>> list(store_records(store, records)), store.count()
        (['b'], 1)
    """
    refused: dict[str, StoreRequestError] = {}
    remaining = list(records)
    while remaining:
        try:
            store.upsert(RecordBatch.of(remaining))
        except StoreRequestError as error:
            named = {record.id for record in remaining}.intersection(error.ids)
            # Ids of other records do not say which of these are to blame.
            if not named:
                raise
            refused |= dict.fromkeys(named, error)
            remaining = [record for record in remaining if record.id not in named]
        else:
            break
    return refused


OnError = Literal["collect", "raise"]

_T = TypeVar("_T")


@dataclass(slots=True)
class Ingestion:
    """Brings items into a store: skips what is unchanged, embeds what is new, reports on all.

    Attributes:
        store: An open store.
        meta: What the store was opened with.
        pipeline: Reads and embeds.
        planner: Decides what becomes of every image.
        batch_size: Records in one upsert, ≥ 1.
        on_error: Whether to collect failures or to raise the first.
        metadata: Given to every item; an item's own fields win.
        progress: Called for every input.
        report: Filled as batches become durable.
        seen: Ids of all images that could be read.
        embedded: How many images went through the model.
    """

    store: VectorStore
    meta: IndexMeta
    pipeline: Pipeline
    planner: Planner
    batch_size: int
    on_error: OnError
    metadata: Metadata
    progress: Progress
    report: AddReport = field(default_factory=AddReport)
    seen: dict[str, int] = field(default_factory=dict)
    embedded: int = 0
    _stopped_by: Exception | None = None

    def run(self, items: Iterable[Item | Failure]) -> None:
        """Bring all items in; every batch is durable before the next one is written.

        An error that ends the inputs is raised when all that came before it is stored.

        Raises:
            ImageSearchError: The first failure, when `on_error` is ``"raise"``.
            StoreError: The store failed; what was reported until then is stored.
            Exception: Whatever `items` raised.
        """
        inputs = self.pipeline.read(self._until_error(items))
        payloads = self._until_error(self._accepted(inputs))
        groups = grouped(payloads, size=self.batch_size, weight=_weight)
        for plan, results in self.pipeline.embed(map(self._planned, groups)):
            self._write(plan, results)
        if self._stopped_by is not None:
            raise self._stopped_by

    def _planned(self, group: Sequence[Payload]) -> tuple[list[Planned], list[Payload]]:
        """Return the plan of a group, and the payloads that have to be embedded for it."""
        plan = self.planner.plan(group)
        pairs = zip(group, plan, strict=True)
        return plan, [payload for payload, planned in pairs if planned.needs_vector]

    def _until_error(self, elements: Iterable[_T]) -> Iterator[_T]:
        """Give elements until their source raises, and keep the error for later.

        What is read ahead may meet an error before one of an earlier input comes to light; that
        one ends the inputs, and takes its place.
        """
        try:
            yield from elements
        except Exception as error:  # noqa: BLE001  # a caller's generator raises what it likes
            self._stopped_by = error

    def _accepted(self, inputs: Iterable[Payload | Failure]) -> Iterator[Payload]:
        for element in inputs:
            if isinstance(element, Failure):
                self._fail(element)
                continue
            payload = self._with_common_metadata(element)
            fields = canonical_metadata(payload.metadata or {})
            identity = hash((payload.uri, payload.digest, fields))
            known = self.seen.get(payload.id)
            if known is None:
                self.seen[payload.id] = identity
                yield payload
            elif known == identity:
                self._account("unchanged", payload.id)
            else:
                error = SourceError(
                    f"id {payload.id!r} was given to another input before, which was kept: give "
                    "every input an id of its own"
                )
                self._fail(Failure(describe(payload.uri), error, payload.id))

    def _with_common_metadata(self, payload: Payload) -> Payload:
        if not self.metadata:
            return payload
        return replace(payload, metadata={**self.metadata, **(payload.metadata or {})})

    def _write(self, plan: Sequence[Planned], results: Sequence[Embedded]) -> None:
        vectors = iter(results)
        ready: list[Record] = []
        failures: dict[str, ImageSearchError] = {}
        for planned in plan:
            record = planned.record
            if planned.needs_vector:
                vector = self._ready_to_store(next(vectors))
                if isinstance(vector, ImageSearchError):
                    failures[record.id] = vector
                    continue
                record = replace(record, vector=vector)
                self.embedded += 1
            if planned.fate != "unchanged":
                ready.append(record)
        failures |= store_records(self.store, ready)
        for planned in plan:
            record = planned.record
            if record.id not in failures:
                self._account(planned.fate, record.id)
                if planned.needs_vector and record.id in self.pipeline.blank:
                    self.report.blank.append(record.id)
        for planned in plan:
            record = planned.record
            if record.id in failures:
                self._fail(Failure(describe(record.uri), failures[record.id], record.id))

    def _ready_to_store(self, vector: Embedded) -> Embedded:
        """Project an embedder's vector if the index does, or say why it cannot be stored."""
        if isinstance(vector, ImageSearchError):
            return vector
        if self.meta.metric == "cosine" and not vector.any():
            return EmbeddingError(
                f"embedder {self.meta.embedding.name!r} gave it a zero vector, which has no "
                "direction to compare"
            )
        if self.meta.projection is None:
            return vector
        try:
            projected = self.meta.projection.apply(normalise(vector[None]))
        except EmbeddingError as error:
            return error
        return np.asarray(projected[0], np.float32)

    def _account(self, fate: Fate, id: str) -> None:
        {
            "added": self.report.added,
            "updated": self.report.updated,
            "unchanged": self.report.unchanged,
        }[fate].append(id)
        self.progress.advance(1)

    def _fail(self, failure: Failure) -> None:
        if self.on_error == "raise":
            raise failure.error
        self.report.failed.append(failure)
        self.progress.advance(1)


def _weight(payload: Payload) -> int:
    return payload.held_bytes


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
    if not is_one_of(on_error, ("collect", "raise")):
        raise ConfigError(f"on_error={shorten(on_error)}; use 'collect' or 'raise'")
    if removing and is_one_image(source):
        raise SourceError(
            f"{describe(source)} is one image, and sync makes the index hold nothing but what its "
            "source names: use add to bring it in, and delete to take records out"
        )
    started = time.monotonic()
    roots: set[str] = set()
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
            # A generator cannot be looked at once more afterwards.
            given = watch_roots(source, roots) if removing else source
            ingestion.run(expand(given, skipped=skipped))
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
