"""NotingStore: a store that keeps small notes beside its meta."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from imagesearch.protocols.store import Capability, VectorStore

__all__ = ["NotingStore", "noting"]


@runtime_checkable
class NotingStore(VectorStore, Protocol):
    """What a store with `Capability.NOTES` can do besides: remember what was learned about it.

    Notes are few and small, such as a calibration; they say nothing about what vectors mean, so
    unlike the meta they may change.

    Example:
        >>> from imagesearch.stores.memory import MemoryStore
        >>> isinstance(MemoryStore(), NotingStore)
        True
    """

    def notes(self) -> dict[str, Any]:
        """Return all notes by name; a copy.

        Raises:
            StoreError: The store failed.
        """
        ...

    def note(self, name: str, value: Any) -> None:
        """Keep a note, in place of one of that name; durable on return.

        Args:
            name: Not empty.
            value: A JSON value; None removes the note. Every store takes 32 KiB of JSON text;
                a store on a server may refuse more.

        Raises:
            StoreRequestError: The name is empty, or the value is no JSON value, or larger than
                the store takes; nothing was written.
            StoreError: The store failed.
        """
        ...


def noting(store: VectorStore) -> NotingStore | None:
    """Return the store if it keeps notes, else None.

    Example:
        >>> from imagesearch.stores.memory import MemoryStore
        >>> noting(MemoryStore()) is None
        False
    """
    keeps = Capability.NOTES in store.capabilities
    return store if keeps and isinstance(store, NotingStore) else None
