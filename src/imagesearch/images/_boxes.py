"""Boxes: where the coded images of a HEIF or AVIF file lie (ISO/IEC 14496-12 and 23008-12)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

__all__ = ["coded_items", "item_kinds"]

_MAX_BOXES = 10_000
_CODED = frozenset({b"hvc1", b"av01"})


def coded_items(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the type, start and end of each part of an image coded as HEVC or AV1.

    Parts outside the file and files that cannot be followed give nothing; decoding them then says
    what is wrong.
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
