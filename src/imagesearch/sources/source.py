"""Source: anything a user passes as images, classified once, and its items."""

from __future__ import annotations

# Paths stay text, as the user wrote them; folders hold millions of them.
# ruff: noqa: PTH109, PTH112, PTH113, PTH116, PTH120
import io
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, Literal, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imagesearch.errors import FetchError, ImageSearchError, SourceError, SourceNotFoundError
from imagesearch.sources._manifests import CsvManifest, JsonlManifest, open_manifest
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

__all__ = ["Source", "SourceKind", "expand"]

SourceKind: TypeAlias = Literal["image", "folder", "glob", "manifest", "iterable"]
"""What a source is: one image, or something that lists images."""

_SINGLE = Item | bytes | bytearray | memoryview | Image.Image | np.ndarray
_MAX_DEPTH = 2


def expand(source: object, *, skipped: Counter[str] | None = None) -> Iterator[Item | Failure]:
    """Yield one `Item` for each image in a source, or a `Failure` for an invalid input.

    The same as ``Source(source).items(skipped=skipped)``.

    Example:
        >>> for outcome in expand([b"encoded", "missing.jpg", 3]):
        ...     print(type(outcome).__name__)
        Item
        Failure
        Failure
    """
    return Source(source).items(skipped=skipped)


class Source:
    """Images in any form that `ImageIndex.add` accepts.

    A source is one of these; the documentation of sources describes them in full:

    - a path: an image, a folder, a CSV or JSONL manifest, or a glob such as ``photos/**/*.jpg``
    - an http(s) URL
    - bytes, a PIL image, or a NumPy array of one image
    - an `Item`
    - an iterable of these, which may itself contain lists

    Attributes:
        kind: What the source is.
        roots: Absolute folders whose files the source lists: a folder itself, or the folder in
            which a glob begins. Those of an iterable's elements are added by `items`.

    Args:
        source: As above.
        depth: Number of iterables that the source is in; lists are read one level deep.
        globs: Whether a path with wildcards that does not exist is a glob.

    Raises:
        SourceNotFoundError: `source` itself is a path that does not exist.
        SourceError: `source` itself cannot contain images, or is a malformed manifest.
        StoreRequestError: `source` is an `Item` whose id or metadata cannot be stored.

    Example:
        >>> source = Source([b"one", b"two"])
        >>> source.kind, source.estimate(), len(list(source.items()))
        ('iterable', 2, 2)
    """

    def __init__(self, source: object, *, depth: int = 0, globs: bool = True) -> None:
        self.roots: set[str] = set()
        self._source = source
        self._depth = depth
        self._globs = globs
        self._path = ""
        self._item: Item | None = None
        self._manifest: CsvManifest | JsonlManifest | None = None
        self.kind: SourceKind = self._classified()

    def _classified(self) -> SourceKind:
        source = self._source
        match source:
            case Item():
                self._item = _checked(source)
            case str() | os.PathLike():
                return self._classified_path(source)
            case bytes() | bytearray() | memoryview():
                self._item = Item(bytes(source))
            case Image.Image():
                self._item = Item(source)
            case np.ndarray():
                self._item = _array_item(source)
            case Iterable() if self._depth < _MAX_DEPTH and _holds_sources(source):
                return "iterable"
            case _:
                raise SourceError(f"{describe(source)} holds no images; {_remedy(source)}")
        return "image"

    def _classified_path(self, source: str | os.PathLike[str]) -> SourceKind:
        path = self._path = os.fsdecode(source)
        if not path:
            raise SourceNotFoundError("the path is empty; give '.' for the current folder")
        if is_url(path):
            self._item = Item(path, uri=canonical_uri(path))
            return "image"
        try:
            os.stat(path)
        except (OSError, ValueError) as error:
            missing = not os.path.lexists(path) if isinstance(error, OSError) else False
            if self._globs and isinstance(source, str) and missing and is_glob(path):
                canonical_uri(path)  # raises for a URL of an unsupported scheme
                self._note_root(path)
                return "glob"
            canonical_uri(path)
            raise explain(path, error) from error
        if os.path.isdir(path):
            self._note_root(path)
            return "folder"
        self._manifest = open_manifest(path)
        if self._manifest is not None:
            return "manifest"
        self._item = Item(path, uri=canonical_uri(path))
        return "image"

    @property
    def is_one_image(self) -> bool:
        """Whether the source is a single image and lists nothing.

        Example:
            >>> Source(b"encoded").is_one_image, Source([b"encoded"]).is_one_image
            (True, False)
        """
        return self.kind == "image"

    @property
    def folder(self) -> str | None:
        """The absolute path of the folder that the source is, or None.

        Example:
            >>> Source(["a.jpg"]).folder is None
            True
        """
        return canonical_uri(self._path) if self.kind == "folder" else None

    def estimate(self) -> int | None:
        """Return the number of outcomes of `items` as far as names tell; None if unknown.

        For progress bars: folders are listed and manifests counted, but no image is opened.

        Example:
            >>> Source([b"one", b"two"]).estimate(), Source(path for path in ()).estimate()
            (2, None)
        """
        try:
            return self._count()
        except (ImageSearchError, OSError):
            return None

    def _count(self) -> int | None:
        match self.kind:
            case "image":
                return 1
            case "folder":
                return count_folder(self._path)
            case "manifest" if self._manifest is not None:
                return self._manifest.count()
            case "iterable" if isinstance(self._source, Collection):
                return self._count_elements(self._source)
            case _:
                return None

    def _count_elements(self, elements: Collection[object]) -> int | None:
        total = 0
        for element in elements:
            count: int | None = 1
            if not isinstance(element, _SINGLE):
                try:
                    count = Source(element, depth=self._depth + 1).estimate()
                except (ImageSearchError, ValueError):
                    count = 1
            if count is None:
                return None
            total += count
        return total

    def items(self, *, skipped: Counter[str] | None = None) -> Iterator[Item | Failure]:
        """Yield one `Item` for each image, or a `Failure` for an invalid input, in a fixed order.

        Nothing is decoded, and image files are not opened, so memory does not grow with the source.

        Args:
            skipped: Counts the files in folders and globs that are left out because their names
                are not those of supported images, by suffix in lower case; empty for none.

        Returns:
            Items with their canonical URI (None for bytes and in-memory images) and checked
            metadata. Errors of elements of an iterable are yielded as failures.

        Raises:
            SourceNotFoundError: The source is a glob that matches nothing.
        """
        counter: Counter[str] = Counter() if skipped is None else skipped
        match self.kind:
            case "folder":
                return walk_folder(self._path, skipped=counter)
            case "glob":
                return self._matches(counter)
            case "manifest" if self._manifest is not None:
                return iter(self._manifest)
            case "iterable" if isinstance(self._source, Iterable):
                return self._elements(self._source, counter)
            case _:
                return iter(() if self._item is None else (self._item,))

    def _elements(
        self, elements: Iterable[object], skipped: Counter[str]
    ) -> Iterator[Item | Failure]:
        for element in elements:
            try:
                nested = Source(element, depth=self._depth + 1)
                self.roots |= nested.roots
                nested.roots = self.roots
                yield from nested.items(skipped=skipped)
            except ImageSearchError as error:
                if isinstance(element, str | os.PathLike):
                    self._note_root(os.fsdecode(element))
                id = element.id if isinstance(element, Item) else None
                yield Failure(describe(element), error, id)

    def _matches(self, skipped: Counter[str]) -> Iterator[Item | Failure]:
        matches = match_glob(self._path, skipped=skipped)
        first = next(matches, None)
        if first is None:
            raise SourceNotFoundError(
                f"{printable(self._path)} matches no image and no folder (looked for from "
                f"{printable(os.getcwd())})"
            )
        ahead = (path for path in chain((first,), matches) if not leads_back(path))
        return _without_repeats(self._opened(ahead, skipped))

    def _opened(self, paths: Iterable[str], skipped: Counter[str]) -> Iterator[Item | Failure]:
        for path in paths:
            try:
                # A name with wildcards that exists is not a pattern.
                yield from Source(path, globs=False).items(skipped=skipped)
            except ImageSearchError as error:
                yield Failure(describe(path), error)

    def _note_root(self, path: str) -> None:
        """Remember the folder that a path lists, even if it is missing now."""
        if not path or "\0" in path or is_url(path) or os.path.isfile(path):
            return
        try:
            if is_glob(path) and not os.path.lexists(path):
                while is_glob(path) and not os.path.lexists(path):
                    path = os.path.dirname(path)
                path = path or os.curdir
            self.roots.add(canonical_uri(path))
        except SourceError:
            return


def _holds_sources(source: object) -> TypeGuard[Iterable[object]]:
    """Return whether iterating gives sources, and not keys, lines, columns or numbers."""
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
    if checked.vector is not None:
        return checked
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


def _is_folder(path: str) -> bool:
    try:
        return os.path.isdir(path)
    except ValueError:
        return False


def _without_repeats(outcomes: Iterator[Item | Failure]) -> Iterator[Item | Failure]:
    """Leave out files that came before, from a matched folder or through a link to its folder."""
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
