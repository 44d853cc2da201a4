"""TIFFs that Pillow does not write: any bits, byte order, planes, tiles and sample format."""

from __future__ import annotations

import struct
import zlib

import numpy as np

__all__ = ["tiff"]


def tiff(
    samples: np.ndarray,
    *,
    bits: int,
    photometric: int = 1,
    order: str = "<",
    sample_format: int = 1,
    planar: bool = False,
    deflate: bool = False,
    tile: int | None = None,
    orientation: int | None = None,
) -> bytes:
    """Encode samples of shape (height, width) or (height, width, channels).

    Args:
        samples: Whole numbers or floats that fit into `bits`.
        bits: 8, 16, 32 or 64 as NumPy knows them, or 10, 12 and 14, which are packed.
        photometric: 0 WhiteIsZero, 1 BlackIsZero, 2 RGB.
        order: ``<`` or ``>``.
        sample_format: 1 unsigned, 2 signed, 3 float.
        planar: A plane for each sample.
        deflate: Compressed with zlib.
        tile: Side of square tiles; None for strips of 16 rows.
        orientation: EXIF orientation.
    """
    height, width = samples.shape[:2]
    channels = 1 if samples.ndim == 2 else samples.shape[2]
    grid = samples.reshape(height, width, channels)
    planes = [grid[:, :, [at]] for at in range(channels)] if planar else [grid]
    parts = []
    for plane in planes:
        if tile is None:
            parts += [plane[top : top + 16] for top in range(0, height, 16)]
            continue
        padded = np.pad(plane, ((0, -height % tile), (0, -width % tile), (0, 0)))
        parts += [
            padded[top : top + tile, left : left + tile]
            for top in range(0, height, tile)
            for left in range(0, width, tile)
        ]
    encoded = [packed(part, bits, order, sample_format) for part in parts]
    if deflate:
        encoded = [zlib.compress(part) for part in encoded]
    body, offsets = b"", []
    for part in encoded:
        offsets.append(8 + len(body))
        body += part + b"\0" * (len(part) % 2)
    where, sizes = (273, 279) if tile is None else (324, 325)
    tags = {
        256: (4, [width]),
        257: (4, [height]),
        258: (3, [bits] * channels),
        259: (3, [8 if deflate else 1]),
        262: (3, [photometric]),
        where: (4, offsets),
        277: (3, [channels]),
        sizes: (4, [len(part) for part in encoded]),
        284: (3, [2 if planar else 1]),
        339: (3, [sample_format] * channels),
    }
    tags |= {278: (4, [16])} if tile is None else {322: (4, [tile]), 323: (4, [tile])}
    if orientation is not None:
        tags[274] = (3, [orientation])
    return assembled(tags, body, order)


def packed(part: np.ndarray, bits: int, order: str, sample_format: int) -> bytes:
    if bits not in {8, 16, 32, 64}:
        rows = part.reshape(part.shape[0], -1).astype(np.uint32)
        digits = rows[:, :, None] >> np.arange(bits - 1, -1, -1) & 1
        return np.packbits(digits.reshape(len(rows), -1).astype(np.uint8), axis=1).tobytes()
    kind = {1: "u", 2: "i", 3: "f"}[sample_format]
    return part.astype(f"{order}{kind}{bits // 8}").tobytes()


def assembled(tags: dict[int, tuple[int, list[int]]], body: bytes, order: str) -> bytes:
    extra_at = 8 + len(body)
    extra, entries = b"", b""
    for tag, (kind, values) in sorted(tags.items()):
        content = struct.pack(f"{order}{len(values)}{'HI'[kind == 4]}", *values)
        if len(content) > 4:
            entry, extra = struct.pack(f"{order}I", extra_at + len(extra)), extra + content
        else:
            entry = content.ljust(4, b"\0")
        entries += struct.pack(f"{order}HHI", tag, kind, len(values)) + entry
    start = struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, extra_at + len(extra))
    directory = struct.pack(f"{order}H", len(tags)) + entries + bytes(4)
    return start + body + extra + directory
