"""Parse the headers of PNG, TIFF, HEIF and AVIF files, without decoding."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

__all__ = [
    "MAX_CHUNKS",
    "PngHeader",
    "TiffHeader",
    "coded_items",
    "item_kinds",
    "png_header",
    "tag_bytes_of",
    "tiff_header",
]


_MAX_BOXES = 10_000
_CODED = frozenset({b"hvc1", b"av01"})


def coded_items(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the type, start and end of each part of an image coded as HEVC or AV1.

    Parts outside the file and malformed files yield nothing; the decoder then reports the fault.
    """
    try:
        yield from _items(data)
    except (struct.error, IndexError):
        return


def item_kinds(data: bytes) -> set[bytes]:
    """Return the types of all items of a HEIF file, such as ``hvc1`` and ``Exif``."""
    try:
        return {
            kind
            for box, start, end in _meta(data)
            if box == b"iinf"
            for kind in _kinds(data, start, end).values()
        }
    except (struct.error, IndexError):
        return set()


def _meta(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    for box, start, end in _children(data, 0, len(data)):
        if box == b"meta":
            yield from _children(data, start + 4, end)
            return


def _items(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    kinds: dict[int, bytes] = {}
    parts: list[tuple[int, int, int]] = []
    for kind, start, end in _meta(data):
        if kind == b"iinf":
            kinds = _kinds(data, start, end)
        elif kind == b"iloc":
            parts = _locations(data, start, end)
    for item, start, end in parts:
        kind = kinds.get(item, b"")
        if kind in _CODED and 0 <= start < end <= len(data):
            yield kind, start, end


def _children(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the type and the start and end of the content of each box."""
    for _ in range(_MAX_BOXES):
        if start + 8 > end:
            return
        size, kind = struct.unpack_from(">I4s", data, start)
        head = 8
        if size == 1:
            [size] = struct.unpack_from(">Q", data, start + 8)
            head = 16
        elif size == 0:
            size = end - start
        if size < head or start + size > end:
            return
        yield kind, start + head, start + size
        start += size


def _kinds(data: bytes, start: int, end: int) -> dict[int, bytes]:
    """Read the item information box: from an item's id to its type."""
    start += 6 if data[start] == 0 else 8
    kinds = {}
    for kind, at, _ in _children(data, start, end):
        if kind == b"infe" and data[at] >= 2:
            wide = data[at] == 3
            [item] = struct.unpack_from(">I" if wide else ">H", data, at + 4)
            kinds[item] = data[at + (10 if wide else 8) :][:4]
    return kinds


def _locations(data: bytes, start: int, end: int) -> list[tuple[int, int, int]]:
    """Read the item location box: the id, start and end of each part in the file itself."""
    version, sizes = data[start], int.from_bytes(data[start + 4 : start + 6])
    offset_size, length_size, base_size = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15
    index_size = sizes & 15 if version in {1, 2} else 0
    id_size = 4 if version == 2 else 2
    at = start + 6

    def number(size: int) -> int:
        nonlocal at
        at += size
        if at > end:
            raise IndexError(at)
        return int.from_bytes(data[at - size : at])

    parts: list[tuple[int, int, int]] = []
    for _ in range(number(id_size)):
        item = number(id_size)
        method = number(2) & 15 if version in {1, 2} else 0
        reference, base = number(2), number(base_size)
        for _ in range(number(2)):
            number(index_size)
            offset, length = base + number(offset_size), number(length_size)
            if method == 0 and reference == 0:
                parts.append((item, offset, offset + length if length else len(data)))
    return parts


MAX_CHUNKS = 100_000
"""Limit on the chunks of a PNG. Pillow handles each in Python, in 1 to 5 µs; a 500 MB PNG in chunks of
8 KB, as libpng writes them, has 64,000."""

SampleFormat = Literal["unsigned", "signed", "float", "other"]


@dataclass(frozen=True, slots=True)
class PngHeader:
    """The header of a PNG.

    Attributes:
        width: Pixels.
        height: Pixels.
        bits: Bits of a sample: 1, 2, 4, 8 or 16.
        colour_type: 0 grey, 2 RGB, 3 palette, 4 grey with alpha, 6 RGBA.
        transparent: Content of the ``tRNS`` chunk, or None.
        chunks: Number of chunks, at most `MAX_CHUNKS` + 1.
    """

    width: int
    height: int
    bits: int
    colour_type: int
    transparent: bytes | None
    chunks: int

    @property
    def transparent_level(self) -> tuple[int, ...] | None:
        """The transparent grey level or RGB colour, in the bit depth of the file.

        Bits above that depth are ignored, as the PNG specification requires (11.3.2.1).
        """
        count = {0: 1, 2: 3}.get(self.colour_type)
        if count is None or self.transparent is None or len(self.transparent) < 2 * count:
            return None
        levels = struct.unpack_from(f">{count}H", self.transparent)
        return tuple(level & ((1 << self.bits) - 1) for level in levels)


def png_header(data: bytes) -> PngHeader | None:
    r"""Read the header of a PNG; None for other data.

    Example:
        >>> png_header(b"\x89PNG\r\n\x1a\n") is None
        True
    """
    if not data.startswith(b"\x89PNG\r\n\x1a\n") or data[12:16] != b"IHDR" or len(data) < 33:
        return None
    width, height, bits, colour_type = struct.unpack_from(">IIBB", data, 16)
    transparent: bytes | None = None
    position, chunks, pixels = 8, 0, False
    while position + 8 <= len(data) and chunks <= MAX_CHUNKS:
        length = int.from_bytes(data[position : position + 4], "big")
        kind = data[position + 4 : position + 8]
        chunks += 1
        pixels = pixels or kind == b"IDAT"
        if kind == b"tRNS" and not pixels:
            transparent = data[position + 8 : position + 8 + min(length, 256)]
        if kind == b"IEND":
            break
        position += 12 + length
    return PngHeader(width, height, bits, colour_type, transparent, chunks)


@dataclass(frozen=True, slots=True)
class TiffHeader:
    """What the first directory of a TIFF says (TIFF 6.0, sections 2, 8 and 19).

    Attributes:
        width: Pixels.
        height: Pixels.
        bits: Bits of each sample.
        formats: Sample format of each sample.
        channels: Samples of a pixel.
        photometric: 0 WhiteIsZero, 1 BlackIsZero, 2 RGB, 3 palette, 5 CMYK, 6 YCbCr, 8 CIELAB;
            None where the tag is missing.
        photometric_at: Offset of that value's lowest byte in the file; None where it is missing.
        compression: 1 is none.
        extra: Meaning of samples beyond the colours: 1 and 2 are alpha.
        segment: Width and height of a strip or tile, in pixels.
        segments: Number of strips or tiles.
        segment_bytes: Encoded bytes of all strips or tiles together, as far as they are counted.
        tag_bytes: Bytes of all tags' values. Entries that share a value count it each time, as
            Pillow keeps a copy for each.
    """

    width: int
    height: int
    bits: tuple[int, ...]
    formats: tuple[SampleFormat, ...]
    channels: int
    photometric: int | None
    photometric_at: int | None
    compression: int
    extra: tuple[int, ...]
    segment: tuple[int, int]
    segments: int
    segment_bytes: int
    tag_bytes: int


_FORMATS: dict[int, SampleFormat] = {1: "unsigned", 2: "signed", 3: "float"}
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_STRIPS, _CHANNELS, _ROWS, _STRIP_BYTES = 273, 277, 278, 279
_TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES, _EXTRA, _FORMAT = 322, 323, 324, 325, 338, 339
_MAX_VALUES = 64
"""Values of one tag that are read: bits and formats have one for each sample."""


def tiff_header(data: bytes) -> TiffHeader | None:
    r"""Read the tags of a TIFF's or BigTIFF's first directory that describe its samples.

    Example:
        >>> tiff_header(b"II*\0") is None
        True
    """
    directory = _directory(data)
    if directory is None:
        return None
    tags, tag_bytes = directory

    def values(tag: int) -> tuple[int, ...]:
        return tags[tag].values if tag in tags else ()

    def first(tag: int, default: int) -> int:
        return next(iter(values(tag)), default)

    width, height, channels = first(_WIDTH, 0), first(_HEIGHT, 0), first(_CHANNELS, 1)
    if not width or not height or not 0 < channels <= _MAX_VALUES:
        return None
    bits = values(_BITS) or (1,)
    formats = tuple(_FORMATS.get(value, "other") for value in values(_FORMAT) or (1,))
    photometric = tags.get(_PHOTOMETRIC)
    tiled = _TILES in tags
    segments = tags.get(_TILES if tiled else _STRIPS)
    return TiffHeader(
        width=width,
        height=height,
        bits=bits * channels if len(bits) == 1 else bits[:channels],
        formats=formats * channels if len(formats) == 1 else formats[:channels],
        channels=channels,
        photometric=first(_PHOTOMETRIC, -1) if photometric and photometric.values else None,
        photometric_at=photometric.lowest_byte if photometric else None,
        compression=first(_COMPRESSION, 1),
        extra=values(_EXTRA),
        segment=(first(_TILE_WIDTH, 0), first(_TILE_HEIGHT, 0))
        if tiled
        else (width, min(first(_ROWS, height), height)),
        segments=segments.count if segments else 0,
        segment_bytes=_sum(data, tags.get(_TILE_BYTES if tiled else _STRIP_BYTES)),
        tag_bytes=tag_bytes,
    )


def tag_bytes_of(data: bytes) -> int:
    r"""Return how many bytes the values of a TIFF or EXIF directory take; see `TiffHeader`.

    Example:
        >>> tag_bytes_of(b"II*\0")
        0
    """
    directory = _directory(data)
    return 0 if directory is None else directory[1]


@dataclass(frozen=True, slots=True)
class _Tag:
    """An integer tag: its first values, the number of all values, their type and their offset."""

    values: tuple[int, ...]
    count: int
    code: str
    offset: int

    @property
    def lowest_byte(self) -> int:
        """Offset of the lowest byte of the first value."""
        return self.offset if self.code.startswith("<") else self.offset + self.size - 1

    @property
    def size(self) -> int:
        """Size of one value in bytes."""
        return struct.calcsize(self.code)


def _sum(data: bytes, tag: _Tag | None) -> int:
    """Return the sum of the values of a tag, 0 if some lie outside the file."""
    if tag is None or tag.offset + tag.count * tag.size > len(data):
        return 0
    block = memoryview(data)[tag.offset : tag.offset + tag.count * tag.size]
    return sum(value for (value,) in struct.iter_unpack(tag.code, block))


# Sizes of the TIFF types in bytes, and the struct codes of the integer ones.
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_SIZES |= {16: 8, 17: 8, 18: 8}
_WHOLE = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_MAX_ENTRIES = 65_535
"""What the count of a classic TIFF's directory can hold."""


def _directory(data: bytes) -> tuple[dict[int, _Tag], int] | None:
    """Return the first directory's tags, and the bytes of all its values."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None:
        return None
    tags: dict[int, _Tag] = {}
    total = 0
    try:
        [magic] = struct.unpack_from(f"{order}H", data, 2)
        big = magic == 43
        offset_type, count_type, entry = ("Q", "Q", 20) if big else ("I", "H", 12)
        [start] = struct.unpack_from(order + offset_type, data, 8 if big else 4)
        [count] = struct.unpack_from(order + count_type, data, start)
        start += struct.calcsize(count_type)
        room = struct.calcsize(offset_type)
        for at in range(start, start + entry * min(count, _MAX_ENTRIES + 1), entry):
            tag, kind, length = struct.unpack_from(f"{order}HH{offset_type}", data, at)
            size = _SIZES.get(kind, 0)
            total += size * length
            where = at + 4 + room
            if size * length > room:
                [where] = struct.unpack_from(order + offset_type, data, where)
            shown = min(length, _MAX_VALUES)
            if kind in _WHOLE and tag not in tags and where + shown * size <= len(data):
                values = struct.unpack_from(f"{order}{shown}{_WHOLE[kind]}", data, where)
                tags[tag] = _Tag(values, length, order + _WHOLE[kind], where)
    except struct.error:
        pass  # the directory is truncated; keep the entries read so far
    return tags, total
