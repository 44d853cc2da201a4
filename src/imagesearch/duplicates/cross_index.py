"""Duplicates between two indexes, and of an upload in an index."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imagesearch.duplicates._finder import look_of, looks_of, measured, near_rows
from imagesearch.duplicates._tiers import (
    BITS,
    Looks,
    check_comparable,
    copy_threshold,
    ids_by_digest,
    look_distance,
    nearest_hits,
    overview,
    sampled_threshold,
)
from imagesearch.duplicates.report import DuplicateGroup, DuplicateReport, Match, Picture, Rules
from imagesearch.filters import Filter
from imagesearch.protocols import VectorStore
from imagesearch.sources import Payload
from imagesearch.types import Failure, Hit, IndexMeta, Record

__all__ = ["Leaks", "find_original"]


_GET = 1000


@dataclass(slots=True)
class Leaks:
    """Finds the pictures of an index that are copies of pictures in another index.

    Each is reported once, with its strongest match.

    Attributes:
        store: The index whose copies are wanted, open.
        meta: What it was opened with.
        other: The index that it is held against, open.
        other_meta: What that was opened with.
        rules: What counts as a copy.
        where: Only records of the first index that match.
        batch_size: Queries in one search of the other store, ≥ 1.
        advance: Called with how many records a tier has looked at.
        load: Opens the image at a URI for the report's thumbnails.
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
        """Look for copies.

        Raises:
            IncompatibleIndexError: Tier ``semantic`` was asked of indexes with different embedders.
            QueryError: Tier ``semantic`` was asked of an index whose scores cannot tell copies.
            StoreError: A store failed.
        """
        tiers = self.rules.tiers
        if "semantic" in tiers:
            check_comparable(self.meta)
            self.meta.require_compatible(self.other_meta, where="this index")
        ours, theirs = overview(self.store, self.where), overview(self.other, None)
        if "exact" in tiers:
            shared = np.intersect1d(ours.digests, theirs.digests)
            held = ids_by_digest(self.other, None, shared)
            for digest, ids in ids_by_digest(self.store, self.where, shared).items():
                for id in ids if digest in held else ():
                    self._offer(id, Match(Picture(held[digest][0], ""), "exact", 1.0))
        if "near" in tiers:
            self._look()
        threshold = None
        if "semantic" in tiers:
            threshold = self.rules.threshold
            if threshold is None:
                threshold = sampled_threshold(self.other, theirs.sample, self.meta)
            self._search(threshold)
        return DuplicateReport(
            list(self._groups()),
            images=ours.images,
            unread=[self._unread[id] for id in sorted(self._unread)],
            threshold=threshold,
            against=True,
            load=self.load,
        )

    def _offer(self, id: str, match: Match) -> None:
        known = self._best.get(id)
        if known is None or match.strength < known.strength:
            self._best[id] = match

    def _look(self) -> None:
        ours = self._looks(self.store, self.where)
        theirs = self._looks(self.other, None)
        ours_of, theirs_of = ours.stand_ins(), theirs.stand_ins()
        mine, others = np.unique(ours_of), np.unique(theirs_of)
        best: dict[int, Match] = {}
        for mirrored in (False, True) if self.rules.mirrored else (False,):
            queries = (ours.mirrored if mirrored else ours.upright)[mine]
            table = theirs.upright[others]
            for rows, places in near_rows(queries, table, self.rules.max_bits):
                bits = look_distance(queries[rows], table[places])
                for row, other, differing in zip(
                    mine[rows].tolist(), others[places].tolist(), bits.tolist(), strict=True
                ):
                    match = Match(
                        Picture(theirs.ids[other], ""), "near", 1 - differing / BITS, mirrored
                    )
                    if row not in best or match.strength < best[row].strength:
                        best[row] = match
        for id, row in zip(ours.ids, ours_of.tolist(), strict=True):
            if row in best:
                self._offer(id, best[row])

    def _looks(self, store: VectorStore, where: Filter | None) -> Looks:
        looks = Looks()
        for record, look in looks_of(
            record for batch in store.scan(where=where) for record in batch
        ):
            self.advance(1)
            if isinstance(look, Failure):
                self._unread[record.id] = look
            elif look is not None:
                looks.add(record.id, look)
        return looks

    def _search(self, threshold: float) -> None:
        for batch in self.store.scan(where=self.where, batch_size=self.batch_size, vectors=True):
            self.advance(len(batch))
            if batch.vectors is None:
                continue
            for id, hits in zip(batch.ids, self.other.search(batch.vectors, k=1), strict=True):
                for hit in hits:
                    if hit.score >= threshold:
                        self._offer(id, Match(Picture(hit.id, ""), "semantic", hit.score))

    def _groups(self) -> Iterator[DuplicateGroup]:
        ids_of: dict[str, list[str]] = {}
        for id in sorted(self._best):
            ids_of.setdefault(self._best[id].id, []).append(id)
        kept = self._pictures(self.other, sorted(ids_of))
        copies = self._pictures(self.store, sorted(self._best))
        for other in sorted(ids_of):
            matches = [
                replace(self._best[id], picture=copies[id]) for id in ids_of[other] if id in copies
            ]
            if matches and other in kept:
                ordered = tuple(sorted(matches, key=lambda match: match.strength))
                yield DuplicateGroup(kept[other], ordered)

    def _pictures(self, store: VectorStore, ids: list[str]) -> dict[str, Picture]:
        found: dict[str, Picture] = {}
        for start in range(0, len(ids), _GET):
            records = store.get(ids[start : start + _GET])
            found |= measured((records[id] for id in sorted(records)), unread=self._unread)
        return found


_SAMPLE = 512


def find_original(
    store: VectorStore,
    meta: IndexMeta,
    payload: Payload,
    vector: NDArray[np.float32],
    *,
    rules: Rules,
    where: Filter | None = None,
) -> Match | None:
    """Return the strongest match of a picture among the nearest records, or None.

    Tier ``exact`` looks on where more records are as near as one with the same bytes would be.

    Args:
        store: An open store.
        meta: What it was opened with.
        payload: The picture.
        vector: Its vector, of shape (dim,).
        rules: What counts as a copy; without a threshold, it is derived from 512 records.
        where: Only records that match.

    Raises:
        SourceError: The picture cannot be decoded.
        QueryError: Tier ``semantic`` was asked of an index whose scores cannot tell copies.
        StoreError: The store failed.
    """
    if "semantic" in rules.tiers:
        check_comparable(meta)
    answers = nearest_hits(store, vector, meta, where=where)
    hits = next(answers)
    matches: list[Match] = []
    if "exact" in rules.tiers:
        matches = _exact(store, chain([hits], answers), payload)
    if not matches and "near" in rules.tiers:
        matches = _near(store, hits, payload, rules)
    if not matches and "semantic" in rules.tiers and hits:
        rules = (
            rules if rules.threshold is not None else replace(rules, threshold=_usual(store, meta))
        )
        matches = [
            Match(Picture(hit.id, hit.uri), "semantic", hit.score)
            for hit in hits
            if hit.score >= (rules.threshold or 0.0)
        ]
    return min(matches, key=lambda match: match.strength, default=None)


def _exact(store: VectorStore, answers: Iterable[list[Hit]], payload: Payload) -> list[Match]:
    seen: set[str] = set()
    for hits in answers:
        fresh = [hit for hit in hits if hit.id not in seen]
        seen |= {hit.id for hit in fresh}
        matches = [
            Match(Picture(record.id, record.uri), "exact", 1.0)
            for record in _records(store, fresh)
            if record.digest and record.digest == payload.digest
        ]
        if matches:
            return matches
    return []


def _near(store: VectorStore, hits: Sequence[Hit], payload: Payload, rules: Rules) -> list[Match]:
    own = look_of(payload)
    if own is None:
        return []
    upright, flipped = own
    matches = []
    for record, look in looks_of(_records(store, hits)):
        if look is None or isinstance(look, Failure):
            continue
        straight = int(look_distance(upright, look[0]))
        mirrored = int(look_distance(flipped, look[0])) if rules.mirrored else BITS
        bits = min(straight, mirrored)
        if bits <= rules.max_bits:
            picture = Picture(record.id, record.uri)
            matches.append(Match(picture, "near", 1 - bits / BITS, mirrored < straight))
    return matches


def _records(store: VectorStore, hits: Sequence[Hit]) -> Iterable[Record]:
    return store.get([hit.id for hit in hits]).values()


def _usual(store: VectorStore, meta: IndexMeta) -> float:
    batch = next(iter(store.scan(batch_size=_SAMPLE, vectors=True)), None)
    empty = np.empty((0, meta.dim), np.float32)
    return copy_threshold(
        batch.vectors if batch is not None and batch.vectors is not None else empty, meta
    )
