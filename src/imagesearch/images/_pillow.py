"""Control over Pillow: its warnings, its tolerance of damage, and what it reads."""

from __future__ import annotations

import io
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from PIL import Image, ImageFile

from imagesearch._printable import printable
from imagesearch.images._damage import png_rows_missing
from imagesearch.images._jpeg import Jpeg
from imagesearch.images._jpeg_data import JpegSource, MarkedSource

__all__ = ["quiet", "strict", "watched"]


_logger = logging.getLogger(__name__)
_name: ContextVar[str | None] = ContextVar("imagesearch_quiet", default=None)
_lock = threading.Lock()
_modules = 0


class _Warnings:
    """Stands in for the ``warnings`` module inside Pillow."""

    def __getattr__(self, name: str) -> Any:
        return getattr(warnings, name)

    @staticmethod
    def warn(
        message: str | Warning,
        category: type[Warning] | None = None,
        stacklevel: int = 1,
        source: object = None,
        **options: Any,
    ) -> None:
        name = _name.get()
        if name is None:
            # One frame more, so that the warning points at Pillow's caller.
            warnings.warn(message, category, stacklevel + 1, source, **options)
        else:
            _logger.debug("%s: %s", name, printable(str(message)))


_STAND_IN = _Warnings()


@contextmanager
def quiet(name: str) -> Iterator[None]:
    """Send Pillow's warnings in this thread to the debug log, prefixed with `name`."""
    _install()
    token = _name.set(name)
    try:
        yield
    finally:
        _name.reset(token)


def _install() -> None:
    # Pillow imports plug-ins one by one, so later calls may find new ones.
    global _modules  # noqa: PLW0603  # avoids a pass over all modules for each image
    if len(sys.modules) == _modules:
        return
    with _lock:
        _modules = len(sys.modules)
        for key, module in list(sys.modules.items()):
            if key.startswith("PIL.") and getattr(module, "warnings", None) is warnings:
                setattr(module, "warnings", _STAND_IN)  # noqa: B010  # mypy refuses the plain form


_is_strict: ContextVar[bool] = ContextVar("imagesearch_strict", default=False)


class _Switch:
    """Truthy outside `strict`, falsy inside."""

    def __bool__(self) -> bool:
        return not _is_strict.get()

    def __eq__(self, other: object) -> bool:
        return bool(self) == other

    def __hash__(self) -> int:
        return hash(bool(self))

    def __repr__(self) -> str:
        return repr(bool(self))


@contextmanager
def strict() -> Iterator[None]:
    """Make Pillow raise for truncated files in this thread, whatever the program has set."""
    if ImageFile.LOAD_TRUNCATED_IMAGES and not isinstance(ImageFile.LOAD_TRUNCATED_IMAGES, _Switch):
        ImageFile.LOAD_TRUNCATED_IMAGES = _Switch()  # type: ignore[assignment]  # Pillow only tests its truth value
    token = _is_strict.set(True)
    try:
        yield
    finally:
        _is_strict.reset(token)


_TAIL = 256
_LEFT_OUT = 64
_WEBP_CHUNKS = frozenset({b"VP8 ", b"VP8L"})


def watched(data: bytes, jpeg: Jpeg | None) -> MarkedSource:
    """Return a file object for Pillow that detects missing data while it is read.

    Args:
        data: The file.
        jpeg: Its markers, for a JPEG.
    """
    if jpeg is not None:
        return JpegSource(data, jpeg)
    if data.startswith(b"\x89PNG"):
        return _PngSource(data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _WebpSource(data)
    return MarkedSource(data)


class _PngSource(MarkedSource):
    """Detects missing rows: Pillow takes the end of the zlib stream for the end of the image."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._marked = False
        self._interlaced = data[28:29] != b"\x00"

    def read(self, size: int | None = -1, /) -> bytes:
        if self.watching and not self._marked:
            self._marked = self.mark()
        return super().read(size)

    def check(self) -> None:
        seen = self._marked and not self._interlaced and self.has_last_row()
        if not seen and png_rows_missing(self.getvalue()):
            raise OSError("the compressed data end before the last row")


class _WebpSource(MarkedSource):
    """Detects a WebP whose end was overwritten with zeros.

    An area of one colour may be coded as zeros, so zeros at the end prove nothing. If the image
    stays the same without some of them, they have replaced other data.
    """

    def watch(self, image: Image.Image) -> None:
        self._loaded = image

    def check(self) -> None:
        data = self.getvalue()
        run = len(data) - len(data.rstrip(b"\x00"))
        shorter = _without_tail(data, _LEFT_OUT) if run >= _TAIL else None
        if shorter is None:
            return
        try:
            with Image.open(io.BytesIO(shorter), formats=["WEBP"]) as image:
                same = image.tobytes() == self._loaded.tobytes()
        except Exception:  # noqa: BLE001  # the decoder needs these bytes
            return
        if same:
            raise OSError(f"its last {run:,} bytes are zeros that do not encode pixels")


def _without_tail(data: bytes, size: int) -> bytes | None:
    """Return the WebP with its image chunk, if that is the last, shortened by `size` (made even)."""
    size &= ~1
    position = 12
    while position + 8 <= len(data):
        kind = data[position : position + 4]
        length = int.from_bytes(data[position + 4 : position + 8], "little")
        end = position + 8 + length
        if end + (length & 1) >= len(data):
            if kind not in _WEBP_CHUNKS or length <= size:
                return None
            return (
                b"RIFF"
                + (len(data) - 8 - size).to_bytes(4, "little")
                + data[8 : position + 4]
                + (length - size).to_bytes(4, "little")
                + data[position + 8 : len(data) - size]
            )
        position = end + (length & 1)
    return None
