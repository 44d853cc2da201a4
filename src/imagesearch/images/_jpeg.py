"""Parse the marker segments of a JPEG, before anything is decoded.

Sections named below are those of ITU-T T.81 (ISO/IEC 10918-1).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from imagesearch.errors import DecodeError

__all__ = ["Component", "Jpeg", "Scan", "read_jpeg", "unsupported_jpeg"]

_MAX_SEGMENTS = 10_000
"""Limit on marker segments; a photo has 10 to 30, one with a large ICC profile 300."""

_MARKER = re.compile(rb"\xff([^\x00\xff])")
# Within a scan's data, a restart marker does not end it and FF 00 stands for a data byte FF.
_SCAN_END = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")

_SOI, _EOI, _SOS, _DHT, _DRI, _TEM = 0xD8, 0xD9, 0xDA, 0xC4, 0xDD, 0x01
_RESTARTS = range(0xD0, 0xD8)
_JPEG_LS = 0xF7
_FRAMES = frozenset(range(0xC0, 0xD0)) - {_DHT, 0xC8, 0xCC} | {_JPEG_LS}

_SCALABLE = frozenset({0xC0, 0xC1, 0xC2, 0xC9, 0xCA})
"""DCT-based processes that libjpeg decodes; only a DCT can be decoded at a reduced size."""
_LOSSLESS = frozenset({0xC3, 0xC7, 0xCB, 0xCF})
_ARITHMETIC = frozenset(range(0xC9, 0xD0)) - {0xCC}
_HIERARCHICAL = frozenset({0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF})
_PROGRESSIVE = frozenset({0xC2, 0xCA})


@dataclass(frozen=True, slots=True)
class Component:
    """One component of a frame: its id and its sampling factors, each from 1 to 4."""

    id: int
    horizontal: int
    vertical: int


@dataclass(frozen=True, slots=True)
class Scan:
    """One scan: its components, its coefficients and the position of its data.

    Attributes:
        components: For each component its id and its DC and AC table, 0 to 3.
        first: First coefficient in zigzag order, from 0 to 63.
        last: Last coefficient.
        high: Lowest bit of the previous scan of these coefficients, 0 for none.
        low: Lowest bit of this scan; 0 is full precision.
        start: Offset of its entropy-coded data.
        end: Offset of the next marker, or the length of the file.
        restarts: MCUs between two restart markers, 0 for none.
        tables: Huffman tables in force: from Tc·16 + Th to the symbol whose code is all zero
            bits, and the length of that code, 1 to 16.
    """

    components: tuple[tuple[int, int, int], ...]
    first: int
    last: int
    high: int
    low: int
    start: int
    end: int
    restarts: int
    tables: dict[int, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Jpeg:
    """What the markers of a JPEG declare.

    Attributes:
        process: Second byte of the frame's marker (SOF), such as 0xC0 for baseline; 0 if missing.
        frames: Number of frame markers before the first scan.
        bits: Bits of a sample.
        width: Pixels.
        height: Pixels; 0 if declared only after the first scan.
        components: Components in the order of the frame header.
        scans: Scans in the order of the file, up to the end marker.
        ended: Whether the end marker is present.
    """

    process: int = 0
    frames: int = 0
    bits: int = 0
    width: int = 0
    height: int = 0
    components: tuple[Component, ...] = ()
    scans: list[Scan] = field(default_factory=list)
    ended: bool = False

    @property
    def scalable(self) -> bool:
        """Whether libjpeg can decode it at 1/2, 1/4 or 1/8 of its size.

        For a lossless frame, Pillow 11.3 to 12.3 would write beyond its buffer.
        """
        return self.frames == 1 and self.process in _SCALABLE and self.bits == 8

    @property
    def arithmetic(self) -> bool:
        """Whether the data are arithmetic-coded, which libjpeg needs all at once."""
        return self.process in _ARITHMETIC

    @property
    def progressive(self) -> bool:
        """Whether the coefficients come in several scans of growing precision."""
        return self.process in _PROGRESSIVE

    @property
    def lossless(self) -> bool:
        """Whether samples are predicted instead of transformed."""
        return self.process in _LOSSLESS


def read_jpeg(data: bytes, *, name: str = "image") -> Jpeg | None:
    """Parse the markers of a JPEG, or of the first image of an MPO, as libjpeg does.

    The content of segments, such as a thumbnail, is skipped. Parsing stops at the end marker or at
    the first malformed segment.

    Returns:
        The parsed markers, or None if this is not a JPEG.

    Raises:
        DecodeError: Too many segments.

    Example:
        >>> import io
        >>> from PIL import Image
        >>> buffer = io.BytesIO()
        >>> Image.new("L", (40, 30)).save(buffer, "JPEG")
        >>> jpeg = read_jpeg(buffer.getvalue())
        >>> hex(jpeg.process), jpeg.width, jpeg.height, len(jpeg.scans), jpeg.ended
        ('0xc0', 40, 30, 1, True)
    """
    if not data.startswith(b"\xff\xd8\xff"):
        return None
    frame, frames = Jpeg(), 0
    scans: list[Scan] = []
    tables: dict[int, tuple[int, int]] = {}
    restarts = 0
    ended = False
    for count, (code, start, end, stop) in enumerate(_segments(data)):
        if count >= _MAX_SEGMENTS:
            raise DecodeError(
                f"{name} has more than {_MAX_SEGMENTS:,} marker segments, far more than a JPEG needs; "
                "export it again"
            )
        body = data[start:end]
        if code == _EOI:
            ended = True
        elif code in _FRAMES and not scans:
            frames += 1
            frame = _frame(code, body)
        elif code == _DHT:
            tables = tables | _tables(body)
        elif code == _DRI and len(body) == 2:
            restarts = int.from_bytes(body)
        elif code == _SOS and len(body) >= 6:
            scans.append(_scan(body, end, stop, restarts, tables))
    return replace(frame, frames=frames, scans=scans, ended=ended)


def unsupported_jpeg(jpeg: Jpeg) -> str | None:
    """Describe a JPEG of a kind that Pillow does not decode; None for the others."""
    if not jpeg.frames:
        return None
    bits = f"with {jpeg.bits} bits per sample"
    if jpeg.process == _JPEG_LS:
        return f"a JPEG-LS image {bits}"
    if jpeg.process in _HIERARCHICAL:
        return "a hierarchical JPEG"
    if jpeg.process == 0xCB:
        return "a lossless JPEG with arithmetic coding"
    if jpeg.bits != 8:
        return f"a {'lossless ' if jpeg.lossless else ''}JPEG {bits}"
    if len(jpeg.components) not in {1, 3, 4}:
        return f"a JPEG with {len(jpeg.components)} components"
    if not jpeg.height:
        return "a JPEG that gives its height only after its first scan (DNL)"
    return None


def _segments(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Yield for each marker its code, the start and end of its segment, and where to look for the next."""
    position = 2
    while match := _MARKER.search(data, position):
        code, position = match[1][0], match.end()
        if code in _RESTARTS or code == _TEM:
            continue
        if code in {_SOI, _EOI}:
            if code == _EOI:
                yield code, position, position, position
            return
        length = int.from_bytes(data[position : position + 2])
        start, end = position + 2, position + length
        if length < 2 or end > len(data):
            return
        position = end
        if code == _SOS:
            scan = _SCAN_END.search(data, end)
            position = scan.start() if scan else len(data)
        yield code, start, end, position


def _frame(code: int, body: bytes) -> Jpeg:
    """Read a frame header, B.2.2."""
    if len(body) < 6 or len(body) < 6 + 3 * body[5]:
        return Jpeg(process=code)
    return Jpeg(
        process=code,
        bits=body[0],
        height=int.from_bytes(body[1:3]),
        width=int.from_bytes(body[3:5]),
        components=tuple(
            Component(body[at], body[at + 1] >> 4, body[at + 1] & 15)
            for at in range(6, 6 + 3 * body[5], 3)
        ),
    )


def _tables(body: bytes) -> dict[int, tuple[int, int]]:
    """Read the all-zero code of each Huffman table, B.2.4.2."""
    tables = {}
    at = 0
    while at + 17 < len(body):
        lengths = [length for length in range(1, 17) if body[at + length]]
        if lengths:
            tables[body[at]] = body[at + 17], lengths[0]
        at += 17 + sum(body[at + 1 : at + 17])
    return tables


def _scan(
    body: bytes, start: int, end: int, restarts: int, tables: dict[int, tuple[int, int]]
) -> Scan:
    """Read a scan header, B.2.3."""
    count = min(body[0], (len(body) - 4) // 2)
    components = tuple(
        (body[at], body[at + 1] >> 4, body[at + 1] & 15) for at in range(1, 1 + 2 * count, 2)
    )
    first, last, bits = body[1 + 2 * count : 4 + 2 * count]
    return Scan(components, first, last, bits >> 4, bits & 15, start, end, restarts, tables)
