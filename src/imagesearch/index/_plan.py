"""Plan a write: what becomes of each input, and what a sync removes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import Literal

from imagesearch._validation import chunks
from imagesearch.errors import (
    FetchError,
    ManifestError,
    RemovalRefusedError,
    SourceError,
    SourceNotFoundError,
)
from imagesearch.index._donors import Donors, has_moved
from imagesearch.protocols import VectorStore
from imagesearch.sources import Payload, describe
from imagesearch.sources._reach import Obstacle, Reach
from imagesearch.sources.source import is_manifest
from imagesearch.types import AddReport, Failure, Record, canonical_metadata

__all__ = ["MOST_UNASKED", "SHARE_UNASKED", "Fate", "Planned", "Planner", "Removal"]


Fate = Literal["added", "updated", "unchanged"]


@dataclass(frozen=True, slots=True, eq=False)
class Planned:
    """One image whose fate is decided.

    Attributes:
        record: What the index is to hold; its vector is None where the model has to make it.
        fate: How it will be reported.
    """

    record: Record
    fate: Fate

    @property
    def needs_vector(self) -> bool:
        """Whether the image has to go through the model."""
        return self.record.vector is None and self.fate != "unchanged"


@dataclass(slots=True)
class Planner:
    """Compares images with what the index holds.

    Attributes:
        store: Open.
        reuse: Whether an image that the index holds under another id keeps its vector; costs one
            scan of the index when the first new image is met.
        moved: Id of a record whose file is elsewhere now → id of the new record that has its image.
    """

    store: VectorStore
    reuse: bool = False
    moved: dict[str, str] = field(default_factory=dict)
    _donors: Donors | None = None

    def plan(self, group: Sequence[Payload]) -> list[Planned]:
        """Decide about images, all with different ids; the plan holds none of their content.

        Raises:
            StoreError: The store failed.
        """
        existing = self.store.get([payload.id for payload in group])
        plan = [_decide(payload, existing.get(payload.id)) for payload in group]
        donors = {
            planned.record.id: donor
            for planned in plan
            if planned.fate != "unchanged"
            and (donor := self._donor(planned.record, existing)) is not None
        }
        if not donors:
            return plan
        stored = self.store.get(list(set(donors.values())), vectors=True)
        for planned in plan:
            record = stored.get(donors.get(planned.record.id, ""))
            if record is None or record.digest != planned.record.digest:
                continue
            if planned.fate == "added" and has_moved(record.uri, planned.record.uri):
                self.moved[record.id] = planned.record.id
        return [
            _inherit(planned, payload, stored.get(donors.get(payload.id, "")))
            for planned, payload in zip(plan, group, strict=True)
        ]

    def _donor(self, wanted: Record, existing: Mapping[str, Record]) -> str | None:
        """Return the id of a record that has the vector of this very image already."""
        record = existing.get(wanted.id)
        if record is not None and record.digest == wanted.digest:
            return record.id
        if not self.reuse:
            return None
        if self._donors is None:
            self._donors = Donors(self.store)
        return self._donors.find(wanted.digest, wanted.uri)


def _decide(payload: Payload, record: Record | None) -> Planned:
    wanted = Record(payload.id, payload.uri, payload.digest, payload.metadata or {})
    if record is None:
        return Planned(wanted, "added")
    # An input that says nothing about its metadata does not take away what the record has.
    if payload.metadata is None:
        wanted = replace(wanted, metadata=dict(record.metadata))
    same = (wanted.digest, wanted.uri) == (record.digest, record.uri)
    if same and canonical_metadata(wanted.metadata) == canonical_metadata(record.metadata):
        return Planned(wanted, "unchanged")
    return Planned(wanted, "updated")


def _inherit(planned: Planned, payload: Payload, donor: Record | None) -> Planned:
    # The donor may have been overwritten since it was found, where files swapped their names.
    if donor is None or donor.digest != payload.digest:
        return planned
    record = replace(planned.record, vector=donor.vector)
    # A file that moved takes its metadata along; a copy of a file that is there still does not.
    if planned.fate == "added" and payload.metadata is None and has_moved(donor.uri, payload.uri):
        record = replace(record, metadata=dict(donor.metadata))
    return replace(planned, record=record)


MOST_UNASKED = 10
"""So many records may always go without `allow_removing`."""

SHARE_UNASKED = 0.1
"""Beyond those, a larger share of the records needs `allow_removing`."""

_DELETE_BATCH = 1000


@dataclass(slots=True)
class Removal:
    """Finds and deletes the records whose image is gone, after an ingestion saw all of a source.

    Attributes:
        store: An open store.
        folder: Only records below this folder are considered; None considers all.
        roots: Folders whose files the source lists; see `watch_roots`.
        seen: Ids that the source has.
        moved: Records whose image is in the source under another id, and that id.
        report: What was added before. Its failures gave no record: unless their image is gone,
            their records stay.
        allowed: Whether a large part of the records may go.
        strict: Whether to raise the first obstacle instead of reporting it.
    """

    store: VectorStore
    folder: str | None
    roots: AbstractSet[str]
    seen: Collection[str]
    moved: Mapping[str, str]
    report: AddReport
    allowed: bool
    strict: bool
    _obstacles: Counter[Obstacle] = field(default_factory=Counter)
    _out_of_reach: int = 0

    def run(self) -> AddReport:
        """Delete, and return the report with what was removed, kept and found out of reach.

        Raises:
            RemovalRefusedError: Too much would go; nothing was deleted.
            SourceError: A manifest could not be read to its end, or `strict` and a folder is out of
                reach; nothing was deleted.
        """
        self._refuse_unclear_lines()
        gone, kept, total = self._decide()
        failures = self._failures()
        if self.strict and failures:
            raise failures[0].error
        report = replace(self.report, kept=kept, failed=[*self.report.failed, *failures])
        if not self.seen and (gone or self._out_of_reach):
            raise RemovalRefusedError(
                "nothing was removed: the source has no readable image at all, and the index has "
                f"{len(gone) + self._out_of_reach:,} records of it; is a disk not mounted? To empty "
                "the index, delete its records",
                ids=gone,
                total=total,
                allowable=False,
                report=report,
            )
        arrived = set(self.report.added)
        lost = sum(self.moved.get(id) not in arrived for id in gone)
        if lost > max(MOST_UNASKED, SHARE_UNASKED * total) and not self.allowed:
            raise RemovalRefusedError(
                f"nothing was removed: {lost:,} of {total:,} records would go, which looks like an "
                "accident (is a disk not mounted, or a list cut short?). If their images are gone "
                "for good, sync again with allow_removing=True (on the command line --yes)",
                ids=gone,
                total=total,
                report=report,
            )
        for some in chunks(gone, _DELETE_BATCH):
            self.store.delete(some)
        return replace(report, removed=gone)

    def _refuse_unclear_lines(self) -> None:
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

    def _decide(self) -> tuple[list[str], list[str], int]:
        """Return the ids that are gone, those that stay, and how many records are considered."""
        missing = [one for one in self.report.failed if _is_missing(one)]
        unreadable = [one for one in self.report.failed if not _is_missing(one)]
        kept_ids = {failure.id for failure in unreadable}
        # A folder that could not be listed stands for all records below it.
        kept_places = set(map(_place, unreadable))
        place_of_id = {failure.id: failure for failure in missing if failure.id is not None}
        missing_places = set(map(_place, missing))
        arrived = set(self.report.added)
        reach = Reach(self.roots)
        gone: list[str] = []
        kept: list[str] = []
        total = 0
        for batch in self.store.scan():
            for record in batch:
                if self.folder is not None and not _is_below(record.uri, self.folder):
                    continue
                total += record.id not in arrived
                if record.id in self.seen:
                    continue
                if record.id in kept_ids or not kept_places.isdisjoint(
                    # Failures name their places as they are shown, without control characters.
                    _places(record.uri) | _places(describe(record.uri))
                ):
                    kept.append(record.id)
                    continue
                named = record.id in place_of_id or not missing_places.isdisjoint(
                    {record.uri, describe(record.uri)}
                )
                obstacle = None
                if self.moved.get(record.id) not in arrived:
                    # A manifest may look for the image elsewhere than where it was.
                    failure = place_of_id.get(record.id)
                    moved_on = failure is not None and failure.source != describe(record.uri)
                    place = _place(failure) if failure is not None and moved_on else record.uri
                    obstacle = reach.obstacle_to(place, named=named)
                if obstacle is None:
                    gone.append(record.id)
                    continue
                kept.append(record.id)
                self._out_of_reach += 1
                # What the source itself names is among the failures already.
                if not named:
                    self._obstacles[obstacle] += 1
        return gone, kept, total

    def _failures(self) -> list[Failure]:
        """Return a failure for each obstacle that the report does not name already."""
        reported = {_place(failure) for failure in self.report.failed}
        reported |= {failure.source for failure in self.report.failed}
        failures = []
        for (place, reason), count in self._obstacles.items():
            shown = describe(place)
            if place in reported or shown in reported:
                continue
            text = reason if reason.startswith(shown) else f"{shown} {reason}"
            failures.append(
                Failure(
                    shown,
                    FetchError(
                        f"{text}; {count:,} records of the index have their images there and stay. "
                        "Is a disk or share not mounted? If they are gone for good, remove it and "
                        "sync again"
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


def _place(failure: Failure) -> str:
    return os.path.abspath(failure.source)  # noqa: PTH100  # links stay


def _places(uri: str) -> set[str]:
    """Return a URI and all folders above it."""
    ends = [end for end, character in enumerate(uri) if character in "/\\"]
    return {uri, *(uri[:end] for end in ends)}
