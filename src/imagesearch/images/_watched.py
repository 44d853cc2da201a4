"""Watched: an encoded image as Pillow reads it, with what only decoding shows about its damage."""

from __future__ import annotations

import io

from PIL import Image

from imagesearch.images._damage import png_rows_missing
from imagesearch.images._jpeg import Jpeg
from imagesearch.images._jpeg_data import JpegSource
from imagesearch.images._marks import MarkedSource

__all__ = ["watched"]

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
