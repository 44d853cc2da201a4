"""Copy every record of one store into another, without embedding anything again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from imagesearch.errors import ConfigError, IncompatibleIndexError, StoreError
from imagesearch.projection import fit_projection, require_projectable
from imagesearch.protocols import SupportsNotes, VectorStore, supports
from imagesearch.types import IndexMeta, Projection, Record, RecordBatch, canonical_metadata

__all__ = ["CopyReport", "begun_projection", "copy_projected", "copy_records", "is_same"]

_BATCH = 256
_SAMPLE = 20
_K = 10

# Approximate search and quantised vectors each lose a few per cent of the neighbours; below this
# share the target has other vectors, or no index over them yet.
_DOUBTFUL = 0.5


@dataclass(frozen=True, slots=True)
class CopyReport:
    """The result of a copy.

    Attributes:
        copied: Number of records written.
        unchanged: Number of records that the target had already.
        source_count: Records in the source afterwards.
        target_count: Records in the target afterwards.
        agreement: Share of the ten nearest neighbours that both stores have in common, with a
            sample of records as queries, in [0, 1]; None for an empty source.
        notes: Names of the copied notes, such as a calibration.
        notes_left: Why notes were not copied; empty if they were, or there are none.
        projected: Whether the vectors were projected.

    Example:
        >>> print(CopyReport(copied=3, unchanged=0, source_count=3, target_count=3, agreement=1.0))
        3 copied, 0 unchanged; 3 records in the source, 3 in the target; neighbours shared: 100.0 %
    """

    copied: int
    unchanged: int
    source_count: int
    target_count: int
    agreement: float | None
    notes: tuple[str, ...] = ()
    notes_left: str = ""
    projected: bool = False

    @property
    def complete(self) -> bool:
        """Whether the target has at least as many records as the source."""
        return self.target_count >= self.source_count

    @property
    def doubtful(self) -> bool:
        """Whether both stores have as many records, but most neighbours differ.

        False if the target has other records too, or after a projection, when neighbours may differ.
        """
        return (
            self.agreement is not None
            and not self.projected
            and self.target_count == self.source_count
            and self.agreement < _DOUBTFUL
        )

    def __str__(self) -> str:
        text = (
            f"{self.copied} copied, {self.unchanged} unchanged; {self.source_count} records in "
            f"the source, {self.target_count} in the target"
        )
        if self.agreement is not None:
            text += f"; neighbours shared: {100 * self.agreement:.1f} %"
        if self.notes:
            text += f"; notes copied: {', '.join(self.notes)}"
        if self.notes_left:
            text += f"; notes not copied: {self.notes_left}"
        return text


def copy_records(
    source: VectorStore,
    target: VectorStore,
    *,
    projection: Projection | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> CopyReport:
    """Copy ids, vectors, URIs, digests and metadata; repeat an interrupted copy to resume it.

    Records that the target has with the same URI, digest and metadata are not sent again, unless
    the digest is unknown. Other records of the target stay. At the end notes are copied, replacing
    those of the same name, if they remain valid: without a projection, and if both stores have the
    same number of records.

    Args:
        source: An open store.
        target: An open store with comparable vectors.
        projection: A projection to apply to every vector.
        advance: Called with the number of records done.

    Returns:
        Counts, and the agreement of the neighbours.

    Raises:
        StoreError: A store failed; records copied before stay.

    Example:
        >>> from imagesearch.stores.memory import MemoryStore
        >>> from imagesearch.types import EmbeddingSpec
        >>> source, target = MemoryStore(), MemoryStore()
        >>> for store in (source, target):
        ...     store.open(IndexMeta(EmbeddingSpec("mine", 2, True, "1")))
        >>> source.upsert(RecordBatch(("a",), ("/a",), ("",), ({},), np.eye(1, 2, dtype=np.float32)))
        >>> copy_records(source, target).copied
        1
    """
    copied = unchanged = 0
    sample = _Sample(_SAMPLE)
    for batch in source.scan(batch_size=_BATCH, vectors=True):
        existing = target.get(batch.ids)
        fresh = [record for record in batch if not is_same(record, existing.get(record.id))]
        if fresh:
            target.upsert(_projected(RecordBatch.of(fresh), projection))
        sample.offer(batch)
        copied += len(fresh)
        unchanged += len(batch) - len(fresh)
        advance(len(batch))
    vectors = sample.vectors()
    source_count, target_count = source.count(), target.count()
    notes, notes_left = _copy_notes(
        source, target, projected=projection is not None, same=source_count == target_count
    )
    return CopyReport(
        copied,
        unchanged,
        source_count,
        target_count,
        None if vectors is None else _agreement(source, target, vectors, projection),
        notes,
        notes_left,
        projected=projection is not None,
    )


def copy_projected(
    source: VectorStore,
    target: VectorStore,
    meta: IndexMeta,
    dim: int,
    *,
    advance: Callable[[int], None] = lambda _: None,
) -> CopyReport:
    """Fit a projection on a store and copy its records, projected, into another.

    An interrupted copy resumes with its own projection. A complete copy is not fitted again in
    place, because its vectors are not comparable with those of another projection.

    Args:
        source: An open store with the embedder's own vectors under the cosine metric.
        target: An empty store, or a part of this copy; it is opened if necessary.
        meta: The source's meta.
        dim: Length of the projected vectors.
        advance: Called with the number of records done, which counts each twice: fit and copy.

    Raises:
        ConfigError: `dim` is out of range for the source, the source has another metric or is
            projected itself, or the target is complete and the source has changed since.
        IncompatibleIndexError: The target contains another index.
        StoreError: A store failed; records copied before stay.

    Example:
        >>> from imagesearch.stores.memory import MemoryStore
        >>> from imagesearch.types import EmbeddingSpec
        >>> meta = IndexMeta(EmbeddingSpec("mine", 3, True, "1"))
        >>> source, target = MemoryStore(), MemoryStore()
        >>> source.open(meta)
        >>> vectors = np.array([[1, 0, 0], [0, 1, 0], [-1, 0.1, 0]], np.float32)
        >>> source.upsert(RecordBatch(tuple("abc"), tuple("abc"), tuple("abc"), ({},) * 3, vectors))
        >>> copy_projected(source, target, meta, 2).copied
        3
    """
    projection = begun_projection(source, target, meta, dim)
    if projection is None:
        projection = fit_projection(source, dim, advance=advance)
        target.open(replace(meta, projection=projection))
    else:
        advance(source.count())
    return copy_records(source, target, projection=projection, advance=advance)


def begun_projection(
    source: VectorStore, target: VectorStore, meta: IndexMeta, dim: int
) -> Projection | None:
    """Return the projection with which a copy resumes; None for an empty target.

    Everything that `copy_projected` refuses is refused before vectors are read or written. A target
    that is not empty is opened if necessary.

    Raises:
        ConfigError: As for `copy_projected`.
        IncompatibleIndexError: The target contains another index.
        StoreError: A store failed.

    Example:
        >>> from imagesearch.stores.memory import MemoryStore
        >>> from imagesearch.types import EmbeddingSpec
        >>> meta, source = IndexMeta(EmbeddingSpec("mine", 3, True, "1")), MemoryStore()
        >>> source.open(meta)
        >>> source.upsert(RecordBatch(*(("a", "b"),) * 3, ({},) * 2, np.eye(2, 3)))
        >>> begun_projection(source, MemoryStore(), meta, 1) is None
        True
    """
    count = source.count()
    require_projectable(meta, count, dim)
    begun = target.describe()
    if begun is None:
        return None
    projection = begun.projection
    if projection is None or begun.dim != dim:
        held = (
            "an index that is not projected"
            if projection is None
            else f"vectors of {begun.dim} elements, not {dim}"
        )
        raise IncompatibleIndexError(
            f"{target!r} already contains {held}; write the projected index to a new path or collection"
        )
    target.open(replace(meta, projection=projection))
    # If the source is unchanged, a new fit would be the same. If it has changed, only a target with
    # fewer records than the fit and the source can be an interrupted copy.
    if count != projection.fitted_on and target.count() >= min(projection.fitted_on, count):
        raise ConfigError(
            f"{target!r} is complete, and its projection was fitted on {projection.fitted_on} "
            f"records; to fit one on the {count} records of {source!r}, write to a new path or "
            "collection"
        )
    return projection


def _copy_notes(
    source: VectorStore, target: VectorStore, *, projected: bool, same: bool
) -> tuple[tuple[str, ...], str]:
    """Return the names of the notes that were copied, and why they were not."""
    notes = source.notes() if supports(source, SupportsNotes) else {}
    if not notes:
        return (), ""
    if projected:
        return (), "scores differ after the projection"
    if not supports(target, SupportsNotes):
        return (), "the target does not support notes"
    if not same:
        return (), "source and target have different records"
    for name, value in notes.items():
        target.note(name, value)
    return tuple(notes), ""


def is_same(record: Record, other: Record | None) -> bool:
    """Return whether a copy would leave a record of the target unchanged.

    Records without a digest are always copied, because their vectors may differ.

    Example:
        >>> known = Record("a", "/a.jpg", "0f", {})
        >>> unknown = replace(known, digest="")
        >>> is_same(known, known), is_same(unknown, unknown), is_same(known, None)
        (True, False, False)
    """
    return (
        other is not None
        and bool(record.digest)
        and (record.uri, record.digest) == (other.uri, other.digest)
        and canonical_metadata(record.metadata) == canonical_metadata(other.metadata)
    )


class _Sample:
    """Vectors of records at a fixed stride, which doubles when the sample is full."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._step = 1
        self._offered = 0
        self._kept: list[NDArray[np.float32]] = []

    def offer(self, batch: RecordBatch) -> None:
        for record in batch:
            if record.vector is None:
                raise StoreError(f"the source returned record {record.id!r} without its vector")
            if self._offered % self._step == 0:
                self._kept.append(record.vector.copy())
                if len(self._kept) >= 2 * self._size:
                    self._kept = self._kept[::2]
                    self._step *= 2
            self._offered += 1

    def vectors(self) -> NDArray[np.float32] | None:
        return np.stack(self._kept[: self._size]) if self._kept else None


def _projected(batch: RecordBatch, projection: Projection | None) -> RecordBatch:
    if projection is None or batch.vectors is None:
        return batch
    return replace(batch, vectors=projection.apply(batch.vectors))


def _agreement(
    source: VectorStore,
    target: VectorStore,
    vectors: NDArray[np.float32],
    projection: Projection | None,
) -> float:
    queries = vectors if projection is None else projection.apply(vectors)
    pairs = zip(source.search(vectors, k=_K), target.search(queries, k=_K), strict=True)
    shares = [
        len({hit.id for hit in ours} & {hit.id for hit in theirs}) / max(1, len(ours))
        for ours, theirs in pairs
    ]
    return float(np.mean(shares))
