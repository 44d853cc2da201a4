"""Damage that decoders make up for: zeroed and missing parts of files of every format."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from imagesearch.errors import DecodeError
from imagesearch.images import decode
from tests.bad_files import encode, png_chunk


def photo(size=(320, 240)):
    """Detail everywhere, as in a photo, so that no part of a file may be zeros."""
    values = np.random.default_rng(7).integers(0, 256, (size[1] // 4, size[0] // 4, 3), np.uint8)
    return Image.fromarray(values).resize(size)


def heif(image, **options):
    pytest.importorskip("pillow_heif").register_heif_opener()
    return encode(image, "HEIF", **options)


def zeroed(data, start, size=None):
    size = len(data) - start if size is None else size
    return data[:start] + bytes(size) + data[start + size :]


ZEROED_TAILS = {
    "PNG": {},
    "GIF": {},
    "WEBP": {"quality": 80},
    "WEBP lossless": {"lossless": True},
    "AVIF": {},
    "HEIF": {},
    "TIFF deflate": {"compression": "tiff_adobe_deflate"},
    "TIFF LZW": {"compression": "tiff_lzw"},
    "TIFF JPEG": {"compression": "jpeg"},
    "TIFF PackBits": {"compression": "packbits"},
    "JPEG2000": {},
    "ICO": {"sizes": [(128, 96)]},
}


@pytest.mark.parametrize("kind", ZEROED_TAILS)
def test_a_file_whose_second_half_is_zeros_is_damaged(kind):
    encoder = heif if kind == "HEIF" else encode
    arguments = () if kind == "HEIF" else (kind.split()[0],)
    data = encoder(photo(), *arguments, **ZEROED_TAILS[kind])
    assert decode(data).mode == "RGB"
    with pytest.raises(DecodeError, match=r"photo .*damaged"):
        decode(zeroed(data, len(data) // 2), name="photo")


@pytest.mark.parametrize(
    "kind",
    ["PNG", "GIF", "AVIF", "HEIF", "TIFF deflate", "TIFF LZW", "TIFF JPEG", "JPEG2000"],
)
def test_a_file_with_a_hole_of_zeros_is_damaged(kind):
    encoder = heif if kind == "HEIF" else encode
    arguments = () if kind == "HEIF" else (kind.split()[0],)
    data = encoder(photo((640, 480)), *arguments, **ZEROED_TAILS[kind])
    with pytest.raises(DecodeError, match="is damaged"):
        decode(zeroed(data, len(data) // 2, 4096))


def png(rows, *, height, width=40, bits=8, colour_type=2, interlace=0):
    """A PNG with right checksums that holds the given bytes of rows."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, interlace)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", zlib.compress(rows))
        + png_chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("missing", [1, 15, 30])
@pytest.mark.parametrize(
    ("options", "row"),
    [
        ({"colour_type": 2}, 121),
        ({"colour_type": 0}, 41),
        ({"colour_type": 6}, 161),
        ({"colour_type": 4, "bits": 16}, 161),
        ({"colour_type": 0, "bits": 1}, 6),
        ({"colour_type": 0, "bits": 16}, 81),
        ({"colour_type": 2, "width": 3}, 10),
    ],
)
def test_a_png_with_too_few_rows_is_damaged_though_its_checksums_are_right(missing, options, row):
    full = np.random.default_rng(1).integers(0, 256, (30, row), np.uint8)
    full[:, 0] = 0
    assert decode(png(full.tobytes(), height=30, **options)).height == 30
    with pytest.raises(DecodeError, match="is damaged"):
        decode(png(full[: 30 - missing].tobytes(), height=30, **options))


def test_an_interlaced_png_without_its_last_pass_is_damaged():
    # Adam7 for 40 × 30 grey pixels: rows and columns of each pass, with a filter byte a row.
    passes = [(4, 5), (4, 5), (4, 10), (8, 10), (7, 20), (15, 20), (15, 40)]
    parts = [bytes(rows * (1 + columns)) for rows, columns in passes]
    options = {"height": 30, "colour_type": 0, "interlace": 1}
    assert decode(png(b"".join(parts), **options)).size == (40, 30)
    for count in range(7):
        with pytest.raises(DecodeError, match="is damaged"):
            decode(png(b"".join(parts[:count]), **options))


def test_a_png_in_an_icon_is_checked_as_well():
    rows = bytes((1 + 3 * 40) * 12)
    inner = png(rows, height=30)
    entry = struct.pack("<BBBBHHII", 40, 30, 0, 0, 1, 24, len(inner), 22)
    with pytest.raises(DecodeError, match="end before the last row"):
        decode(b"\0\0\1\0\1\0" + entry + inner)


FLAT = {
    "PNG": {},
    "WEBP": {"quality": 80},
    "WEBP lossless": {"lossless": True, "method": 0},
    "WEBP best": {"quality": 100, "method": 0},
    "AVIF": {},
    "HEIF": {},
    "TIFF": {},
    "TIFF deflate": {"compression": "tiff_adobe_deflate", "strip_size": 10**8},
    "TIFF LZW": {"compression": "tiff_lzw"},
    "TIFF PackBits": {"compression": "packbits"},
    "TIFF JPEG": {"compression": "jpeg"},
    "JPEG2000": {},
    "GIF": {},
    "BMP": {},
    "PPM": {},
}


@pytest.mark.parametrize("kind", FLAT)
def test_an_even_or_regular_image_is_sound(kind):
    black = Image.new("RGB", (900, 600))
    corner = Image.new("RGB", (900, 600), "white")
    corner.paste(photo(), (0, 0))
    y, x = np.mgrid[0:600, 0:900]
    dots = Image.fromarray((((x % 8 == 0) & (y % 8 == 0)) * 255).astype(np.uint8)).convert("RGB")
    for image in (black, corner, dots):
        if kind == "HEIF":
            data = heif(image, **FLAT[kind])
        else:
            data = encode(image, kind.split()[0], **FLAT[kind])
        with Image.open(io.BytesIO(data)) as expected:
            assert decode(data).tobytes() == expected.convert("RGB").tobytes()
