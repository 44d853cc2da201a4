"""The files of visitors, and the fields that they give them."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from PIL import Image

from imagesearch._printable import shorten
from imagesearch.errors import (
    DecodeError,
    FetchError,
    ImageTooLargeError,
    MissingDependencyError,
    StoreRequestError,
    UnsupportedImageError,
)
from imagesearch.images import decode, looks_like_image_name
from imagesearch.images._sniff import starts_as_image
from imagesearch.index import ImageIndex
from imagesearch.types import Item, Metadata, check_metadata
from imagesearch.ui._text import Message, PageError, UploadError

__all__ = ["AddedFiles", "Uploads", "decode_upload", "parse_metadata", "read_upload"]


def read_upload(path: str | Path, *, max_bytes: int) -> bytes:
    """Return the bytes of a file that the page received.

    Raises:
        UploadError: The file is larger than `max_bytes`.
        PageError: The file no longer exists.
    """
    file = Path(path)
    try:
        size = file.stat().st_size
        if size > max_bytes:
            raise UploadError("too_large", size / 1e6, max_bytes / 1e6)
        return file.read_bytes()
    except OSError as error:
        raise PageError("upload_gone") from error


def decode_upload(
    data: bytes,
    *,
    max_pixels: int,
    shrink_to: int | None = None,
    name: str = "the file",
    decoder: Callable[..., Image.Image] = decode,
) -> Image.Image:
    """Return the upright RGB image in uploaded bytes.

    Args:
        data: The file.
        max_pixels: The largest number of pixels, width times height.
        shrink_to: As for `imagesearch.images.decode`.
        name: The name in messages; never a path of the server.
        decoder: `imagesearch.images.decode`, or the method of a `DecoderPool`.

    Raises:
        UploadError: The bytes are not an image, damaged, too large, or of a format that is not
            supported or needs an optional package.

    Example:
        >>> decode_upload(b"words", max_pixels=100)
        Traceback (most recent call last):
            ...
        imagesearch.ui._text.UploadError: the file ...
    """
    try:
        return decoder(data, shrink_to=shrink_to, max_pixels=max_pixels, name=name)
    except ImageTooLargeError as error:
        raise UploadError("too_many_pixels", error, max_pixels / 1e6) from error
    except UnsupportedImageError as error:
        raise UploadError("unsupported_image", error) from error
    except MissingDependencyError as error:
        raise UploadError("no_decoder", error) from error
    except DecodeError as error:
        key = "empty_file" if not data else "damaged" if starts_as_image(data) else "no_image"
        raise UploadError(key, error) from error


_JPEG = b"\xff\xd8"
_STEM = 60
_DIGEST = 10
_SUFFIXES = {"JPEG": ".jpg", "MPO": ".jpg", "JPEG2000": ".jp2"}


@dataclass(frozen=True, slots=True)
class AddedFiles:
    """The outcome for each file that a visitor added.

    Attributes:
        added: Ids that are new.
        updated: Ids whose fields changed.
        unchanged: Ids that were already in the index.
        failed: The visitor's file names, each with the reason.
    """

    added: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    failed: list[tuple[str, Message]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return JSON values for programs that call the page."""
        return {
            "added": self.added,
            "updated": self.updated,
            "unchanged": self.unchanged,
            "failed": [{"name": name, "reason": reason.text("en")} for name, reason in self.failed],
        }


@dataclass(frozen=True, slots=True)
class Uploads:
    """Keeps uploaded images in a folder and adds them to an index.

    Attributes:
        folder: The folder for the files; created with the first one.
        max_bytes: The largest file.
        max_pixels: The largest image, width times height.
        decoder: Decodes files of visitors, as `imagesearch.images.decode` does.
        shrink_sizes: The values of `shrink_to` with which the page and the index decode images
            later. They do so in this process, so a file is kept only if `decoder` can decode it
            with each.
    """

    folder: Path
    max_bytes: int
    max_pixels: int
    decoder: Callable[..., Image.Image] = decode
    shrink_sizes: tuple[int | None, ...] = (None,)

    def add(self, index: ImageIndex, files: Iterable[str | Path], metadata: Metadata) -> AddedFiles:
        """Keep the files that are images, and add them to the index; equal files are kept once.

        Args:
            index: The index.
            files: Files that the page received, under the visitor's names.
            metadata: Fields for each image, see `parse_metadata`.

        Raises:
            StoreError: The index failed; files that it does not contain are deleted again.
            FetchError: The folder cannot be written.
        """
        names: dict[str, str] = {}
        created: list[Path] = []
        failed: list[tuple[str, Message]] = []
        try:
            for file in files:
                name = Path(file).name
                try:
                    path, is_new = self._keep(file, name)
                except PageError as error:
                    failed.append((name, error.message))
                    continue
                names[str(path)] = name
                created += [path] if is_new else []
            # Without fields, those of an image that is already indexed stay.
            items = [Item(path, metadata=metadata or None) for path in names]
            report = index.add(items, progress=False)
        except BaseException:
            for path in created:
                path.unlink(missing_ok=True)
            raise
        for failure in report.failed:
            name = names.get(failure.source, Path(failure.source).name)
            reason = str(failure.error).replace(failure.source, name)
            failed.append((name, Message("bad_addition", reason)))
            if Path(failure.source) in created:
                Path(failure.source).unlink(missing_ok=True)
        return AddedFiles(report.added, report.updated, report.unchanged, failed)

    def _keep(self, file: str | Path, name: str) -> tuple[Path, bool]:
        data = read_upload(file, max_bytes=self.max_bytes)
        for shrink_to in self.shrink_sizes if data.startswith(_JPEG) else (None,):
            decode_upload(
                data,
                max_pixels=self.max_pixels,
                shrink_to=shrink_to,
                decoder=self.decoder,
            )
        digest = hashlib.sha256(data).hexdigest()[:_DIGEST]
        folder = self.folder.absolute()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for existing in folder.glob(f"*-{digest}.*"):
                if existing.read_bytes() == data:
                    return existing, False
            path = folder / f"{_stem(name)}-{digest}{_suffix(name, data)}"
            partial = folder / f".{uuid4().hex}.part"
            partial.write_bytes(data)
            os.replace(partial, path)  # noqa: PTH105  # readers never see half a file
        except OSError as error:
            raise FetchError(f"{folder} cannot be written: {error.strerror}") from error
        return path, True


def _stem(name: str) -> str:
    """Return a file name's stem without characters that are special to file systems or shells."""
    plain = re.sub(r"[^\w\- ]+", "_", Path(name).stem).strip(" _-")
    return plain[:_STEM].encode()[: 2 * _STEM].decode(errors="ignore") or "image"


def _suffix(name: str, data: bytes) -> str:
    if looks_like_image_name(name):
        return Path(name).suffix.lower()
    with Image.open(io.BytesIO(data)) as image:
        form = image.format or "png"
    return _SUFFIXES.get(form, f".{form.lower()}")


def parse_metadata(text: str) -> dict[str, Any]:
    r"""Read fields, one per line, as ``name = value`` or ``name: value``.

    A value that is a number, true, false or a list in JSON is read as such, and any other as text.

    Raises:
        PageError: A line has no name or no value, or the index does not accept a field.

    Example:
        >>> parse_metadata('kind = fish\nprice: 9.5\ntags = ["red", "small"]')
        {'kind': 'fish', 'price': 9.5, 'tags': ['red', 'small']}
    """
    fields: dict[str, Any] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        match = re.fullmatch(r"\s*(?P<name>[^=:：＝]+?)\s*[=:：＝]\s*(?P<value>.*?)\s*", line)
        if match is None or not match["value"]:
            raise PageError("bad_line", number, shorten(line.strip()))
        fields[match["name"]] = _value(match["value"])
    try:
        return check_metadata(fields)
    except StoreRequestError as error:
        raise PageError("bad_field", error) from error


def _value(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return text if value is None or isinstance(value, dict) else value
