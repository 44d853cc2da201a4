"""Folder: walking folders and globs, in a fixed order, round symbolic links and past obstacles."""

from __future__ import annotations

# ruff: noqa: PTH112, PTH114, PTH116, PTH118, PTH120, PTH122, PTH208
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import translate

from imagesearch.errors import FetchError, SourceError
from imagesearch.images import looks_like_image_name
from imagesearch.sources._payload import explain, refuse_kind
from imagesearch.sources._uris import canonical_uri, printable
from imagesearch.types import Failure, Item

__all__ = [
    "count_folder",
    "identity",
    "is_glob",
    "is_hidden",
    "leads_back",
    "match_glob",
    "suffix_of",
    "walk_folder",
]


# Paths stay the text that their owner wrote, and folders hold millions of them.


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
"""Folders that systems keep beside people's own, with thumbnails, deleted files and snapshots."""


def walk_folder(folder: str, *, skipped: Counter[str] | None = None) -> Iterator[Item | Failure]:
    """Yield the images in a folder and its subfolders, in the order of their names.

    Left out are hidden files and folders, the system's own folders (bins, snapshots, thumbnails),
    and files without an image's suffix. Links are followed, and each real folder is walked once, so
    that links in a circle end.

    Args:
        folder: Its path.
        skipped: Counts the files that are left out because of their names, by suffix.

    Raises:
        SourceError: The folder's own name is not valid Unicode.
    """
    return _walk(canonical_uri(folder), Counter() if skipped is None else skipped)


def count_folder(folder: str) -> int:
    """Return how many things `walk_folder` is about to yield, going by names alone."""
    return sum(1 for _ in walk_folder(folder))


@dataclass(slots=True)
class _Open:
    """A folder that is being walked, and whether anything has come out of it."""

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
                # A folder named like an image would otherwise vanish without a word.
                if here.empty and looks_like_image_name(here.path):
                    reason = (
                        f"{printable(here.path)} is a folder, not an image, and holds no images"
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
    """List a folder, or say why not; None if it has been walked under another name."""
    try:
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            return None
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as found:
            return _Open(folder, iter(sorted(found, key=lambda entry: entry.name)))
    except OSError as error:
        return Failure(printable(folder), _unlisted(folder, error))


def suffix_of(path: str) -> str:
    """Return the suffix of a path in lower case, such as ``.cr2``; empty if it has none."""
    return os.path.splitext(path)[1].lower()


def identity(folder: str) -> tuple[int, int] | None:
    """Return what is the same for all names of a folder; None if it is not there."""
    try:
        status = os.stat(folder or os.curdir)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def leads_back(path: str) -> bool:
    """Whether a path is a link to a folder that it lies in, so that there is nothing new behind it."""
    # Not by `Path`, which raises where a folder may be listed but not entered.
    if not (os.path.islink(path) and os.path.isdir(path)):
        return False
    above = os.path.realpath(os.path.dirname(path) or os.curdir)
    return os.path.join(above, "").startswith(os.path.join(os.path.realpath(path), ""))


def is_hidden(name: str) -> bool:
    """Return whether walking a folder leaves out what has this name."""
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
    """Whether text has one of the wildcards ``*``, ``?`` and ``[``."""
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
    # Two of them in a row say no more than one.
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
    """Yield what matches below a folder, but for what `seen` says has been matched already."""
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
    """Yield a folder and all below it that are not hidden, each real folder once."""
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
    """Return what a folder holds, or None if it cannot be listed, which walking it will report."""
    try:
        return sorted(os.listdir(folder or os.curdir))
    except OSError:
        return None if os.path.isdir(folder or os.curdir) else []
