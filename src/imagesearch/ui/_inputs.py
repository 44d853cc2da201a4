"""What visitors give: queries, uploaded files and lines of metadata, checked."""

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
from imagesearch._validation import as_real, as_whole
from imagesearch.errors import (
    DecodeError,
    FetchError,
    ImageSearchError,
    ImageTooLargeError,
    ManifestError,
    QueryError,
    SourceNotFoundError,
    StoreRequestError,
    UnsupportedImageError,
)
from imagesearch.images import decode, looks_like_image_name
from imagesearch.images._sniff import starts_as_image
from imagesearch.index import ImageIndex
from imagesearch.types import Item, Metadata, Query, check_metadata
from imagesearch.ui._text import Spoken

__all__ = [
    "MAX_K",
    "Added",
    "Box",
    "Uploads",
    "cut",
    "decode_upload",
    "make_query",
    "parse_box",
    "parse_count",
    "parse_metadata",
    "parse_score",
    "read_upload",
]


MAX_K = 100
"""Most pictures in one answer."""

Box = tuple[float, float, float, float]
"""Left, top, right and bottom, in per cent of the picture's width and height."""


def read_upload(path: str | Path, *, max_bytes: int) -> bytes:
    """Return the bytes of a file that the page received.

    Raises:
        SourceNotFoundError: It has been cleared away.
        QueryError: It is larger than is taken.
    """
    file = Path(path)
    try:
        size = file.stat().st_size
        if size > max_bytes:
            raise QueryError(Spoken("too_heavy", size / 1e6, max_bytes / 1e6))
        return file.read_bytes()
    except OSError as error:
        raise SourceNotFoundError("the uploaded file is gone; upload it again") from error


def decode_upload(
    data: bytes,
    *,
    max_pixels: int,
    shrink_to: int | None = None,
    name: str = "the picture",
    decoder: Callable[..., Image.Image] = decode,
) -> Image.Image:
    """Return the upright RGB image in uploaded bytes.

    Args:
        data: The file.
        max_pixels: Most pixels, width times height.
        shrink_to: As for `imagesearch.images._decode`.
        name: What messages call it; never a path of this machine.
        decoder: `imagesearch.images._decode`, or a pool's method of that name.

    Raises:
        DecodeError: No image, damaged, or too large.
        MissingDependencyError: The format needs an optional package.

    Example:
        >>> decode_upload(b"words", max_pixels=100)
        Traceback (most recent call last):
            ...
        imagesearch.errors.DecodeError: the picture ...
    """
    try:
        return decoder(data, shrink_to=shrink_to, max_pixels=max_pixels, name=name)
    except DecodeError as error:
        key = _problem(data, error)
        raise DecodeError(Spoken(key, error, max_pixels / 1e6)) from error


def _problem(data: bytes, error: DecodeError) -> str:
    """Return the phrase that says why bytes are refused."""
    if not data:
        return "no_bytes"
    if isinstance(error, ImageTooLargeError):
        return "too_many_pixels"
    if isinstance(error, UnsupportedImageError):
        return "unsupported"
    return "damaged" if starts_as_image(data) else "no_image"


def parse_box(text: str) -> Box | None:
    """Read a crop box: four numbers in per cent; nothing, or all of the picture, means no crop.

    Raises:
        QueryError: Not four numbers from 0 to 100, or no area between them.

    Example:
        >>> parse_box("10, 20, 90, 80"), parse_box(" ")
        ((10.0, 20.0, 90.0, 80.0), None)
    """
    words = [word for word in re.split(r"[\s,，;；%]+", text) if word]
    if not words:
        return None
    try:
        left, top, right, bottom = (float(word) for word in words)
    except ValueError as error:
        raise QueryError(Spoken("no_box", shorten(text))) from error
    if not (0 <= left < right <= 100 and 0 <= top < bottom <= 100):
        raise QueryError(Spoken("empty_box", shorten(text)))
    return None if (left, top, right, bottom) == (0, 0, 100, 100) else (left, top, right, bottom)


def parse_count(count: object) -> int:
    """Return how many pictures are asked for; 5.0 is 5, as JSON makes no difference.

    Raises:
        QueryError: No whole number from 1 to `MAX_K`.

    Example:
        >>> parse_count(5.0)
        5
    """
    whole = int(count) if isinstance(count, float) and count.is_integer() else as_whole(count)
    if whole is None or not 1 <= whole <= MAX_K:
        raise QueryError(Spoken("no_count", shorten(count), MAX_K))
    return whole


def parse_score(score: object) -> float | None:
    """Return the least score that is asked for; None for any.

    Raises:
        QueryError: No finite number.

    Example:
        >>> parse_score(0.5), parse_score(None)
        (0.5, None)
    """
    number = as_real(score)
    if number is None and score is not None:
        raise QueryError(Spoken("no_score", shorten(score)))
    return number


def cut(image: Image.Image, box: Box) -> Image.Image:
    """Return a part of an image, at least one pixel wide and high.

    Example:
        >>> cut(Image.new("RGB", (200, 100)), (10, 20, 60, 70)).size
        (100, 50)
    """
    left, right = _pixels(box[0], box[2], image.width)
    top, bottom = _pixels(box[1], box[3], image.height)
    return image.crop((left, top, right, bottom))


def _pixels(start: float, end: float, length: int) -> tuple[int, int]:
    first = min(int(start / 100 * length + 0.5), length - 1)
    return first, max(first + 1, min(length, int(end / 100 * length + 0.5)))


def make_query(image: Image.Image | None, text: str, id: str) -> Query | None:
    """Return the sum of what was given, or None for nothing.

    Example:
        >>> print(make_query(None, "a red shoe", "sku-1"))
        text 'a red shoe' + id 'sku-1'
        >>> make_query(None, " ", "") is None
        True
    """
    parts = [
        *([Query.image(image)] if image is not None else []),
        *([Query.text(text.strip())] if text.strip() else []),
        *([Query.id(id.strip())] if id.strip() else []),
    ]
    return Query(tuple(term for part in parts for term in part.terms)) if parts else None


_JPEG = b"\xff\xd8"
_STEM = 60
_DIGEST = 10
_SUFFIXES = {"JPEG": ".jpg", "MPO": ".jpg", "JPEG2000": ".jp2"}


@dataclass(frozen=True, slots=True)
class Added:
    """What became of the pictures that a visitor added.

    Attributes:
        added: Ids that are new.
        updated: Ids whose fields changed.
        unchanged: Ids that were there already.
        failed: The visitor's file names, each with the reason in words, see `in_language`.
    """

    added: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return what programs get that call the page."""
        return {
            "added": self.added,
            "updated": self.updated,
            "unchanged": self.unchanged,
            "failed": [{"name": name, "reason": str(reason)} for name, reason in self.failed],
        }


@dataclass(frozen=True, slots=True)
class Uploads:
    """Takes pictures into a folder and an index.

    Attributes:
        folder: Where the files are kept; made when the first one comes.
        max_bytes: Largest file.
        max_pixels: Largest picture, width times height.
        decoder: What decodes files of visitors, as `imagesearch.images._decode` does.
        shrink_sizes: What `shrink_to` the page and the index decode pictures with later on. A file
            is kept only if it can be decoded with each, for that is done in this process.
    """

    folder: Path
    max_bytes: int
    max_pixels: int
    decoder: Callable[..., Image.Image] = decode
    shrink_sizes: tuple[int | None, ...] = (None,)

    def add(self, index: ImageIndex, files: Iterable[str | Path], metadata: Metadata) -> Added:
        """Keep the files that are pictures, and index them; the same picture is kept once.

        Args:
            index: Where to.
            files: What the page received; the names are the visitor's.
            metadata: Fields for each picture, see `parse_metadata`.

        Raises:
            StoreError: The index failed; files that it does not know are removed again.
            FetchError: The folder cannot be written.
        """
        names: dict[str, str] = {}
        fresh: list[Path] = []
        failed: list[tuple[str, str]] = []
        try:
            for file in files:
                name = Path(file).name
                try:
                    kept, is_new = self._keep(file, name)
                except ImageSearchError as error:
                    if isinstance(error, FetchError):
                        raise
                    failed.append((name, error.args[0] if error.args else str(error)))
                    continue
                names[str(kept)] = name
                fresh += [kept] if is_new else []
            # A visitor who fills in no field takes none away from a picture that is known.
            items = [Item(path, metadata=metadata or None) for path in names]
            report = index.add(items, progress=False)
        except BaseException:
            for path in fresh:
                path.unlink(missing_ok=True)
            raise
        for failure in report.failed:
            reason = str(failure.error).replace(failure.source, names.get(failure.source, "it"))
            failed.append((names.get(failure.source, failure.source), reason))
            if Path(failure.source) in fresh:
                Path(failure.source).unlink(missing_ok=True)
        return Added(report.added, report.updated, report.unchanged, failed)

    def _keep(self, file: str | Path, name: str) -> tuple[Path, bool]:
        data = read_upload(file, max_bytes=self.max_bytes)
        for shrink_to in self.shrink_sizes if data.startswith(_JPEG) else (None,):
            decode_upload(
                data,
                max_pixels=self.max_pixels,
                shrink_to=shrink_to,
                name=name,
                decoder=self.decoder,
            )
        digest = hashlib.sha256(data).hexdigest()[:_DIGEST]
        folder = self.folder.absolute()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for known in folder.glob(f"*-{digest}.*"):
                if known.read_bytes() == data:
                    return known, False
            path = folder / f"{_stem(name)}-{digest}{_suffix(name, data)}"
            partial = folder / f".{uuid4().hex}.part"
            partial.write_bytes(data)
            os.replace(partial, path)  # noqa: PTH105  # what readers see is always whole
        except OSError as error:
            raise FetchError(f"{folder} cannot be written: {error.strerror}") from error
        return path, True


def _stem(name: str) -> str:
    """Return a file name's own words, without what file systems or shells take for something else."""
    plain = re.sub(r"[^\w\- ]+", "_", Path(name).stem).strip(" _-")
    return plain[:_STEM].encode()[: 2 * _STEM].decode(errors="ignore") or "picture"


def _suffix(name: str, data: bytes) -> str:
    if looks_like_image_name(name):
        return Path(name).suffix.lower()
    with Image.open(io.BytesIO(data)) as image:
        form = image.format or "png"
    return _SUFFIXES.get(form, f".{form.lower()}")


def parse_metadata(text: str) -> dict[str, Any]:
    r"""Read fields, one a line, as ``name = value`` or ``name: value``.

    A value is a number, true, false, or a list in JSON if it reads as such, and text otherwise.

    Raises:
        ManifestError: A line has no name or no value, or one that no store can keep.

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
            raise ManifestError(Spoken("no_field", number, shorten(line.strip())))
        fields[match["name"]] = _value(match["value"])
    try:
        return check_metadata(fields)
    except StoreRequestError as error:
        raise ManifestError(Spoken("bad_field", error)) from error


def _value(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return text if value is None or isinstance(value, dict) else value
