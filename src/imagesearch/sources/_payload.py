"""Read one item: its bytes, whatever it is, without waiting and without bound."""

from __future__ import annotations

# ruff: noqa: PTH109, PTH115, PTH117
import errno
import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imagesearch._printable import shorten
from imagesearch._rendering import thumbnail
from imagesearch._validation import as_float32, is_unicode
from imagesearch.errors import (
    DecodeError,
    FetchError,
    ImageSearchError,
    SourceError,
    SourceNotFoundError,
)
from imagesearch.images import decode, from_array, upright_rgb
from imagesearch.sources._fetch import fetch
from imagesearch.sources._uris import canonical_uri, derive_id, describe, is_url, printable
from imagesearch.types import ImageSource, Item, check_id, check_metadata

__all__ = [
    "MAX_BYTES",
    "Payload",
    "check_item",
    "explain",
    "held_bytes_of",
    "is_lost",
    "open_image",
    "open_thumbnail",
    "read",
    "read_file",
    "refuse_kind",
]


def read_file(path: str, *, max_bytes: int) -> bytes:
    """Return the bytes of a regular file.

    Raises:
        SourceNotFoundError: The path does not exist, or is a dangling link.
        FetchError: No permission, not a regular file, larger than `max_bytes`, or an I/O error.
    """
    # Without O_NONBLOCK, opening a FIFO without a writer blocks for ever.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags | getattr(os, "O_CLOEXEC", 0))
    except (OSError, ValueError) as error:
        raise explain(path, error) from error
    try:
        status = os.fstat(descriptor)
        refuse_kind(path, status.st_mode)
        if status.st_size > max_bytes:
            raise _too_large(path, status.st_size, max_bytes)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data: bytes | None = file.read(max_bytes + 1)
    except SourceError:
        raise
    except OSError as error:
        raise explain(path, error) from error
    finally:
        os.close(descriptor)
    if data is None:
        # Some system files, such as /proc/kmsg, look regular and have no data with O_NONBLOCK.
        raise FetchError(f"{printable(path)} has no data to read and is not an image file")
    if len(data) > max_bytes:
        raise _too_large(path, len(data), max_bytes)
    return data


def refuse_kind(path: str, mode: int) -> None:
    """Refuse folders, FIFOs, sockets and devices.

    Raises:
        FetchError: `mode` is that of a folder, FIFO, socket or device.
    """
    if stat.S_ISREG(mode):
        return
    if stat.S_ISDIR(mode):
        raise FetchError(f"{printable(path)} is a folder; give the path of an image")
    kinds = (
        (stat.S_ISFIFO, "a FIFO (named pipe)"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
    )
    kind = next((words for test, words in kinds if test(mode)), "not a regular file")
    raise FetchError(f"{printable(path)} is {kind}; copy the image into a regular file")


def is_lost(uri: str) -> bool:
    """Return whether a URI is a path that does not exist; False for URLs and in-memory images.

    A path that may not be examined counts as existing.

    Example:
        >>> is_lost("/no/such/photo.jpg"), is_lost("https://example.org/photo.jpg")
        (True, False)
    """
    if not os.path.isabs(uri):
        return False
    try:
        os.lstat(uri)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False
    return False


def explain(path: str, error: OSError | ValueError) -> SourceError:
    """Return the error for a path that cannot be examined or read."""
    shown = printable(path)
    if isinstance(error, ValueError):
        return SourceNotFoundError(f"{shown!r} is not a valid path: {error}")
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR:
            try:
                target = os.readlink(path)
            except OSError:
                return SourceNotFoundError(
                    f"{shown} does not exist (looked for from {printable(os.getcwd())})"
                    if not os.path.isabs(path)
                    else f"{shown} does not exist"
                )
            return SourceNotFoundError(
                f"{shown} is a symbolic link to {printable(target)}, which does not exist"
            )
        case errno.ELOOP:
            return SourceNotFoundError(f"{shown} is a symbolic link to itself")
        case errno.ENAMETOOLONG:
            return SourceNotFoundError(f"{shown[:80]}… is too long for a path")
        case errno.EACCES | errno.EPERM:
            return FetchError(f"{shown} cannot be read: permission denied")
        case errno.ENXIO:
            return FetchError(f"{shown} is a socket or device, not a file")
        case _:
            return FetchError(f"{shown} cannot be read: {error.strerror or error}")


def _too_large(path: str, size: int, max_bytes: int) -> FetchError:
    return FetchError(
        f"{printable(path)} has {size / 1e6:.0f} MB, more than the limit of {max_bytes / 1e6:.0f} "
        "MB for images; save a smaller copy"
    )


MAX_BYTES = 512 * 1024 * 1024
"""Largest encoded image that is read, as many bytes as the largest image has pixels data."""

_RGB = 3


@dataclass(frozen=True, slots=True, eq=False)
class Payload:
    """One image that has been read but not decoded, or the vector of one.

    Attributes:
        id: The item's id, or derived from the URI, or from the content of in-memory images.
        uri: An absolute path, a URL, or ``sha256:…`` for bytes and in-memory images.
        digest: Hex SHA-256 of the encoded bytes; for in-memory images of the size and the upright
            RGB pixels; for vectors of their bytes.
        metadata: The user's own fields, checked; None if the item has none.
        content: The encoded bytes, or for in-memory images the upright RGB image; empty for
            vectors.
        vector: The item's own vector, float32 of shape (dim,), or None.
    """

    id: str
    uri: str
    digest: str
    metadata: dict[str, Any] | None
    content: bytes | Image.Image
    vector: NDArray[np.float32] | None = None

    @property
    def held_bytes(self) -> int:
        """Bytes of memory: the encoded bytes, the vector, or the pixels of an in-memory image."""
        if self.vector is not None:
            return self.vector.nbytes
        if isinstance(self.content, bytes):
            return len(self.content)
        return self.content.width * self.content.height * _RGB

    def open(self, *, shrink_to: int | None = None) -> Image.Image:
        """Return the upright RGB image.

        Args:
            shrink_to: As for `imagesearch.images._decode`; in-memory images keep their size.

        Raises:
            DecodeError: The bytes are not an accepted image, or there is only a vector.
            MissingDependencyError: The format needs an optional package.
        """
        if self.vector is not None:
            raise DecodeError(f"{describe(self.uri)} was given as a vector, without an image")
        if isinstance(self.content, Image.Image):
            return self.content
        return decode(self.content, shrink_to=shrink_to, name=describe(self.uri))


def read(item: Item) -> Payload:
    """Read one item: its bytes or its vector, its id and its URI.

    Several threads may read at once.

    Raises:
        SourceNotFoundError: The path or URL does not exist.
        FetchError: It cannot be read, is not a regular file, or is larger than `MAX_BYTES`.
        DecodeError: An in-memory image is not accepted.
        SourceError: The source is not a single image.
        StoreRequestError: The id or the metadata cannot be stored.

    Example:
        >>> payload = read(Item(b"not yet decoded", metadata={"label": "fish"}))
        >>> payload.uri[:12], payload.id == payload.digest[:32]
        ('sha256:13304', True)
    """
    item = check_item(item)
    vector = None if item.vector is None else _vector(item)
    content = b"" if vector is not None or item.source is None else _content(item.source)
    digest = _digest(content if vector is None else vector.tobytes())
    uri = item.uri if item.uri is not None else f"sha256:{digest}"
    derived = derive_id(uri) if item.uri is not None else digest[:32]
    return Payload(
        id=item.id if item.id is not None else derived,
        uri=uri,
        digest=digest,
        metadata=None if item.metadata is None else dict(item.metadata),
        content=content,
        vector=vector,
    )


def held_bytes_of(source: object) -> int:
    """Return the size of a source's payload in bytes if it is known without reading; else 0.

    Example:
        >>> held_bytes_of(np.zeros((10, 20), np.uint8)), held_bytes_of("photo.jpg")
        (600, 0)
    """
    match source:
        case bytes():
            return len(source)
        case Image.Image():
            return source.width * source.height * _RGB
        case np.ndarray(shape=(height, width, *_)):
            return int(height * width * _RGB)
        case _:
            return 0


def open_image(source: ImageSource | Item, *, shrink_to: int | None = None) -> Image.Image:
    """Open one image, as a query is opened: a path, URL, bytes, PIL image or array.

    Args:
        source: What `Item.source` may be, or an item.
        shrink_to: As for `imagesearch.images._decode`.

    Raises:
        SourceError: It cannot be found, read or decoded; see `read`.
        MissingDependencyError: The format needs an optional package.

    Example:
        >>> open_image(Image.new("L", (4, 3))).mode
        'RGB'
    """
    item = check_item(source if isinstance(source, Item) else Item(source))
    uri = canonical_uri(item.source) if isinstance(item.source, str | os.PathLike) else None
    if item.source is None:
        raise DecodeError("the item has only a vector, without an image")
    content = _content(item.source)
    if isinstance(content, Image.Image):
        return content
    name = "the image" if uri is None else describe(uri)
    return decode(content, shrink_to=shrink_to, name=name)


_THUMBNAIL = 256


def open_thumbnail(
    source: ImageSource, side: int = _THUMBNAIL, *, fetch_remote: bool = True
) -> Image.Image | None:
    """Open an image whose longer side is at most `side` pixels.

    Args:
        source: A path, URL, bytes, PIL image or array.
        side: The longest side, in pixels.
        fetch_remote: Whether URLs are fetched.

    Returns:
        The image, or None if it cannot be opened, such as one that was added from memory.

    Example:
        >>> open_thumbnail(Image.new("RGB", (400, 100)), 200).size
        (200, 50)
        >>> open_thumbnail("gone.jpg") is None
        True
    """
    if isinstance(source, str) and (
        source.startswith("sha256:") or ("://" in source and not fetch_remote)
    ):
        return None
    try:
        return thumbnail(open_image(source, shrink_to=side), side)
    except (ImageSearchError, OSError):
        return None


def check_item(item: Item) -> Item:
    """Return an item with its URI filled in and its metadata copied and checked.

    Raises:
        SourceError: Its source is not a single image.
        StoreRequestError: The id or the metadata cannot be stored.
    """
    source: Any = item.source
    if isinstance(source, bytearray | memoryview):
        source = bytes(source)
    if source is None and item.vector is None:
        raise SourceError("an item needs a source or a vector, got None for both")
    if source is not None and not isinstance(
        source, str | os.PathLike | bytes | Image.Image | np.ndarray
    ):
        raise SourceError(
            f"an item's source is {describe(source)}; give a path, an http(s) URL, bytes, a PIL "
            "image or an array"
        )
    if not isinstance(item.metadata, Mapping | None):
        raise SourceError(
            f"an item's metadata is {describe(item.metadata)}; give a mapping of names to values"
        )
    id = None if item.id is None else check_id(item.id)
    uri = item.uri
    if uri is None and isinstance(source, str | os.PathLike):
        uri = canonical_uri(source)
    elif uri is not None and (not isinstance(uri, str) or not uri or not is_unicode(uri)):
        raise SourceError(f"an item's uri is {shorten(uri)}; give non-empty text, or leave it out")
    metadata = None if item.metadata is None else check_metadata(item.metadata)
    return Item(source, id, metadata, uri, item.vector)


def _vector(item: Item) -> NDArray[np.float32]:
    try:
        vector = as_float32(item.vector)
    except ValueError as error:
        raise SourceError(f"an item's vector must be real numbers: {error}") from error
    if vector.ndim != 1 or not vector.size:
        raise SourceError(f"an item's vector must have shape (dim,), got {vector.shape}")
    # A copy: a row of a large array would keep all of it in memory.
    return np.array(vector, np.float32)


def _content(source: ImageSource) -> bytes | Image.Image:
    match source:
        case bytes():
            return source
        case Image.Image():
            return upright_rgb(source, name="the PIL image")
        case np.ndarray():
            return from_array(source, name="the array")
        case str() if is_url(source):
            return fetch(canonical_uri(source))
        case str() | os.PathLike():
            return read_file(os.fsdecode(source), max_bytes=MAX_BYTES)
        case _:
            raise SourceError(
                f"an image must be a path, an http(s) URL, bytes, a PIL image or an array, got "
                f"{describe(source)}"
            )


def _digest(content: bytes | Image.Image) -> str:
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    digest = hashlib.sha256(f"{content.mode} {content.width}x{content.height}\n".encode())
    digest.update(content.tobytes())
    return digest.hexdigest()
