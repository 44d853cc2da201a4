"""Reading: the pictures behind records, opened in threads ahead of who looks at them."""

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
from imagesearch.duplicates._hash import close_pairs
from imagesearch.duplicates._tiers import (
    BITS,
    SHRINK_TO,
    Look,
    Looks,
    check_comparable,
    close_ids,
    ids_by_digest,
    look_at,
    look_distance,
    overview,
    sampled_threshold,
)
from imagesearch.duplicates.report import DuplicateGroup, DuplicateReport, Match, Picture, Rules
from imagesearch.errors import ImageSearchError, SourceError
from imagesearch.filters import Filter
from imagesearch.protocols import VectorStore
from imagesearch.sources import Payload, describe, read
from imagesearch.types import Failure, IndexMeta, Item, Metric, Record
from imagesearch.vectors import normalise, scores

__all__ = ["Finding", "Settling", "UnionFind", "look_of", "looks_of", "near_rows", "pictures_of"]


_Result = TypeVar("_Result")

_IN_MEMORY = "sha256:"


def looks_of(
    records: Iterable[Record],
) -> Iterator[tuple[Record, tuple[Look, Look] | Failure | None]]:
    """Open the pictures of records and look at them, in order.

    Yields:
        Each record with its look, None for a plain surface, or why it could not be opened.
    """
    return _ahead(records, lambda record: look_of(_read(record)))


def pictures_of(records: Iterable[Record]) -> Iterator[tuple[Record, Picture | Failure]]:
    """Open the pictures of records and measure them, in order."""
    return _ahead(records, _measure)


def look_of(payload: Payload) -> tuple[Look, Look] | None:
    """Look at what was read.

    Raises:
        SourceError: It cannot be decoded.
    """
    return look_at(payload.open(shrink_to=SHRINK_TO))


def _measure(record: Record) -> Picture:
    payload = _read(record)
    width, height = payload.open().size
    return Picture(record.id, record.uri, width, height, payload.held_bytes)


def _read(record: Record) -> Payload:
    if record.uri.startswith(_IN_MEMORY):
        raise SourceError(
            f"{record.id}: it was added from memory, so there is no file to look at; "
            "add it from a file or URL, or give it a uri"
        )
    payload = read(Item(record.uri))
    if record.digest and payload.digest != record.digest:
        raise SourceError(
            f"{describe(record.uri)} has changed since it was indexed; add it again, then look "
            "for duplicates"
        )
    return payload


def _ahead(
    records: Iterable[Record], work: Callable[[Record], _Result]
) -> Iterator[tuple[Record, _Result | Failure]]:
    def attempt(record: Record) -> _Result | Failure:
        try:
            return work(record)
        except ImageSearchError as error:
            return Failure(describe(record.uri), error, record.id)

    workers = available_cpus() + 2
    waiting: deque[tuple[Record, Future[_Result | Failure]]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="imagesearch-look") as pool:
        try:
            for record in records:
                waiting.append((record, pool.submit(attempt, record)))
                if len(waiting) >= 2 * workers:
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        finally:
            for _, future in waiting:
                future.cancel()


class UnionFind:
    """Joins ids that belong together; holds only ids that were joined to another.

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

    def join(self, one: str, other: str) -> None:
        """Put two ids, and all that was joined to them, into one group."""
        first, second = sorted((self._root(one), self._root(other)))
        self._parents[second] = first

    def groups(self) -> list[list[str]]:
        """Return the groups of two and more, each sorted, sorted by their first ids."""
        found: dict[str, list[str]] = {}
        for id in sorted(self._parents):
            found.setdefault(self._root(id), []).append(id)
        return [group for group in found.values() if len(group) > 1]

    def _root(self, id: str) -> str:
        root = id
        while (parent := self._parents.setdefault(root, root)) != root:
            root = parent
        while id != root:
            self._parents[id], id = root, self._parents[id]
        return root


@dataclass(frozen=True, slots=True)
class Settling:
    """Splits what hangs together into groups around the pictures that are kept.

    If B is like A and like C, but C is not like A, then deleting B and C because A stays would
    lose C. So the best picture is kept and takes what matches it directly; the best of the rest
    takes what matches that one, and so on. What matches none of the kept pictures is not a duplicate
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


_GET = 1000


@dataclass(slots=True)
class Finding:
    """Finds the duplicates within one index.

    What it holds at any time is one batch, the groups, eight bytes for every record, and for tier
    ``near`` about 300 bytes for every picture.

    Attributes:
        store: An open store.
        meta: What the store was opened with.
        rules: What counts as a copy.
        where: Only records that match.
        batch_size: Queries in one search of the store, ≥ 1.
        advance: Called with how many records a tier has looked at.
        load: Opens the image at a URI for the report's thumbnails.

    Example:
        >>> from imagesearch.stores.memory import MemoryStore
        >>> from imagesearch.types import EmbeddingSpec
        >>> store, meta = MemoryStore(), IndexMeta(EmbeddingSpec("mine", 2, True, "v1"))
        >>> store.open(meta)
        >>> print(Finding(store, meta, Rules.of()).run())
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
        """Look for duplicates.

        Raises:
            QueryError: Tier ``semantic`` was asked of an index whose scores cannot tell copies.
            StoreError: The store failed.
        """
        tiers = self.rules.tiers
        if "semantic" in tiers:
            check_comparable(self.meta)
        seen = overview(self.store, self.where)
        same: dict[str, list[str]] = {}
        if "exact" in tiers:
            same = ids_by_digest(self.store, self.where, seen.repeated)
            same = {digest: ids for digest, ids in same.items() if len(ids) > 1}
            for ids in same.values():
                for other in ids[1:]:
                    self._union.join(ids[0], other)
        # One picture stands for all with the same bytes.
        first_of = {id: ids[0] for ids in same.values() for id in ids}
        looks = self._look(same, first_of) if "near" in tiers else Looks()
        rules = self.rules
        if "semantic" in tiers:
            rules = replace(rules, threshold=self._threshold(seen.sample))
            self._search(rules.threshold or 0.0, first_of)
        groups = self._settle(rules, looks, first_of)
        return DuplicateReport(
            sorted(groups, key=lambda group: (group.keep.uri, group.keep.id)),
            images=seen.images,
            unread=[self._unread[id] for id in sorted(self._unread)],
            threshold=rules.threshold if "semantic" in tiers else None,
            load=self.load,
        )

    def _threshold(self, sample: Sequence[str]) -> float:
        if self.rules.threshold is not None:
            return self.rules.threshold
        return sampled_threshold(self.store, sample, self.meta)

    def _look(self, same: Mapping[str, Sequence[str]], first_of: Mapping[str, str]) -> Looks:
        looks = Looks()
        for record, look in looks_of(self._stand_ins(first_of)):
            if isinstance(look, Failure):
                self._unread[record.id] = look
            elif look is not None:
                looks.add(record.id, look)
        for ids in same.values():
            if ids[0] in self._unread:
                self._look_at_any(ids, looks)
        stand_ins = looks.stand_ins()
        for id, row in zip(looks.ids, stand_ins, strict=True):
            if id != looks.ids[row]:
                self._union.join(looks.ids[row], id)
        distinct = np.unique(stand_ins)
        upright, mirrored = looks.upright[distinct], looks.mirrored[distinct]
        for queries in (upright, mirrored) if self.rules.mirrored else (upright,):
            for rows, others in near_rows(queries, upright, self.rules.max_bits):
                for row, other in zip(distinct[rows], distinct[others], strict=True):
                    if row != other:
                        self._union.join(looks.ids[row], looks.ids[other])
        return looks

    def _stand_ins(self, first_of: Mapping[str, str]) -> Iterator[Record]:
        for batch in self.store.scan(where=self.where):
            for record in batch:
                if first_of.get(record.id, record.id) == record.id:
                    yield record
            self.advance(len(batch))

    def _look_at_any(self, ids: Sequence[str], looks: Looks) -> None:
        """Look at the first picture that can be opened among those with the same bytes."""
        records = self.store.get(ids[1:])
        for _, look in looks_of(records[id] for id in ids[1:] if id in records):
            if not isinstance(look, Failure):
                if look is not None:
                    looks.add(ids[0], look)
                return

    def _search(self, threshold: float, first_of: Mapping[str, str]) -> None:
        skip = {id for id, first in first_of.items() if id != first}
        for count, pairs in close_ids(
            self.store,
            self.meta,
            threshold=threshold,
            where=self.where,
            skip=skip,
            batch_size=self.batch_size,
        ):
            for pair in pairs:
                self._union.join(*pair)
            self.advance(count)

    def _settle(
        self, rules: Rules, looks: Looks, first_of: Mapping[str, str]
    ) -> Iterator[DuplicateGroup]:
        chains = self._union.groups()
        wanted = {first_of.get(id, id) for chain in chains for id in chain}
        rows = {id: row for row, id in enumerate(looks.ids) if id in wanted}
        row_of = {
            id: rows[first]
            for chain in chains
            for id in chain
            if (first := first_of.get(id, id)) in rows
        }
        settling = Settling(rules, self.meta.metric, looks, row_of)
        for some in _gathered(chains):
            ids = [id for chain in some for id in chain]
            records = self.store.get(ids, vectors="semantic" in rules.tiers)
            pictures = measured((records[id] for id in ids if id in records), unread=self._unread)
            for chain in some:
                yield from settling.groups([records[id] for id in chain if id in records], pictures)


def near_rows(queries: Look, table: Look, max_bits: int) -> Iterator[tuple[list[int], list[int]]]:
    """Yield the rows of looks that differ in at most `max_bits` of 512 bits, in blocks.

    Candidates are those whose 64-bit hashes differ in at most 11 bits.
    """
    for rows, others in close_pairs(queries["key"].copy(), table["key"].copy()):
        near = look_distance(queries[rows], table[others]) <= max_bits
        if near.any():
            yield rows[near].tolist(), others[near].tolist()


def measured(records: Iterable[Record], *, unread: dict[str, Failure]) -> dict[str, Picture]:
    """Open the pictures of records to learn their size; what cannot be opened is put in `unread`."""
    found: dict[str, Picture] = {}
    for record, picture in pictures_of(records):
        if isinstance(picture, Failure):
            unread.setdefault(record.id, picture)
            found[record.id] = Picture(record.id, record.uri)
        else:
            found[record.id] = picture
    return found


def _gathered(chains: Sequence[list[str]]) -> Iterator[list[list[str]]]:
    """Gather chains so that one call of the store fetches about a thousand records."""
    some: list[list[str]] = []
    count = 0
    for chain in chains:
        some.append(chain)
        count += len(chain)
        if count >= _GET:
            yield some
            some, count = [], 0
    if some:
        yield some
