"""Detect JPEG files whose compressed data are incomplete."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator
from typing import Any

from PIL import Image

from imagesearch.images._jpeg import Jpeg, Scan

__all__ = ["JpegSource", "MarkedSource", "damage_of_jpeg"]


_MARKS = 8
_STEP = 97
_MODES = {"L": 1, "P": 1, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4, "I;16": 1, "I": 1}


class MarkedSource(io.BytesIO):
    """An encoded image that detects whether the decoder writes the last row.

    Decoders that work row by row leave rows without data untouched. Before the first read, pixels of
    the last row are set to values that hardly any image has there; if they survive decoding, the row
    is missing.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._image: Image.Image | None = None

    @property
    def watching(self) -> bool:
        """Whether an image whose last row can be marked is being loaded."""
        return self._image is not None

    def watch(self, image: Image.Image) -> None:
        """Watch the loading of an image that was opened from this source."""
        # A narrow or bilevel row might contain the marks by chance.
        if image.width >= _MARKS and image.mode in _MODES:
            self._image = image
            image.readonly = 0  # Pillow resets it after loading

    def check(self) -> None:
        """After loading, raise OSError if data are missing or in excess."""

    def mark(self) -> bool:
        """Mark the last row, if Pillow has allocated the image; nothing is decoded yet."""
        pixels = self._pixels()
        if pixels is not None:
            for pixel, value in self._marks():
                pixels[pixel] = value
        return pixels is not None

    def has_last_row(self) -> bool:
        """Whether the decoder has written the last row."""
        pixels = self._pixels()
        return pixels is None or any(pixels[pixel] != value for pixel, value in self._marks())

    def _pixels(self) -> Any:
        # Not the image's own `load`, which is running now.
        return None if self._image is None else Image.Image.load(self._image)

    def _marks(self) -> list[tuple[tuple[int, int], int | tuple[int, ...]]]:
        image = self._image
        if image is None:
            return []
        bands = _MODES[image.mode]
        places = [(n * (image.width - 1) // (_MARKS - 1), image.height - 1) for n in range(_MARKS)]
        values = [
            tuple((n * bands + band + 1) * _STEP % 256 for band in range(bands))
            for n in range(_MARKS)
        ]
        return [
            (at, value if bands > 1 else value[0]) for at, value in zip(places, values, strict=True)
        ]


_HOLE = bytes(256)
"""A run of zero bytes of this length is a hole: it exceeds an MCU of 10 blocks of 64 values -1, which
is how zeros decode in most files."""

_SURPLUS = 1024
"""Bytes that may follow the data of the last row; cameras write a few, or padding of equal bytes."""

_LONG_HOLE = re.compile(rb"\x00{256,}")
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")

# Sixteen bytes of one bits. All ones is not a code (ITU-T T.81, F.1.2.1.2), so that libjpeg makes
# of them three blocks at most, and it reads at most 10 bytes ahead.
_PADDING = b"\xff\x00" * 16

_DC_RANGE = 4096
"""From the least to the greatest DC coefficient of 8-bit samples (F.1.2.1.1)."""

_TOO_MUCH = "its compressed data go on after the last row"


def damage_of_jpeg(data: bytes, jpeg: Jpeg) -> str | None:
    r"""Return what is missing from a JPEG, as far as its markers and its tables show it.

    Example:
        >>> import io
        >>> from imagesearch.images._jpeg import read_jpeg
        >>> buffer = io.BytesIO()
        >>> Image.effect_noise((64, 64), 50).save(buffer, "JPEG", progressive=True)
        >>> data = buffer.getvalue()
        >>> half = data[: data.index(b"\xff\xda", len(data) * 2 // 3)] + b"\xff\xd9"
        >>> damage_of_jpeg(data, read_jpeg(data)), damage_of_jpeg(half, read_jpeg(half))
        (None, 'scans are missing')
    """
    if not jpeg.scans or not jpeg.components:
        return None
    if _lacks_scans(jpeg):
        return "scans are missing"
    for scan in jpeg.scans:
        if scan.restarts and not jpeg.lossless:
            expected = math.ceil(_units(jpeg, scan) / scan.restarts) - 1
            count = len(_RESTART.findall(data, scan.start, scan.end))
            if not expected <= count <= expected + 1:  # some encoders end with one
                return f"it has {count:,} restart markers instead of {expected:,}"
        for run in _holes(data, scan):
            if not _means_flat(jpeg, scan, run):
                return f"its compressed data have a hole of {run:,} zero bytes"
    return None


class JpegSource(MarkedSource):
    """A JPEG's bytes, handed to Pillow so that it shows where the data of the last row end.

    libjpeg waits for more where bytes are missing, but takes an end marker as permission to fill
    the rest with grey. The end marker is therefore held back until the last row is there.

    Args:
        data: The file.
        jpeg: Its markers.
    """

    def __init__(self, data: bytes, jpeg: Jpeg) -> None:
        super().__init__(data)
        self._stage = 0
        self._end = self._early = 0
        self._surplus = False
        if _in_one_pass(jpeg) and jpeg.ended:
            scan = jpeg.scans[0]
            self._end = _data_end(data, jpeg, scan)
            self._early = max(scan.start, self._end - _SURPLUS)
            # Fill bytes may precede any marker (B.1.1.2).
            self._surplus = data[self._early : self._end].count(b"\xff") < _SURPLUS

    def watch(self, image: Image.Image) -> None:
        """Watch the loading of an image that was opened from this source."""
        if self._end:
            super().watch(image)

    def check(self) -> None:
        """After loading, raise OSError if there were too many data."""
        if self._stage == 1 and self._surplus:
            raise OSError(_TOO_MUCH)

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next bytes, up to the next position at which the last row must be checked."""
        if not self.watching:
            return super().read(size)
        at = self.tell()
        size = len(self.getbuffer()) if size is None or size < 0 else size
        if self._stage == 0:
            if not self.mark():
                return super().read(size)
            self._stage = 1
        if self._stage == 1:
            if at < self._early:
                return super().read(min(size, self._early - at))
            if self._surplus and self.has_last_row():
                raise OSError(_TOO_MUCH)
            self._stage = 2
        if self._stage == 2:
            if at < self._end:
                return super().read(min(size, self._end - at))
            self._stage = 3
            return _PADDING
        if self._stage == 3:
            if not self.has_last_row():
                raise OSError("the compressed data end before the last row")
            self._stage = 4
        return super().read(size)


def _in_one_pass(jpeg: Jpeg) -> bool:
    """Whether libjpeg decodes rows while it reads, and can pause for data."""
    return (
        jpeg.process in {0xC0, 0xC1, 0xC3}
        and bool(jpeg.scans)
        and len(jpeg.scans[0].components) == len(jpeg.components)
    )


def _lacks_scans(jpeg: Jpeg) -> bool:
    """Whether coefficients are missing, or never reach full precision (G.1.1.1)."""
    ids = {component.id for component in jpeg.components}
    if not jpeg.progressive:
        return ids > {id for scan in jpeg.scans for id, _, _ in scan.components}
    reached: dict[int, set[int]] = {id: set() for id in ids}
    for scan in jpeg.scans:
        for id, _, _ in scan.components:
            if scan.low == 0 and id in reached:
                reached[id].update(range(scan.first, scan.last + 1))
    return any(len(coefficients) < 64 for coefficients in reached.values())


def _units(jpeg: Jpeg, scan: Scan) -> int:
    """Return the number of MCUs in a scan of a DCT-based frame (A.2)."""
    across = max(component.horizontal for component in jpeg.components)
    down = max(component.vertical for component in jpeg.components)
    if len(scan.components) > 1 or not across or not down:
        return math.ceil(jpeg.width / (8 * across or 1)) * math.ceil(jpeg.height / (8 * down or 1))
    [(id, _, _)] = scan.components
    for component in jpeg.components:
        if component.id == id:
            width = math.ceil(jpeg.width * component.horizontal / across)
            height = math.ceil(jpeg.height * component.vertical / down)
            return math.ceil(width / 8) * math.ceil(height / 8)
    return 0


def _holes(data: bytes, scan: Scan) -> Iterator[int]:
    """Yield the lengths of runs of zeros inside the data of a scan; at the end they are padding."""
    # `find` is many times faster than a regular expression, and most files have no run.
    if data.find(_HOLE, scan.start, scan.end) >= 0:
        for run in _LONG_HOLE.finditer(data, scan.start, scan.end):
            if run.end() < scan.end:
                yield run.end() - run.start()


def _data_end(data: bytes, jpeg: Jpeg, scan: Scan) -> int:
    """Return the end of the data of a scan, without trailing zeros that cannot be data."""
    if not data.endswith(_HOLE, scan.start, scan.end):
        return scan.end
    end = scan.start + len(data[scan.start : scan.end].rstrip(b"\x00"))
    run = scan.end - end
    return scan.end if _means_flat(jpeg, scan, run) else end


def _means_flat(jpeg: Jpeg, scan: Scan, run: int) -> bool:
    """Whether an encoder could write a run of zero bytes for an area of one colour.

    Zero bits repeat one symbol. For a flat area it must be "no difference" of the DC coefficients
    and "end of block" of the others (F.1.2, G.1.2). All 63 coefficients at -1, or a DC coefficient
    that falls below its range, do not occur in images.
    """
    if jpeg.arithmetic or jpeg.lossless or not jpeg.components:
        return True
    bits = 8 * (run - 1)
    if jpeg.progressive and scan.first:
        return _means_empty_bands(jpeg, scan, bits)
    if scan.high:
        return True
    factors = {part.id: part.horizontal * part.vertical for part in jpeg.components}
    unit_bits = 0
    sinking = 0
    for id, dc_table, ac_table in scan.components:
        blocks = factors.get(id, 1) if len(scan.components) > 1 else 1
        dc, dc_bits = scan.tables.get(dc_table, (0, 1))
        ac, ac_bits = (0, 0) if jpeg.progressive else scan.tables.get(0x10 + ac_table, (0, 1))
        if ac:
            return False
        unit_bits += blocks * (dc_bits + dc + ac_bits)
        sinking = max(sinking, blocks * ((1 << dc) - 1))
    return not unit_bits or bits // unit_bits * sinking <= _DC_RANGE >> scan.low


def _means_empty_bands(jpeg: Jpeg, scan: Scan, bits: int) -> bool:
    """Do the same for a scan of AC coefficients of a progressive JPEG (G.1.2.2, G.1.2.3)."""
    [(_, _, table), *_] = scan.components or [(0, 0, 0)]
    symbol, length = scan.tables.get(0x10 + table, (0, 1))
    zeros, size = symbol >> 4, symbol & 15
    if size:
        return scan.last - scan.first < 4
    if zeros == 15:
        return False
    if scan.high:
        return True
    # One symbol may end a run of blocks, which cannot exceed the number of blocks.
    return bits // length <= _units(jpeg, scan) if zeros == 0 else bits < 2 * (length + zeros)
