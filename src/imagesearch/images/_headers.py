"""Headers: what PNG and TIFF files announce about their samples, without decoding.

Pillow loses some of it (which level of a 4-bit PNG is transparent) and misreads some (16-bit
WhiteIsZero), and a limit must be known before a decoder runs. Every function returns None for
bytes that it cannot follow; decoding them then says what is wrong.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal

__all__ = [
    "MAX_CHUNKS",
    "PngHeader",
    "TiffHeader",
    "png_header",
    "tiff_header",
]

MAX_CHUNKS = 100_000
"""Chunks that are followed in one file. Pillow handles each in Python, 1 to 5 µs; a
500 MB PNG in chunks of 8 KB, as libpng writes them, has 64,000."""

SampleFormat = Literal["unsigned", "signed", "float", "other"]


@dataclass(frozen=True, slots=True)
class PngHeader:
    """What the chunks of a PNG before its pixels say.

    Attributes:
        width: Pixels.
        height: Pixels.
        bits: Bits of a sample: 1, 2, 4, 8 or 16.
        colour_type: 0 grey, 2 RGB, 3 palette, 4 grey with alpha, 6 RGBA.
        transparent: Content of the ``tRNS`` chunk, or None.
        chunks: Chunks in the whole file; one more than `MAX_CHUNKS` if there are more.
    """

    width: int
    height: int
    bits: int
    colour_type: int
    transparent: bytes | None
    chunks: int

    @property
    def transparent_level(self) -> tuple[int, ...] | None:
        """The grey level or the RGB colour that is transparent, in the file's own bits.

        Higher bits than the file has are ignored, as the PNG specification asks for (11.3.2.1).
        """
        count = {0: 1, 2: 3}.get(self.colour_type)
        if count is None or self.transparent is None or len(self.transparent) < 2 * count:
            return None
        levels = struct.unpack_from(f">{count}H", self.transparent)
        return tuple(level & ((1 << self.bits) - 1) for level in levels)


def png_header(data: bytes) -> PngHeader | None:
    r"""Follow the chunks of a PNG.

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
        little_endian: Byte order of the file.
        width: Pixels.
        height: Pixels.
        bits: Bits of each sample.
        formats: Sample format of each sample.
        channels: Samples of a pixel.
        photometric: 0 WhiteIsZero, 1 BlackIsZero, 2 RGB, 3 palette, 5 CMYK, 6 YCbCr, 8 CIELAB;
            None where the tag is missing.
        photometric_at: Where the value of that tag stands in the file; None where it is missing.
        planar: Whether each sample has a plane of its own.
        compression: 1 is none.
        extra: Meaning of samples beyond the colours: 1 and 2 are alpha.
        segment: Width and height of a strip or tile, in pixels.
        segments: Number of strips or tiles.
    """

    little_endian: bool
    width: int
    height: int
    bits: tuple[int, ...]
    formats: tuple[SampleFormat, ...]
    channels: int
    photometric: int | None
    photometric_at: int | None
    planar: bool
    compression: int
    extra: tuple[int, ...]
    segment: tuple[int, int]
    segments: int


_FORMATS: dict[int, SampleFormat] = {1: "unsigned", 2: "signed", 3: "float"}
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_STRIPS, _CHANNELS, _ROWS, _PLANAR = 273, 277, 278, 284
_TILE_WIDTH, _TILE_HEIGHT, _TILES, _EXTRA, _FORMAT = 322, 323, 324, 338, 339
_MAX_VALUES = 64
"""Values of one tag that are read: bits and formats have one for each sample."""


def tiff_header(data: bytes) -> TiffHeader | None:
    r"""Read the tags of a TIFF's or BigTIFF's first directory that describe its samples.

    Example:
        >>> tiff_header(b"II*\0") is None
        True
    """
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None:
        return None
    try:
        tags = _tiff_tags(data, order)
    except struct.error:
        return None

    def first(tag: int, default: int) -> int:
        values = tags.get(tag, ((), 0, 0))[0]
        return values[0] if values else default

    width, height, channels = first(_WIDTH, 0), first(_HEIGHT, 0), first(_CHANNELS, 1)
    if not width or not height or not 0 < channels <= _MAX_VALUES:
        return None
    bits = tags.get(_BITS, ((1,), 0, 1))[0] or (1,)
    formats = tuple(
        _FORMATS.get(value, "other") for value in tags.get(_FORMAT, ((1,), 0, 1))[0] or (1,)
    )
    photometric = tags.get(_PHOTOMETRIC)
    strips = _TILES not in tags
    segment = (
        (width, min(first(_ROWS, height), height))
        if strips
        else (first(_TILE_WIDTH, 0), first(_TILE_HEIGHT, 0))
    )
    return TiffHeader(
        little_endian=order == "<",
        width=width,
        height=height,
        bits=bits * channels if len(bits) == 1 else bits[:channels],
        formats=formats * channels if len(formats) == 1 else formats[:channels],
        channels=channels,
        photometric=photometric[0][0] if photometric and photometric[0] else None,
        photometric_at=photometric[1] if photometric else None,
        planar=first(_PLANAR, 1) == 2,
        compression=first(_COMPRESSION, 1),
        extra=tags.get(_EXTRA, ((), 0, 0))[0],
        segment=segment,
        segments=tags.get(_STRIPS if strips else _TILES, ((), 0, 0))[2],
    )


# TIFF's types of whole numbers, as struct knows them: BYTE, SHORT, LONG, LONG8 and IFD8.
_TYPES = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}


def _tiff_tags(data: bytes, order: str) -> dict[int, tuple[tuple[int, ...], int, int]]:
    """Return for each tag of whole numbers its first values, where they stand, and their count."""
    [magic] = struct.unpack_from(f"{order}H", data, 2)
    big = magic == 43
    if magic not in {42, 43}:
        return {}
    offset_type, count_type, entry = ("Q", "Q", 20) if big else ("I", "H", 12)
    [start] = struct.unpack_from(order + offset_type, data, 8 if big else 4)
    [count] = struct.unpack_from(order + count_type, data, start)
    start += struct.calcsize(count_type)
    room = struct.calcsize(offset_type)
    tags: dict[int, tuple[tuple[int, ...], int, int]] = {}
    for at in range(start, start + entry * min(count, 65_535), entry):
        tag, kind, length = struct.unpack_from(f"{order}HH{offset_type}", data, at)
        code = _TYPES.get(kind)
        if code is None or tag in tags:
            continue
        where = at + 4 + room
        if length * struct.calcsize(code) > room:
            [where] = struct.unpack_from(order + offset_type, data, where)
        try:
            values = struct.unpack_from(f"{order}{min(length, _MAX_VALUES)}{code}", data, where)
        except struct.error:
            values = ()
        tags[tag] = values, where, length
    return tags
