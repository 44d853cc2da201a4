"""Write to an index: add a source with a report on every input, delete and update records."""

from __future__ import annotations

import dataclasses
import logging
import operator
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from imagesearch._pipeline import Embedded, Pipeline, group_size_of, grouped
from imagesearch._printable import shorten
from imagesearch._validation import as_float32, batched, elements, one_of
from imagesearch.errors import (
    EmbeddingError,
    ImageSearchError,
    QueryError,
    SourceError,
    StoreRequestError,
)
from imagesearch.filters import Filter
from imagesearch.index._open import OpenIndex
from imagesearch.index._plan import Fate, Planned, Planner, Pruner
from imagesearch.protocols import (
    SupportsFilterDeletion,
    SupportsMetadataUpdate,
    VectorStore,
    supports,
)
from imagesearch.sources import Payload, Source, describe
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
    updated_metadata,
)
from imagesearch.vectors import check_vectors, normalise

__all__ = [
    "VECTOR_BATCH",
    "WRITE_SIZE",
    "Ingestion",
    "OnError",
    "Progress",
    "delete_records",
    "id_list",
    "ingest",
    "ingest_rows",
    "make_progress",
    "store_records",
    "update_records",
    "vector_items",
]

_BATCH = 1000

_T = TypeVar("_T")

WRITE_SIZE = 32
"""Images whose records are stored together, at least, where the caller sets no batch size."""

VECTOR_BATCH = 1000
"""Records in one upsert of `ImageIndex.add_vectors`."""


def store_records(store: VectorStore, records: Sequence[Record]) -> dict[str, StoreRequestError]:
    """Upsert records, and return the errors of those that the store refuses, by id.

    The records that an error names are left out, and the others are sent again.

    Raises:
        StoreRequestError: The store refused the request without naming any of the records.
        StoreError: The store failed.
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


def vector_items(
    meta: IndexMeta,
    ids: Iterable[str],
    vectors: ArrayLike,
    uris: Iterable[str] | None,
    metadata: Iterable[Metadata] | None,
) -> Iterator[Item]:
    """Return an item for each vector; see `ImageIndex.add_vectors`."""
    listed = _aligned(ids, "ids")
    given_uris = _aligned(uris, "uris", len(listed))
    given_fields = _aligned(metadata, "metadata", len(listed))
    try:
        # An array, which may be larger than the memory, is converted row by row.
        numeric = isinstance(vectors, np.ndarray) and vectors.dtype.kind in "fiu"
        matrix = np.asarray(vectors) if numeric else as_float32(vectors)
    except ValueError as error:
        raise StoreRequestError(f"vectors must be real numbers: {error}") from error
    if matrix.size == 0 and matrix.ndim < 2:
        matrix = np.empty((0, meta.dim), np.float32)
    if matrix.ndim != 2 or matrix.shape[1] not in {meta.dim, meta.embedding.dim}:
        raise StoreRequestError(
            f"vectors must have shape (n, {meta.embedding.dim}) for this index, got {matrix.shape}",
            remedy="make them with the index's own embedder",
        )
    if len(matrix) != len(listed):
        raise QueryError(f"got {len(listed)} ids for {len(matrix)} vectors; give one id per vector")
    return (
        Item(vector=vector, id=id, uri=uri, metadata=fields)
        for vector, id, uri, fields in zip(matrix, listed, given_uris, given_fields, strict=True)
    )


def _aligned(values: Iterable[_T] | None, name: str, length: int | None = None) -> list[_T | None]:
    if values is None and length is not None:
        return [None] * length
    listed = None if isinstance(values, str | Mapping) else elements(values)
    if listed is None:
        raise QueryError(f"{name} must be a list, got {shorten(values)}")
    if length is not None and len(listed) != length:
        raise QueryError(f"{name} has {len(listed)} elements for {length} ids; give one per id")
    return listed


OnError = Literal["collect", "raise"]

_logger = logging.getLogger("imagesearch")

# A projection fitted on fewer than half of the records in the index should be fitted again.
_OUTGROWN = 2


def ingest(
    index: OpenIndex,
    source: object,
    *,
    metadata: Metadata | None,
    on_error: OnError,
    group_size: int | None,
    progress: bool | None,
    prune: bool = False,
    allow_removing: bool = False,
    preview: dict[str, str] | None = None,
) -> AddReport:
    """Add a source and, with `prune`, delete the records whose image is gone.

    See `ImageIndex.add` and `ImageIndex.sync`. With `preview` it is a dry run, which changes
    nothing and needs no embedder: `preview` is filled with the URI of each record that would be
    written or deleted, by id.
    """
    one_of(on_error, "on_error", ("collect", "raise"))
    given = Source(source)
    if prune and given.is_one_image:
        raise SourceError(
            f"{describe(source)} is one image, and sync would remove all other records: use add, "
            "or delete"
        )
    started = time.monotonic()
    planner = Planner(index.store, reuse=prune)
    skipped: Counter[str] = Counter()
    common = check_metadata({} if metadata is None else metadata)
    dry_run = preview is not None
    decode_size = index.meta.embedding.decode_size
    with (
        closing(make_progress(progress, given.estimate)) as bar,
        Pipeline(None if dry_run else index.embedder, decode_size=decode_size) as pipeline,
    ):
        ingestion = Ingestion(
            store=index.store,
            meta=index.meta,
            pipeline=pipeline,
            planner=planner,
            group_size=lambda: (
                group_size_of(index.embedder.if_made) if group_size is None else group_size
            ),
            write_size=WRITE_SIZE if group_size is None else group_size,
            on_error=on_error,
            metadata=common,
            progress=bar,
            preview=preview,
        )
        ingestion.run(given.items(skipped=skipped))
    report = replace(ingestion.report, embedded=ingestion.embedded, skipped=dict(skipped))
    _warn_if_outgrown(index)
    if prune:
        pruner = Pruner(
            store=index.store,
            folder=given.folder,
            roots=given.roots,
            seen=ingestion.seen,
            moved=planner.moved,
            report=replace(report, seconds=time.monotonic() - started),
            allowed=allow_removing,
            strict=on_error == "raise",
            preview=preview,
        )
        report = pruner.run()
    return replace(report, seconds=time.monotonic() - started)


def ingest_rows(
    index: OpenIndex,
    rows: Iterable[Payload | Failure],
    *,
    count: int,
    on_error: OnError,
    progress: bool | None,
    preview: dict[str, str] | None = None,
) -> AddReport:
    """Add records that have vectors, such as those of a file.

    Args:
        index: The open index.
        rows: Payloads with vectors, and failures, which go into the report.
        count: Number of rows, for the progress bar.
        on_error: As for `ImageIndex.add`.
        progress: As for `ImageIndex.add`.
        preview: As for `ingest`.
    """
    started = time.monotonic()
    with (
        closing(make_progress(progress, count, unit="record")) as bar,
        Pipeline(index.embedder) as pipeline,
    ):
        ingestion = Ingestion(
            store=index.store,
            meta=index.meta,
            pipeline=pipeline,
            planner=Planner(index.store),
            group_size=lambda: VECTOR_BATCH,
            write_size=VECTOR_BATCH,
            on_error=on_error,
            metadata={},
            progress=bar,
            preview=preview,
        )
        ingestion.run(rows)
    _warn_if_outgrown(index)
    return replace(ingestion.report, seconds=time.monotonic() - started)


@dataclass(slots=True)
class Ingestion:
    """Writes items into a store: skips unchanged images, embeds new ones, reports on all.

    Attributes:
        store: An open store.
        meta: The meta that the store was opened with.
        pipeline: Reads and embeds images.
        planner: Decides what to do with each image.
        group_size: Returns the number of images to plan and embed together, ≥ 1. It may change once
            the embedder is made, which happens for the first image that needs it.
        write_size: Images to wait for before their records are stored together, ≥ 1. Whole groups are
            stored, so there may be more; a group of fewer, but large images is not waited with.
        on_error: Whether to collect failures or to raise the first.
        metadata: Fields for every item; an item's own fields take precedence.
        progress: Advanced for every input.
        preview: As for `ingest`.
        report: Filled as batches become durable.
        seen: A hash of each image that could be read, by id.
        embedded: Number of images that were embedded.
    """

    store: VectorStore
    meta: IndexMeta
    pipeline: Pipeline
    planner: Planner
    group_size: Callable[[], int]
    write_size: int
    on_error: OnError
    metadata: Metadata
    progress: Progress
    preview: dict[str, str] | None = None
    report: AddReport = field(default_factory=AddReport)
    seen: dict[str, int] = field(default_factory=dict)
    embedded: int = 0
    _stopped_by: Exception | None = None

    def run(self, items: Iterable[Item | Payload | Failure]) -> None:
        """Write all items; what is written together is durable before more is written.

        An error raised by `items` is raised again after everything before it is stored.

        Raises:
            ImageSearchError: The first failure, if `on_error` is ``"raise"``.
            StoreError: The store failed; what the report lists is stored.
            Exception: Whatever `items` raised.
        """
        inputs = self.pipeline.read(self._until_error(items))
        payloads = self._until_error(self._accepted(inputs))
        groups = grouped(payloads, size=self.group_size, weight=operator.attrgetter("held_bytes"))
        waiting: tuple[list[Planned], list[Embedded]] = [], []
        try:
            for plan, results in self.pipeline.embed(map(self._planned, groups)):
                waiting[0].extend(plan)
                waiting[1].extend(results)
                # A short group is one of large images, or the last.
                if len(waiting[0]) >= self.write_size or len(plan) < self.group_size():
                    complete, waiting = waiting, ([], [])
                    self._write(*complete)
        finally:
            # Also after an interrupt or a failure of the model: what is embedded is stored.
            if waiting[0]:
                self._write(*waiting)
        if self._stopped_by is not None:
            raise self._stopped_by

    def _planned(self, batch: Sequence[Payload]) -> tuple[list[Planned], list[Payload]]:
        """Return the plan of a batch, and the payloads that must be embedded for it."""
        plan = self.planner.plan(batch)
        pairs = zip(batch, plan, strict=True)
        return plan, [payload for payload, planned in pairs if planned.needs_vector]

    def _until_error(self, elements: Iterable[_T]) -> Iterator[_T]:
        """Yield elements until their source raises, and keep the error for later.

        Reading ahead may raise before a failure of an earlier input is raised, which then ends the
        run and replaces that error.
        """
        try:
            yield from elements
        except Exception as error:  # noqa: BLE001  # a caller's generator may raise anything
            self._stopped_by = error

    def _accepted(self, inputs: Iterable[Payload | Failure]) -> Iterator[Payload]:
        for element in inputs:
            if isinstance(element, Failure):
                self._fail(element)
                continue
            try:
                payload = self._checked(self._with_common_metadata(element))
            except (StoreRequestError, EmbeddingError) as refusal:
                self._fail(Failure(describe(element.uri), refusal, element.id))
                continue
            fields = canonical_metadata(payload.metadata or {})
            identity = hash((payload.uri, payload.digest, fields))
            earlier = self.seen.get(payload.id)
            if earlier is None:
                self.seen[payload.id] = identity
                yield payload
            elif earlier == identity:
                self._account("unchanged", payload.id)
            else:
                error = SourceError(
                    f"id {payload.id!r} belongs to an earlier input, which was kept; give each "
                    "input its own id"
                )
                self._fail(Failure(describe(payload.uri), error, payload.id))

    def _with_common_metadata(self, payload: Payload) -> Payload:
        if not self.metadata:
            return payload
        return replace(payload, metadata={**self.metadata, **(payload.metadata or {})})

    def _checked(self, payload: Payload) -> Payload:
        """Return a payload whose own vector, if it has one, is as the store keeps vectors."""
        if payload.vector is None:
            return payload
        # Vectors read from a projected index are projected already.
        dim = self.meta.dim if len(payload.vector) == self.meta.dim else self.meta.embedding.dim
        vector = check_vectors(payload.vector[None], dim, self.meta.metric, ids=[payload.id])
        if self.meta.projection is not None and dim != self.meta.dim:
            vector = self.meta.projection.apply(normalise(vector))
        return replace(payload, vector=vector[0])

    def _write(self, plan: Sequence[Planned], results: Sequence[Embedded]) -> None:
        vectors = iter(results)
        records: list[Record] = []
        failures: dict[str, ImageSearchError] = {}
        for planned in plan:
            record = planned.record
            if planned.needs_vector:
                vector = next(vectors)
                if self.preview is None:
                    vector = self._ready_to_store(vector)
                if isinstance(vector, ImageSearchError):
                    failures[record.id] = vector
                    continue
                record = replace(record, vector=vector)
                self.embedded += 1
            if planned.fate != "unchanged":
                records.append(record)
        if self.preview is None:
            failures |= store_records(self.store, records)
        else:
            self.preview.update((record.id, record.uri) for record in records)
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
        """Return an embedder's vector, projected if the index is, or why it cannot be stored."""
        if isinstance(vector, ImageSearchError):
            return vector
        if self.meta.metric == "cosine" and not vector.any():
            return EmbeddingError(
                f"embedder {self.meta.embedding.name!r} returned a zero vector, which has no "
                "direction for the metric 'cosine'"
            )
        if self.meta.projection is None:
            return vector
        try:
            projected = self.meta.projection.apply(normalise(vector[None]))
        except EmbeddingError as error:
            return error
        return np.asarray(projected[0], np.float32)

    def _account(self, fate: Fate, id: str) -> None:
        getattr(self.report, fate).append(id)
        self.progress.advance(1)

    def _fail(self, failure: Failure) -> None:
        if self.on_error == "raise":
            raise failure.error
        self.report.failed.append(failure)
        self.progress.advance(1)


def _warn_if_outgrown(index: OpenIndex) -> None:
    projection = index.meta.projection
    if projection is None:
        return
    count = index.store.count()
    if count > _OUTGROWN * projection.fitted_on:
        _logger.warning(
            "%r has %d records, and its projection was fitted on %d. Fit a new one: add the new "
            "images to the index with full vectors too, then write a new projected index, such as: "
            "imagesearch copy FULL.idx NEW.idx --project %d",
            index.store,
            count,
            projection.fitted_on,
            projection.dim,
        )


def delete_records(
    store: VectorStore, ids: str | Iterable[str] | None, where: Filter | None
) -> int:
    """Delete records by id or by filter; see `ImageIndex.delete`."""
    chosen = _chosen(ids, where)
    if where is not None and supports(store, SupportsFilterDeletion):
        return store.delete_where(where)
    return sum(map(store.delete, batched(_matching(store, chosen, where), _BATCH)))


def update_records(
    store: VectorStore,
    metadata: Metadata,
    ids: str | Iterable[str] | None,
    where: Filter | None,
    *,
    replace: bool,
) -> int:
    """Set metadata fields of records; see `ImageIndex.update_metadata`."""
    fields = check_metadata(metadata)
    chosen = _chosen(ids, where)
    if supports(store, SupportsMetadataUpdate):
        return store.update_metadata(fields, ids=chosen, where=where, replace=replace)
    written = 0
    for batch in batched(_matching(store, chosen, where), _BATCH):
        records = [
            dataclasses.replace(
                record, metadata=updated_metadata(record.metadata, fields, replace=replace)
            )
            for record in store.get(batch, vectors=True).values()
        ]
        if records:
            store.upsert(RecordBatch.of(records))
        written += len(records)
    return written


def id_list(ids: str | Iterable[str]) -> list[str]:
    """Return one or many ids as a list.

    Raises:
        QueryError: An id is not a str.
    """
    several = None if isinstance(ids, str) else elements(ids)
    listed = [ids] if several is None else several
    for id in listed:
        if not isinstance(id, str):
            raise QueryError(
                f"an id must be a str, got {shorten(id)}; give one id or a list of ids"
            )
    # A subclass of str may have methods of its own.
    return [str.__str__(id) for id in listed]


def _chosen(ids: str | Iterable[str] | None, where: Filter | None) -> list[str] | None:
    if (ids is None) == (where is None):
        raise QueryError("give either ids or where=")
    return None if ids is None else id_list(ids)


def _matching(store: VectorStore, chosen: list[str] | None, where: Filter | None) -> list[str]:
    if chosen is not None:
        return chosen
    return [id for batch in store.scan(where=where, batch_size=_BATCH) for id in batch.ids]


class Progress(Protocol):
    """A progress bar."""

    def advance(self, inputs: int) -> None:
        """Add inputs that are done."""

    def close(self) -> None:
        """Close the bar."""


class _Silent:
    def advance(self, inputs: int) -> None: ...
    def close(self) -> None: ...


class _Bar:
    def __init__(self, total: int | None, unit: str) -> None:
        from tqdm import tqdm

        self._bar = tqdm(total=total, unit=unit, file=sys.stderr, dynamic_ncols=True)

    def advance(self, inputs: int) -> None:
        self._bar.update(inputs)

    def close(self) -> None:
        self._bar.close()


def make_progress(
    show: bool | None, total: int | Callable[[], int | None] | None, *, unit: str = "image"
) -> Progress:
    """Return a progress bar on standard error, or a silent one.

    Args:
        show: True or False; None shows it if standard error is a terminal.
        total: Number of inputs if known, or a function that counts them, called only for a bar.
        unit: Name of what is counted.
    """
    if show is None:
        show = sys.stderr is not None and sys.stderr.isatty()
    if not show:
        return _Silent()
    return _Bar(total() if callable(total) else total, unit)
