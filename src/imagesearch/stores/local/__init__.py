"""LocalStore: an index in a folder, without a server."""

from imagesearch.stores.local.store import LocalStore

__all__ = ["LocalStore"]
