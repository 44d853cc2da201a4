"""Uploads: whether a picture that is not in the index yet is a copy of one that is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from imagesearch.duplicates.closeness import check_comparable, copy_threshold, nearest_hits
from imagesearch.duplicates.groups import Match, Picture
from imagesearch.duplicates.looks import BITS, look_distance
from imagesearch.duplicates.reading import look_of, looks_of
from imagesearch.duplicates.rules import Rules
from imagesearch.filters import Filter
from imagesearch.protocols import VectorStore
from imagesearch.sources import Payload
from imagesearch.types import Failure, Hit, IndexMeta, Record

__all__ = ["find_original"]

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
