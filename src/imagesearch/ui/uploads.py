"""Uploads: pictures that visitors add, kept as files of ours so that they can be shown again."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from reprlib import repr as shorten
from typing import Any
from uuid import uuid4

from PIL import Image

from imagesearch.errors import FetchError, ImageSearchError, ManifestError, StoreRequestError
from imagesearch.images import decode, looks_like_image_name
from imagesearch.index import ImageIndex
from imagesearch.types import Item, Metadata, check_metadata
from imagesearch.ui.queries import decode_upload, read_upload
from imagesearch.ui.spoken import Spoken

__all__ = ["Added", "Uploads", "parse_metadata"]

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
        decoder: What decodes files of visitors, as `imagesearch.images.decode` does.
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
