"""Reach: whether a missing image is gone, or only cannot be looked at now."""

from __future__ import annotations

# Paths stay the text that their owner wrote, and folders hold millions of them.
# ruff: noqa: PTH113, PTH114, PTH116, PTH117, PTH120
import os
import stat
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import TypeAlias

from imagesearch.errors import SourceError
from imagesearch.sources._payload import explain
from imagesearch.sources._uris import canonical_uri, is_url
from imagesearch.sources._walk import is_glob, is_hidden
from imagesearch.sources.source import holds_sources

__all__ = ["Obstacle", "Reach", "watch_roots"]

Obstacle: TypeAlias = tuple[str, str]
"""A place in the file system, and what is wrong with it: ``("/photos/nas", "is empty")``."""


def watch_roots(source: object, roots: set[str], *, depth: int = 0) -> object:
    """Return a source like the given one, and note the folders whose files it lists.

    Such a source names images by listing the file system, so that an image it does not name may
    still be there: a folder itself, and the folder in which a glob begins. A manifest or an `Item`
    says by itself which images there are. What an iterable gives is noted when it is given.

    Args:
        source: As for `expand`.
        roots: Absolute folders are added here.
        depth: How many iterables the source is in.

    Example:
        >>> roots = set()
        >>> list(watch_roots(iter(["/photos", "/scans/*/*.png"]), roots))
        ['/photos', '/scans/*/*.png']
        >>> sorted(roots)
        ['/photos', '/scans']
    """
    if isinstance(source, str | os.PathLike):
        root = _root(os.fsdecode(source))
        if root is not None:
            roots.add(root)
        return source
    content = isinstance(source, bytes | bytearray | memoryview)
    if depth > 1 or content or not holds_sources(source):
        return source
    return (watch_roots(inner, roots, depth=depth + 1) for inner in source)


def _root(path: str) -> str | None:
    if not path or "\0" in path or is_url(path) or os.path.isfile(path):
        return None
    try:
        if is_glob(path) and not os.path.lexists(path):
            # A name with brackets that exists as it is written is not a pattern.
            while is_glob(path) and not os.path.lexists(path):
                path = os.path.dirname(path)
            path = path or os.curdir
        return canonical_uri(path)
    except SourceError:
        return None


@dataclass(slots=True)
class Reach:
    """Finds what hides a missing file.

    A folder that is empty looks the same whether its images were deleted or a disk or network share
    is not mounted there; a symbolic link whose target is missing may lead to such a place. A file
    that is missing from a folder which holds other things is gone, and so is a folder.

    Each folder is looked at once, so that thousands of missing files cost little.

    Attributes:
        roots: Absolute folders that the user named: one that is missing is out of reach.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     reach = Reach({folder})
        ...     reach.obstacle_to(os.path.join(folder, "photo.jpg")) == (folder, "is empty")
        True
    """

    roots: AbstractSet[str]
    _known: dict[tuple[str, bool], Obstacle | None] = field(default_factory=dict)

    def obstacle_to(self, uri: str, *, named: bool = False) -> Obstacle | None:
        """Return what hides a file; None if nothing does: it is there, it is gone, or not listed.

        Args:
            uri: An absolute path; of anything else, and of files that are neither named nor below
                a root, the source has decided.
            named: Whether the source itself names the file. Then its folder is expected to be
                there, and the file too if it can be seen.
        """
        if not os.path.isabs(uri) or not (named or self._lists(uri)):
            return None
        try:
            status = os.lstat(uri)
        except (FileNotFoundError, NotADirectoryError):
            return self._obstacle_in(os.path.dirname(uri), named=named)
        except (OSError, ValueError) as error:
            return uri, str(explain(uri, error))
        if stat.S_ISLNK(status.st_mode) and (dangling := _dangling(uri)):
            return dangling
        return (uri, "was not found, and is there now") if named else None

    def _lists(self, path: str) -> bool:
        folder = os.path.dirname(path)
        while folder not in self.roots:
            folder, below = os.path.dirname(folder), folder
            if folder == below:
                return False
        return True

    def _obstacle_in(self, folder: str, *, named: bool) -> Obstacle | None:
        """Return what is wrong with the nearest folder that exists above a missing file."""
        passed: list[str] = []
        while True:
            if (folder, named) in self._known:
                found = self._known[folder, named]
                break
            looked_at = _look(folder)
            if looked_at is not _MISSING:
                found = looked_at
                self._known[folder, named] = found
                break
            parent = os.path.dirname(folder)
            if named or folder in self.roots or parent == folder:
                return folder, "does not exist"
            passed.append(folder)
            folder = parent
        self._known.update(dict.fromkeys(((one, named) for one in passed), found))
        return found


_MISSING: Obstacle = ("", "missing")


def _look(folder: str) -> Obstacle | None:
    """Return what is wrong with a folder, `_MISSING`, or None if it holds something."""
    try:
        status = os.stat(folder)
        if not stat.S_ISDIR(status.st_mode):
            return None
        with os.scandir(folder) as entries:
            # Systems leave files of their own in mount points, such as .DS_Store.
            holds_something = any(not is_hidden(entry.name) for entry in entries)
    except (FileNotFoundError, NotADirectoryError):
        return _dangling(folder) or _MISSING
    except (OSError, ValueError) as error:
        return folder, str(explain(folder, error))
    return None if holds_something else (folder, "is empty")


def _dangling(path: str) -> Obstacle | None:
    """Return what is wrong with a symbolic link; None for anything else."""
    try:
        if not stat.S_ISLNK(os.lstat(path).st_mode):
            return None
        os.stat(path)
    except OSError as error:
        reason = explain(path, error)
        return (path, str(reason)) if os.path.islink(path) else None
    return None
