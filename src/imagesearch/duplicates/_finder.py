"""Find duplicates within an index: candidate pairs of all tiers, then groups around keepers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imagesearch._cpus import available_cpus
from imagesearch.duplicates._tiers import (
    BITS,
    SHRINK_TO,
    HashTable,
    ImageHash,
    check_comparable,
    hash_distance,
    ids_by_digest,
    near_rows,
    overview,
    perceptual_hash,
    sampled_threshold,
    semantic_pairs,
)
from imagesearch.duplicates.report import (
    DuplicateGroup,
    DuplicateImage,
    DuplicateReport,
    Match,
    Rules,
)
from imagesearch.errors import ImageSearchError, SourceError
from imagesearch.filters import Filter
from imagesearch.protocols import VectorStore
from imagesearch.sources import Payload, describe, read
from imagesearch.types import Failure, IndexMeta, Item, Metric, Record
from imagesearch.vectors import normalise, scores

__all__ = ["DuplicateFinder", "Keepers", "UnionFind", "hash_payload", "hashed", "measured"]


_Result = TypeVar("_Result")

_IN_MEMORY = "sha256:"
_GET = 1000


def hashed(
    records: Iterable[Record],
) -> Iterator[tuple[Record, tuple[ImageHash, ImageHash] | Failure | None]]:
    """Open the images of records and hash them, in order.

    Yields:
        Each record with its hashes, None for a plain surface, or a failure if its image cannot be
        opened.
    """
    return _read_ahead(records, lambda record: hash_payload(_read(record)))


def hash_payload(payload: Payload) -> tuple[ImageHash, ImageHash] | None:
    """Return the hashes of an image and of its mirror image, or None for a plain surface.

    Raises:
        SourceError: The image cannot be decoded.
    """
    return perceptual_hash(payload.open(shrink_to=SHRINK_TO))


def measured(records: Iterable[Record], *, unread: dict[str, Failure]) -> dict[str, DuplicateImage]:
    """Open the images of records to learn their sizes; failures are added to `unread`."""
    images: dict[str, DuplicateImage] = {}
    for record, image in _read_ahead(records, _measure):
        if isinstance(image, Failure):
            unread.setdefault(record.id, image)
            images[record.id] = DuplicateImage(record.id, record.uri)
        else:
            images[record.id] = image
    return images


def _measure(record: Record) -> DuplicateImage:
    payload = _read(record)
    width, height = payload.open().size
    return DuplicateImage(record.id, record.uri, width, height, payload.held_bytes)


def _read(record: Record) -> Payload:
    if record.uri.startswith(_IN_MEMORY):
        raise SourceError(
            f"{record.id}: the image was added from memory, so it cannot be opened again; add it "
            "from a file or URL, or give it a uri"
        )
    payload = read(Item(record.uri))
    if record.digest and payload.digest != record.digest:
        raise SourceError(
            f"{describe(record.uri)} has changed since it was indexed; add it again, then find "
            "duplicates again"
        )
    return payload


def _read_ahead(
    records: Iterable[Record], work: Callable[[Record], _Result]
) -> Iterator[tuple[Record, _Result | Failure]]:
    def attempt(record: Record) -> _Result | Failure:
        try:
            return work(record)
        except ImageSearchError as error:
            return Failure(describe(record.uri), error, record.id)

    workers = available_cpus() + 2
    pending: deque[tuple[Record, Future[_Result | Failure]]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="imagesearch-duplicates") as pool:
        try:
            for record in records:
                pending.append((record, pool.submit(attempt, record)))
                if len(pending) >= 2 * workers:
                    first, future = pending.popleft()
                    yield first, future.result()
            while pending:
                first, future = pending.popleft()
                yield first, future.result()
        finally:
            for _, future in pending:
                future.cancel()


class UnionFind:
    """Disjoint sets of ids; only ids that were joined to another are stored.

    The groups do not depend on the order of the pairs.

    Example:
        >>> union = UnionFind()
        >>> for pair in (("c", "b"), ("x", "y"), ("a", "b")):
        ...     union.join(*pair)
        >>> union.groups()
        [['a', 'b', 'c'], ['x', 'y']]
    """

    def __init__(self) -> None:
        self._parents: dict[str, str] = {}

    def join(self, a: str, b: str) -> None:
        """Merge the groups of two ids."""
        first, second = sorted((self._root(a), self._root(b)))
        self._parents[second] = first

    def groups(self) -> list[list[str]]:
        """Return the groups of at least two ids, each sorted, in the order of their first ids."""
        groups: dict[str, list[str]] = {}
        for id in sorted(self._parents):
            groups.setdefault(self._root(id), []).append(id)
        return [group for group in groups.values() if len(group) > 1]

    def _root(self, id: str) -> str:
        root = id
        while (parent := self._parents.setdefault(root, root)) != root:
            root = parent
        while id != root:
            self._parents[id], id = root, self._parents[id]
        return root


@dataclass(frozen=True, slots=True)
class Keepers:
    """Splits a connected component into groups around the images to keep.

    If B matches A and C, but C does not match A, then deleting B and C because A stays would lose
    C. So the best image is kept with those that match it directly; the best of the rest is kept
    with those that match it, and so on. An image that matches no keeper is not a duplicate once
    the copies are deleted.

    Attributes:
        rules: What counts as a copy; with a threshold if the tier ``semantic`` is used.
        metric: The metric of the index.
        table: The perceptual hashes.
        row_of: The row of each id in `table`, for ids that have one.
    """

    rules: Rules
    metric: Metric
    table: HashTable
    row_of: Mapping[str, int]

    def groups(
        self, records: Sequence[Record], images: Mapping[str, DuplicateImage]
    ) -> Iterator[DuplicateGroup]:
        """Yield the groups among the records of one component.

        Args:
            records: The records, with vectors if the tier ``semantic`` is used.
            images: The measured image of each record.
        """
        left = sorted(records, key=lambda record: images[record.id].preference)
        vectors = self._vectors(left)
        while len(left) > 1:
            matches = self._matches(left, vectors, images)
            copies = sorted(
                (match for match in matches if match is not None), key=lambda match: match.strength
            )
            if copies:
                yield DuplicateGroup(images[left[0].id], tuple(copies))
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
        images: Mapping[str, DuplicateImage],
    ) -> list[Match | None]:
        """Match every record but the first with the first."""
        keeper, others = records[0], records[1:]
        upright, mirrored = self._distances(keeper, others)
        close = scores(vectors[:1], vectors[1:], self.metric)[0] if vectors is not None else None
        matches: list[Match | None] = []
        for row, record in enumerate(others):
            image = images[record.id]
            bits = min(upright[row], mirrored[row])
            if "exact" in self.rules.tiers and record.digest and record.digest == keeper.digest:
                matches.append(Match(image, "exact", 1.0))
            elif bits <= self.rules.near_bits:
                score = 1 - int(bits) / BITS
                matches.append(Match(image, "near", score, bool(mirrored[row] < upright[row])))
            elif close is not None and close[row] >= (self.rules.threshold or 0.0):
                matches.append(Match(image, "semantic", float(close[row])))
            else:
                matches.append(None)
        return matches

    def _distances(
        self, keeper: Record, others: Sequence[Record]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the distances of the hashes, upright and with one of the two mirrored."""
        apart = np.full(len(others), BITS, np.int64)
        own = self.row_of.get(keeper.id)
        rows = [row for row, record in enumerate(others) if record.id in self.row_of]
        if own is None or not rows:
            return apart, apart
        theirs = [self.row_of[others[row].id] for row in rows]
        hashes, flipped = self.table.upright, self.table.mirrored
        upright, mirrored = apart, apart.copy()
        upright[rows] = hash_distance(hashes[own], hashes[theirs])
        if self.rules.mirrored:
            mirrored[rows] = np.minimum(
                hash_distance(flipped[own], hashes[theirs]),
                hash_distance(hashes[own], flipped[theirs]),
            )
        return upright, mirrored


@dataclass(slots=True)
class DuplicateFinder:
    """Finds the duplicates within one index.

    Memory at any time: one batch, the groups, eight bytes for every record, and for the tier
    ``near`` about 300 bytes for every image.

    Attributes:
        store: An open store.
        meta: The meta that the store was opened with.
        rules: What counts as a copy.
        where: Only records that match.
        batch_size: Queries in one search of the store, ≥ 1.
        advance: Called with the number of records that a tier has processed.
        load: Opens the image at a URI for the report's thumbnails, or returns None.

    Example:
        >>> from imagesearch.stores.memory import MemoryStore
        >>> from imagesearch.types import EmbeddingSpec
        >>> store, meta = MemoryStore(), IndexMeta(EmbeddingSpec("mine", 2, True, "v1"))
        >>> store.open(meta)
        >>> print(DuplicateFinder(store, meta, Rules.of()).run())
        no duplicates among 0 images
    """

    store: VectorStore
    meta: IndexMeta
    rules: Rules
    where: Filter | None = None
    batch_size: int = 256
    advance: Callable[[int], None] = lambda _: None
    load: Callable[[str], Image.Image | None] | None = None
    _unread: dict[str, Failure] = field(default_factory=dict)
    _union: UnionFind = field(default_factory=UnionFind)

    def run(self) -> DuplicateReport:
        """Find the duplicates.

        Raises:
            QueryError: The tier ``semantic`` does not support the metric of the index.
            StoreError: The store failed.
        """
        tiers = self.rules.tiers
        if "semantic" in tiers:
            check_comparable(self.meta)
        scanned = overview(self.store, self.where)
        same: dict[str, list[str]] = {}
        if "exact" in tiers:
            same = ids_by_digest(self.store, self.where, scanned.repeated)
            same = {digest: ids for digest, ids in same.items() if len(ids) > 1}
            for ids in same.values():
                for id in ids[1:]:
                    self._union.join(ids[0], id)
        # One image represents all with the same bytes.
        first_of = {id: ids[0] for ids in same.values() for id in ids}
        table = self._find_near(same, first_of) if "near" in tiers else HashTable()
        rules = self.rules
        if "semantic" in tiers:
            if rules.threshold is None:
                threshold = sampled_threshold(self.store, scanned.sample, self.meta)
                rules = replace(rules, threshold=threshold)
            self._find_semantic(rules.threshold or 0.0, first_of)
        groups = self._groups(rules, table, first_of)
        return DuplicateReport(
            sorted(groups, key=lambda group: (group.keep.uri, group.keep.id)),
            images=scanned.images,
            unread=[self._unread[id] for id in sorted(self._unread)],
            threshold=rules.threshold if "semantic" in tiers else None,
            load=self.load,
        )

    def _find_near(
        self, same: Mapping[str, Sequence[str]], first_of: Mapping[str, str]
    ) -> HashTable:
        table = HashTable()
        for record, hashes in hashed(self._representatives(first_of)):
            if isinstance(hashes, Failure):
                self._unread[record.id] = hashes
            elif hashes is not None:
                table.add(record.id, hashes)
        for ids in same.values():
            if ids[0] in self._unread:
                self._hash_any(ids, table)
        representatives = table.representatives()
        for id, row in zip(table.ids, representatives, strict=True):
            if id != table.ids[row]:
                self._union.join(table.ids[row], id)
        distinct = np.unique(representatives)
        upright, mirrored = table.upright[distinct], table.mirrored[distinct]
        for queries in (upright, mirrored) if self.rules.mirrored else (upright,):
            for rows, others in near_rows(queries, upright, self.rules.near_bits):
                for row, other in zip(distinct[rows], distinct[others], strict=True):
                    if row != other:
                        self._union.join(table.ids[row], table.ids[other])
        return table

    def _representatives(self, first_of: Mapping[str, str]) -> Iterator[Record]:
        for batch in self.store.scan(where=self.where):
            for record in batch:
                if first_of.get(record.id, record.id) == record.id:
                    yield record
            self.advance(len(batch))

    def _hash_any(self, ids: Sequence[str], table: HashTable) -> None:
        """Hash the first image that can be opened among those with the same bytes."""
        records = self.store.get(ids[1:])
        for _, hashes in hashed(records[id] for id in ids[1:] if id in records):
            if not isinstance(hashes, Failure):
                if hashes is not None:
                    table.add(ids[0], hashes)
                return

    def _find_semantic(self, threshold: float, first_of: Mapping[str, str]) -> None:
        for count, pairs in semantic_pairs(
            self.store,
            self.meta,
            threshold=threshold,
            where=self.where,
            skip={id for id, first in first_of.items() if id != first},
            batch_size=self.batch_size,
        ):
            for pair in pairs:
                self._union.join(*pair)
            self.advance(count)

    def _groups(
        self, rules: Rules, table: HashTable, first_of: Mapping[str, str]
    ) -> Iterator[DuplicateGroup]:
        components = self._union.groups()
        needed = {first_of.get(id, id) for component in components for id in component}
        rows = {id: row for row, id in enumerate(table.ids) if id in needed}
        row_of = {
            id: rows[first]
            for component in components
            for id in component
            if (first := first_of.get(id, id)) in rows
        }
        keepers = Keepers(rules, self.meta.metric, table, row_of)
        for block in _blocks(components):
            ids = [id for component in block for id in component]
            records = self.store.get(ids, vectors="semantic" in rules.tiers)
            images = measured((records[id] for id in ids if id in records), unread=self._unread)
            for component in block:
                yield from keepers.groups(
                    [records[id] for id in component if id in records], images
                )


def _blocks(components: Sequence[list[str]]) -> Iterator[list[list[str]]]:
    """Collect components until one call of the store fetches about a thousand records."""
    block: list[list[str]] = []
    count = 0
    for component in components:
        block.append(component)
        count += len(component)
        if count >= _GET:
            yield block
            block, count = [], 0
    if block:
        yield block
