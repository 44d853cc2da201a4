"""Identify data that are not a supported image, and say what to do about them."""

from __future__ import annotations

import re

from PIL import features

from imagesearch.images._headers import TiffHeader, item_kinds, tiff_header
from imagesearch.images._jpeg import Jpeg

__all__ = ["heif_brand", "look_of", "perhaps_unsupported", "starts_as_image", "unsupported_kind"]


_OTHER_FORMATS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"8BPS", "a Photoshop document"),
    (0, b"\x00\x00\x00\x0cJXL \r\n\x87\n", "a JPEG XL image"),
    (0, b"\xff\x0a", "a JPEG XL image"),
    (0, b"II\xbc\x01", "a JPEG XR image"),
    (0, b"%!PS", "PostScript (EPS), which is a program"),
    (0, b"\xc5\xd0\xd3\xc6", "an EPS drawing, which is a program"),
    (0, b"\xd7\xcd\xc6\x9a", "a Windows metafile (WMF) drawing"),
    (40, b" EMF", "a Windows metafile (EMF) drawing"),
    (0, b"gimp xcf", "a GIMP document"),
    (0, b"qoif", "a QOI image"),
    (0, b"BPG\xfb", "a BPG image"),
    (0, b"FLIF", "a FLIF image"),
    (0, b"DDS ", "a DirectDraw surface (DDS)"),
    (0, b"icns", "an Apple icon (ICNS)"),
    (0, b"\x00\x00\x02\x00", "a Windows cursor"),
    (0, b"\x76\x2f\x31\x01", "an OpenEXR image"),
    (0, b"#?RADIANCE", "a Radiance HDR image"),
    (0, b"#?RGBE", "a Radiance HDR image"),
    (128, b"DICM", "a DICOM image"),
    (0, b"SIMPLE  =", "a FITS image"),
    (0, b"P7\n", "a PAM image"),
    (0, b"AT&TFORM", "a DjVu document"),
    (0, b"\x97JB2\r\n\x1a\n", "a JBIG2 image"),
    (4, b"ftypcrx ", "a raw photo of a camera (CR3)"),
    (0, b"FUJIFILMCCD-RAW", "a raw photo of a camera (RAF)"),
    (0, b"IIU\x00", "a raw photo of a camera (RW2)"),
    (0, b"IIRO", "a raw photo of a camera (ORF)"),
    (0, b"IIRS", "a raw photo of a camera (ORF)"),
    (0, b"MMOR", "a raw photo of a camera (ORF)"),
    (0, b"FOVb", "a raw photo of a camera (X3F)"),
)

# Formats that Pillow decodes only if it was built with a library, and its name in `features`.
_BUILT_IN: tuple[tuple[int, bytes, str, str], ...] = (
    (4, b"ftypavi", "an AVIF image", "avif"),
    (8, b"WEBP", "a WebP image", "webp"),
    (0, b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 image", "jpg_2000"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 image", "jpg_2000"),
)

# TIFF 6.0, and the registered tags that libtiff knows.
_COLOURS = {
    0: ("grey", 1), 1: ("grey", 1), 2: ("RGB", 3), 3: ("palette", 1), 4: ("mask", 1), 5: ("CMYK", 4),
    6: ("YCbCr", 3), 8: ("CIELAB", 3), 9: ("ICCLAB", 3), 10: ("ITULAB", 3), 32803: ("raw sensor", 1),
    32844: ("CIE Log2(L)", 1), 32845: ("CIE LogLuv", 3), 34892: ("linear raw", 3),
}  # fmt: skip
_READ = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946})
_COMPRESSIONS = {
    9: "JBIG", 10: "JBIG", 32766: "NeXT", 32809: "ThunderScan", 32908: "PIXAR film",
    32909: "PIXAR log", 34661: "JBIG", 34676: "SGI log", 34677: "SGI log", 34712: "JPEG 2000",
    34887: "LERC", 34892: "lossy JPEG of DNG", 34925: "LZMA", 34933: "PNG", 50000: "Zstandard",
    50001: "WebP", 50002: "JPEG XL", 52546: "JPEG XL",
}  # fmt: skip

_BMP_COMPRESSIONS = {4: "JPEG", 5: "PNG", 11: "CMYK", 12: "CMYK", 13: "CMYK"}
_ITEMS = {
    b"vvc1": "VVC (H.266)", b"evc1": "EVC", b"avc1": "AVC (H.264)", b"j2k1": "JPEG 2000",
    b"unci": "uncompressed samples", b"jpeg": "JPEG",
}  # fmt: skip


def unsupported_kind(data: bytes) -> str | None:
    """Describe data that Pillow cannot identify, if they are an image of an unsupported kind.

    Example:
        >>> unsupported_kind(b"8BPS..."), unsupported_kind(b"words")
        ('a Photoshop document', None)
    """
    for offset, magic, kind in _OTHER_FORMATS:
        if data.startswith(magic, offset):
            return kind
    for offset, magic, kind, feature in _BUILT_IN:
        if data.startswith(magic, offset) and not features.check(feature):
            return f"{kind}, for which this build of Pillow lacks the library"
    tiff = tiff_header(data)
    return None if tiff is None else _tiff_kind(tiff)


def perhaps_unsupported(data: bytes, jpeg: Jpeg | None) -> str | None:
    """Describe an image that failed to decode, if its kind rather than damage may be the reason.

    Args:
        data: An image that Pillow has identified.
        jpeg: Its markers, for a JPEG.
    """
    if jpeg is not None:
        if jpeg.lossless or jpeg.arithmetic:
            return f"{'a lossless' if jpeg.lossless else 'an arithmetic-coded'} JPEG"
        return None
    if data.startswith(b"BM"):
        return _bmp_kind(data)
    tiff = tiff_header(data)
    if tiff is not None and tiff.compression not in _READ:
        return _tiff_kind(tiff)
    if data[4:8] == b"ftyp":
        for kind in item_kinds(data) & _ITEMS.keys():
            return f"a HEIF image coded as {_ITEMS[kind]}"
    return None


def _tiff_kind(tiff: TiffHeader) -> str | None:
    """Describe a TIFF, or return None if its header is invalid."""
    colour, colours = _COLOURS.get(-1 if tiff.photometric is None else tiff.photometric, ("", 0))
    valid = tiff.compression in _READ or tiff.compression in _COMPRESSIONS
    if not colour or not valid or not all(1 <= bits <= 64 for bits in tiff.bits):
        return None
    if _is_common(tiff, colours):
        return None
    sizes = sorted(set(tiff.bits))
    bits = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    formats = {"float": " floating-point", "signed": " signed", "other": " complex or undefined"}
    parts = [f"a TIFF with {bits}-bit{formats.get(tiff.formats[0], '')} {colour} samples"]
    if set(tiff.extra) & {1, 2}:
        parts.append("with alpha")
    if tiff.channels > colours + len(tiff.extra) or 0 in tiff.extra:
        parts.append(f"with {tiff.channels} samples per pixel")
    if tiff.compression in _COMPRESSIONS:
        parts.append(f"compressed by {_COMPRESSIONS[tiff.compression]}")
    return ", ".join(parts)


def _is_common(tiff: TiffHeader, colours: int) -> bool:
    """Whether Pillow supports such TIFFs, so that a failure means damage."""
    if tiff.compression not in _READ or set(tiff.formats) != {"unsigned"}:
        return False
    spare = tiff.channels - colours
    if tiff.photometric in {0, 1, 3} and spare == 0:
        return set(tiff.bits) <= {1, 2, 4, 8, 12, 16}
    if tiff.photometric in {2, 5} and spare == 0:
        return set(tiff.bits) <= {8, 16}
    return spare <= (tiff.photometric in {0, 1, 2}) and set(tiff.bits) == {8}


def _bmp_kind(data: bytes) -> str | None:
    """Describe a BMP by its BITMAPINFOHEADER."""
    if len(data) < 34 or int.from_bytes(data[14:18], "little") < 40:
        return None
    bits = int.from_bytes(data[28:30], "little")
    compression = int.from_bytes(data[30:34], "little")
    if compression in _BMP_COMPRESSIONS:
        return f"a BMP with {_BMP_COMPRESSIONS[compression]} compression"
    if bits in {2, 64}:
        return f"a BMP with {bits} bits per pixel"
    return "a BMP with unusual bit fields" if compression in {3, 6} else None


_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"%PDF", "a PDF document; export its pages as PNG"),
    (b"PK\x03\x04", "a ZIP archive or Office document; unpack it"),
    (b"\x1f\x8b", "gzip-compressed data; unpack it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it"),
    (b"Rar!", "a RAR archive; unpack it"),
    (b"SQLite format 3", "a SQLite database"),
    (b"version https://git-lfs", "a Git LFS pointer instead of the file; run 'git lfs pull'"),
    (b"\x00\x05\x16\x07", "a macOS resource fork (a ._ file), which contains no image; delete it"),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM video"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a Windows program"),
)  # fmt: skip

_IMAGES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"GIF8", "GIF"),
    (8, b"WEBP", "WebP"),
    (4, b"ftyp", "AVIF"),
    (0, b"II*\x00", "TIFF"),
    (0, b"MM\x00*", "TIFF"),
    (0, b"BM", "BMP"),
    (0, b"P6", "PPM"),
    (0, b"P5", "PGM"),
    (0, b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"\x00\x00\x01\x00", "ICO"),
)

_HEIF_BRANDS = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
)
_AVIF_BRANDS = frozenset({b"avif", b"avis"})


def heif_brand(data: bytes) -> bool:
    """Whether data start like HEIC or HEIF and not like AVIF, which shares the container."""
    if data[4:8] != b"ftyp" or data[8:12] not in _HEIF_BRANDS:
        return False
    length = min(int.from_bytes(data[:4], "big"), 256)
    compatible = {data[start : start + 4] for start in range(16, length, 4)}
    return not compatible & _AVIF_BRANDS


def starts_as_image(data: bytes) -> bool:
    """Whether data start like one of the supported formats.

    Example:
        >>> starts_as_image(b"GIF89a"), starts_as_image(b"words")
        (True, False)
    """
    return any(data.startswith(magic, offset) for offset, magic, _ in _IMAGES)


def look_of(data: bytes) -> str:
    """Describe what unreadable data look like, and how to fix it."""
    for magic, look in _MAGIC:
        if data.startswith(magic):
            return f"looks like {look}"
    if data[4:8] == b"ftyp" and data[8:12] not in _AVIF_BRANDS | _HEIF_BRANDS:
        return "looks like a video (MP4 or MOV); extract frames from it"
    if data.startswith(b"RIFF") and data[8:12] in {b"AVI ", b"WAVE"}:
        return "looks like a video or sound file (RIFF); extract frames from it"
    for offset, magic, format in _IMAGES:
        if data.startswith(magic, offset):
            return f"starts like {format} but is damaged; fetch or export it again"
    if not data.strip(b"\x00"):
        return "contains only zero bytes, as after an interrupted copy; copy it again"
    head = data[:4096]
    text = _text(head)
    if text is None:
        return f"is not in a known image format (it starts with the bytes {data[:8].hex(' ')})"
    start = text.lstrip("\ufeff \t\r\n")[:1000].lower()
    if re.match(r"<!doctype html|<html|<head|<body|<title", start) or "<html" in start:
        return "looks like an HTML page: an error or login page saved as an image; fetch it again"
    if start.startswith("<svg") or (start.startswith("<?xml") and "<svg" in text.lower()):
        return "looks like an SVG drawing; export it as PNG"
    if start.startswith("<"):
        return "looks like XML, not an image"
    if start.startswith(("{", "[")):
        return "looks like JSON, not an image"
    return f"looks like text, not an image (it starts with {start[:30]!r})"


def _text(head: bytes) -> str | None:
    for encoding in (
        ("utf-8-sig", "utf-16") if head[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig",)
    ):
        try:
            # The cut at 4096 bytes may split a character.
            text = head.decode(encoding, "strict" if len(head) < 4096 else "ignore")
        except UnicodeDecodeError:
            continue
        marks = sum(not (mark.isprintable() or mark in "\t\r\n\f\ufeff") for mark in text)
        if marks <= len(text) // 50 and len(text) >= len(head) // 4:
            return text
    return None
