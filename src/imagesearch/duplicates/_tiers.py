"""The three tiers of a duplicate: equal bytes, a near perceptual hash, a near vector."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imagesearch.duplicates._hash import bit_distance, dhash, pack, phash
from imagesearch.errors import QueryError
from imagesearch.filters import Filter
from imagesearch.protocols import VectorStore
from imagesearch.types import Hit, IndexMeta
from imagesearch.vectors import normalise, scores

__all__ = [
    "BITS",
    "SHRINK_TO",
    "Look",
    "Looks",
    "Overview",
    "check_comparable",
    "close_ids",
    "copy_threshold",
    "ids_by_digest",
    "look_at",
    "look_distance",
    "nearest_hits",
    "overview",
    "sampled_threshold",
    "strong_hits",
]


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


BITS = 512
"""Bits that two looks are compared by."""

SHRINK_TO = 256
"""Pixels of the shorter side below which an image must not be shrunk before it is looked at."""

_SIDE = 128
_SIZE = 16
_CELLS = 4
_LOOK = np.dtype([("key", "u8"), ("bits", "u8", BITS // 64), ("colours", "u1", 2 * _CELLS**2)])

# Bytes enough that no two looks share one by chance.
_DIGEST = 16

# Largest difference of Cb or Cr in a cell. Of 150 ImageNet photos, copies that were re-encoded,
# resized, cropped by 5 %, watermarked or made 1.2 times as bright stay below 20; turning the hue
# by 60° brings half of them above, and the rest have hardly any colour.
_TINT = 20

# Standard deviation of grey levels (of 255) below which the hashes see only noise; photos have 10
# and more.
_PLAIN = 4.0

Look = NDArray[Any]
"""A structured scalar or array: ``key``, ``bits`` and ``colours``."""


def look_at(image: Image.Image) -> tuple[Look, Look] | None:
    """Return the look of an RGB image and of its mirror image, or None for a plain surface.

    Example:
        >>> look_at(Image.new("RGB", (64, 64), "teal")) is None
        True
        >>> picture = Image.radial_gradient("L").convert("RGB")
        >>> upright, mirrored = look_at(picture)
        >>> int(look_distance(upright, upright))
        0
    """
    grey = image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    if float(np.asarray(grey, np.float64).std()) < _PLAIN:
        return None
    cells = image.resize((_CELLS, _CELLS), Image.Resampling.BOX).convert("YCbCr")
    colours = np.asarray(cells)[..., 1:]
    mirrored = grey.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return _look(grey, colours), _look(mirrored, colours[:, ::-1])


def look_distance(one: Look, other: Look) -> NDArray[np.int64]:
    """Return in how many of 512 bits looks differ; all of them where the colours are others.

    Looks of unrelated pictures differ in about 256 bits.

    Args:
        one: A look, or an array of them.
        other: Of a shape that goes with it.
    """
    distance = bit_distance(one["bits"], other["bits"])
    tint = np.abs(one["colours"].astype(np.int16) - other["colours"]).max(axis=-1)
    return np.where(tint > _TINT, BITS, distance)


class Looks:
    """The looks of many pictures, row by row; about 300 bytes for each, its id included.

    All are added before the first is asked for.

    Example:
        >>> looks = Looks()
        >>> looks.add("a", look_at(Image.radial_gradient("L").convert("RGB")))
        >>> looks.ids, len(looks.upright)
        (['a'], 1)
    """

    def __init__(self) -> None:
        self.ids: list[str] = []
        self._upright, self._mirrored, self._digests = bytearray(), bytearray(), bytearray()

    def add(self, id: str, look: tuple[Look, Look]) -> None:
        """Add one picture."""
        self.ids.append(id)
        upright, mirrored = look[0].tobytes(), look[1].tobytes()
        self._upright += upright
        self._mirrored += mirrored
        self._digests += hashlib.blake2b(upright + mirrored, digest_size=_DIGEST).digest()

    @property
    def upright(self) -> Look:
        """The looks, in the order in which they were added."""
        return np.frombuffer(self._upright, _LOOK)

    @property
    def mirrored(self) -> Look:
        """The looks of the mirror images."""
        return np.frombuffer(self._mirrored, _LOOK)

    def stand_ins(self) -> NDArray[np.int64]:
        """Return for each row that of the first id among those that look exactly the same.

        Example:
            >>> looks, look = Looks(), look_at(Image.radial_gradient("L").convert("RGB"))
            >>> for id in "bac":
            ...     looks.add(id, look)
            >>> looks.stand_ins().tolist()
            [1, 1, 1]
        """
        by_id = np.array(sorted(range(len(self.ids)), key=self.ids.__getitem__), np.int64)
        digests = np.frombuffer(self._digests, f"V{_DIGEST}")
        _, first, which = np.unique(digests[by_id], return_index=True, return_inverse=True)
        stand_ins = np.empty_like(by_id)
        stand_ins[by_id] = by_id[first[which]]
        return stand_ins


def _look(grey: Image.Image, colours: NDArray[np.uint8]) -> Look:
    look = np.zeros((), _LOOK)
    look["key"] = pack(phash(grey))[0]
    look["bits"] = np.concatenate([pack(phash(grey, _SIZE)), pack(dhash(grey, _SIZE))])
    look["colours"] = colours.ravel()
    return look


# The share of the distance between unrelated pictures below which two are called copies; see
# docs/duplicates.md for what it was measured on.
_SHARE = 0.08

# A projection spreads unrelated pictures, and draws pictures of one scene together.
_PROJECTED_SHARE = 0.03

# Below this many records their mean says little about unrelated pictures.
_FEW = 50
_FEW_THRESHOLD = 0.97

# Of 300 photos, the changed copies of all kinds in docs/duplicates.md find their original among the
# first few hits.
_NEAREST = 20

# Every store gives as many.
_MOST_NEAREST = 10_240

_FIRST_K = 16
_GROWTH = 8
_MAX_K = 1024
_HITS_AT_ONCE = 32_768

# Stores may keep vectors in less precision; what is found is scored again from the vectors.
_SLACK = 1e-3

# From here on two vectors are taken for one, within the precision of float32 sums.
_SAME = 1 - 1e-6


def check_comparable(meta: IndexMeta) -> None:
    """Refuse a metric whose score does not say how close two pictures are.

    Raises:
        QueryError: The metric is ``dot`` and vectors have any length.
    """
    if meta.metric == "dot" and not meta.embedding.normalised:
        raise QueryError(
            "under the metric 'dot' with vectors that are not normalised, a picture need not be "
            "closest to itself, so scores cannot tell copies: use tiers=('exact', 'near')"
        )


def copy_threshold(vectors: NDArray[np.float32], meta: IndexMeta) -> float:
    """Return the score from which on two pictures count as copies of each other.

    What a score means depends on the embedder and on the pictures: unrelated photos may have a
    cosine of 0.3 under one and 0.8 under another. So the threshold is where the distance
    (1 - score) is 8 % of the mean distance in the index itself, or 3 % in a projected index.

    Args:
        vectors: (n, dim), a sample of the index; with fewer than 50 the threshold is at least 0.97.
        meta: What they are.

    Example:
        >>> from imagesearch.types import EmbeddingSpec
        >>> meta = IndexMeta(EmbeddingSpec("mine", 64, True, "v1"))
        >>> round(copy_threshold(np.eye(64, dtype=np.float32), meta), 3)
        0.92
    """
    count = len(vectors)
    if meta.metric == "cosine":
        vectors = normalise(vectors)
    if count < 2:
        return _FEW_THRESHOLD
    table = scores(vectors, vectors, meta.metric).astype(np.float64)
    mean = (table.sum() - np.trace(table)) / (count * (count - 1))
    share = _SHARE if meta.projection is None else _PROJECTED_SHARE
    threshold = float(1.0 - share * (1.0 - mean))
    return max(threshold, _FEW_THRESHOLD) if count < _FEW else threshold


def sampled_threshold(store: VectorStore, ids: Sequence[str], meta: IndexMeta) -> float:
    """Return `copy_threshold` of some records; those that are gone by now do not count.

    Args:
        store: Open.
        ids: The sample.
        meta: What the store was opened with.
    """
    records = store.get(ids, vectors=True)
    vectors = [record.vector for record in records.values() if record.vector is not None]
    empty = np.empty((0, meta.dim), np.float32)
    return copy_threshold(np.stack(vectors) if vectors else empty, meta)


def close_ids(
    store: VectorStore,
    meta: IndexMeta,
    *,
    threshold: float,
    where: Filter | None,
    skip: set[str],
    batch_size: int,
) -> Iterator[tuple[int, list[tuple[str, str]]]]:
    """Search the store for every one of its records, batch by batch; for equal vectors once.

    Args:
        store: An open store.
        meta: What it was opened with.
        threshold: Score from which on a hit counts, at most 1.
        where: Only records that match, on both sides.
        skip: Ids that need no search of their own; those with the vector of one that was searched
            are added.
        batch_size: Queries in one search, ≥ 1.

    Yields:
        For each batch how many records it had, and the pairs of different ids that are close.
    """
    # Vectors that more records share than one search lists, each with the id of one of them.
    crowds, crowded = np.empty((0, meta.dim), np.float32), list[str]()
    for batch in store.scan(where=where, batch_size=batch_size, vectors=True):
        pairs: list[tuple[str, str]] = []
        rows = [row for row, id in enumerate(batch.ids) if id not in skip]
        if rows and batch.vectors is not None:
            vectors = batch.vectors[rows]
            ids = [*crowded, *(batch.ids[row] for row in rows)]
            stand_ins = _stand_ins(np.concatenate([crowds, vectors]), len(crowds), meta)
            pairs += [
                (ids[one], id) for id, one in zip(ids, stand_ins, strict=True) if ids[one] != id
            ]
            alone = [row for row in range(len(crowds), len(ids)) if stand_ins[row] == row]
            asked = vectors[np.array(alone, np.int64) - len(crowds)]
            found = strong_hits(store, asked, threshold - _SLACK, where=where)
            for row, vector, hits in zip(alone, asked, found, strict=True):
                pairs += [(ids[row], id) for id, _ in hits if id != ids[row]]
                skip.update(id for id, score in hits if score >= _SAME)
                if len(hits) == _MAX_K and hits[-1][1] >= _SAME:
                    crowds = np.concatenate([crowds, vector[None]])
                    crowded.append(ids[row])
        yield len(batch), pairs


def _stand_ins(vectors: NDArray[np.float32], known: int, meta: IndexMeta) -> list[int]:
    """Return for each row the first that has the same vector, or itself; the known ones stay."""
    if meta.metric == "cosine":
        vectors = normalise(vectors)
    rows = np.arange(len(vectors))
    same = scores(vectors[known:], vectors, meta.metric) >= _SAME
    same[rows[known:] - known, rows[known:]] = True
    first = np.concatenate([rows[:known], same.argmax(axis=1)])
    # What is the same as a row that gives way to another need not be the same as that.
    stand_ins: list[int] = np.where(first[first] == first, first, rows).tolist()
    return stand_ins


def strong_hits(
    store: VectorStore,
    vectors: NDArray[np.float32],
    threshold: float,
    *,
    where: Filter | None,
) -> list[list[tuple[str, float]]]:
    """Return for each query id and score of all hits of at least `threshold`, at most 1024.

    A few hits are asked for first, and more only where even the last of them was strong.
    """
    found: list[list[tuple[str, float]]] = [[] for _ in vectors]
    rows = list(range(len(vectors)))
    k = _FIRST_K
    while rows:
        more = []
        for some in _pieces(rows, max(1, _HITS_AT_ONCE // k)):
            for row, hits in zip(some, store.search(vectors[some], k=k, where=where), strict=True):
                found[row] = [(hit.id, hit.score) for hit in hits if hit.score >= threshold]
                if len(found[row]) == k:
                    more.append(row)
        rows, k = (more, min(k * _GROWTH, _MAX_K)) if k < _MAX_K else ([], k)
    return found


def _pieces(rows: Sequence[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(rows), size):
        yield list(rows[start : start + size])


def nearest_hits(
    store: VectorStore,
    vector: NDArray[np.float32],
    meta: IndexMeta,
    *,
    where: Filter | None,
) -> Iterator[list[Hit]]:
    """Yield the 20 nearest records, then more while they may include one with that very vector.

    Any number of records may share a vector, and under ``dot`` others may score higher.

    Args:
        store: Open.
        vector: The query, (dim,); of unit length under ``cosine``.
        meta: What the store was opened with.
        where: Only records that match.

    Yields:
        Hits in growing numbers, best first; 10,240 at most.
    """
    squared = float(vector @ vector)
    own = float(scores(vector[None], vector[None], meta.metric)[0, 0])
    k = _NEAREST
    while True:
        [hits] = store.search(vector[None], k=k, where=where)
        yield hits
        tied = len(hits) == k and hits[-1].score >= own - _SLACK * max(1.0, squared)
        if not tied or k >= _MOST_NEAREST:
            return
        k = min(k * _GROWTH, _MOST_NEAREST)
