"""Sniff: what bytes look like, in words, for messages about files that are no image."""

from __future__ import annotations

import re

__all__ = ["heif_brand", "look_of", "starts_as_image"]

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"%PDF", "a PDF document; export its pages as PNG"),
    (b"PK\x03\x04", "a ZIP archive or Office document; unpack it"),
    (b"\x1f\x8b", "gzip-compressed data; unpack it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it"),
    (b"Rar!", "a RAR archive; unpack it"),
    (b"SQLite format 3", "a SQLite database"),
    (b"version https://git-lfs", "a Git LFS pointer instead of the file; run 'git lfs pull'"),
    (b"\x00\x05\x16\x07", "a macOS resource fork (a ._ file), which holds no picture; delete it"),
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
    """Whether bytes start as HEIC or HEIF does, and not as AVIF, which shares its container."""
    if data[4:8] != b"ftyp" or data[8:12] not in _HEIF_BRANDS:
        return False
    length = min(int.from_bytes(data[:4], "big"), 256)
    compatible = {data[start : start + 4] for start in range(16, length, 4)}
    return not compatible & _AVIF_BRANDS


def starts_as_image(data: bytes) -> bool:
    """Whether bytes begin as one of the formats that are decoded does.

    Example:
        >>> starts_as_image(b"GIF89a"), starts_as_image(b"words")
        (True, False)
    """
    return any(data.startswith(magic, offset) for offset, magic, _ in _IMAGES)


def look_of(data: bytes) -> str:
    """Say what bytes that are no readable image look like, and what to do about it."""
    for magic, look in _MAGIC:
        if data.startswith(magic):
            return f"looks like {look}"
    if data[4:8] == b"ftyp" and data[8:12] not in _AVIF_BRANDS | _HEIF_BRANDS:
        return "looks like a video (MP4 or MOV); extract frames from it"
    if data.startswith(b"RIFF") and data[8:12] in {b"AVI ", b"WAVE"}:
        return "looks like a video or sound file (RIFF); extract frames from it"
    for offset, magic, format in _IMAGES:
        if data.startswith(magic, offset):
            return f"starts as {format} does, but is damaged; fetch or export it again"
    if not data.strip(b"\x00"):
        return "holds only zero bytes, as an interrupted copy does; copy it again"
    head = data[:4096]
    text = _text(head)
    if text is None:
        return f"is in no known image format (it starts with the bytes {data[:8].hex(' ')})"
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
            # A cut at 4096 bytes may split a character, which says nothing about the file.
            text = head.decode(encoding, "strict" if len(head) < 4096 else "ignore")
        except UnicodeDecodeError:
            continue
        marks = sum(not (mark.isprintable() or mark in "\t\r\n\f\ufeff") for mark in text)
        if marks <= len(text) // 50 and len(text) >= len(head) // 4:
            return text
    return None
