"""SharingStore: a store that one process writes at a time, and that can leave it to others."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from imagesearch.protocols.store import VectorStore

__all__ = ["SharingStore"]


@runtime_checkable
class SharingStore(VectorStore, Protocol):
    """What a store can do besides, whose first write keeps other processes from writing.

    Example:
        >>> from imagesearch.stores.local import LocalStore
        >>> from imagesearch.stores.memory import MemoryStore
        >>> isinstance(LocalStore("photos.idx"), SharingStore), isinstance(MemoryStore(), SharingStore)
        (True, False)
    """

    def release(self) -> None:
        """Let other processes write, until this store writes again; it stays open.

        Waits for a write that another thread is doing.

        Raises:
            StoreError: The store failed.
        """
        ...
