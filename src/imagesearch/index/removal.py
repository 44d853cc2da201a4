"""Removal: what a source has lost goes from the index, unless the loss looks like an accident."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from imagesearch.chunks import chunks
from imagesearch.errors import ManifestError, SourceError, SourceNotFoundError
from imagesearch.protocols import VectorStore
from imagesearch.types import Failure

__all__ = ["Removal"]

_DELETE_BATCH = 1000


@dataclass(frozen=True, slots=True)
class Removal:
    """Finds and deletes the records whose image is gone, after an ingestion saw all of a source.

    Attributes:
        store: An open store.
        folder: Only records below this folder may go; None considers all.
        seen: Ids that the source has.
        failed: Inputs that gave no record: unless their image is gone, their records stay.
    """

    store: VectorStore
    folder: str | None
    seen: Collection[str]
    failed: Sequence[Failure]

    def run(self) -> list[str]:
        """Delete, and return the ids that are gone.

        Raises:
            SourceError: The source gave nothing at all, or a manifest could not be read to its
                end; nothing was deleted.
        """
        broken = [failure for failure in self.failed if not _is_gone(failure)]
        for failure in broken:
            if isinstance(failure.error, ManifestError) and failure.id is None:
                raise SourceError(
                    f"nothing was removed: {failure.error}; what this line stands for cannot be "
                    "told, so mend it and sync again"
                ) from failure.error
        kept_ids = {failure.id for failure in broken}
        # A folder that could not be listed stands for all records below it.
        kept_places = {os.path.abspath(failure.source) for failure in broken}  # noqa: PTH100  # links stay
        gone: list[str] = []
        for batch in self.store.scan():
            gone += [
                record.id
                for record in batch
                if record.id not in self.seen
                and record.id not in kept_ids
                and (self.folder is None or self.folder in _places(record.uri))
                and kept_places.isdisjoint(_places(record.uri))
            ]
        if gone and not self.seen:
            raise SourceError(
                f"nothing was removed: the source has no readable image at all, and {len(gone)} "
                "records would go; is a disk not mounted? To empty the index, delete its records"
            )
        for some in chunks(gone, _DELETE_BATCH):
            self.store.delete(some)
        return gone


def _is_gone(failure: Failure) -> bool:
    return isinstance(failure.error, SourceNotFoundError)


def _places(uri: str) -> set[str]:
    """Return a URI and all folders above it."""
    ends = [end for end, character in enumerate(uri) if character in "/\\"]
    return {uri, *(uri[:end] for end in ends)}
