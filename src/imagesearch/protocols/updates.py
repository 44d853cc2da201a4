"""SupportsMetadataUpdate and SupportsFilterDeletion: stores that change records in one step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from imagesearch.filters import Filter
from imagesearch.protocols.store import VectorStore
from imagesearch.types import Metadata

__all__ = ["SupportsFilterDeletion", "SupportsMetadataUpdate"]


@runtime_checkable
class SupportsMetadataUpdate(VectorStore, Protocol):
    """A store that changes the metadata of existing records without writing the records again.

    Without it, `ImageIndex.update_metadata` reads each record and upserts it as a whole: of two
    writers that set different fields at the same time, one can undo the other, and a record that
    is deleted in between comes back.

    Example:
        >>> from imagesearch.stores.memory import MemoryStore
        >>> isinstance(MemoryStore(), SupportsMetadataUpdate)
        True
    """

    def update_metadata(
        self,
        fields: Metadata,
        *,
        ids: Sequence[str] | None = None,
        where: Filter | None = None,
        replace: bool = False,
    ) -> int:
        """Set fields of records that exist; atomic for each record, durable on return.

        Fields that another writer sets at the same time are kept, unless they are the same ones.
        A record that does not exist, or is deleted at the same time, is not created. Vector, URI
        and digest stay as they are.

        Args:
            fields: Fields to set; None removes a field.
            ids: Any number of ids; unknown ones and repetitions are ignored, no ids change nothing.
            where: All records that match. Exactly one of `ids` and `where` is given.
            replace: Whether to remove all other fields.

        Returns:
            How many records there were, whether or not their metadata changed.

        Raises:
            StoreRequestError: Neither or both of `ids` and `where` are given, or the metadata are
                not JSON values that the store can keep; nothing was written.
            UnsupportedFilterError: The store cannot express `where`; nothing was written.
            StoreError: The store failed.
        """
        ...


@runtime_checkable
class SupportsFilterDeletion(VectorStore, Protocol):
    """A store that deletes all records that match a filter in one step.

    Without it, `ImageIndex.delete` reads the ids that match and deletes those: a record that stops
    matching in between is deleted all the same.

    Example:
        >>> from imagesearch.stores.memory import MemoryStore
        >>> isinstance(MemoryStore(), SupportsFilterDeletion)
        True
    """

    def delete_where(self, where: Filter) -> int:
        """Delete all records that match.

        Returns:
            How many are gone.

        Raises:
            UnsupportedFilterError: The store cannot express `where`; nothing was deleted.
            StoreError: The store failed.
        """
        ...
