"""Uploads: whether a picture that is not in the index yet is a copy of one that is."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from imagesearch.duplicates.closeness import check_comparable, copy_threshold
from imagesearch.duplicates.groups import Match, Picture
from imagesearch.duplicates.looks import BITS, look_distance
from imagesearch.duplicates.reading import look_of, looks_of
from imagesearch.duplicates.rules import Rules
from imagesearch.filters import Filter
from imagesearch.protocols import VectorStore
from imagesearch.sources import Payload
from imagesearch.types import Failure, Hit, IndexMeta

__all__ = ["find_original"]

_SAMPLE = 512

# Of 300 photos, the changed copies of all kinds in docs/duplicates.md find their original among the
# first few hits; tier ``near`` opens all of these.
_CANDIDATES = 20


@dataclass(frozen=True, slots=True)
class _Candidates:
    """The nearest records of the index."""

    hits: list[Hit]
    store: VectorStore

    def exact(self, payload: Payload) -> list[Match]:
        records = self.store.get([hit.id for hit in self.hits])
        return [
            Match(Picture(record.id, record.uri), "exact", 1.0)
            for record in records.values()
            if record.digest and record.digest == payload.digest
        ]

    def near(self, payload: Payload, rules: Rules) -> list[Match]:
        own = look_of(payload)
        if own is None:
            return []
        upright, flipped = own
        records = self.store.get([hit.id for hit in self.hits])
        matches = []
        for record, look in looks_of(records.values()):
            if look is None or isinstance(look, Failure):
                continue
            straight = int(look_distance(upright, look[0]))
            mirrored = int(look_distance(flipped, look[0])) if rules.mirrored else BITS
            bits = min(straight, mirrored)
            if bits <= rules.max_bits:
                picture = Picture(record.id, record.uri)
                matches.append(Match(picture, "near", 1 - bits / BITS, mirrored < straight))
        return matches


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
    [hits] = store.search(vector[None], k=_CANDIDATES, where=where)
    candidates = _Candidates(hits, store)
    matches = candidates.exact(payload) if "exact" in rules.tiers else []
    if not matches and "near" in rules.tiers:
        matches = candidates.near(payload, rules)
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


def _usual(store: VectorStore, meta: IndexMeta) -> float:
    batch = next(iter(store.scan(batch_size=_SAMPLE, vectors=True)), None)
    empty = np.empty((0, meta.dim), np.float32)
    return copy_threshold(
        batch.vectors if batch is not None and batch.vectors is not None else empty, meta
    )
