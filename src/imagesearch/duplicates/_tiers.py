"""The three tiers: exact (digests), near (perceptual hashes) and semantic (embeddings)."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imagesearch._validation import batched
from imagesearch.duplicates._hash import dhash, hamming, near_pairs, pack, phash
from imagesearch.errors import QueryError
from imagesearch.filters import Filter
from imagesearch.protocols import VectorStore
from imagesearch.types import Hit, IndexMeta
from imagesearch.vectors import normalise, scores

__all__ = [
    "BITS",
    "SHRINK_TO",
    "HashTable",
    "ImageHash",
    "Overview",
    "check_comparable",
    "copy_threshold",
    "hash_distance",
    "ids_by_digest",
    "near_rows",
    "nearest_hits",
    "overview",
    "perceptual_hash",
    "sampled_threshold",
    "semantic_pairs",
]


_SAMPLE = 512


class Overview:
    """What one scan without vectors collects.

    Attributes:
        images: Number of records.
        digests: The first 64 bits of every digest, hashed and sorted.
        sample: Ids of at most 512 records, chosen by a hash of the id, so that the sample does not
            depend on the order of the records.
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
    """Scan the records that match `where` once."""
    digests: list[NDArray[np.uint64]] = []
    sample: list[tuple[int, str]] = []
    images = 0
    for batch in store.scan(where=where):
        images += len(batch)
        digests.append(_digest_keys([digest for digest in batch.digests if digest]))
        for id in batch.ids:
            rank = -_hash64(id)
            if len(sample) < _SAMPLE:
                heapq.heappush(sample, (rank, id))
            elif rank > sample[0][0]:
                heapq.heapreplace(sample, (rank, id))
    keys = np.concatenate(digests) if digests else np.empty(0, np.uint64)
    keys.sort()
    return Overview(images, keys, sorted(id for _, id in sample))


def ids_by_digest(
    store: VectorStore, where: Filter | None, keys: NDArray[np.uint64]
) -> dict[str, list[str]]:
    """Return the sorted ids of the records whose digest has one of the keys, by digest."""
    ids: dict[str, list[str]] = {}
    if len(keys):
        for batch in store.scan(where=where):
            rows = [row for row, digest in enumerate(batch.digests) if digest]
            matching = np.isin(_digest_keys([batch.digests[row] for row in rows]), keys)
            for row in np.array(rows, np.int64)[matching]:
                ids.setdefault(batch.digests[row], []).append(batch.ids[row])
    return {digest: sorted(ids[digest]) for digest in sorted(ids)}


def _digest_keys(digests: list[str]) -> NDArray[np.uint64]:
    """Return 64 bits for each digest, which may be any text."""
    return np.array([_hash64(digest) for digest in digests], np.uint64)


def _hash64(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())


BITS = 512
"""Bits of a perceptual hash: 256 of `phash` and 256 of `dhash`."""

SHRINK_TO = 256
"""Pixels of the shorter side below which an image must not be shrunk before it is hashed."""

_SIDE = 128
_SIZE = 16
_CELLS = 4
_HASH = np.dtype([("key", "u8"), ("bits", "u8", BITS // 64), ("colours", "u1", 2 * _CELLS**2)])

# Enough bytes that two different hashes do not share a digest by chance.
_DIGEST = 16

# Largest difference of Cb or Cr in a cell. Of 150 ImageNet photos, copies that were re-encoded,
# resized, cropped by 5 %, watermarked or made 1.2 times as bright stay below 20; turning the hue
# by 60° brings half of them above, and the rest have hardly any colour.
_TINT = 20

# Standard deviation of grey levels (of 255) below which the hashes encode only noise; photos have
# 10 and more.
_PLAIN = 4.0

ImageHash = NDArray[Any]
"""A structured scalar or array with the fields ``key``, ``bits`` and ``colours``."""


def perceptual_hash(image: Image.Image) -> tuple[ImageHash, ImageHash] | None:
    """Return the hash of an RGB image and of its mirror image, or None for a plain surface.

    Example:
        >>> perceptual_hash(Image.new("RGB", (64, 64), "teal")) is None
        True
        >>> image = Image.radial_gradient("L").convert("RGB")
        >>> upright, mirrored = perceptual_hash(image)
        >>> int(hash_distance(upright, upright))
        0
    """
    grey = image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    if float(np.asarray(grey, np.float64).std()) < _PLAIN:
        return None
    cells = image.resize((_CELLS, _CELLS), Image.Resampling.BOX).convert("YCbCr")
    colours = np.asarray(cells)[..., 1:]
    mirrored = grey.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return _hash(grey, colours), _hash(mirrored, colours[:, ::-1])


def _hash(grey: Image.Image, colours: NDArray[np.uint8]) -> ImageHash:
    hashed = np.zeros((), _HASH)
    hashed["key"] = pack(phash(grey))[0]
    hashed["bits"] = np.concatenate([pack(phash(grey, _SIZE)), pack(dhash(grey, _SIZE))])
    hashed["colours"] = colours.ravel()
    return hashed


def hash_distance(a: ImageHash, b: ImageHash) -> NDArray[np.int64]:
    """Return the number of bits of 512 in which hashes differ; 512 if their colours differ.

    Hashes of unrelated images differ in about 256 bits.

    Args:
        a: A hash, or an array of hashes.
        b: Hashes of a shape that broadcasts with it.
    """
    distance = hamming(a["bits"], b["bits"])
    tint = np.abs(a["colours"].astype(np.int16) - b["colours"]).max(axis=-1)
    return np.where(tint > _TINT, BITS, distance)


def near_rows(
    queries: ImageHash, table: ImageHash, max_bits: int
) -> Iterator[tuple[list[int], list[int]]]:
    """Yield the rows of hashes that differ in at most `max_bits` bits, in blocks.

    Candidates are those whose 64-bit keys differ in at most 11 bits.
    """
    for rows, others in near_pairs(queries["key"].copy(), table["key"].copy()):
        near = hash_distance(queries[rows], table[others]) <= max_bits
        if near.any():
            yield rows[near].tolist(), others[near].tolist()


class HashTable:
    """The perceptual hashes of many images, row by row; about 300 bytes each, with the id.

    Add all images before reading the arrays.

    Example:
        >>> table = HashTable()
        >>> table.add("a", perceptual_hash(Image.radial_gradient("L").convert("RGB")))
        >>> table.ids, len(table.upright)
        (['a'], 1)
    """

    def __init__(self) -> None:
        self.ids: list[str] = []
        self._upright, self._mirrored, self._digests = bytearray(), bytearray(), bytearray()

    def add(self, id: str, hashes: tuple[ImageHash, ImageHash]) -> None:
        """Add the hashes of one image."""
        self.ids.append(id)
        upright, mirrored = hashes[0].tobytes(), hashes[1].tobytes()
        self._upright += upright
        self._mirrored += mirrored
        self._digests += hashlib.blake2b(upright + mirrored, digest_size=_DIGEST).digest()

    @property
    def upright(self) -> ImageHash:
        """The hashes, in the order in which they were added."""
        return np.frombuffer(self._upright, _HASH)

    @property
    def mirrored(self) -> ImageHash:
        """The hashes of the mirror images."""
        return np.frombuffer(self._mirrored, _HASH)

    def representatives(self) -> NDArray[np.int64]:
        """Return for each row the row of the first id with exactly the same hashes.

        Example:
            >>> table, image = HashTable(), Image.radial_gradient("L").convert("RGB")
            >>> for id in "bac":
            ...     table.add(id, perceptual_hash(image))
            >>> table.representatives().tolist()
            [1, 1, 1]
        """
        by_id = np.array(sorted(range(len(self.ids)), key=self.ids.__getitem__), np.int64)
        digests = np.frombuffer(self._digests, f"V{_DIGEST}")
        _, first, inverse = np.unique(digests[by_id], return_index=True, return_inverse=True)
        representatives = np.empty_like(by_id)
        representatives[by_id] = by_id[first[inverse]]
        return representatives


# The share of the distance between unrelated images below which two images count as copies; see
# docs/duplicates.md for the measurement.
_SHARE = 0.08

# A projection spreads unrelated images, and draws images of one scene together.
_PROJECTED_SHARE = 0.03

# The mean of fewer records says little about unrelated images.
_FEW = 50
_FEW_THRESHOLD = 0.97

# Of 300 photos, the changed copies of all kinds in docs/duplicates.md find their original among the
# first few hits.
_NEAREST = 20

# Every store returns this many.
_MOST_NEAREST = 10_240

_FIRST_K = 16
_GROWTH = 8
_MAX_K = 1024
_HITS_AT_ONCE = 32_768

# Stores may keep vectors at lower precision; hits are scored again from the vectors.
_SLACK = 1e-3

# Vectors with at least this score count as equal, within the precision of float32 sums.
_SAME = 1 - 1e-6


def check_comparable(meta: IndexMeta) -> None:
    """Refuse a metric whose scores do not say how close two images are.

    Raises:
        QueryError: The metric is ``dot`` and the vectors are not normalised.
    """
    if meta.metric == "dot" and not meta.embedding.normalised:
        raise QueryError(
            "the semantic tier does not support the metric 'dot' with vectors that are not "
            "normalised, because an image may not be the closest to itself; "
            "use tiers=('exact', 'near')"
        )


def copy_threshold(vectors: NDArray[np.float32], meta: IndexMeta) -> float:
    """Return the score at and above which two images count as copies.

    What a score means depends on the embedder and on the images: unrelated photos may have a
    cosine of 0.3 under one and 0.8 under another. So the threshold is where the distance
    (1 - score) is 8 % of the mean distance in the index itself, or 3 % in a projected index.

    Args:
        vectors: (n, dim), a sample of the index; with fewer than 50 the threshold is at least 0.97.
        meta: The meta of the index.

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
    """Return `copy_threshold` of some records; ids that no longer exist are skipped."""
    records = store.get(ids, vectors=True)
    vectors = [record.vector for record in records.values() if record.vector is not None]
    empty = np.empty((0, meta.dim), np.float32)
    return copy_threshold(np.stack(vectors) if vectors else empty, meta)


def semantic_pairs(
    store: VectorStore,
    meta: IndexMeta,
    *,
    threshold: float,
    where: Filter | None,
    skip: set[str],
    batch_size: int,
) -> Iterator[tuple[int, list[tuple[str, str]]]]:
    """Search the store for each of its records, batch by batch; for equal vectors only once.

    Args:
        store: An open store.
        meta: The meta that the store was opened with.
        threshold: The lowest score of a copy, at most 1.
        where: Only records that match, on both sides.
        skip: Ids that need no search of their own; ids whose vector equals one that was searched
            for are added.
        batch_size: Queries in one search, ≥ 1.

    Yields:
        For each batch the number of its records, and the pairs of different ids that are close.
    """
    # Vectors shared by more records than one search returns, each with the id of one of them.
    crowds, crowded = np.empty((0, meta.dim), np.float32), list[str]()
    for batch in store.scan(where=where, batch_size=batch_size, vectors=True):
        pairs: list[tuple[str, str]] = []
        rows = [row for row, id in enumerate(batch.ids) if id not in skip]
        if rows and batch.vectors is not None:
            vectors = batch.vectors[rows]
            ids = [*crowded, *(batch.ids[row] for row in rows)]
            first = _first_equal(np.concatenate([crowds, vectors]), len(crowds), meta)
            pairs += [(ids[row], id) for id, row in zip(ids, first, strict=True) if ids[row] != id]
            distinct = [row for row in range(len(crowds), len(ids)) if first[row] == row]
            queries = vectors[np.array(distinct, np.int64) - len(crowds)]
            answers = _strong_hits(store, queries, threshold - _SLACK, where=where)
            for row, vector, hits in zip(distinct, queries, answers, strict=True):
                pairs += [(ids[row], id) for id, _ in hits if id != ids[row]]
                skip.update(id for id, score in hits if score >= _SAME)
                if len(hits) == _MAX_K and hits[-1][1] >= _SAME:
                    crowds = np.concatenate([crowds, vector[None]])
                    crowded.append(ids[row])
        yield len(batch), pairs


def _first_equal(vectors: NDArray[np.float32], fixed: int, meta: IndexMeta) -> list[int]:
    """Return for each row the first row with an equal vector; the first `fixed` rows keep theirs."""
    if meta.metric == "cosine":
        vectors = normalise(vectors)
    rows = np.arange(len(vectors))
    same = scores(vectors[fixed:], vectors, meta.metric) >= _SAME
    same[rows[fixed:] - fixed, rows[fixed:]] = True
    first = np.concatenate([rows[:fixed], same.argmax(axis=1)])
    # Equality within a tolerance is not transitive, so only rows that represent themselves do so
    # for others.
    representatives: list[int] = np.where(first[first] == first, first, rows).tolist()
    return representatives


def _strong_hits(
    store: VectorStore,
    vectors: NDArray[np.float32],
    threshold: float,
    *,
    where: Filter | None,
) -> list[list[tuple[str, float]]]:
    """Return id and score of all hits of at least `threshold` for each query, at most 1024.

    The search begins with a few hits, and asks for more only where even the last one was strong.
    """
    strong: list[list[tuple[str, float]]] = [[] for _ in vectors]
    rows = list(range(len(vectors)))
    k = _FIRST_K
    while rows:
        full = []
        for block in batched(rows, max(1, _HITS_AT_ONCE // k)):
            answers = store.search(vectors[block], k=k, where=where)
            for row, hits in zip(block, answers, strict=True):
                strong[row] = [(hit.id, hit.score) for hit in hits if hit.score >= threshold]
                if len(strong[row]) == k:
                    full.append(row)
        rows, k = (full, min(k * _GROWTH, _MAX_K)) if k < _MAX_K else ([], k)
    return strong


def nearest_hits(
    store: VectorStore,
    vector: NDArray[np.float32],
    meta: IndexMeta,
    *,
    where: Filter | None,
) -> Iterator[list[Hit]]:
    """Yield the 20 nearest records, then more while they may include one with an equal vector.

    Any number of records may share a vector, and with ``dot`` others may score higher.

    Args:
        store: An open store.
        vector: The query, (dim,); of unit length for ``cosine``.
        meta: The meta that the store was opened with.
        where: Only records that match.

    Yields:
        Growing lists of hits, best first; at most 10,240.
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
