"""Memory stores that break one rule each, to show that the conformance suite notices."""

from __future__ import annotations

import threading
import time
from dataclasses import replace as replaced
from typing import ClassVar

import numpy as np

from imagesearch.errors import StoreError, StoreRequestError
from imagesearch.filters import matches
from imagesearch.protocols import Capability
from imagesearch.stores import check_update
from imagesearch.stores.local import LocalStore
from imagesearch.stores.memory import MemoryStore
from imagesearch.types import CheckResult, Hit, Record, RecordBatch, updated_metadata


class LosesNestedMetadata(MemoryStore):
    def upsert(self, batch):
        kept = tuple(
            {name: value for name, value in fields.items() if not isinstance(value, dict)}
            for fields in batch.metadata
        )
        super().upsert(RecordBatch(batch.ids, batch.uris, batch.digests, kept, batch.vectors))


class TurnsTruthIntoNumbers(MemoryStore):
    def upsert(self, batch):
        kept = tuple(
            {name: int(value) if value is True else value for name, value in fields.items()}
            for fields in batch.metadata
        )
        super().upsert(RecordBatch(batch.ids, batch.uris, batch.digests, kept, batch.vectors))


class LosesDigests(MemoryStore):
    def get(self, ids, *, vectors=False):
        return {
            id: Record(id, record.uri, "", record.metadata, record.vector)
            for id, record in super().get(ids, vectors=vectors).items()
        }


class BreaksTiesByLastId(MemoryStore):
    def search(self, vectors, *, k, where=None):
        found = super().search(vectors, k=k, where=where)
        return [
            sorted(sorted(hits, key=lambda hit: hit.id, reverse=True), key=lambda hit: -hit.score)
            for hits in found
        ]


class CutsBeforeBreakingTies(MemoryStore):
    def search(self, vectors, *, k, where=None):
        found = super().search(vectors, k=100_000, where=where)
        if k < 1:
            raise StoreRequestError("k")
        return [
            sorted(
                sorted(hits, key=lambda hit: (-hit.score, hash(hit.id) % 7))[:k],
                key=lambda hit: (-hit.score, hit.id),
            )
            for hits in found
        ]


class IgnoresFiltersInSearch(MemoryStore):
    def search(self, vectors, *, k, where=None):
        return super().search(vectors, k=k)


class FiltersAfterCutting(MemoryStore):
    def search(self, vectors, *, k, where=None):
        found = super().search(vectors, k=k)
        if where is None:
            return found
        return [
            [hit for hit in hits if matches(where, hit.metadata, id=hit.id, uri=hit.uri)]
            for hits in found
        ]


class IgnoresFiltersInCount(MemoryStore):
    def count(self, where=None):
        return super().count()


class ReturnsOneMore(MemoryStore):
    def search(self, vectors, *, k, where=None):
        return super().search(vectors, k=k + (k > 0), where=where)


class AcceptsNaN(MemoryStore):
    def upsert(self, batch):
        if batch.vectors is not None:
            cleaned = np.nan_to_num(batch.vectors)
            batch = RecordBatch(batch.ids, batch.uris, batch.digests, batch.metadata, cleaned)
        super().upsert(batch)


class RefusesWithoutIds(MemoryStore):
    def upsert(self, batch):
        try:
            super().upsert(batch)
        except StoreRequestError as error:
            raise StoreRequestError(str(error)) from error


class WritesHalfABadBatch(MemoryStore):
    def upsert(self, batch):
        for row in range(len(batch)):
            super().upsert(RecordBatch.of([batch[row]]))


class MergesMetadata(MemoryStore):
    def upsert(self, batch):
        known = self.get(batch.ids)
        merged = tuple(
            {**(known[id].metadata if id in known else {}), **fields}
            for id, fields in zip(batch.ids, batch.metadata, strict=True)
        )
        super().upsert(RecordBatch(batch.ids, batch.uris, batch.digests, merged, batch.vectors))


class WipesOnDeletingNothing(MemoryStore):
    def delete(self, ids):
        return super().delete(list(ids) or list(self._entries))


class CountsMissingAsDeleted(MemoryStore):
    def delete(self, ids):
        super().delete(ids)
        return len(set(ids))


class ScanRepeatsTheLastBatch(MemoryStore):
    def scan(self, *, where=None, batch_size=1000, vectors=False):
        batch = None
        for batch in super().scan(where=where, batch_size=batch_size, vectors=vectors):
            yield batch
        if batch is not None:
            yield batch


class ScansByOffset(MemoryStore):
    def scan(self, *, where=None, batch_size=1000, vectors=False):
        offset = 0
        while True:
            everything = [
                record for part in super().scan(where=where, vectors=vectors) for record in part
            ]
            page = everything[offset : offset + batch_size]
            if not page:
                return
            yield RecordBatch.of(page)
            offset += batch_size


class DoesNotNormaliseQueries(MemoryStore):
    def search(self, vectors, *, k, where=None):
        found = super().search(vectors, k=k, where=where)
        lengths = np.linalg.norm(np.asarray(vectors, np.float64), axis=-1)
        return [
            [Hit(hit.id, hit.score * float(length), hit.uri, hit.metadata) for hit in hits]
            for length, hits in zip(lengths, found, strict=True)
        ]


class ReturnsDistances(MemoryStore):
    def search(self, vectors, *, k, where=None):
        return [
            [Hit(hit.id, 1 - hit.score, hit.uri, hit.metadata) for hit in hits]
            for hits in super().search(vectors, k=k, where=where)
        ]


class ForgetsTheMetaCheck(MemoryStore):
    def open(self, meta):
        if self._meta is None:
            super().open(meta)


class RaisesForMissingIds(MemoryStore):
    def get(self, ids, *, vectors=False):
        records = super().get(ids, vectors=vectors)
        if missing := set(ids) - set(records):
            raise StoreRequestError(f"no records {missing}")
        return records


class AnswersAfterClose(MemoryStore):
    def count(self, where=None):
        return 0 if self._meta is None else super().count(where)


class FoldsCaseOfIds(MemoryStore):
    def upsert(self, batch):
        folded = tuple(id.casefold() for id in batch.ids)
        for row, id in enumerate(folded):
            one = batch[row]
            super().upsert(
                RecordBatch.of([Record(id, one.uri, one.digest, one.metadata, one.vector)])
            )

    def get(self, ids, *, vectors=False):
        found = super().get([id.casefold() for id in ids], vectors=vectors)
        return {id: found[id.casefold()] for id in ids if id.casefold() in found}


class HandsOutItsOwnMetadata(MemoryStore):
    def _record(self, id, vectors):
        entry = self._entries[id]
        vector = self._vectors[entry.row].copy() if vectors else None
        return Record(id, entry.uri, entry.digest, entry.metadata, vector)


class ClaimsPersistence(MemoryStore):
    capabilities = MemoryStore.capabilities | {Capability.PERSISTENT}


class GuessesWhatItDidNotDeclare(MemoryStore):
    capabilities = MemoryStore.capabilities - {Capability.ORDER_TEXT}


class MergesNotes(MemoryStore):
    def note(self, name, value):
        known = self.notes().get(name)
        if isinstance(known, dict) and isinstance(value, dict):
            value = {**known, **value}
        super().note(name, value)


class KeepsNotesAsTheyWereGiven(MemoryStore):
    def notes(self):
        return self._notes

    def note(self, name, value):
        super().note(name, value)
        if value is not None:
            self._notes[name] = value


class FindsOnlySomeOfTheNearest(MemoryStore):
    capabilities = MemoryStore.capabilities - {Capability.EXACT}

    def search(self, vectors, *, k, where=None):
        found = super().search(vectors, k=2 * k, where=where)
        return [hits if len(hits) < 2 * k else [*hits[: k - 1], hits[k]] for hits in found]


class ScansInBatchesOfNothing(MemoryStore):
    def scan(self, *, where=None, batch_size=1000, vectors=False):
        return super().scan(where=where, batch_size=max(1, int(batch_size)), vectors=vectors)


class BelongsToOneThread(MemoryStore):
    def open(self, meta):
        self._owner = threading.get_ident()
        super().open(meta)

    def upsert(self, batch):
        if threading.get_ident() != self._owner:
            raise StoreError("made in another thread")
        super().upsert(batch)


class ReleasesByClosing(MemoryStore):
    def release_writer_lock(self):
        self.close()


class CountsMissingAsUpdated(MemoryStore):
    def update_metadata(self, fields, *, ids=None, where=None, replace=False):
        super().update_metadata(fields, ids=ids, where=where, replace=replace)
        return len(set(ids)) if ids is not None else self.count(where)


class ForgetsWhatItDoesNotSet(MemoryStore):
    def update_metadata(self, fields, *, ids=None, where=None, replace=False):
        return super().update_metadata(fields, ids=ids, where=where, replace=True)


class RemembersFiltersAcrossUpdates(MemoryStore):
    def upsert(self, batch):
        self._counts = {}
        super().upsert(batch)

    def count(self, where=None):
        if where is None:
            return super().count()
        return self._counts.setdefault(where, super().count(where))


class DeletesOnlyTheFirstMatch(MemoryStore):
    def delete_where(self, where):
        return self.delete(list(self._matching(where))[:1])


class UpdatesByReadingAndWriting(MemoryStore):
    def update_metadata(self, fields, *, ids=None, where=None, replace=False):
        fields = check_update(fields, ids, where)
        if ids is None:
            ids = [id for batch in self.scan(where=where) for id in batch.ids]
        records = self.get(ids, vectors=True).values()
        time.sleep(0.002)
        changed = [
            replaced(record, metadata=updated_metadata(record.metadata, fields, replace=replace))
            for record in records
        ]
        if changed:
            self.upsert(RecordBatch.of(changed))
        return len(changed)


class BringsDeletedRecordsBack(UpdatesByReadingAndWriting):
    pass


class SharedMemory(MemoryStore):
    """Keeps all rules with several handles on one place, as a server does for its clients."""

    capabilities = MemoryStore.capabilities | {Capability.PERSISTENT}
    takes_place = True
    _places: ClassVar[dict[object, dict[str, object]]] = {}

    def __init__(self, place):
        fresh = place not in self._places
        self.__dict__ = self._places.setdefault(place, {})
        if fresh:
            super().__init__()

    def close(self):
        pass


class LocksOnlyItsOwnHandle(SharedMemory):
    update_metadata = UpdatesByReadingAndWriting.update_metadata


class BringsBackWhatOtherHandlesDeleted(LocksOnlyItsOwnHandle):
    pass


class ChecksNothing(LocalStore):
    """Says that all is well, and searches what is damaged."""

    takes_place = True

    def __init__(self, place):
        super().__init__(place / "photos.idx")

    def check(self, *, progress=None):
        yield CheckResult("all", "ok", "fine")


class AlarmsWithoutCause(LocalStore):
    takes_place = True

    def __init__(self, place):
        super().__init__(place / "photos.idx")

    def check(self, *, progress=None):
        yield CheckResult("all", "problem", "it feels damaged", "buy a new disk")


def made(kind, place):
    return kind(place) if getattr(kind, "takes_place", False) else kind()


def damage(place, id):
    """Flip a bit of a record's vector, where there is a file with vectors."""
    found = list(place.glob("photos.idx/vectors-*"))
    for vectors in found:
        body = bytearray(vectors.read_bytes())
        body[int(id[-5:]) * (len(body) // 14)] ^= 1
        vectors.write_bytes(body)
    return bool(found)


class SearchesFiltersAmongTheNewestOnly(MemoryStore):
    """The nearest of all are filtered, and filled up with matching records that came last."""

    capabilities = MemoryStore.capabilities - {Capability.EXACT}

    def search(self, vectors, *, k, where=None):
        found = super().search(vectors, k=k, where=where)
        if where is None:
            return found
        nearby = super().search(vectors, k=4 * k)
        newest = set(list(self._entries)[-400:])
        matching = super().search(vectors, k=max(k, 1000), where=where)
        answers = []
        for hits, near, all_matching in zip(found, nearby, matching, strict=True):
            ids = {hit.id for hit in near} | newest
            kept = [hit for hit in all_matching if hit.id in ids][:k]
            answers.append(kept if len(kept) >= len(hits) else hits)
        return answers


class LosesSightOfUpdatedRecords(MemoryStore):
    """After so many updates that old vectors are cleared away, until something else is written."""

    capabilities = MemoryStore.capabilities - {Capability.EXACT}

    def open(self, meta):
        super().open(meta)
        self._replaced, self._hidden = 0, frozenset()

    def upsert(self, batch):
        known = self.get(batch.ids)
        super().upsert(batch)
        self._replaced += len(known)
        self._hidden = frozenset(known) if self._replaced >= 1000 else frozenset()

    def search(self, vectors, *, k, where=None):
        found = super().search(vectors, k=k + len(self._hidden) if k > 0 else k, where=where)
        return [[hit for hit in hits if hit.id not in self._hidden][:k] for hits in found]


class LosesSightOfOthersAmongCopies(MemoryStore):
    """As a graph does in which a thousand copies are linked with each other only."""

    capabilities = MemoryStore.capabilities - {Capability.EXACT}

    def search(self, vectors, *, k, where=None):
        found = super().search(vectors, k=k, where=where)
        stored = self._vectors[: len(self._id_of_row)]
        _, inverse, counts = np.unique(stored, axis=0, return_inverse=True, return_counts=True)
        if not len(stored) or counts.max() < 1000:
            return found
        copied = {
            id for id, same in zip(self._id_of_row, inverse, strict=True) if counts[same] >= 1000
        }
        everything = super().search(vectors, k=len(stored), where=where)
        return [
            [hit for hit in hits if hit.id in copied][:k] + hits[: max(0, k - len(copied))]
            for hits in everything
        ]


class RanksByRoundedVectors(MemoryStore):
    """As an index of codes does whose candidates are not compared by the vectors themselves."""

    capabilities = MemoryStore.capabilities - {Capability.EXACT}

    def search(self, vectors, *, k, where=None):
        found = super().search(vectors, k=10 * k if k > 0 else k, where=where)
        return [sorted(hits, key=lambda hit: (-round(hit.score, 2), hit.id))[:k] for hits in found]


class FindsTheDeadFirst(MemoryStore):
    """As a graph does that is searched no deeper when most of its nodes are deleted."""

    capabilities = MemoryStore.capabilities - {Capability.EXACT}

    def open(self, meta):
        super().open(meta)
        self._deleted = 0

    def delete(self, ids):
        gone = super().delete(ids)
        self._deleted += gone
        return gone

    def search(self, vectors, *, k, where=None):
        found = super().search(vectors, k=k, where=where)
        if self._deleted < 900:
            return found
        return [hits[: max(1, k // 3)] for hits in found]


class MissesWhatIsBeingAdded(MemoryStore):
    """Finds the records of a write only when the next search begins after it, in the same thread."""

    capabilities = MemoryStore.capabilities - {Capability.EXACT}

    def open(self, meta):
        super().open(meta)
        self._newest, self._writer = frozenset(), None

    def upsert(self, batch):
        super().upsert(batch)
        self._newest, self._writer = frozenset(batch.ids), threading.get_ident()

    def search(self, vectors, *, k, where=None):
        found = super().search(vectors, k=k + 1000 if k > 0 else k, where=where)
        if self._writer == threading.get_ident():
            return [hits[:k] for hits in found]
        return [[hit for hit in hits if hit.id not in self._newest][:k] for hits in found]
