"""Donors: which record has the vector, and perhaps the metadata, of an image that is new by name."""

from __future__ import annotations

# Paths stay the text that their owner wrote, and folders hold millions of them.
# ruff: noqa: PTH117, PTH121
import os
import unicodedata
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from imagesearch._validation import chunks
from imagesearch.protocols import VectorStore
from imagesearch.sources import is_lost

__all__ = ["Donors", "has_moved"]

_BATCH = 1000
_SUFFIX_PARTS = 4
"""So many names at the end of a path are compared to find where an equal image has moved."""


def has_moved(old: str, new: str) -> bool:
    """Return whether a file that had one URI is now found under another.

    It is no longer there, or it is the same file: the folder above is behind a symbolic link, or the
    file system does not distinguish upper and lower case. A copy and a hard link are other files.

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


class Donors:
    """Finds records by the digest of their image; made from one scan of the index.

    Of several records with equal images, such as blank pages, each file that has moved gets one of
    its own, that whose path ends most alike.

    Args:
        store: Open.
    """

    def __init__(self, store: VectorStore) -> None:
        self._store = store
        self._by_digest: dict[str, str] = {}
        # Only of equal images, so that the memory for all others is small.
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
        """Return the id of a record with this image, first of all one that has moved here.

        Args:
            digest: Of the image.
            uri: Where it is now.

        Raises:
            StoreError: The store failed.
        """
        if digest not in self._ids_of_copies:
            return self._by_digest.get(digest)
        if digest not in self._copies:
            self._copies[digest] = _Copies.of(self._uris(self._ids_of_copies[digest]))
        return self._copies[digest].take(uri)

    def _uris(self, ids: list[str]) -> Iterator[tuple[str, str]]:
        for some in chunks(ids, _BATCH):
            yield from ((record.id, record.uri) for record in self._store.get(some).values())


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
            # A file that was moved and copied: each of the new ones takes the metadata along.
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
