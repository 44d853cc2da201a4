"""Planning: what becomes of every image of a group, before anything is embedded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from imagesearch.protocols import VectorStore
from imagesearch.sources import Payload, is_lost
from imagesearch.types import Record, canonical_metadata

__all__ = ["Fate", "Planned", "Planner"]

Fate = Literal["added", "updated", "unchanged"]


@dataclass(frozen=True, slots=True, eq=False)
class Planned:
    """One image whose fate is decided.

    Attributes:
        record: What the index shall hold; its vector is None where the model has to make it.
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
        moved: Id of a record whose file is missing → id of the new record that has its image.
    """

    store: VectorStore
    reuse: bool = False
    moved: dict[str, str] = field(default_factory=dict)
    _by_digest: dict[str, str] | None = None

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
            if planned.fate == "added" and is_lost(record.uri):
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
        if self._by_digest is None:
            self._by_digest = self._digests()
        return self._by_digest.get(wanted.digest)

    def _digests(self) -> dict[str, str]:
        """Return an id for each digest; of several that of a file which is gone."""
        by_digest: dict[str, str] = {}
        for batch in self.store.scan():
            for record in batch:
                if record.digest and (record.digest not in by_digest or is_lost(record.uri)):
                    by_digest[record.digest] = record.id
        return by_digest


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
    if planned.fate == "added" and payload.metadata is None and is_lost(donor.uri):
        record = replace(record, metadata=dict(donor.metadata))
    return replace(planned, record=record)
