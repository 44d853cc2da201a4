"""Expand: anything a user hands in → one item for each image, lazily."""

from __future__ import annotations

# ruff: noqa: PTH109, PTH110, PTH112, PTH116, PTH122
import io
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imagesearch.errors import (
    FetchError,
    ImageSearchError,
    ManifestError,
    SourceError,
    SourceNotFoundError,
)
from imagesearch.sources._manifests import CsvManifest, JsonlManifest
from imagesearch.sources._payload import check_item, explain
from imagesearch.sources._uris import canonical_uri, describe, is_url, printable
from imagesearch.sources._walk import (
    count_folder,
    identity,
    is_glob,
    leads_back,
    match_glob,
    walk_folder,
)
from imagesearch.types import Failure, Item

__all__ = ["estimate", "expand", "folder_of", "holds_sources", "is_manifest", "is_one_image"]


# Paths stay the text that their owner wrote, and folders hold millions of them.


Outcome: TypeAlias = Item | Failure

_CSV_SUFFIXES = frozenset({".csv", ".tsv"})
_JSONL_SUFFIXES = frozenset({".jsonl", ".ndjson"})


def expand(source: object, *, skipped: Counter[str] | None = None) -> Iterator[Item | Failure]:
    """Yield one `Item` for each image in a source, or a `Failure` for what gives none.

    Nothing is decoded, and images are not even opened: memory stays the same however many there
    are. What `source` may be is described in full in the documentation of sources:

    - a path: an image, a folder, a CSV or JSONL manifest, or a glob such as ``photos/**/*.jpg``
    - an http(s) URL
    - bytes, a PIL image, or a NumPy array of one image
    - an `Item`
    - an iterable of these, which may itself hold lists

    Args:
        source: As above.
        skipped: Counts the files in folders and globs that are left out because their names are
            not those of supported images, by suffix in lower case; empty for none.

    Returns:
        Items with their canonical URI (None for bytes and in-memory images) and checked metadata,
        in a fixed order; between them a `Failure` for each input that is not usable.

    Raises:
        SourceNotFoundError: `source` itself is a path or glob that names nothing.
        SourceError: `source` itself is of a kind that holds no images, or a malformed manifest.
            Inside an iterable both are yielded as a `Failure` instead.
        StoreRequestError: `source` is an `Item` whose id or metadata no store can keep.

    Example:
        >>> for outcome in expand([b"encoded", "missing.jpg", 3]):
        ...     print(type(outcome).__name__)
        Item
        Failure
        Failure
    """
    return _open(source, depth=0, skipped=Counter() if skipped is None else skipped)


def _open(source: object, *, depth: int, skipped: Counter[str]) -> Iterator[Outcome]:
    """Look at one source now, and return what yields its images later."""
    match source:
        case Item():
            return iter((_checked(source),))
        case str() | os.PathLike():
            return _open_path(source, skipped)
        case bytes() | bytearray() | memoryview():
            return iter((Item(bytes(source)),))
        case Image.Image():
            return iter((Item(source),))
        case np.ndarray():
            return iter((_array_item(source),))
        case Iterable() if depth < 2 and holds_sources(source):
            return _each(source, depth=depth, skipped=skipped)
        case _:
            raise SourceError(f"{describe(source)} holds no images; {_remedy(source)}")


def _each(sources: Iterable[object], *, depth: int, skipped: Counter[str]) -> Iterator[Outcome]:
    for source in sources:
        try:
            yield from _open(source, depth=depth + 1, skipped=skipped)
        except ImageSearchError as error:
            yield Failure(describe(source), error, source.id if isinstance(source, Item) else None)


def holds_sources(source: object) -> TypeGuard[Iterable[object]]:
    """Return whether iterating gives sources, and not keys, lines, columns or numbers.

    Example:
        >>> holds_sources(["a.jpg"]), holds_sources({"a.jpg": 1}), holds_sources(3)
        (True, False, False)
    """
    return isinstance(source, Iterable) and not (
        isinstance(source, Mapping | io.IOBase) or hasattr(source, "__array__") or _is_frame(source)
    )


def _is_frame(source: object) -> bool:
    return hasattr(source, "columns")


def _remedy(source: object) -> str:
    match source:
        case Mapping():
            return "give Item(path, id=…, metadata=…)"
        case io.IOBase():
            return "give its path, or its content as bytes: file.read()"
        case Iterable() if _is_frame(source):
            return "give [Item(row.path, metadata={…}) for row in frame.itertuples()]"
        case _ if hasattr(source, "__array__"):
            return "give a NumPy array of shape (height, width, 3), or .tolist() of it if it holds paths"
        case Iterable():
            return "lists are read one level deep; flatten it"
        case _:
            return (
                "give a path, folder, glob, CSV or JSONL manifest, http(s) URL, bytes, PIL image, "
                "array, Item, or a list of these"
            )


def _checked(item: Item) -> Item:
    checked = check_item(item)
    source = checked.source
    if isinstance(source, str | os.PathLike) and not is_url(os.fspath(source)):
        path = os.fspath(source)
        if _is_folder(path):
            raise FetchError(
                f"{printable(path)} is a folder, and an Item is one image; give the folder itself"
            )
    elif isinstance(source, np.ndarray):
        _array_item(source)
    return checked


def _array_item(array: NDArray[Any]) -> Item:
    if array.ndim not in {2, 3}:
        remedy = (
            "give its images one by one, as list(array)"
            if array.ndim == 4
            else "give array.tolist() if it holds paths"
        )
        raise SourceError(
            f"{describe(array)} is not one image, (height, width[, channels]); {remedy}"
        )
    return Item(array)


def _open_path(
    source: str | os.PathLike[str], skipped: Counter[str], *, globs: bool = True
) -> Iterator[Outcome]:
    path = os.fsdecode(source)
    if not path:
        raise SourceNotFoundError("the path is empty; give '.' for the current folder")
    if is_url(path):
        return iter((Item(path, uri=canonical_uri(path)),))
    try:
        os.stat(path)
    except (OSError, ValueError) as error:
        missing = not os.path.lexists(path) if isinstance(error, OSError) else False
        if globs and isinstance(source, str) and missing and is_glob(path):
            return _open_glob(path, skipped)
        canonical_uri(path)  # says so if it is a URL of another scheme
        raise explain(path, error) from error
    if os.path.isdir(path):
        return walk_folder(path, skipped=skipped)
    manifest = _manifest(path)
    if manifest is not None:
        return iter(manifest)
    return iter((Item(path, uri=canonical_uri(path)),))


def _open_glob(pattern: str, skipped: Counter[str]) -> Iterator[Outcome]:
    canonical_uri(pattern)
    matches = match_glob(pattern, skipped=skipped)
    first = next(matches, None)
    if first is None:
        raise SourceNotFoundError(
            f"{printable(pattern)} matches no image and no folder (looked for from "
            f"{printable(os.getcwd())})"
        )
    ahead = (path for path in chain((first,), matches) if not leads_back(path))
    return _once(_opened(ahead, skipped))


def _opened(paths: Iterable[str], skipped: Counter[str]) -> Iterator[Outcome]:
    """Open what a pattern matched; a name with wildcards of its own is no pattern again."""
    for path in paths:
        try:
            yield from _open_path(path, skipped, globs=False)
        except ImageSearchError as error:
            yield Failure(describe(path), error)


def _once(outcomes: Iterator[Outcome]) -> Iterator[Outcome]:
    """Leave out files that came before: from a folder that was matched as well, or behind a link."""
    folders: dict[str, tuple[int, int] | None] = {}
    seen: set[tuple[tuple[int, int] | None, str]] = set()
    for outcome in outcomes:
        if isinstance(outcome, Item) and isinstance(outcome.source, str):
            folder, name = os.path.split(outcome.source)
            if folder not in folders:
                folders[folder] = identity(folder)
            if folders[folder] is not None:
                if (folders[folder], name) in seen:
                    continue
                seen.add((folders[folder], name))
        yield outcome


def _manifest(path: str) -> CsvManifest | JsonlManifest | None:
    suffix = os.path.splitext(path)[1].lower()
    if suffix in _CSV_SUFFIXES:
        return CsvManifest(path)
    if suffix in _JSONL_SUFFIXES:
        return JsonlManifest(path)
    return None


def _is_folder(path: str) -> bool:
    try:
        return os.path.isdir(path)
    except ValueError:
        return False


def folder_of(source: object) -> str | None:
    """Return the absolute path of the folder that a source is, or None if it is something else.

    Example:
        >>> folder_of(["a.jpg"]) is None
        True
    """
    if not isinstance(source, str | os.PathLike):
        return None
    path = os.fspath(source)
    if not path or is_url(path) or not _is_folder(path):
        return None
    return canonical_uri(path)


def is_manifest(path: str) -> bool:
    """Return whether a path has the suffix of a manifest, which need not exist.

    Example:
        >>> is_manifest("photos.CSV"), is_manifest("photos.jpg")
        (True, False)
    """
    return os.path.splitext(path)[1].lower() in _CSV_SUFFIXES | _JSONL_SUFFIXES


def is_one_image(source: object) -> bool:
    """Return whether a source is one image by itself, and nothing that lists images.

    A path that names nothing is left for `expand` to refuse.

    Example:
        >>> is_one_image(b"encoded"), is_one_image([b"encoded"]), is_one_image(os.curdir)
        (True, False, False)
    """
    match source:
        case Item() | bytes() | bytearray() | memoryview() | Image.Image() | np.ndarray():
            return True
        case str() | os.PathLike():
            path = os.fsdecode(source)
            return is_url(path) or (
                not is_manifest(path) and os.path.lexists(path) and not _is_folder(path)
            )
        case _:
            return False


def estimate(source: object) -> int | None:
    """Return how many things `expand` would yield, where names alone tell it; None otherwise.

    Used for progress bars: folders are listed and manifests counted, but no image is opened, and
    what is wrong with the source is left for `expand` to say.

    Example:
        >>> estimate([b"one", b"two"]), estimate(path for path in ())
        (2, None)
    """
    try:
        return _count(source, depth=0)
    except (ImageSearchError, OSError):
        return None


def _count(source: object, *, depth: int) -> int | None:
    if isinstance(source, str | os.PathLike):
        path = os.fspath(source)
        if path and not is_url(path):
            if _is_folder(path):
                return count_folder(path)
            if is_manifest(path):
                manifest = _manifest(path) if os.path.exists(path) else None
                return 1 if manifest is None else manifest.count()
            if is_glob(path) and not os.path.lexists(path):
                return None
        return 1
    if isinstance(source, Item | bytes | bytearray | memoryview | Image.Image | np.ndarray):
        return 1
    if not holds_sources(source):
        return 1
    if depth > 1 or not isinstance(source, Collection):
        return None if depth < 2 else 1
    total = 0
    for inner in source:
        try:
            count = _count(inner, depth=depth + 1)
        except (ManifestError, FetchError, ValueError):
            count = 1
        if count is None:
            return None
        total += count
    return total
