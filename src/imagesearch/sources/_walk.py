"""Walk folders and globs in a fixed order, and tell deleted files from unreachable ones."""

from __future__ import annotations

# Paths stay text, as the user wrote them; folders hold millions of them.
# ruff: noqa: PTH112, PTH114, PTH116, PTH117, PTH118, PTH120, PTH122, PTH208
import os
import re
import stat
from collections import Counter
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from fnmatch import translate
from typing import TypeAlias

from imagesearch.errors import FetchError, SourceError
from imagesearch.images import looks_like_image_name
from imagesearch.sources._payload import explain, refuse_kind
from imagesearch.sources._uris import canonical_uri, printable
from imagesearch.types import Failure, Item

__all__ = [
    "Obstacle",
    "Reach",
    "count_folder",
    "identity",
    "is_glob",
    "is_hidden",
    "leads_back",
    "match_glob",
    "suffix_of",
    "walk_folder",
]

_MAGIC = re.compile(r"[*?\[]")
_IGNORED = frozenset(
    {
        "__macosx",  # resource forks, which macOS adds to ZIP archives under the images' own names
        "@eadir", "#recycle", "#snapshot", "@tmp",  # Synology: thumbnails, bin, snapshots
        "@recycle", "@recently-snapshot",  # QNAP
        "$recycle.bin", "recycler", "system volume information",  # Windows
        "lost+found",  # fsck
    }
)  # fmt: skip
"""Folders of operating systems and NAS devices: thumbnails, deleted files, snapshots."""

Obstacle: TypeAlias = tuple[str, str]
"""A path and what is wrong with it: ``("/photos/nas", "is empty")``."""


def walk_folder(folder: str, *, skipped: Counter[str] | None = None) -> Iterator[Item | Failure]:
    """Yield the images in a folder and its subfolders, in the order of their names.

    Hidden files and folders, system folders (bins, snapshots, thumbnails) and files without an
    image's suffix are left out. Links are followed, and each real folder is walked once.

    Args:
        folder: Its path.
        skipped: Counts the files that are left out because of their names, by suffix.

    Raises:
        SourceError: The folder's name is not valid Unicode.
    """
    return _walk(canonical_uri(folder), Counter() if skipped is None else skipped)


def count_folder(folder: str) -> int:
    """Return the number of outcomes of `walk_folder`."""
    return sum(1 for _ in walk_folder(folder))


@dataclass(slots=True)
class _Open:
    """A folder that is being walked, and whether nothing was yielded from it yet."""

    path: str
    entries: Iterator[os.DirEntry[str]]
    empty: bool = True


def _walk(top: str, skipped: Counter[str]) -> Iterator[Item | Failure]:
    # A stack and not recursion: folders may be nested deeper than Python's calls.
    seen: set[tuple[int, int]] = set()
    entered = _enter(top, seen)
    if isinstance(entered, Failure):
        yield entered
    stack = [entered] if isinstance(entered, _Open) else []
    while stack:
        here = stack[-1]
        entry = next(here.entries, None)
        if entry is None:
            stack.pop()
            if stack:
                # A folder named like an image would otherwise be skipped silently.
                if here.empty and looks_like_image_name(here.path):
                    reason = (
                        f"{printable(here.path)} is a folder, not an image, and contains no images"
                    )
                    yield Failure(printable(here.path), FetchError(reason))
                    here.empty = False
                stack[-1].empty = stack[-1].empty and here.empty
        elif is_hidden(entry.name):
            continue
        elif _is_folder(entry):
            entered = _enter(entry.path, seen)
            if isinstance(entered, _Open):
                stack.append(entered)
            elif entered is not None:
                here.empty = False
                yield entered
        elif looks_like_image_name(entry.name):
            here.empty = False
            yield _file(entry)
        else:
            skipped[suffix_of(entry.name)] += 1


def _enter(folder: str, seen: set[tuple[int, int]]) -> _Open | Failure | None:
    """List a folder, or return a failure; None if it was walked under another name."""
    try:
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            return None
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as entries:
            return _Open(folder, iter(sorted(entries, key=lambda entry: entry.name)))
    except OSError as error:
        return Failure(printable(folder), _unlisted(folder, error))


def suffix_of(path: str) -> str:
    """Return the suffix of a path in lower case, such as ``.cr2``; empty if it has none."""
    return os.path.splitext(path)[1].lower()


def identity(folder: str) -> tuple[int, int] | None:
    """Return device and inode of a folder, the same under all its names; None if it is missing."""
    try:
        status = os.stat(folder or os.curdir)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def leads_back(path: str) -> bool:
    """Return whether a path is a link to a folder that contains it."""
    # Not by `Path`, which raises where a folder may be listed but not entered.
    if not (os.path.islink(path) and os.path.isdir(path)):
        return False
    above = os.path.realpath(os.path.dirname(path) or os.curdir)
    return os.path.join(above, "").startswith(os.path.join(os.path.realpath(path), ""))


def is_hidden(name: str) -> bool:
    """Return whether walking a folder leaves out entries of this name."""
    return name.startswith(".") or name.lower() in _IGNORED


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _file(entry: os.DirEntry[str]) -> Item | Failure:
    try:
        if not entry.is_file():
            refuse_kind(entry.path, os.stat(entry.path).st_mode)
        uri = canonical_uri(entry.path)
    except SourceError as error:
        return Failure(printable(entry.path), error)
    except OSError as error:
        return Failure(printable(entry.path), explain(entry.path, error))
    return Item(entry.path, uri=uri)


def _unlisted(folder: str, error: OSError) -> SourceError:
    reason = explain(folder, error)
    return FetchError(f"the folder {reason}") if isinstance(reason, FetchError) else reason


def is_glob(text: str) -> bool:
    """Return whether text has one of the wildcards ``*``, ``?`` and ``[``."""
    return _MAGIC.search(text) is not None


def match_glob(pattern: str, *, skipped: Counter[str] | None = None) -> Iterator[str]:
    """Yield the paths that a pattern matches, in the order of their names.

    ``*``, ``?`` and ``[…]`` match within one name, ``**`` matches any number of folders. However
    many ``**`` there are, each folder is matched once against each part of the pattern. Hidden
    names are matched only by a part that starts with a dot. Unless the last part spells out a
    suffix (``*.csv``), only folders and names with an image's suffix are given. A part that is the
    name of something that exists, such as ``Rome [2024]``, stands for that alone.

    Args:
        pattern: The path with its wildcards.
        skipped: Counts the files that match and are left out because of their names, by suffix.
    """
    drive, rest = os.path.splitdrive(pattern)
    start = drive + os.sep if rest.startswith((os.sep, "/")) else drive
    split = [part for part in re.split(r"[/\\]" if os.sep == "\\" else "/", rest) if part]
    # Two in a row match the same as one.
    parts = [part for at, part in enumerate(split) if part != "**" or split[at - 1 : at] != ["**"]]
    last = parts[-1] if parts else ""
    spelled = bool(re.search(r"\.[^.*?\[\]]+$", last))
    given: set[str] = set()
    for path in _match(start, parts, set()):
        if path in given:
            continue
        given.add(path)
        if spelled or looks_like_image_name(path) or os.path.isdir(path):
            yield path
        elif skipped is not None:
            skipped[suffix_of(path)] += 1


def _match(folder: str, parts: list[str], seen: set[tuple[str, int]]) -> Iterator[str]:
    """Yield matches below a folder, except below folders that were matched already."""
    if not parts:
        yield folder
        return
    if (folder, len(parts)) in seen:
        return
    seen.add((folder, len(parts)))
    part, rest = parts[0], parts[1:]
    if part == "**":
        if not rest:
            yield folder or os.curdir
            return
        for inner in _folders(folder):
            yield from _match(inner, rest, seen)
    elif os.path.lexists(path := os.path.join(folder, part)):
        yield from _match(path, rest, seen)
    elif is_glob(part):
        names = _names(folder)
        if names is None:
            yield folder
            return
        matches = re.compile(translate(os.path.normcase(part))).match
        for name in names:
            if name.startswith(".") and not part.startswith("."):
                continue
            if matches(os.path.normcase(name)):
                path = os.path.join(folder, name)
                if not rest or os.path.isdir(path):
                    yield from _match(path, rest, seen)


def _folders(top: str) -> Iterator[str]:
    """Yield a folder and all folders below it that are not hidden, each real folder once."""
    seen: set[tuple[int, int]] = set()
    stack = [top]
    while stack:
        folder = stack.pop()
        here = identity(folder)
        if here is None or here in seen:
            continue
        seen.add(here)
        yield folder
        inner = (os.path.join(folder, name) for name in _names(folder) or () if not is_hidden(name))
        stack.extend(sorted(filter(os.path.isdir, inner), reverse=True))


def _names(folder: str) -> list[str] | None:
    """Return the names in a folder, or None if it cannot be listed, which a walk will report."""
    try:
        return sorted(os.listdir(folder or os.curdir))
    except OSError:
        return None if os.path.isdir(folder or os.curdir) else []


@dataclass(slots=True)
class Reach:
    """Tells missing files that were deleted from those that may only be unreachable.

    An empty folder may be the mount point of a disk or network share, and a dangling symbolic link
    may lead there. A file or folder that is missing from a folder with other entries was deleted.
    Each folder is examined once, however many files are missing.

    Attributes:
        roots: Absolute folders that the user named; one that is missing is unreachable.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     reach = Reach({folder})
        ...     reach.obstacle_to(os.path.join(folder, "photo.jpg")) == (folder, "is empty")
        True
    """

    roots: AbstractSet[str]
    _examined: dict[tuple[str, bool], Obstacle | None] = field(default_factory=dict)

    def obstacle_to(self, uri: str, *, named: bool = False) -> Obstacle | None:
        """Return why a file may be unreachable; None if it exists, was deleted, or is not listed.

        Args:
            uri: An absolute path. The result is None for anything else, and for files that are
                neither named nor below a root.
            named: Whether the source itself names the file; its folder should then exist, and the
                file too if it is visible.
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
        return (uri, "was not found, and exists now") if named else None

    def _lists(self, path: str) -> bool:
        folder = os.path.dirname(path)
        while folder not in self.roots:
            folder, below = os.path.dirname(folder), folder
            if folder == below:
                return False
        return True

    def _obstacle_in(self, folder: str, *, named: bool) -> Obstacle | None:
        """Return what is wrong with the nearest existing folder above a missing file."""
        passed: list[str] = []
        while True:
            if (folder, named) in self._examined:
                obstacle = self._examined[folder, named]
                break
            obstacle = _examine(folder)
            if obstacle is not _MISSING:
                self._examined[folder, named] = obstacle
                break
            parent = os.path.dirname(folder)
            if named or folder in self.roots or parent == folder:
                return folder, "does not exist"
            passed.append(folder)
            folder = parent
        self._examined.update(dict.fromkeys(((below, named) for below in passed), obstacle))
        return obstacle


_MISSING: Obstacle = ("", "missing")


def _examine(folder: str) -> Obstacle | None:
    """Return what is wrong with a folder, `_MISSING`, or None if it has entries."""
    try:
        status = os.stat(folder)
        if not stat.S_ISDIR(status.st_mode):
            return None
        with os.scandir(folder) as entries:
            # Systems create files in mount points, such as .DS_Store.
            has_entries = any(not is_hidden(entry.name) for entry in entries)
    except (FileNotFoundError, NotADirectoryError):
        return _dangling(folder) or _MISSING
    except (OSError, ValueError) as error:
        return folder, str(explain(folder, error))
    return None if has_entries else (folder, "is empty")


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
