"""How Pillow is used: quietly, strictly, and watched while it reads."""

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
    """The ``warnings`` module as Pillow sees it."""

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
            # One frame more: the warning belongs to Pillow's caller, not to this stand-in.
            warnings.warn(message, category, stacklevel + 1, source, **options)
        else:
            _logger.debug("%s: %s", name, printable(str(message)))


_STAND_IN = _Warnings()


@contextmanager
def quiet(name: str) -> Iterator[None]:
    """Send what Pillow warns about in this thread to the debug log, as said of `name`."""
    _install()
    token = _name.set(name)
    try:
        yield
    finally:
        _name.reset(token)


def _install() -> None:
    # Pillow imports its plug-ins one by one, so later ones are met on later calls.
    global _modules  # noqa: PLW0603  # saves a look through every module for each picture
    if len(sys.modules) == _modules:
        return
    with _lock:
        _modules = len(sys.modules)
        for key, module in list(sys.modules.items()):
            if key.startswith("PIL.") and getattr(module, "warnings", None) is warnings:
                setattr(module, "warnings", _STAND_IN)  # noqa: B010  # mypy refuses the plain form


_is_strict: ContextVar[bool] = ContextVar("imagesearch_strict", default=False)


class _Switch:
    """``True`` as Pillow's modules see it outside `strict`, ``False`` inside."""

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
    """Have Pillow raise for truncated files in this thread, whatever the program has set."""
    if ImageFile.LOAD_TRUNCATED_IMAGES and not isinstance(ImageFile.LOAD_TRUNCATED_IMAGES, _Switch):
        ImageFile.LOAD_TRUNCATED_IMAGES = _Switch()  # type: ignore[assignment]  # Pillow asks for its truth
    token = _is_strict.set(True)
    try:
        yield
    finally:
        _is_strict.reset(token)


_TAIL = 256
_LEFT_OUT = 64
_WEBP_CHUNKS = frozenset({b"VP8 ", b"VP8L"})


def watched(data: bytes, jpeg: Jpeg | None) -> MarkedSource:
    """Return a source that Pillow opens, and that knows after loading whether data were missing.

    Args:
        data: The file.
        jpeg: Its markers if it is a JPEG.
    """
    if jpeg is not None:
        return JpegSource(data, jpeg)
    if data.startswith(b"\x89PNG"):
        return _PngSource(data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _WebpSource(data)
    return MarkedSource(data)


class _PngSource(MarkedSource):
    """Pillow takes the end of a zlib stream for the end of the image, whatever rows are missing."""

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
            raise OSError("its compressed data end before the last row")


class _WebpSource(MarkedSource):
    """A WebP may end in zeros only if they are part of its image.

    An area of one colour may be coded as zeros, so zeros at the end are no proof. If some of them
    can be left out and the image is the same, they have taken the place of something else.
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
        except Exception:  # noqa: BLE001  # a decoder that misses these bytes needs them
            return
        if same:
            raise OSError(f"its last {run:,} bytes are zeros that belong to no pixel")


def _without_tail(data: bytes, size: int) -> bytes | None:
    """Return a WebP whose last chunk, if it holds the image, is shorter by an even size."""
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
