"""A folder of everything that is found among pictures and is none."""

from __future__ import annotations

import io
import os
import socket
import struct
import zlib
from pathlib import Path

from PIL import Image

__all__ = ["encode", "make_bad_files", "make_good_files", "picture", "png_chunk", "png_header"]


def picture(size: tuple[int, int] = (64, 48)) -> Image.Image:
    """A picture with detail in every row, so that a cut is never in an empty part."""
    image = Image.radial_gradient("L").resize(size)
    return Image.merge(
        "RGB", (image, image.rotate(90), image.transpose(Image.Transpose.ROTATE_180))
    )


def encode(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width: int, height: int) -> bytes:
    """The start of an RGB PNG that claims to be this large."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header)


def make_good_files(folder: Path) -> list[str]:
    """Write readable pictures, some under strange names; return their names."""
    image = picture()
    files = {
        "good.jpg": encode(image, "JPEG"),
        "good.png": encode(image, "PNG"),
        "good cmyk.jpeg": encode(image.convert("CMYK"), "JPEG"),
        "good.webp": encode(image, "WEBP"),
        "good.avif": encode(image, "AVIF"),
        "good.tiff": encode(image, "TIFF"),
        "good.gif": encode(image, "GIF"),
        "good palette.png": encode(image.quantize(16), "PNG"),
        "png named.jpg": encode(image, "PNG"),
        "UPPER.JPG": encode(image, "JPEG"),
        "名字 🐟.png": encode(image, "PNG"),
        "bracket[1].png": encode(image, "PNG"),
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return list(files)


def make_bad_files(folder: Path) -> dict[str, str]:
    """Write one file of each kind that cannot be indexed.

    Each has an image's suffix, so that a folder must account for it. Permissions are left alone:
    whoever runs the tests may be allowed to read everything.

    Returns:
        File name to what is wrong with it.
    """
    image = picture((300, 200))
    jpeg = encode(image, "JPEG")
    png = encode(image, "PNG")
    gif = encode(image, "GIF")
    webp = encode(image, "WEBP")
    tiff = encode(image, "TIFF")
    avif = encode(image, "AVIF")
    bmp = encode(image, "BMP")
    body = png.index(b"IDAT") + 4
    contents: dict[str, tuple[bytes, str]] = {
        "empty.jpg": (b"", "empty"),
        "zeros.jpg": (bytes(4096), "only zero bytes"),
        "text.jpg": (b"this is text\n", "text"),
        "chinese text.png": ("这不是图片".encode(), "text"),
        "error page.jpg": (b"<!DOCTYPE html>\n<html><body>404 Not Found</body></html>", "HTML"),
        "answer.png": (b'{"error": "rate limit"}', "JSON"),
        "drawing.png": (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        "document.jpg": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "PDF"),
        "program.png": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", "EPS"),
        "archive.jpg": (b"PK\x03\x04\x14\x00\x00\x00\x08\x00" + bytes(30), "ZIP"),
        "movie.jpg": (b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom", "video"),
        "lfs.png": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "LFS pointer"),
        "random.webp": (bytes((i * 7919 + i // 7) % 251 for i in range(2000)), "random bytes"),
        "half.jpg": (jpeg[: len(jpeg) // 2], "truncated JPEG"),
        "header only.jpg": (jpeg[:20], "truncated JPEG"),
        "half.png": (png[: len(png) // 2], "truncated PNG"),
        "half.gif": (gif[: len(gif) // 2], "truncated GIF"),
        "half.webp": (webp[: len(webp) // 2], "truncated WebP"),
        "half.tiff": (tiff[: len(tiff) // 2], "truncated TIFF"),
        "half.avif": (avif[: len(avif) // 2], "truncated AVIF"),
        "half.bmp": (bmp[: len(bmp) // 2], "truncated BMP"),
        "corrupt.png": (
            png[: body + 20] + bytes(60) + png[body + 80 :],
            "corrupt compressed data",
        ),
        "bomb.png": (
            png_header(60_000, 60_000)
            + png_chunk(b"IDAT", zlib.compress(bytes(1000)))
            + png_chunk(b"IEND", b""),
            "decompression bomb",
        ),
        "no pixels.png": (
            png_header(0, 0) + png_chunk(b"IDAT", zlib.compress(b"")) + png_chunk(b"IEND", b""),
            "no pixels",
        ),
        "text bomb.png": (
            png_header(1, 1)
            + png_chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(8 << 20)))
            + png_chunk(b"IDAT", zlib.compress(bytes(4)))
            + png_chunk(b"IEND", b""),
            "bomb in a text chunk",
        ),
        "no frame.gif": (b"GIF89a\x10\x00\x10\x00\x80\x00\x00" + bytes(6) + b";", "no frame"),
        "bad ifd.tif": (b"II*\x00\xff\xff\xff\x7f" + bytes(16), "damaged TIFF"),
        "no header.ppm": (b"P6\n-3 5\n255\n" + bytes(9), "damaged PPM"),
        "empty icon.ico": (b"\x00\x00\x01\x00\x00\x00", "damaged ICO"),
    }
    for name, (data, _) in contents.items():
        (folder / name).write_bytes(data)
    kinds = {name: kind for name, (_, kind) in contents.items()}
    (folder / "folder.jpg").mkdir()
    kinds["folder.jpg"] = "an empty folder"
    if hasattr(os, "symlink"):
        (folder / "broken link.jpg").symlink_to(folder / "nowhere.jpg")
        (folder / "own link.jpg").symlink_to(folder / "own link.jpg")
        kinds |= {"broken link.jpg": "a link to nothing", "own link.jpg": "a link to itself"}
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe.jpg")
        kinds["pipe.jpg"] = "a FIFO"
    if hasattr(socket, "AF_UNIX") and len(os.fsencode(folder)) < 90:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(folder / "s.jpg"))
        kinds["s.jpg"] = "a socket"
    return kinds
