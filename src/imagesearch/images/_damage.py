"""Detect damaged files before decoding, by what their formats allow.

Decoders replace missing data with black, grey or stale pixels. This module verifies checksums that
Pillow skips, and finds runs of zero bytes that encoders never write but interrupted copies and
failing disks leave. JPEG has a module of its own.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator

from imagesearch.images._headers import coded_items
from imagesearch.images._jpeg import Jpeg, read_jpeg
from imagesearch.images._jpeg_data import damage_of_jpeg

__all__ = ["damage_of", "png_rows_missing"]

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG_2000 = (b"\x00\x00\x00\x0cjP  ", b"\xff\x4f\xff\x51")
_INFLATED_AT_ONCE = 1 << 20

_HOLES = {b"hvc1": 16, b"av01": 256}
"""Runs of zero bytes that valid data of these codecs never contain. HEVC forbids three, except in the
length before a unit (ITU-T H.265, 7.4.2). In AV1 the longest run was 6, in 30 flat, periodic
and noisy images at three qualities."""

_JPEG_2000_HOLE = 2048
"""The longest run found in valid JPEG 2000 files was 509, in a pattern of dots; it grows with the
code block."""

_TIFF_HOLES = {4: 32, 5: 64, 32773: 256}
"""Runs of zero bytes, followed by other bytes, that encoders do not write: fax group 4 has no
such code (ITU-T T.6), LZW and PackBits write runs of zeros shorter (TIFF 6.0, sections 9 and 13)."""
_TIFF_JPEG, _TIFF_DEFLATE = 7, frozenset({8, 32946})
_TIFF_ALARM = bytes(32)
_TIFF_TYPES = {1: "B", 3: "H", 4: "I", 7: "B", 16: "Q"}


def damage_of(data: bytes, jpeg: Jpeg | None) -> str | None:
    """Describe the damage of an encoded image, or return None if none is found.

    Args:
        data: The file.
        jpeg: Its markers, for a JPEG.

    Example:
        >>> damage_of(b"no image", None) is None
        True
    """
    if jpeg is not None:
        return damage_of_jpeg(data, jpeg)
    if data.startswith(_PNG):
        return _damage_of_png(data)
    if data.startswith(b"\x00\x00\x01\x00"):
        return _damage_of_icon(data)
    if data[:4] in {b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"}:
        return _damage_of_tiff(data)
    if data.startswith(_JPEG_2000):
        return _hole(data, 0, len(data), _JPEG_2000_HOLE)
    if data[4:8] == b"ftyp":
        for kind, start, end in coded_items(data):
            if damage := _hole(data, start, end, _HOLES[kind]):
                return damage
    return None


def _hole(data: bytes, start: int, end: int, size: int) -> str | None:
    at = data.find(bytes(size), start, end)
    if at < 0:
        return None
    run = re.compile(rb"\x00+").match(data, at, end)
    return f"the compressed data have a hole of {len(run[0]) if run else size:,} zero bytes"


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    position = len(_PNG)
    while position + 12 <= len(data):
        length = int.from_bytes(data[position : position + 4])
        kind = data[position + 4 : position + 8]
        end = position + 8 + length
        if end + 4 > len(data):
            return
        yield kind, position + 8, end
        position = end + 4


def _damage_of_png(data: bytes) -> str | None:
    """Verify the CRC of the image data, which Pillow skips."""
    view = memoryview(data)
    for kind, start, end in _png_chunks(data):
        if kind == b"IDAT" and zlib.crc32(view[start - 4 : end]) != int.from_bytes(
            data[end : end + 4]
        ):
            return "the checksum of the image data does not match"
    return None


def png_rows_missing(data: bytes) -> bool:
    """Whether the compressed data of a PNG end before the last row; inflates all of them.

    Raises:
        OSError: They cannot be inflated.
    """
    if data[12:16] != b"IHDR" or len(data) < 33:
        return False
    width, height, bits, colour_type, _, _, interlace = struct.unpack_from(">IIBBBBB", data, 16)
    depth = bits * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour_type, 1)
    # First column and row and their steps in the seven passes of Adam7 (PNG, 8.2).
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2)]
    missing = 0
    for x, y, across, down in [*passes, (0, 1, 1, 2)] if interlace else [(0, 0, 1, 1)]:
        columns, rows = -(-max(0, width - x) // across), -(-max(0, height - y) // down)
        missing += rows * (1 + (columns * depth + 7) // 8) if columns else 0
    stream = zlib.decompressobj()
    try:
        for kind, start, end in _png_chunks(data):
            waiting = data[start:end] if kind == b"IDAT" else b""
            while waiting and not stream.eof and missing > 0:
                missing -= len(stream.decompress(waiting, _INFLATED_AT_ONCE))
                waiting = stream.unconsumed_tail
    except zlib.error as error:
        raise OSError(f"{error}") from error
    return missing > 0


def _damage_of_icon(data: bytes) -> str | None:
    [count] = struct.unpack_from("<H", data.ljust(6, b"\0"), 4)
    for at in range(6, min(6 + 16 * count, len(data) - 15), 16):
        size, offset = struct.unpack_from("<II", data, at + 8)
        image = data[offset : offset + size]
        if image.startswith(_PNG):
            if damage := _damage_of_png(image):
                return damage
            try:
                if png_rows_missing(image):
                    return "the compressed data end before the last row"
            except OSError as error:
                return f"{error}"
    return None


def _damage_of_tiff(data: bytes) -> str | None:
    # Without a run of zeros there is nothing to check.
    if data.find(_TIFF_ALARM) < 0:
        return None
    try:
        compression, tables, parts = _tiff_parts(data)
    except (struct.error, OverflowError):
        return None
    for offset, size in parts:
        part = data[offset : offset + size]
        if len(part) < size:
            return "the compressed data end before the last row"
        if part.find(_TIFF_ALARM) >= 0 and (damage := _damage_of_part(part, compression, tables)):
            return damage
    return None


def _damage_of_part(part: bytes, compression: int, tables: bytes) -> str | None:
    if compression in _TIFF_DEFLATE:
        stream = zlib.decompressobj()
        try:
            while part and not stream.eof:
                stream.decompress(part, _INFLATED_AT_ONCE)
                part = stream.unconsumed_tail
        except zlib.error as error:
            return f"{error}"
    elif compression == _TIFF_JPEG:
        jpeg = read_jpeg(tables[:-2] + part[2:] if tables else part)
        return damage_of_jpeg(tables[:-2] + part[2:] if tables else part, jpeg) if jpeg else None
    elif size := _TIFF_HOLES.get(compression):
        return _hole(part, 0, len(part.rstrip(b"\x00")), size)
    return None


def _tiff_parts(data: bytes) -> tuple[int, bytes, list[tuple[int, int]]]:
    """Read the first directory: compression, JPEG tables, and each strip or tile (TIFF 6.0, 2)."""
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in {b"+\x00", b"\x00+"}
    word, count_type, entry = ("Q", "Q", 20) if big else ("I", "H", 12)
    [start] = struct.unpack_from(order + word, data, 8 if big else 4)
    [count] = struct.unpack_from(order + count_type, data, start)
    start += struct.calcsize(count_type)
    room = struct.calcsize(word)
    tags: dict[int, tuple[int, ...]] = {}
    for at in range(start, start + entry * min(count, 65_535), entry):
        tag, kind, length = struct.unpack_from(f"{order}HH{word}", data, at)
        if tag not in {259, 273, 279, 324, 325, 347} or kind not in _TIFF_TYPES:
            continue
        code = f"{order}{min(length, len(data))}{_TIFF_TYPES[kind]}"
        value_at = at + entry - room
        if struct.calcsize(code) > room:
            [value_at] = struct.unpack_from(order + word, data, value_at)
        tags[tag] = struct.unpack_from(code, data, value_at)
    offsets = tags.get(273) or tags.get(324) or ()
    sizes = tags.get(279) or tags.get(325) or ()
    [compression, *_] = tags.get(259) or (1,)
    parts = list(zip(offsets, sizes, strict=False)) if compression != 1 else []
    return compression, bytes(tags.get(347, ())), parts
