"""Plan a write: what to do with each input, and which records a sync removes."""

from __future__ import annotations

# Paths stay text, as the user wrote them; folders hold millions of them.
# ruff: noqa: PTH117, PTH121
import os
import unicodedata
from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import Literal

from imagesearch._validation import batched
from imagesearch.errors import (
    FetchError,
    ManifestError,
    RemovalRefusedError,
    SourceError,
    SourceNotFoundError,
)
from imagesearch.protocols import VectorStore
from imagesearch.sources import Payload, describe, is_lost
from imagesearch.sources._manifests import is_manifest
from imagesearch.sources._walk import Obstacle, Reach
from imagesearch.types import AddReport, Failure, Record, canonical_metadata

__all__ = ["Fate", "Planned", "Planner", "Pruner", "ReusableRecords", "has_moved"]

_BATCH = 1000

# Names at the end of a path that are compared to find where an equal image has moved.
_SUFFIX_PARTS = 4

# A sync may remove this many records, or this share of those considered, without `allow_removing`.
_MOST_REMOVED = 10
_SHARE_REMOVED = 0.1

Fate = Literal["added", "updated", "unchanged"]


@dataclass(frozen=True, slots=True, eq=False)
class Planned:
    """What to do with one image.

    Attributes:
        record: The record to write; its vector is None if the image must be embedded.
        fate: How the report counts it.
    """

    record: Record
    fate: Fate

    @property
    def needs_vector(self) -> bool:
        """Whether the image must be embedded."""
        return self.record.vector is None and self.fate != "unchanged"


@dataclass(slots=True)
class Planner:
    """Compares images with the records of the index.

    Attributes:
        store: An open store.
        reuse: Whether to reuse the vector of an equal image under another id; costs one scan of
            the index at the first new image.
        moved: Id of each record whose file has moved → id of the new record of that file.
    """

    store: VectorStore
    reuse: bool = False
    moved: dict[str, str] = field(default_factory=dict)
    _reusable: ReusableRecords | None = None

    def plan(self, group: Sequence[Payload]) -> list[Planned]:
        """Return the plan of images with different ids, without their content.

        Raises:
            StoreError: The store failed.
        """
        existing = self.store.get([payload.id for payload in group])
        plan = [_decide(payload, existing.get(payload.id)) for payload in group]
        reused = {
            planned.record.id: id
            for planned in plan
            if planned.fate != "unchanged"
            and (id := self._reusable_id(planned.record, existing)) is not None
        }
        if not reused:
            return plan
        stored = self.store.get(list(set(reused.values())), vectors=True)
        for planned in plan:
            record = stored.get(reused.get(planned.record.id, ""))
            if record is None or record.digest != planned.record.digest:
                continue
            if planned.fate == "added" and has_moved(record.uri, planned.record.uri):
                self.moved[record.id] = planned.record.id
        return [
            _with_vector(planned, payload, stored.get(reused.get(payload.id, "")))
            for planned, payload in zip(plan, group, strict=True)
        ]

    def _reusable_id(self, planned: Record, existing: Mapping[str, Record]) -> str | None:
        """Return the id of a record that already has the vector of this image."""
        record = existing.get(planned.id)
        if record is not None and record.digest == planned.digest:
            return record.id
        if not self.reuse:
            return None
        if self._reusable is None:
            self._reusable = ReusableRecords(self.store)
        return self._reusable.find(planned.digest, planned.uri)


def _decide(payload: Payload, existing: Record | None) -> Planned:
    record = Record(payload.id, payload.uri, payload.digest, payload.metadata or {}, payload.vector)
    if existing is None:
        return Planned(record, "added")
    # An input without metadata keeps that of the record.
    if payload.metadata is None:
        record = replace(record, metadata=dict(existing.metadata))
    same = (record.digest, record.uri) == (existing.digest, existing.uri)
    if same and canonical_metadata(record.metadata) == canonical_metadata(existing.metadata):
        return Planned(record, "unchanged")
    return Planned(record, "updated")


def _with_vector(planned: Planned, payload: Payload, other: Record | None) -> Planned:
    # The other record may have been overwritten meanwhile, if files swapped their names.
    if other is None or other.digest != payload.digest:
        return planned
    record = replace(planned.record, vector=other.vector)
    # A moved file keeps its metadata; a copy of an existing file does not get them.
    if planned.fate == "added" and payload.metadata is None and has_moved(other.uri, payload.uri):
        record = replace(record, metadata=dict(other.metadata))
    return replace(planned, record=record)


def has_moved(old: str, new: str) -> bool:
    """Return whether a file with one URI is now at another.

    The old path is gone, or both are the same file: behind a symbolic link to a folder, or in a
    file system that ignores case. Copies and hard links are other files.

    Example:
        >>> has_moved("/no/such/photo.jpg", "/photos/photo.jpg")
        True
        >>> has_moved("https://example.org/a.jpg", "/photos/a.jpg")
        False
    """
    if is_lost(old):
        return True
    if not (os.path.isabs(old) and os.path.isabs(new)):
        return False
    if os.path.realpath(old) == os.path.realpath(new):
        return True
    try:
        return _folded(old) == _folded(new) and os.path.samefile(old, new)
    except OSError:
        return False


class ReusableRecords:
    """Finds records by the digest of their image, from one scan of the index.

    If several records have equal images, such as blank pages, each moved file gets a record of its
    own, the one whose path ends most alike.

    Args:
        store: An open store.
    """

    def __init__(self, store: VectorStore) -> None:
        self._store = store
        self._by_digest: dict[str, str] = {}
        self._ids_of_copies: dict[str, list[str]] = {}
        self._copies: dict[str, _Copies] = {}
        for batch in store.scan():
            for id, digest in zip(batch.ids, batch.digests, strict=True):
                if not digest:
                    continue
                first = self._by_digest.setdefault(digest, id)
                if first != id:
                    self._ids_of_copies.setdefault(digest, [first]).append(id)

    def find(self, digest: str, uri: str) -> str | None:
        """Return the id of a record with this image, preferably one whose file moved here.

        Args:
            digest: The digest of the image.
            uri: Its present URI.

        Raises:
            StoreError: The store failed.
        """
        if digest not in self._ids_of_copies:
            return self._by_digest.get(digest)
        if digest not in self._copies:
            self._copies[digest] = _Copies.of(self._uris(self._ids_of_copies[digest]))
        return self._copies[digest].take(uri)

    def _uris(self, ids: list[str]) -> Iterator[tuple[str, str]]:
        for batch in batched(ids, _BATCH):
            yield from ((record.id, record.uri) for record in self._store.get(batch).values())


@dataclass(slots=True)
class _Copies:
    """Records with equal images."""

    there: str | None = None
    last_taken: str | None = None
    taken: set[str] = field(default_factory=set)
    lost_by_suffix: dict[str, deque[str]] = field(default_factory=dict)
    by_real_path: dict[str, str] = field(default_factory=dict)
    by_folded_path: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, records: Iterable[tuple[str, str]]) -> _Copies:
        copies = cls()
        for id, uri in records:
            if is_lost(uri):
                for suffix in (*_suffixes(uri), ""):
                    copies.lost_by_suffix.setdefault(suffix, deque()).append(id)
                continue
            copies.there = copies.there or id
            if os.path.isabs(uri):
                copies.by_real_path[os.path.realpath(uri)] = id
                copies.by_folded_path[_folded(uri)] = id
        return copies

    def take(self, uri: str) -> str | None:
        return (
            self._lost(_suffixes(uri))
            or self._same_file(uri)
            or self._lost([""])
            # A file that was moved and copied: each new file keeps the metadata.
            or self.last_taken
            or self.there
        )

    def _lost(self, suffixes: Iterable[str]) -> str | None:
        for suffix in suffixes:
            ids = self.lost_by_suffix.get(suffix)
            while ids:
                id = ids.popleft()
                if id not in self.taken:
                    self.taken.add(id)
                    self.last_taken = id
                    return id
        return None

    def _same_file(self, uri: str) -> str | None:
        if not os.path.isabs(uri):
            return None
        return self.by_real_path.get(os.path.realpath(uri)) or self.by_folded_path.get(_folded(uri))


def _suffixes(uri: str) -> Iterator[str]:
    """Yield the ends of a path, longest first."""
    parts = uri.replace("\\", "/").split("/")
    for length in range(min(_SUFFIX_PARTS, len(parts)), 0, -1):
        yield "/".join(parts[-length:])


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()


@dataclass(slots=True)
class Pruner:
    """Deletes the records whose image is gone, after an ingestion of the whole source.

    Attributes:
        store: An open store.
        folder: Only records below this folder are considered; None considers all.
        roots: Folders whose files the source lists; see `Source.roots`.
        seen: Ids of the source's images.
        moved: As for `Planner`.
        report: The report of the ingestion. Records of its failures stay unless their image is
            gone.
        allowed: Whether a large part of the records may be removed.
        strict: Whether to raise the first obstacle instead of reporting it.
        preview: As for `ingest`.
    """

    store: VectorStore
    folder: str | None
    roots: AbstractSet[str]
    seen: Collection[str]
    moved: Mapping[str, str]
    report: AddReport
    allowed: bool
    strict: bool
    preview: dict[str, str] | None = None
    _obstacles: Counter[Obstacle] = field(default_factory=Counter)
    _unreachable: int = 0

    def run(self) -> AddReport:
        """Delete, and return the report with removed and kept ids and obstacles as failures.

        Raises:
            RemovalRefusedError: Too many records would be removed; nothing was deleted.
            SourceError: A manifest has invalid lines, or a folder is unreachable and `strict`;
                nothing was deleted.
        """
        self._refuse_invalid_lines()
        uris, kept, total = self._decide()
        gone = list(uris)
        failures = self._failures()
        if self.strict and failures:
            raise failures[0].error
        report = replace(self.report, kept=kept, failed=[*self.report.failed, *failures])
        if not self.seen and (gone or self._unreachable):
            raise RemovalRefusedError(
                "nothing was removed: the source has no readable image, and the index has "
                f"{len(gone) + self._unreachable:,} records of it; is a disk not mounted? To empty "
                "the index, delete its records",
                ids=gone,
                total=total,
                allowable=False,
                report=report,
            )
        arrived = set(self.report.added)
        lost = sum(self.moved.get(id) not in arrived for id in gone)
        if lost > max(_MOST_REMOVED, _SHARE_REMOVED * total) and not self.allowed:
            raise RemovalRefusedError(
                f"nothing was removed: {lost:,} of {total:,} records would be removed, which looks "
                "like an accident (is a disk not mounted, or a list cut short?). If their images "
                "are gone for good, sync again with allow_removing=True (on the command line --yes)",
                ids=gone,
                total=total,
                report=report,
            )
        if self.preview is not None:
            self.preview.update(uris)
        else:
            for batch in batched(gone, _BATCH):
                self.store.delete(batch)
        return replace(report, removed=gone)

    def _refuse_invalid_lines(self) -> None:
        for failure in self.report.failed:
            if failure.id is not None:
                continue
            if isinstance(failure.error, FetchError | SourceNotFoundError) and is_manifest(
                failure.source
            ):
                raise SourceError(
                    f"nothing was removed: {failure.error}; cannot tell which records this manifest "
                    "refers to: make it readable, or leave it out of the source, and sync again"
                ) from failure.error
            if isinstance(failure.error, ManifestError):
                raise SourceError(
                    f"nothing was removed: {failure.error}; cannot tell which record this line "
                    "refers to: fix the line and sync again"
                ) from failure.error

    def _decide(self) -> tuple[dict[str, str], list[str], int]:
        """Return the gone ids with their URIs, the kept ids, and the number considered."""
        missing = [failure for failure in self.report.failed if _is_missing(failure)]
        unreadable = [failure for failure in self.report.failed if not _is_missing(failure)]
        kept_ids = {failure.id for failure in unreadable}
        # A folder that could not be listed keeps all records below it.
        kept_paths = set(map(_path, unreadable))
        missing_by_id = {failure.id: failure for failure in missing if failure.id is not None}
        missing_paths = set(map(_path, missing))
        arrived = set(self.report.added)
        reach = Reach(self.roots)
        gone: dict[str, str] = {}
        kept: list[str] = []
        total = 0
        for batch in self.store.scan():
            for record in batch:
                if self.folder is not None and not _is_below(record.uri, self.folder):
                    continue
                total += record.id not in arrived
                if record.id in self.seen:
                    continue
                if record.id in kept_ids or not kept_paths.isdisjoint(
                    # Failures have paths as they are shown, without control characters.
                    _with_parents(record.uri) | _with_parents(describe(record.uri))
                ):
                    kept.append(record.id)
                    continue
                named = record.id in missing_by_id or not missing_paths.isdisjoint(
                    {record.uri, describe(record.uri)}
                )
                obstacle = None
                if self.moved.get(record.id) not in arrived:
                    # A manifest may name another path than the record's.
                    failure = missing_by_id.get(record.id)
                    moved_on = failure is not None and failure.source != describe(record.uri)
                    path = _path(failure) if failure is not None and moved_on else record.uri
                    obstacle = reach.obstacle_to(path, named=named)
                if obstacle is None:
                    gone[record.id] = record.uri
                    continue
                kept.append(record.id)
                self._unreachable += 1
                # Files that the source itself names are among the failures already.
                if not named:
                    self._obstacles[obstacle] += 1
        return gone, kept, total

    def _failures(self) -> list[Failure]:
        """Return a failure for each obstacle that is not in the report yet."""
        reported = {_path(failure) for failure in self.report.failed}
        reported |= {failure.source for failure in self.report.failed}
        failures = []
        for (path, reason), count in self._obstacles.items():
            shown = describe(path)
            if path in reported or shown in reported:
                continue
            text = reason if reason.startswith(shown) else f"{shown} {reason}"
            failures.append(
                Failure(
                    shown,
                    FetchError(
                        f"{text}; {count:,} records of the index with images there stay. Is a disk or "
                        "share not mounted? If they are gone for good, remove it and sync again"
                    ),
                )
            )
        return failures


def _is_missing(failure: Failure) -> bool:
    return isinstance(failure.error, SourceNotFoundError)


def _is_below(uri: str, folder: str) -> bool:
    return uri.startswith(folder) and (
        folder.endswith(("/", "\\")) or uri[len(folder) : len(folder) + 1] in ("", "/", "\\")
    )


def _path(failure: Failure) -> str:
    return os.path.abspath(failure.source)  # noqa: PTH100  # links stay


def _with_parents(uri: str) -> set[str]:
    """Return a URI and all folders above it."""
    ends = [end for end, character in enumerate(uri) if character in "/\\"]
    return {uri, *(uri[:end] for end in ends)}
