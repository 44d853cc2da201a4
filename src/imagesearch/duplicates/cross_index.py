"""Duplicates between two indexes, and of an upload in an index."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imagesearch._validation import batched
from imagesearch.duplicates._finder import hash_payload, hashed, measured
from imagesearch.duplicates._tiers import (
    BITS,
    HashTable,
    check_comparable,
    copy_threshold,
    hash_distance,
    ids_by_digest,
    near_rows,
    nearest_hits,
    overview,
    sampled_threshold,
)
from imagesearch.duplicates.report import (
    DuplicateGroup,
    DuplicateImage,
    DuplicateReport,
    Match,
    Rules,
)
from imagesearch.filters import Filter
from imagesearch.protocols import VectorStore
from imagesearch.sources import Payload
from imagesearch.types import Failure, Hit, IndexMeta, Record

__all__ = ["CrossIndexFinder", "find_original"]


_GET = 1000
_SAMPLE = 512


@dataclass(slots=True)
class CrossIndexFinder:
    """Finds the images of one index that are copies of images in another index.

    Each is reported once, with its strongest match.

    Attributes:
        store: The open store of the index whose copies are reported.
        meta: The meta that `store` was opened with.
        other: The open store of the index to compare with.
        other_meta: The meta that `other` was opened with.
        rules: What counts as a copy.
        where: Only records of the first index that match.
        batch_size: Queries in one search of the other store, ≥ 1.
        advance: Called with the number of records that a tier has processed.
        load: Opens the image at a URI for the report's thumbnails, or returns None.
    """

    store: VectorStore
    meta: IndexMeta
    other: VectorStore
    other_meta: IndexMeta
    rules: Rules
    where: Filter | None = None
    batch_size: int = 256
    advance: Callable[[int], None] = lambda _: None
    load: Callable[[str], Image.Image | None] | None = None
    _unread: dict[str, Failure] = field(default_factory=dict)
    _best: dict[str, Match] = field(default_factory=dict)

    def run(self) -> DuplicateReport:
        """Find the copies.

        Raises:
            IncompatibleIndexError: The indexes have different embedders, for the tier ``semantic``.
            QueryError: The tier ``semantic`` does not support the metric of the index.
            StoreError: A store failed.
        """
        tiers = self.rules.tiers
        if "semantic" in tiers:
            check_comparable(self.meta)
            self.meta.require_compatible(self.other_meta, where="this index")
        scanned, other_scanned = overview(self.store, self.where), overview(self.other, None)
        if "exact" in tiers:
            shared = np.intersect1d(scanned.digests, other_scanned.digests)
            other_ids = ids_by_digest(self.other, None, shared)
            for digest, ids in ids_by_digest(self.store, self.where, shared).items():
                for id in ids if digest in other_ids else ():
                    self._offer(id, Match(DuplicateImage(other_ids[digest][0], ""), "exact", 1.0))
        if "near" in tiers:
            self._find_near()
        threshold = None
        if "semantic" in tiers:
            threshold = self.rules.threshold
            if threshold is None:
                threshold = sampled_threshold(self.other, other_scanned.sample, self.meta)
            self._find_semantic(threshold)
        return DuplicateReport(
            list(self._groups()),
            images=scanned.images,
            unread=[self._unread[id] for id in sorted(self._unread)],
            threshold=threshold,
            against=True,
            load=self.load,
        )

    def _offer(self, id: str, match: Match) -> None:
        best = self._best.get(id)
        if best is None or match.strength < best.strength:
            self._best[id] = match

    def _find_near(self) -> None:
        ours = self._table(self.store, self.where)
        theirs = self._table(self.other, None)
        representatives = ours.representatives()
        rows_here, rows_there = np.unique(representatives), np.unique(theirs.representatives())
        best: dict[int, Match] = {}
        for mirrored in (False, True) if self.rules.mirrored else (False,):
            queries = (ours.mirrored if mirrored else ours.upright)[rows_here]
            table = theirs.upright[rows_there]
            for rows, others in near_rows(queries, table, self.rules.near_bits):
                distances = hash_distance(queries[rows], table[others])
                for row, other, bits in zip(
                    rows_here[rows].tolist(),
                    rows_there[others].tolist(),
                    distances.tolist(),
                    strict=True,
                ):
                    image = DuplicateImage(theirs.ids[other], "")
                    match = Match(image, "near", 1 - bits / BITS, mirrored)
                    if row not in best or match.strength < best[row].strength:
                        best[row] = match
        for id, row in zip(ours.ids, representatives.tolist(), strict=True):
            if row in best:
                self._offer(id, best[row])

    def _table(self, store: VectorStore, where: Filter | None) -> HashTable:
        table = HashTable()
        records = (record for batch in store.scan(where=where) for record in batch)
        for record, hashes in hashed(records):
            self.advance(1)
            if isinstance(hashes, Failure):
                self._unread[record.id] = hashes
            elif hashes is not None:
                table.add(record.id, hashes)
        return table

    def _find_semantic(self, threshold: float) -> None:
        for batch in self.store.scan(where=self.where, batch_size=self.batch_size, vectors=True):
            self.advance(len(batch))
            if batch.vectors is None:
                continue
            for id, hits in zip(batch.ids, self.other.search(batch.vectors, k=1), strict=True):
                for hit in hits:
                    if hit.score >= threshold:
                        self._offer(id, Match(DuplicateImage(hit.id, ""), "semantic", hit.score))

    def _groups(self) -> Iterator[DuplicateGroup]:
        ids_of: dict[str, list[str]] = {}
        for id in sorted(self._best):
            ids_of.setdefault(self._best[id].id, []).append(id)
        keepers = self._measured(self.other, sorted(ids_of))
        copies = self._measured(self.store, sorted(self._best))
        for other in sorted(ids_of):
            matches = [
                replace(self._best[id], image=copies[id]) for id in ids_of[other] if id in copies
            ]
            if matches and other in keepers:
                ordered = tuple(sorted(matches, key=lambda match: match.strength))
                yield DuplicateGroup(keepers[other], ordered)

    def _measured(self, store: VectorStore, ids: list[str]) -> dict[str, DuplicateImage]:
        images: dict[str, DuplicateImage] = {}
        for block in batched(ids, _GET):
            records = store.get(block)
            images |= measured((records[id] for id in sorted(records)), unread=self._unread)
        return images


def find_original(
    store: VectorStore,
    meta: IndexMeta,
    payload: Payload,
    vector: NDArray[np.float32],
    *,
    rules: Rules,
    where: Filter | None = None,
) -> Match | None:
    """Return the strongest match of an image among the nearest records, or None.

    The tier ``exact`` examines further records while they are as near as one with the same bytes
    would be.

    Args:
        store: An open store.
        meta: The meta that the store was opened with.
        payload: The image.
        vector: The vector of the image, of shape (dim,).
        rules: What counts as a copy; a missing threshold is derived from 512 records.
        where: Only records that match.

    Raises:
        SourceError: The image cannot be decoded.
        QueryError: The tier ``semantic`` does not support the metric of the index.
        StoreError: The store failed.
    """
    if "semantic" in rules.tiers:
        check_comparable(meta)
    answers = nearest_hits(store, vector, meta, where=where)
    hits = next(answers)
    matches: list[Match] = []
    if "exact" in rules.tiers:
        matches = _exact(store, chain([hits], answers), payload)
    if not matches and "near" in rules.tiers and payload.vector is None:
        matches = _near(store, hits, payload, rules)
    if not matches and "semantic" in rules.tiers and hits:
        threshold = _default_threshold(store, meta) if rules.threshold is None else rules.threshold
        matches = [
            Match(DuplicateImage(hit.id, hit.uri), "semantic", hit.score)
            for hit in hits
            if hit.score >= threshold
        ]
    return min(matches, key=lambda match: match.strength, default=None)


def _exact(store: VectorStore, answers: Iterable[list[Hit]], payload: Payload) -> list[Match]:
    seen: set[str] = set()
    for hits in answers:
        fresh = [hit for hit in hits if hit.id not in seen]
        seen |= {hit.id for hit in fresh}
        matches = [
            Match(DuplicateImage(record.id, record.uri), "exact", 1.0)
            for record in _records(store, fresh)
            if record.digest and record.digest == payload.digest
        ]
        if matches:
            return matches
    return []


def _near(store: VectorStore, hits: Sequence[Hit], payload: Payload, rules: Rules) -> list[Match]:
    own = hash_payload(payload)
    if own is None:
        return []
    matches = []
    for record, hashes in hashed(_records(store, hits)):
        if hashes is None or isinstance(hashes, Failure):
            continue
        upright = int(hash_distance(own[0], hashes[0]))
        mirrored = int(hash_distance(own[1], hashes[0])) if rules.mirrored else BITS
        bits = min(upright, mirrored)
        if bits <= rules.near_bits:
            image = DuplicateImage(record.id, record.uri)
            matches.append(Match(image, "near", 1 - bits / BITS, mirrored < upright))
    return matches


def _records(store: VectorStore, hits: Sequence[Hit]) -> Iterable[Record]:
    return store.get([hit.id for hit in hits]).values()


def _default_threshold(store: VectorStore, meta: IndexMeta) -> float:
    batch = next(iter(store.scan(batch_size=_SAMPLE, vectors=True)), None)
    if batch is None or batch.vectors is None:
        return copy_threshold(np.empty((0, meta.dim), np.float32), meta)
    return copy_threshold(batch.vectors, meta)
