"""Metadata: what stands before the pixels of JPEG and GIF files, and is skipped where it is large.

Pillow follows both in Python: it appends a comment's blocks one by one, joins all EXIF segments,
and steps through fill bytes singly, so that 50 MB of either take minutes. Of all that only the
orientation matters here.
"""

from __future__ import annotations

import re

from imagesearch.errors import DecodeError
from imagesearch.images._headers import tag_bytes_of

__all__ = ["shared_exif", "without_metadata"]

_LARGE = 1 << 16
"""Bytes of metadata that are left to Pillow, so that ordinary photos are not copied."""


def without_metadata(data: bytes, *, name: str = "image") -> bytes:
    r"""Return a JPEG or GIF without large metadata; other data and ordinary files as they are.

    Kept are the orientation, the colour space and what the pixels need.

    Raises:
        DecodeError: A GIF with more blocks before its image than can be skipped in a short time.

    Example:
        >>> without_metadata(b"\x89PNG...")
        b'\x89PNG...'
    """
    if data.startswith(b"\xff\xd8\xff"):
        return _bare_jpeg(data)
    if data.startswith((b"GIF87a", b"GIF89a")):
        return _bare_gif(data, name)
    return data


def shared_exif(block: bytes) -> bool:
    """Whether entries of an EXIF block point at the same bytes, of which Pillow keeps a copy each.

    A block of 64 KB can take 350 MB that way, and longer ones all memory.
    """
    tiff = block[6:] if block.startswith(b"Exif\0\0") else block
    return tag_bytes_of(tiff) > 2 * len(tiff) + _LARGE


_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")
_SOS, _COMMENT = 0xDA, 0xFE
_APP0, _EXIF, _ADOBE = 0xE0, 0xE1, 0xEE
_METADATA = frozenset(range(0xE0, 0xF0)) | {_COMMENT}
_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})
_MAX_SEGMENTS = 10_000
_MAX_BLOCKS = 2_000_000
"""Blocks of up to 255 bytes that are stepped over before a GIF's image, 0.1 to 0.5 µs each."""


def _bare_jpeg(data: bytes) -> bytes:
    kept: list[tuple[int, int]] = []
    seen: set[int] = set()
    position = 2
    unsound = False
    for _ in range(_MAX_SEGMENTS):
        found = _MARKER.search(data, position)
        if found is None:
            return data
        marker, position = found[1][0], found.end()
        if marker in _ALONE:
            continue
        if marker == _SOS:
            size = sum(end - start for start, end in kept)
            if found.start() - size <= _LARGE and not unsound:
                return data
            head = b"".join(data[start:end] for start, end in kept)
            return b"".join((b"\xff\xd8", head, memoryview(data)[found.start() :]))
        start, position = position + 2, position + int.from_bytes(data[position : position + 2])
        if position < start:
            return data
        if marker == _EXIF and data.startswith(b"Exif\0\0", start):
            bad = shared_exif(data[start:position])
            unsound = unsound or bad
            wanted = not bad
        else:
            wanted = marker in {_APP0, _ADOBE} or marker not in _METADATA
        if wanted and not (marker in _METADATA and marker in seen):
            kept.append((found.start(), position))
            seen.add(marker)
    return data


def _bare_gif(data: bytes, name: str) -> bytes:
    """Drop comments and applications' blocks before the first image."""
    if len(data) < 13:
        return data
    head = 13 + (3 << (data[10] & 7) + 1 if data[10] & 128 else 0)
    control = b""  # the last graphic control extension: what is transparent
    position = head
    blocks = 0
    while position < len(data) and data[position] != 0x2C:
        if data[position] == 0x3B:
            return data
        if blocks > _MAX_BLOCKS:
            raise DecodeError(
                f"{name} is a GIF with more than {_MAX_BLOCKS:,} blocks before its image, so that "
                "reading it would take long; export it again"
            )
        start, position, blocks = position, position + 1, blocks + 1
        if data[start] != 0x21:
            continue
        position += 1
        while position < len(data) and data[position] and blocks <= _MAX_BLOCKS:
            position += 1 + data[position]
            blocks += 1
        position += 1
        if data[start + 1 : start + 2] == b"\xf9":
            control = data[start:position]
    if position >= len(data) or position - head - len(control) <= _LARGE:
        return data
    return b"".join((data[:head], control, memoryview(data)[position:]))
