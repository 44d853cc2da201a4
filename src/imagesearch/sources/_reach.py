"""Reach: whether a missing image is gone, or only cannot be looked at now."""

from __future__ import annotations

# Paths stay the text that their owner wrote, and folders hold millions of them.
# ruff: noqa: PTH114, PTH116, PTH117, PTH118, PTH120
import os
import stat
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from imagesearch.errors import SourceError
from imagesearch.sources.files import explain
from imagesearch.sources.folder import is_glob, is_hidden
from imagesearch.sources.naming import canonical_uri, is_url

__all__ = ["Obstacle", "Reach", "listed_roots"]

Obstacle: TypeAlias = tuple[str, str]
"""A place in the file system, and what is wrong with it: ``("/photos/nas", "is empty")``."""


def listed_roots(source: object) -> tuple[str, ...]:
    """Return the absolute folders whose files a source lists, without looking at them.

    Such a source names images by listing the file system, so that an image it does not name may
    still be there: a folder itself, and the folder in which a glob begins. A manifest or an `Item`
    says by itself which images there are.

    Args:
        source: As for `expand`; an iterable other than a list or set is taken to list nothing.

    Example:
        >>> listed_roots(["/photos", "/scans/*/*.png"])
        ('/photos', '/scans')
        >>> listed_roots(iter(["/photos"]))
        ()
    """
    if isinstance(source, str | os.PathLike):
        root = _root(os.fsdecode(source))
        return () if root is None else (root,)
    if isinstance(source, Collection) and not isinstance(source, bytes | bytearray | memoryview):
        places = [one for one in source if isinstance(one, str | os.PathLike)]
        return tuple(dict.fromkeys(root for place in places for root in listed_roots(place)))
    return ()


def _root(path: str) -> str | None:
    if not path or "\0" in path or is_url(path):
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
        ...     reach = Reach((folder,))
        ...     reach.obstacle_to(os.path.join(folder, "photo.jpg")) == (folder, "is empty")
        True
    """

    roots: Sequence[str]
    _known: dict[str, Obstacle | None] = field(default_factory=dict)

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
        return any(path.startswith(os.path.join(root, "")) for root in self.roots)

    def _obstacle_in(self, folder: str, *, named: bool) -> Obstacle | None:
        """Return what is wrong with the nearest folder that exists above a missing file."""
        passed: list[str] = []
        while True:
            if folder in self._known:
                found = self._known[folder]
                break
            looked_at = _look(folder)
            if looked_at is not _MISSING:
                found = looked_at
                self._known[folder] = found
                break
            parent = os.path.dirname(folder)
            if named or folder in self.roots or parent == folder:
                return folder, "does not exist"
            passed.append(folder)
            folder = parent
        self._known.update(dict.fromkeys(passed, found))
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
