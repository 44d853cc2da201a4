"""Folder: walking folders and globs, in a fixed order, round symbolic links and past obstacles."""

from __future__ import annotations

# Paths stay the text that their owner wrote, and folders hold millions of them.
# ruff: noqa: PTH112, PTH116, PTH118, PTH208
import os
import re
import stat
from collections.abc import Iterator
from fnmatch import translate

from imagesearch.errors import FetchError, SourceError
from imagesearch.images import looks_like_image_name
from imagesearch.sources.files import explain, refuse_kind
from imagesearch.sources.naming import canonical_uri, printable
from imagesearch.types import Failure, Item

__all__ = ["count_folder", "is_glob", "match_glob", "walk_folder"]

_MAGIC = re.compile(r"[*?\[]")
_IGNORED = frozenset({"__MACOSX"})
"""Folders of resource forks, which macOS adds to ZIP archives under the pictures' own names."""


def walk_folder(folder: str) -> Iterator[Item | Failure]:
    """Yield the images in a folder and its sub-folders, in the order of their names.

    Left out are hidden files and folders and files without an image's suffix. Links are followed,
    and each real folder is walked once, so that links in a circle end.
    """
    yield from _walk(canonical_uri(folder), set())


def count_folder(folder: str) -> int:
    """Return how many things `walk_folder` is about to yield, going by names alone."""
    return sum(1 for _ in walk_folder(folder))


def _walk(folder: str, seen: set[tuple[int, int]]) -> Iterator[Item | Failure]:
    try:
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            return
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        yield Failure(printable(folder), _unlisted(folder, error))
        return
    for entry in entries:
        if entry.name.startswith(".") or entry.name in _IGNORED:
            continue
        if _is_folder(entry):
            empty = True
            known = len(seen)
            for outcome in _walk(entry.path, seen):
                empty = False
                yield outcome
            # A folder named like an image would otherwise vanish without a word.
            if empty and len(seen) > known and looks_like_image_name(entry.name):
                reason = "is a folder, not an image, and holds no images"
                yield Failure(
                    printable(entry.path), FetchError(f"{printable(entry.path)} {reason}")
                )
        elif looks_like_image_name(entry.name):
            yield _file(entry)


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
    """Whether text has one of the wildcards ``*``, ``?`` and ``[``."""
    return _MAGIC.search(text) is not None


def match_glob(pattern: str) -> Iterator[str]:
    """Yield the paths that a pattern matches, in the order of their names.

    ``*``, ``?`` and ``[…]`` match within one name, ``**`` matches any number of folders. Hidden
    names are matched only by a part that starts with a dot. Unless the last part spells out a
    suffix (``*.csv``), only folders and names with an image's suffix are given.
    """
    drive, rest = os.path.splitdrive(pattern)
    start = drive + os.sep if rest.startswith((os.sep, "/")) else drive
    parts = [part for part in re.split(r"[/\\]" if os.sep == "\\" else "/", rest) if part]
    last = parts[-1] if parts else ""
    spelled = bool(re.search(r"\.[^.*?\[\]]+$", last))
    given: set[str] = set()
    for path in _match(start, parts, frozenset()):
        if path not in given and (spelled or looks_like_image_name(path) or os.path.isdir(path)):
            given.add(path)
            yield path


def _match(folder: str, parts: list[str], above: frozenset[tuple[int, int]]) -> Iterator[str]:
    if not parts:
        if folder:
            yield folder
        return
    part, rest = parts[0], parts[1:]
    if part == "**":
        if not rest:
            yield folder or os.curdir
            return
        yield from _match(folder, rest, frozenset())
        identity = _identity(folder)
        if identity is None or identity in above:
            return
        names = _names(folder)
        if names is None:
            yield folder
            return
        for name in names:
            inner = os.path.join(folder, name)
            if not name.startswith(".") and name not in _IGNORED and os.path.isdir(inner):
                yield from _match(inner, parts, above | {identity})
    elif not is_glob(part):
        path = os.path.join(folder, part)
        if os.path.lexists(path):
            yield from _match(path, rest, frozenset())
    else:
        matches = re.compile(translate(os.path.normcase(part))).match
        names = _names(folder)
        if names is None:
            yield folder
            return
        for name in names:
            if name.startswith(".") and not part.startswith("."):
                continue
            if matches(os.path.normcase(name)):
                path = os.path.join(folder, name)
                if not rest or os.path.isdir(path):
                    yield from _match(path, rest, frozenset())


def _identity(folder: str) -> tuple[int, int] | None:
    try:
        status = os.stat(folder or os.curdir)
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISDIR(status.st_mode) else None


def _names(folder: str) -> list[str] | None:
    """Return what a folder holds, or None if it cannot be listed, which walking it will report."""
    try:
        return sorted(os.listdir(folder or os.curdir))
    except OSError:
        return None if os.path.isdir(folder or os.curdir) else []
