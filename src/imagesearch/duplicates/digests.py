"""Digests: records with the same bytes, found in two scans with eight bytes a record in between."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from imagesearch.filters import Filter
from imagesearch.protocols import VectorStore

__all__ = ["Overview", "ids_by_digest", "overview"]

_SAMPLE = 512


class Overview:
    """What one scan without vectors tells about an index.

    Attributes:
        images: How many records there are.
        digests: The first 64 bits of every digest that is known, sorted.
        sample: Ids of at most 512 records, drawn by a hash of the id: the same whatever the order.
    """

    __slots__ = ("digests", "images", "sample")

    def __init__(self, images: int, digests: NDArray[np.uint64], sample: list[str]) -> None:
        self.images = images
        self.digests = digests
        self.sample = sample

    @property
    def repeated(self) -> NDArray[np.uint64]:
        """The digests that occur more than once."""
        same = self.digests[1:] == self.digests[:-1]
        return np.unique(self.digests[1:][same])


def overview(store: VectorStore, where: Filter | None) -> Overview:
    """Scan an index once."""
    digests: list[NDArray[np.uint64]] = []
    drawn: list[tuple[int, str]] = []
    images = 0
    for batch in store.scan(where=where):
        images += len(batch)
        digests.append(_short([digest for digest in batch.digests if digest]))
        for id in batch.ids:
            lot = -int.from_bytes(hashlib.blake2b(id.encode(), digest_size=8).digest())
            if len(drawn) < _SAMPLE:
                heapq.heappush(drawn, (lot, id))
            elif lot > drawn[0][0]:
                heapq.heapreplace(drawn, (lot, id))
    known = np.concatenate(digests) if digests else np.empty(0, np.uint64)
    known.sort()
    return Overview(images, known, sorted(id for _, id in drawn))


def ids_by_digest(
    store: VectorStore, where: Filter | None, wanted: NDArray[np.uint64]
) -> dict[str, list[str]]:
    """Return the ids, sorted, of the records whose digest begins with one of the wanted 64 bits."""
    found: dict[str, list[str]] = {}
    for digest, id in _matching(store, where, wanted) if len(wanted) else ():
        found.setdefault(digest, []).append(id)
    return {digest: sorted(found[digest]) for digest in sorted(found)}


def _matching(
    store: VectorStore, where: Filter | None, wanted: NDArray[np.uint64]
) -> Iterator[tuple[str, str]]:
    for batch in store.scan(where=where):
        known = [row for row, digest in enumerate(batch.digests) if digest]
        hit = np.isin(_short([batch.digests[row] for row in known]), wanted)
        for row in np.array(known, np.int64)[hit]:
            yield batch.digests[row], batch.ids[row]


def _short(digests: list[str]) -> NDArray[np.uint64]:
    """Return 64 bits of each digest, whatever text it is."""
    return np.array(
        [
            int.from_bytes(hashlib.blake2b(digest.encode(), digest_size=8).digest())
            for digest in digests
        ],
        np.uint64,
    )
