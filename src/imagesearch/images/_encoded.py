"""One encoded image with its headers, prepared for Pillow."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from PIL import Image

from imagesearch.errors import DecodeError, ImageTooLargeError, UnsupportedImageError
from imagesearch.images._headers import (
    MAX_CHUNKS,
    PngHeader,
    TiffHeader,
    png_header,
    tag_bytes_of,
    tiff_header,
)
from imagesearch.images._jpeg import Jpeg
from imagesearch.images._limits import MAX_PIXELS, check_size
from imagesearch.images._samples import Samples, samples_of

__all__ = ["Encoded", "read_planes_rightly", "shared_exif", "without_metadata"]


_LARGE = 1 << 16
"""Metadata of up to this size are left in place, so that ordinary photos are not copied."""


def without_metadata(data: bytes, *, name: str = "image") -> bytes:
    r"""Return a JPEG or GIF without large metadata; other data are returned unchanged.

    The orientation, the colour space and everything that decoding needs are kept.

    Raises:
        DecodeError: A GIF with too many blocks before its image to skip quickly.

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
    """Whether entries of an EXIF block share bytes, which Pillow copies for each of them.

    A block of 64 KB can take 350 MB that way, and larger ones all memory.
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
"""Blocks of up to 255 bytes that are skipped before the image of a GIF, 0.1 to 0.5 µs each."""


def _bare_jpeg(data: bytes) -> bytes:
    kept: list[tuple[int, int]] = []
    seen: set[int] = set()
    position = 2
    unsound = False
    for _ in range(_MAX_SEGMENTS):
        match = _MARKER.search(data, position)
        if match is None:
            return data
        marker, position = match[1][0], match.end()
        if marker in _ALONE:
            continue
        if marker == _SOS:
            size = sum(end - start for start, end in kept)
            if match.start() - size <= _LARGE and not unsound:
                return data
            head = b"".join(data[start:end] for start, end in kept)
            return b"".join((b"\xff\xd8", head, memoryview(data)[match.start() :]))
        start, position = position + 2, position + int.from_bytes(data[position : position + 2])
        if position < start:
            return data
        if marker == _EXIF and data.startswith(b"Exif\0\0", start):
            bad = shared_exif(data[start:position])
            unsound = unsound or bad
            keep = not bad
        else:
            keep = marker in {_APP0, _ADOBE} or marker not in _METADATA
        if keep and not (marker in _METADATA and marker in seen):
            kept.append((match.start(), position))
            seen.add(marker)
    return data


def _bare_gif(data: bytes, name: str) -> bytes:
    """Drop comment and application blocks before the first image."""
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
                f"{name} is a GIF with more than {_MAX_BLOCKS:,} blocks before its image, which would "
                "take too long to read; export it again"
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


_MAX_SCANS = 100
"""Limit on the scans of a JPEG. Encoders write about ten; each costs a pass over all coefficients
for a few bytes."""

_MAX_SCANNED = 4_000_000_000
"""Limit on the samples in all scans of a JPEG, about 1 ns each; ten scans of the largest image with
half as much chroma are 2.7 billion."""

_MAX_STRIPS = 1_000_000
"""Limit on the strips or tiles of a TIFF: 16 x 16 tiles of the largest image are 700,000."""

_MAX_SHARING = 16
"""How often the bytes of a TIFF may be read: tiles of one colour may share their data."""

_MAX_ICONS = 1000
"""Limit on the images of an ICO; programs write up to a dozen."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """An encoded image.

    Attributes:
        data: The file; a WhiteIsZero TIFF that Pillow cannot read is declared BlackIsZero.
        jpeg: Markers of a JPEG, else None.
        png: Header of a PNG, else None.
        tiff: Header of a TIFF, else None.
    """

    data: bytes
    jpeg: Jpeg | None
    png: PngHeader | None
    tiff: TiffHeader | None

    @classmethod
    def of(cls, data: bytes, *, jpeg: Jpeg | None, max_pixels: int, name: str) -> Encoded:
        """Parse the header of an image and enforce limits on it.

        Raises:
            ImageTooLargeError: A PNG or a bitmap within an ICO has too many pixels.
            DecodeError: Too many scans, chunks or strips.
        """
        tiff = tiff_header(data)
        png = png_header(data)
        if jpeg is not None:
            _check_scans(jpeg, name)
        if png is not None and png.chunks > MAX_CHUNKS:
            raise DecodeError(
                f"{name} is a PNG with more than {MAX_CHUNKS:,} chunks, which would take too long to "
                "read; export it again"
            )
        if tiff is not None:
            _check_strips(tiff, len(data), name)
        if data.startswith(b"\0\0\1\0"):
            _check_icons(data, max_pixels=max_pixels, name=name)
        if data[4:8] == b"ftyp":
            _check_exif(data, name)
        return cls(_with_known_photometric(data, tiff), jpeg, png, tiff)

    def samples(self, opened: Image.Image) -> Samples | None:
        """Return the scale of an opened single-channel image."""
        samples = samples_of(opened)
        return replace(samples, inverted=True) if samples and _inverted(self.tiff) else samples

    def transparent_key(self, opened: Image.Image) -> tuple[int, ...] | None:
        """Return the transparent level or colour of a PNG, on Pillow's scale."""
        if self.png is None or (key := self.png.transparent_level) is None:
            return None
        match opened.mode, self.png.bits:
            case "RGB", 16:
                return tuple(level >> 8 for level in key)  # Pillow keeps the upper 8 bits
            case "1" | "L", (1 | 2 | 4) as bits:
                return tuple(level * 255 // ((1 << bits) - 1) for level in key)
            case _:
                return key

    def decoder_bytes(self, opened: Image.Image) -> int:
        """Estimate the bytes that the decoder needs in addition to the pixels."""
        width, height = opened.size
        pixels = width * height
        if self.jpeg is not None and len(self.jpeg.scans) > 1:
            return 2 * sum(_samples_of(self.jpeg).values())  # libjpeg keeps all coefficients
        if (tiff := self.tiff) is not None:
            segment = 0
            if tiff.compression != 1:
                across, down = tiff.segment
                segment = across * down * max(tiff.bits) * tiff.channels // 8
            # Pillow rotates a TIFF itself, into a second image.
            turned = getattr(opened, "tag_v2", {}).get(_ORIENTATION, 1) != 1
            return segment + (4 * pixels if turned else 0)
        if opened.format == "WEBP" and self.data.endswith(_ZEROS):
            # Such a file is decoded twice, to compare it without its last bytes.
            return int(pixels * 3 * _DECODER_BYTES["WEBP"])
        return int(pixels * _DECODER_BYTES.get(opened.format or "", 0.0) * _bands(opened))


def read_planes_rightly(opened: Any, *, name: str) -> None:
    """Make libtiff read separate 16-bit planes, whose bytes Pillow would take for samples.

    Args:
        opened: The opened image; others than such TIFFs are left alone.
        name: The image in messages.

    Raises:
        UnsupportedImageError: Planes of modes other than RGB, RGBA and CMYK.
        DecodeError: The pixels have been loaded already.
    """
    tags = getattr(opened, "tag_v2", None)
    if (
        tags is None
        or opened.use_load_libtiff
        or tags.get(_PLANAR_CONFIGURATION) != 2
        or 16 not in tags.get(_BITS_PER_SAMPLE, ())
    ):
        return
    raw_modes = {"RGB": "RGB;16N", "RGBA": "RGBA;16N", "CMYK": "CMYK;16N"}
    if opened.mode not in raw_modes:
        raise UnsupportedImageError(
            f"{name} is a TIFF with separate 16-bit planes of mode {opened.mode}, which is not "
            "supported; convert it to PNG"
        )
    if not opened.tile:
        raise DecodeError(
            f"{name} is a TIFF with separate 16-bit planes, which Pillow has loaded wrongly; pass its path"
        )
    box = (0, 0, *opened.size)
    if tags.get(_ORIENTATION, 1) > 4:
        box = (0, 0, opened.height, opened.width)
    opened.use_load_libtiff = True
    opened.tile = [("libtiff", box, 0, (raw_modes[opened.mode], "raw", False, tags.offset))]


_BITS_PER_SAMPLE, _PLANAR_CONFIGURATION, _ORIENTATION = 258, 284, 274


def _inverted(tiff: TiffHeader | None) -> bool:
    """Whether 0 is white in a TIFF for which Pillow ignores that."""
    return (
        tiff is not None
        and tiff.photometric == 0
        and tiff.channels == 1
        and (tiff.bits[0] > 8 or tiff.formats[0] != "unsigned")
    )


def _with_known_photometric(data: bytes, tiff: TiffHeader | None) -> bytes:
    """Declare a WhiteIsZero TIFF as BlackIsZero where Pillow does not support it.

    Pillow supports WhiteIsZero for 1 to 8 bits, ignores it for 16 bits in little-endian files, and
    refuses the rest.
    """
    if tiff is None or tiff.photometric_at is None or not _inverted(tiff):
        return data
    changed = bytearray(data)
    changed[tiff.photometric_at] = 1
    return bytes(changed)


# Measured with Pillow 12.3 and pillow-heif 1.8 on noise of 6 to 16 megapixels as the growth of the
# largest resident size, less the pixels' own 4 bytes: WebP 12.5, AVIF 5.6, HEIF 3.9 of a pixel
# (8 bits 4:2:0; 12 bits 4:4:4 take twice as much), JPEG 2000 5.3 of a sample.
_DECODER_BYTES = {"WEBP": 13.0, "AVIF": 12.0, "HEIF": 12.0, "JPEG2000": 5.5}


_ZEROS = bytes(256)


def _bands(opened: Image.Image) -> int:
    return len(opened.getbands()) if opened.format == "JPEG2000" else 1


def _samples_of(jpeg: Jpeg) -> dict[int, int]:
    """Return the number of coefficients of each component of a JPEG, in whole blocks."""
    across = max((component.horizontal for component in jpeg.components), default=1) or 1
    down = max((component.vertical for component in jpeg.components), default=1) or 1
    return {
        component.id: 64
        * math.ceil(jpeg.width * component.horizontal / across / 8)
        * math.ceil(jpeg.height * component.vertical / down / 8)
        for component in jpeg.components
    }


def _check_scans(jpeg: Jpeg, name: str) -> None:
    samples = _samples_of(jpeg)
    scanned = sum(samples.get(part[0], 0) for scan in jpeg.scans for part in scan.components)
    if len(jpeg.scans) > _MAX_SCANS or scanned > _MAX_SCANNED:
        raise DecodeError(
            f"{name} is a JPEG of {jpeg.width}×{jpeg.height} with {len(jpeg.scans):,} scans; at most "
            f"{_MAX_SCANS} scans and {_MAX_SCANNED:,} samples in all of them are decoded, so that "
            "a small file cannot take minutes; export it again"
        )


def _check_strips(tiff: TiffHeader, size: int, name: str) -> None:
    if (
        tiff.segments > _MAX_STRIPS
        or max(tiff.segment_bytes, tiff.tag_bytes) > _MAX_SHARING * size + _MAX_STRIPS
    ):
        raise DecodeError(
            f"{name} is a TIFF of {size:,} bytes with {tiff.segments:,} strips or tiles of "
            f"{tiff.segment_bytes:,} bytes and {tiff.tag_bytes:,} bytes of tags, which would take too "
            "long to read; export it again"
        )


_TIFF_START = re.compile(rb"II\*\0|MM\0\*")


def _check_exif(data: bytes, name: str) -> None:
    """Check the EXIF blocks of an AVIF or HEIC, which their readers parse first."""
    for start in islice(_TIFF_START.finditer(data), 16):
        if shared_exif(data[start.start() :]):
            raise DecodeError(
                f"{name} has EXIF entries that share the same bytes, which would fill the memory; "
                "remove its metadata"
            )


def _check_icons(data: bytes, *, max_pixels: int, name: str) -> None:
    """Check the sizes of the PNGs and bitmaps inside an ICO, which Pillow reads while decoding."""
    count = int.from_bytes(data[4:6], "little")
    if count > _MAX_ICONS:
        raise DecodeError(
            f"{name} is an ICO with {count:,} images, which would take too long to read; save one of "
            "them"
        )
    pixels = 0
    for at in range(6, 6 + 16 * count, 16):
        start = int.from_bytes(data[at + 12 : at + 16], "little")
        icon = data[start : start + 33]
        if icon.startswith(b"\x89PNG\r\n\x1a\n") and len(icon) == 33:
            width, height = int.from_bytes(icon[16:20]), int.from_bytes(icon[20:24])
        elif len(icon) >= 16 and icon.startswith(b"\x28\0\0\0"):
            width = abs(int.from_bytes(icon[4:8], "little", signed=True))
            height = abs(int.from_bytes(icon[8:12], "little", signed=True)) // 2
        else:
            continue
        if width and height:
            check_size(width, height, max_pixels=max_pixels, name=name)
        pixels += width * height
    if pixels > MAX_PIXELS:
        raise ImageTooLargeError(
            f"{name} is an ICO whose images have {pixels / 1e6:.4g} megapixels in all; at most "
            f"{MAX_PIXELS / 1e6:.4g} are decoded; save one of them"
        )
