"""Settling: chains of matches → groups in which every copy matches the kept picture itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagesearch.duplicates.groups import DuplicateGroup, Match, Picture
from imagesearch.duplicates.looks import BITS, Looks, look_distance
from imagesearch.duplicates.rules import Rules
from imagesearch.types import Metric, Record
from imagesearch.vectors import normalise, scores

__all__ = ["Settling"]


@dataclass(frozen=True, slots=True)
class Settling:
    """Splits what hangs together into groups around the pictures that are kept.

    If B is like A and like C, but C is not like A, then deleting B and C because A stays would
    lose C. So the best picture is kept and takes what matches it directly; the best of the rest
    takes what matches that one, and so on. What matches none of the kept pictures is no duplicate
    once the copies are gone.

    Attributes:
        rules: What counts as a copy; with a threshold if tier ``semantic`` looks.
        metric: How the index compares vectors.
        looks: The looks of pictures, in rows.
        row_of: The row of each id that has one.
    """

    rules: Rules
    metric: Metric
    looks: Looks
    row_of: Mapping[str, int]

    def groups(
        self, records: Sequence[Record], pictures: Mapping[str, Picture]
    ) -> Iterator[DuplicateGroup]:
        """Yield the groups among the records of one chain.

        Args:
            records: With vectors if tier ``semantic`` looks.
            pictures: What was seen of each record.
        """
        left = sorted(records, key=lambda record: pictures[record.id].preference)
        vectors = self._vectors(left)
        while len(left) > 1:
            matches = self._matches(left, vectors, pictures)
            taken = [match for match in matches if match is not None]
            if taken:
                copies = tuple(sorted(taken, key=lambda match: match.strength))
                yield DuplicateGroup(pictures[left[0].id], copies)
            rest = [row for row, match in enumerate(matches, 1) if match is None]
            left = [left[row] for row in rest]
            vectors = vectors[rest] if vectors is not None else None

    def _vectors(self, records: Sequence[Record]) -> NDArray[np.float32] | None:
        vectors = [record.vector for record in records if record.vector is not None]
        if "semantic" not in self.rules.tiers or len(vectors) != len(records):
            return None
        matrix = np.stack(vectors)
        return normalise(matrix) if self.metric == "cosine" else matrix

    def _matches(
        self,
        records: Sequence[Record],
        vectors: NDArray[np.float32] | None,
        pictures: Mapping[str, Picture],
    ) -> list[Match | None]:
        """Match every record but the first with the first."""
        kept, others = records[0], records[1:]
        upright, mirrored = self._distances(kept, others)
        close = scores(vectors[:1], vectors[1:], self.metric)[0] if vectors is not None else None
        matches: list[Match | None] = []
        for row, record in enumerate(others):
            picture = pictures[record.id]
            bits = min(upright[row], mirrored[row])
            if "exact" in self.rules.tiers and record.digest and record.digest == kept.digest:
                matches.append(Match(picture, "exact", 1.0))
            elif bits <= self.rules.max_bits:
                score = 1 - int(bits) / BITS
                matches.append(Match(picture, "near", score, bool(mirrored[row] < upright[row])))
            elif close is not None and close[row] >= (self.rules.threshold or 0.0):
                matches.append(Match(picture, "semantic", float(close[row])))
            else:
                matches.append(None)
        return matches

    def _distances(
        self, kept: Record, others: Sequence[Record]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the distances of the looks, and of those with one of the two mirrored."""
        apart = np.full(len(others), BITS, np.int64)
        mine = self.row_of.get(kept.id)
        known = [row for row, record in enumerate(others) if record.id in self.row_of]
        if mine is None or not known:
            return apart, apart
        theirs = [self.row_of[others[row].id] for row in known]
        upright, flipped = self.looks.upright, self.looks.mirrored
        straight, mirrored = apart, apart.copy()
        straight[known] = look_distance(upright[mine], upright[theirs])
        if self.rules.mirrored:
            mirrored[known] = np.minimum(
                look_distance(flipped[mine], upright[theirs]),
                look_distance(upright[mine], flipped[theirs]),
            )
        return straight, mirrored
