"""Finding: the duplicates within one index, tier by tier, through the store's own search."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from PIL import Image

from imagesearch.duplicates.bands import close_pairs
from imagesearch.duplicates.closeness import check_comparable, close_ids, sampled_threshold
from imagesearch.duplicates.digests import ids_by_digest, overview
from imagesearch.duplicates.grouping import UnionFind
from imagesearch.duplicates.groups import DuplicateGroup, Picture
from imagesearch.duplicates.looks import Look, Looks, look_distance
from imagesearch.duplicates.reading import looks_of, pictures_of
from imagesearch.duplicates.report import DuplicateReport
from imagesearch.duplicates.rules import Rules
from imagesearch.duplicates.settling import Settling
from imagesearch.filters import Filter
from imagesearch.protocols import VectorStore
from imagesearch.types import Failure, IndexMeta, Record

__all__ = ["Finding", "near_rows"]

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
        advance: Told how many records a tier has looked at.
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
