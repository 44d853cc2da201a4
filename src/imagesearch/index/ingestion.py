"""Ingestion: what `add` and `sync` do with every input, batch by batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from imagesearch.errors import EmbeddingError, ImageSearchError, SourceError
from imagesearch.index.progress import Progress
from imagesearch.pipeline import Embedded, Pipeline, grouped
from imagesearch.protocols import VectorStore
from imagesearch.sources import Payload, describe
from imagesearch.types import (
    AddReport,
    Failure,
    IndexMeta,
    Item,
    Metadata,
    Record,
    RecordBatch,
    canonical_metadata,
)
from imagesearch.vectors import normalise

__all__ = ["Ingestion", "OnError"]

OnError = Literal["collect", "raise"]

Fate = Literal["added", "updated", "unchanged"]


@dataclass(frozen=True, slots=True)
class _Planned:
    """One payload whose fate is decided: what to write, and whether a vector is still missing."""

    payload: Payload
    metadata: Metadata
    fate: Fate
    vector: NDArray[np.float32] | None = None

    @property
    def needs_vector(self) -> bool:
        return self.vector is None and self.fate != "unchanged"


@dataclass(slots=True)
class Ingestion:
    """Brings items into a store: skips what is unchanged, embeds what is new, reports on all.

    Attributes:
        store: An open store.
        meta: What the store was opened with.
        pipeline: Reads and embeds.
        batch_size: Records in one upsert, ≥ 1.
        on_error: Whether to collect failures or to raise the first.
        metadata: Given to every item; an item's own fields win.
        progress: Told about every input.
        reuse: Whether an image that the index holds under another id keeps its vector; costs one
            scan of the index when the first new image is met.
        report: Filled as batches become durable.
    """

    store: VectorStore
    meta: IndexMeta
    pipeline: Pipeline
    batch_size: int
    on_error: OnError
    metadata: Metadata
    progress: Progress
    reuse: bool = False
    report: AddReport = field(default_factory=AddReport)
    seen: dict[str, int] = field(default_factory=dict)
    embedded: int = 0
    _by_digest: dict[str, str] | None = None

    def run(self, items: Iterable[Item | Failure]) -> None:
        """Bring all items in; every batch is durable before the next one is written.

        Raises:
            ImageSearchError: The first failure, when `on_error` is ``"raise"``.
            StoreError: The store failed; what was reported until then is stored.
        """
        payloads = self._accepted(self.pipeline.read(items))
        plans: list[list[_Planned]] = []

        def to_embed() -> Iterator[list[Payload]]:
            for group in grouped(payloads, size=self.batch_size, weight=_weight):
                plan = self._plan(group)
                plans.append(plan)
                yield [planned.payload for planned in plan if planned.needs_vector]

        for results in self.pipeline.embed(to_embed()):
            self._write(plans.pop(0), results)

    def _accepted(self, inputs: Iterable[Payload | Failure]) -> Iterator[Payload]:
        for element in inputs:
            if isinstance(element, Failure):
                self._fail(element)
                continue
            payload = replace(element, metadata={**self.metadata, **element.metadata})
            identity = hash((payload.uri, payload.digest, canonical_metadata(payload.metadata)))
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

    def _plan(self, group: Sequence[Payload]) -> list[_Planned]:
        existing = self.store.get([payload.id for payload in group])
        plan = [self._decide(payload, existing.get(payload.id)) for payload in group]
        sources = {
            planned.payload.id: source
            for planned in plan
            if planned.fate != "unchanged"
            and (source := self._source_of_vector(planned.payload, existing)) is not None
        }
        if not sources:
            return plan
        stored = self.store.get(list(set(sources.values())), vectors=True)
        return [
            replace(planned, vector=stored[sources[planned.payload.id]].vector)
            if sources.get(planned.payload.id) in stored
            else planned
            for planned in plan
        ]

    def _decide(self, payload: Payload, record: Record | None) -> _Planned:
        if record is None:
            return _Planned(payload, payload.metadata, "added")
        # An input that says nothing about its metadata does not take away what the record has.
        metadata = payload.metadata or dict(record.metadata)
        same = (payload.digest, payload.uri) == (record.digest, record.uri)
        if same and canonical_metadata(metadata) == canonical_metadata(record.metadata):
            return _Planned(payload, metadata, "unchanged")
        return _Planned(payload, metadata, "updated")

    def _source_of_vector(self, payload: Payload, existing: Mapping[str, Record]) -> str | None:
        """Return the id of a record that has the vector of this very image already."""
        record = existing.get(payload.id)
        if record is not None and record.digest == payload.digest:
            return record.id
        if not self.reuse:
            return None
        if self._by_digest is None:
            self._by_digest = {
                record.digest: record.id
                for batch in self.store.scan()
                for record in batch
                if record.digest
            }
        return self._by_digest.get(payload.digest)

    def _write(self, plan: Sequence[_Planned], results: Sequence[Embedded]) -> None:
        vectors = iter(results)
        fates: list[tuple[Fate, str]] = []
        records: list[Record] = []
        failures: list[Failure] = []
        for planned in plan:
            payload = planned.payload
            if planned.fate == "unchanged":
                fates.append(("unchanged", payload.id))
                continue
            vector = planned.vector if planned.vector is not None else next(vectors)
            if planned.vector is None:
                vector = self._ready_to_store(vector)
            if isinstance(vector, ImageSearchError):
                failures.append(Failure(describe(payload.uri), vector, payload.id))
                continue
            self.embedded += planned.vector is None
            fates.append((planned.fate, payload.id))
            records.append(
                Record(payload.id, payload.uri, payload.digest, planned.metadata, vector)
            )
        if records:
            self.store.upsert(RecordBatch.of(records))
        for fate, id in fates:
            self._account(fate, id)
        for failure in failures:
            self._fail(failure)

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
    return payload.encoded_bytes
