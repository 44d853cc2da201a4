"""SmallGraph: HNSW in a hundred lines, for looking inside; what serves an index is hnswlib.

Follows Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using
Hierarchical Navigable Small World graphs" (2018): algorithms 1 (insert), 2 (search a layer), 4
(choose neighbours) and 5 (search).
"""

from __future__ import annotations

import heapq
import math
import random
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["SmallGraph", "Walk"]


@dataclass(slots=True)
class Walk:
    """One search: what it found and how it went.

    Attributes:
        found: Points, the nearest first.
        paths: For each layer, the highest first, the points that were moved to.
        looked_at: Points of the lowest layer whose distance was computed, in that order.
        compared: Distances computed in all layers.
    """

    found: list[int] = field(default_factory=list)
    paths: list[list[int]] = field(default_factory=list)
    looked_at: list[int] = field(default_factory=list)
    compared: int = 0


class SmallGraph:
    """A graph over points, with Euclidean distance.

    Args:
        points: Shape (n, dim).
        M: Links that a new point makes, and at most keeps; twice as many in the lowest layer.
        ef_construction: Candidates while building.
        seed: Decides in which layers a point is.
    """

    def __init__(
        self,
        points: NDArray[np.float64],
        *,
        M: int,  # noqa: N803  # HNSW's own name
        ef_construction: int,
        seed: int,
    ) -> None:
        self.points = points
        self._m, self._ef_construction = M, ef_construction
        # Layer after layer, the lowest first: who is linked with whom.
        self.layers: list[dict[int, list[int]]] = []
        self.entry = 0
        dice = random.Random(seed)  # noqa: S311  # draws levels, keeps no secret
        for point in range(len(points)):
            # One point in M also lies in the layer above.
            self._insert(point, int(-math.log(1 - dice.random()) / math.log(M)))

    def search(self, target: NDArray[np.float64], *, k: int, ef: int) -> Walk:
        """Find about the k nearest points."""
        walk = Walk()
        best = self._from_above(target, 0, walk)
        candidates = self._search_layer(target, [best], max(ef, k), 0, walk)
        walk.found = [point for _, point in candidates[:k]]
        return walk

    def _insert(self, new: int, level: int) -> None:
        target, top = self.points[new], len(self.layers) - 1
        while len(self.layers) <= level:
            self.layers.append({})
        if top < 0:
            starts: list[int] = []
        else:
            starts = [self._from_above(target, level, Walk())]
        for number in range(level, -1, -1):
            layer = self.layers[number]
            layer[new] = []
            if number > top:
                continue
            candidates = self._search_layer(target, starts, self._ef_construction, number, Walk())
            layer[new] = self._choose(candidates, self._m)
            most = self._m if number else 2 * self._m
            for other in layer[new]:
                layer[other].append(new)
                if len(layer[other]) > most:
                    distances = self._distances(self.points[other], layer[other])
                    layer[other] = self._choose(
                        sorted(zip(distances, layer[other], strict=True)), most
                    )
            starts = [point for _, point in candidates]
        if level > top:
            self.entry = new

    def _from_above(self, target: NDArray[np.float64], level: int, walk: Walk) -> int:
        """Walk down to the layer above `level`, in each as near as single steps lead."""
        here = self.entry
        highest = max(number for number, layer in enumerate(self.layers) if here in layer)
        [distance] = self._distances(target, [here])
        walk.compared += 1
        for number in range(highest, level, -1):
            path, moved = [here], True
            while moved:
                moved = False
                neighbours = self.layers[number][here]
                walk.compared += len(neighbours)
                for near, other in sorted(
                    zip(self._distances(target, neighbours), neighbours, strict=True)
                )[:1]:
                    if near < distance:
                        distance, here, moved = near, other, True
                        path.append(here)
            walk.paths.append(path)
        return here

    def _search_layer(
        self, target: NDArray[np.float64], starts: list[int], ef: int, number: int, walk: Walk
    ) -> list[tuple[float, int]]:
        """Keep the `ef` nearest points seen, and look at the neighbours of each of them."""
        layer = self.layers[number]
        starts = [start for start in starts if start in layer]
        seen = set(starts)
        waiting = sorted(zip(self._distances(target, starts), starts, strict=True))
        best = [(-distance, point) for distance, point in waiting[:ef]]
        heapq.heapify(best)
        path: list[int] = []
        if number == 0:
            walk.looked_at.extend(starts)
        while waiting:
            distance, here = heapq.heappop(waiting)
            if len(best) >= ef and distance > -best[0][0]:
                break
            path.append(here)
            fresh = [other for other in layer[here] if other not in seen]
            seen.update(fresh)
            walk.compared += len(fresh)
            if number == 0:
                walk.looked_at.extend(fresh)
            for near, other in zip(self._distances(target, fresh), fresh, strict=True):
                if len(best) < ef or near < -best[0][0]:
                    heapq.heappush(waiting, (near, other))
                    heapq.heappush(best, (-near, other))
                    if len(best) > ef:
                        heapq.heappop(best)
        walk.paths.append(path)
        return sorted((-distance, point) for distance, point in best)

    def _choose(self, candidates: list[tuple[float, int]], most: int) -> list[int]:
        """Take the near ones, but none that is nearer to one already taken: links go all around."""
        chosen: list[int] = []
        for distance, point in candidates:
            if len(chosen) == most:
                break
            if not chosen or min(self._distances(self.points[point], chosen)) > distance:
                chosen.append(point)
        return chosen

    def _distances(self, target: NDArray[np.float64], others: list[int]) -> list[float]:
        if not others:
            return []
        return np.linalg.norm(self.points[others] - target, axis=1).tolist()
