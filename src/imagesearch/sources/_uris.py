"""Canonical URIs, the ids derived from them, and descriptions of sources for messages."""

from __future__ import annotations

# ruff: noqa: PTH100, PTH118, PTH119, PTH120, PTH121
import hashlib
import os
import re
from urllib.parse import urldefrag, urlsplit

import numpy as np
from PIL import Image

from imagesearch._printable import printable, shorten
from imagesearch.errors import SourceError
from imagesearch.types import Item

__all__ = ["canonical_uri", "derive_id", "describe", "is_url", "printable", "url_scheme"]


_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)


def is_url(text: str) -> bool:
    """Return whether text is an http or https URL.

    Example:
        >>> is_url("HTTPS://example.org/a.jpg"), is_url("photos/a.jpg")
        (True, False)
    """
    return text[:8].lower().startswith(("http://", "https://"))


def url_scheme(text: str) -> str | None:
    """Return the scheme of a URL of any kind, or None.

    Example:
        >>> url_scheme("s3://bucket/a.jpg"), url_scheme("photos/a.jpg")
        ('s3', None)
    """
    scheme = _SCHEME.match(text)
    return scheme[1] if scheme else None


def derive_id(uri: str) -> str:
    """Return the id of a record without one of its own: 32 hex digits that depend on the URI.

    Example:
        >>> derive_id("/photos/a.jpg")
        '3a9ecb83c83c4d14a2ab4405fd310b78'
    """
    return hashlib.sha256(uri.encode()).hexdigest()[:32]


def canonical_uri(source: str | os.PathLike[str]) -> str:
    """Return the canonical URI of a path or URL.

    A path becomes absolute, without ``.`` and ``..``; symbolic links are not resolved. A URL loses
    its ``#fragment``.

    Raises:
        SourceError: A scheme other than http and https, credentials in a URL, or a file name that
            is not valid Unicode.

    Example:
        >>> canonical_uri("/photos/2024/../a.jpg")
        '/photos/a.jpg'
    """
    text = os.fsdecode(source)
    if is_url(text):
        return _canonical_url(text)
    scheme = url_scheme(text)
    if scheme and not os.path.lexists(text):
        raise SourceError(
            f"{describe(text)}: {scheme}:// is not supported; give a path, an http(s) URL, or the bytes"
        )
    path = os.path.abspath(text)
    if os.pardir in text and not _same_file(text, path):
        # The parent of a linked folder is not the folder that the text seems to name.
        path = os.path.join(os.path.realpath(os.path.dirname(text)), os.path.basename(path))
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise SourceError(
            f"{printable(path)}: the file name is not valid UTF-8 and cannot be stored; rename it"
        ) from error
    return path


def _same_file(text: str, path: str) -> bool:
    try:
        return os.path.samefile(text, path)
    except (OSError, ValueError):
        return True


def _canonical_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  # raises on a port that is not a number
        url.encode()
    except ValueError as error:
        # The reason may quote the URL with its password.
        raise SourceError(f"{describe(url)} is not a valid URL; check its host and port") from error
    if parts.username is not None or parts.password is not None:
        raise SourceError(
            f"{describe(url)}: URLs with a user name or password are not fetched, because the index "
            "would store them; fetch the image yourself and give its bytes"
        )
    if not parts.hostname:
        raise SourceError(f"{describe(url)} has no host")
    return urldefrag(url).url


def describe(source: object) -> str:
    """Return a description of a source for messages, without secrets.

    A URL is shown without user name, password and query, which may contain keys.

    Example:
        >>> describe("https://me:secret@example.org/a.jpg?token=secret")
        'https://example.org/a.jpg'
        >>> describe(b"GIF89a")
        '6 bytes'
    """
    match source:
        case Item():
            if source.uri is not None:
                return describe(source.uri)
            if source.source is None and source.vector is not None:
                return "a vector" if source.id is None else printable(str(source.id))
            return describe(source.source)
        case str():
            return _shown_url(source) if url_scheme(source) else printable(source)
        case os.PathLike():
            return printable(os.fsdecode(source))
        case bytes() | bytearray() | memoryview():
            return f"{memoryview(source).nbytes} bytes"
        case Image.Image():
            return f"a PIL image of mode {source.mode}, {source.width}×{source.height}"
        case np.ndarray():
            return f"an array of shape {source.shape} and type {source.dtype}"
        case _:
            shown = shorten(source) if isinstance(source, int | float | None) else ""
            return f"{shown} ({type(source).__name__})" if shown else f"a {type(source).__name__}"


def _shown_url(url: str) -> str:
    scheme, _, rest = url.partition("://")
    host, slash, path = re.split(r"[?#]", rest, maxsplit=1)[0].partition("/")
    return printable(f"{scheme}://{host.rpartition('@')[2]}{slash}{path}")
