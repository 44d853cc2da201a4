"""What decoding may take: memory, and work that no small file can ask for."""

from __future__ import annotations

import struct
import subprocess
import sys
import textwrap
import zlib

import numpy as np
import pytest
from PIL import Image

from imagesearch.errors import DecodeError, ImageTooLargeError
from imagesearch.images import MAX_DECODED_BYTES, MAX_PIXELS, MAX_SIDE, decode, from_array
from tests.bad_files import encode, picture, png_chunk
from tests.tiff_files import tiff

ROTATED = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
MUCH = 20_000_000


def black_png(width, height, *, bits=8, colour_type=0, extra=b"", full=True):
    """A black PNG of any size, which takes no more than its compressed bytes to make.

    Unless it is `full`, all but a few rows are missing, and decoding it would say so.
    """
    row = bytes(1 + (width * CHANNELS[colour_type] * bits + 7) // 8)
    packer = zlib.compressobj(9)
    rows = max(1, (1 << 20) // len(row))
    body = [
        packer.compress(row * min(rows, height - at))
        for at in range(0, height if full else 1, rows)
    ]
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + (png_chunk(b"PLTE", bytes(768)) if colour_type == 3 else b"")
        + extra
        + png_chunk(b"IDAT", b"".join([*body, packer.flush()]))
        + png_chunk(b"IEND", b"")
    )


def segment(marker, content):
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(content) + 2) + content


@pytest.mark.parametrize("size", [(1, MAX_PIXELS), (MAX_PIXELS, 1), (MAX_SIDE + 1, 1)])
def test_a_side_has_a_limit_of_its_own(size):
    with pytest.raises(ImageTooLargeError, match="100,000 pixels"):
        decode(black_png(*size, full=False))


def test_a_side_of_the_limit_is_decoded():
    assert decode(black_png(1, MAX_SIDE)).size == (1, MAX_SIDE)


@pytest.mark.parametrize(
    "options",
    [
        {"colour_type": 4},
        {"colour_type": 6},
        {"colour_type": 3},
        {"colour_type": 0},
        {"bits": 1},
        {"bits": 16},
    ],
)
def test_169_megapixels_that_need_converting_are_refused_before_decoding(options):
    with pytest.raises(ImageTooLargeError, match="MB to decode"):
        decode(black_png(13_000, 13_000, full=False, **options))


def test_169_megapixels_of_floats_and_integers_and_49_of_webp_are_refused():
    for kind in (2, 3):
        data = tiff(np.zeros((1, 1)), bits=32, sample_format=kind)
        wide = data.replace(
            struct.pack("<HHII", 256, 4, 1, 1), struct.pack("<HHII", 256, 4, 1, 13_000)
        )
        large = wide.replace(
            struct.pack("<HHII", 257, 4, 1, 1), struct.pack("<HHII", 257, 4, 1, 13_000)
        )
        with pytest.raises(ImageTooLargeError):
            decode(large)
    data = encode(Image.new("RGB", (7_000, 7_000)), "WEBP", lossless=True, method=0)
    with pytest.raises(ImageTooLargeError, match=r"7000×7000 .* 833 MB"):
        decode(data)


def test_an_array_is_refused_before_it_is_copied():
    # One number, shown as a terabyte: any copy would end the test.
    with pytest.raises(ImageTooLargeError, match="megapixels"):
        from_array(np.broadcast_to(np.float64(0.5), (300_000, 500_000)))
    with pytest.raises(ImageTooLargeError, match="a side"):
        from_array(np.broadcast_to(np.uint8(7), (1, MAX_SIDE + 1, 3)))


def test_a_png_in_an_icon_has_the_same_limits():
    inner = black_png(1, MAX_PIXELS, full=False)
    head = struct.pack("<BBBBHHII", 0, 0, 0, 0, 1, 32, len(inner), 22)
    with pytest.raises(ImageTooLargeError, match="1×178956970"):
        decode(b"\0\0\1\0\1\0" + head + inner)
    large = black_png(9_000, 9_000, full=False)
    heads = [struct.pack("<BBBBHHII", 0, 0, 0, 0, 1, 32, len(large), 6 + 16 * 500)] * 500
    with pytest.raises(ImageTooLargeError, match="in all"):
        decode(b"\0\0\1\0" + struct.pack("<H", 500) + b"".join(heads) + large)


JPEG = encode(picture(), "JPEG", exif=b"Exif\0\0" + ROTATED)
GIF = encode(picture(), "GIF")
GIF_START = 13 + (3 << (GIF[10] & 7) + 1)
SHARED = b"Exif\0\0MM\0*\0\0\0\x08" + struct.pack(">H", 5000)
SHARED += struct.pack(">HHII", 700, 1, 60_000, 8) * 5000 + bytes(4)


@pytest.mark.parametrize(
    "metadata",
    [
        b"\xff" * MUCH,
        segment(0xE1, b"Exif\0\0MM\0*\0\0\0\x08" + bytes(65_000)) * (MUCH // 65_000),
        segment(0xE2, b"ICC_PROFILE\0\1\1" + bytes(65_000)) * (MUCH // 65_000),
        segment(0xFE, bytes(65_000)) * (MUCH // 65_000),
    ],
    ids=["fill bytes", "EXIF", "profile", "comments"],
)
def test_large_metadata_of_a_jpeg_are_skipped(metadata):
    start = JPEG.index(b"\xff\xdb")  # behind its own EXIF, which turns it upright
    image = decode(JPEG[:start] + metadata + JPEG[start:])
    assert np.array_equal(np.asarray(image), np.asarray(decode(JPEG)))
    assert image.size == (48, 64)


def test_exif_entries_that_share_their_bytes_are_passed_over_in_a_jpeg_and_a_png():
    plain = encode(picture(), "JPEG")
    assert decode(plain[:2] + segment(0xE1, SHARED) + plain[2:]).size == (64, 48)
    png = encode(picture(), "PNG")
    assert decode(png[:33] + png_chunk(b"eXIf", SHARED[6:]) + png[33:]).size == (64, 48)


def test_exif_entries_that_share_their_bytes_are_refused_in_an_avif():
    data = encode(picture(), "AVIF", exif=SHARED)
    with pytest.raises(DecodeError, match="share the same bytes"):
        decode(data)


def test_a_long_comment_of_a_gif_is_skipped_and_its_transparency_is_kept():
    data = encode(picture().quantize(256), "GIF", transparency=3)
    comment = b"!\xfe" + (b"\xff" + b"x" * 255) * (MUCH // 256) + b"\0"
    longer = data[:GIF_START] + comment + data[GIF_START:]
    assert np.array_equal(np.asarray(decode(longer)), np.asarray(decode(data)))


def test_a_gif_with_millions_of_blocks_is_refused():
    for blocks in (b"!\xfe\1x\0" * 3_000_000, b"!\xff\1x" + b"\1x" * 3_000_000 + b"\0"):
        with pytest.raises(DecodeError, match="GIF with more than 2,000,000 blocks"):
            decode(GIF[:GIF_START] + blocks + GIF[GIF_START:])


def scans(count, size):
    """A progressive JPEG whose last scan comes `count` times more."""
    data = encode(Image.new("L", size, 128), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xc4")
    return data[:-2] + data[last:-2] * count + data[-2:]


def test_a_jpeg_of_many_scans_is_refused():
    assert decode(scans(20, (64, 64))).size == (64, 64)
    with pytest.raises(DecodeError, match=r"40[0-9] scans"):
        decode(scans(400, (64, 64)))
    with pytest.raises(DecodeError, match=r"10000×9000 with 6[0-9] scans"):
        decode(scans(60, (10_000, 9_000)))


def test_a_png_of_many_chunks_is_refused():
    data = encode(picture(), "PNG")
    for chunk in (png_chunk(b"tEXt", b"a\0b"), png_chunk(b"IDAT", b"")):
        with pytest.raises(DecodeError, match="more than 100,000 chunks"):
            decode(data[:33] + chunk * 100_001 + data[33:])


def test_a_tiff_whose_strips_or_tags_share_their_bytes_is_refused():
    body = zlib.compress(bytes(64))
    data = tiff(np.zeros((64, 64)), bits=8, deflate=True, tile=16)
    # All sixteen tiles as long as the file, and ten thousand of them.
    offsets, sizes = 9_000, 9_000 + 40_000
    data = data.replace(struct.pack("<HHI", 324, 4, 16), struct.pack("<HHI", 324, 4, 10_000))
    data = data.replace(struct.pack("<HHI", 325, 4, 16), struct.pack("<HHI", 325, 4, 10_000))
    changed = bytearray(data)
    for tag, where in ((324, offsets), (325, sizes)):
        at = data.index(struct.pack("<HHI", tag, 4, 10_000)) + 8
        changed[at : at + 4] = struct.pack("<I", where)
    table = struct.pack("<10000I", *[8] * 10_000) + struct.pack("<10000I", *[80_000] * 10_000)
    changed = bytes(changed).ljust(offsets, b"\0") + table + body
    with pytest.raises(
        DecodeError, match=r"TIFF of .* 10,000 strips or tiles of 800,000,000 bytes"
    ):
        decode(changed)
    entries = struct.pack("<HHII", 65_000, 1, 60_000, 8) * 60_000
    tags = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", 60_003)
    tags += struct.pack("<HHII", 256, 4, 1, 9) + struct.pack("<HHII", 257, 4, 1, 9)
    tags += struct.pack("<HHII", 273, 4, 1, 8) + entries + bytes(4)
    with pytest.raises(DecodeError, match="3,600,000,012 bytes of tags"):
        decode(tags)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"P6 #" + b"x" * MUCH, "ends early"),
        (b"P3 2 2 255\n" + b"#\n" * 1_000_000 + b"1 " * 12, "comments"),
        (b"P5 " + b"9" * MUCH, "header"),
    ],
    ids=["comment without end", "comments", "digits"],
)
def test_a_pnm_of_nothing_but_comments_or_digits_is_refused(data, words):
    with pytest.raises(DecodeError, match=words):
        decode(data)


def test_long_comments_and_blanks_of_a_pnm_are_skipped():
    for filler in (b"#" + b"x" * MUCH + b"\n", b" " * MUCH):
        assert decode(b"P6 " + filler + b"1 1 255 abc").getpixel((0, 0)) == (97, 98, 99)
        assert decode(b"P3 1 1 255 " + filler + b"97 98 99").getpixel((0, 0)) == (97, 98, 99)


MEASURE = """
import resource, sys
from imagesearch.errors import ImageTooLargeError
from imagesearch.images import decode, from_array
from tests.images.test_bounds import ROTATED, black_png
from tests.bad_files import png_chunk
import numpy as np

decode(black_png(9, 9, colour_type=6))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
{code}
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(grown * (1 if sys.platform == "darwin" else 1024))
"""
ROTATE = 'png_chunk(b"eXIf", ROTATED)'
TRANSPARENT = 'png_chunk(b"tRNS", bytes(range(256)))'


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no getrusage")
@pytest.mark.parametrize(
    "code",
    [
        "decode(black_png(13_000, 13_000, colour_type=2))",
        "decode(black_png(12_600, 12_700))",
        "decode(black_png(12_600, 12_700, colour_type=3))",
        f"decode(black_png(12_600, 12_700, colour_type=3, extra={TRANSPARENT}))",
        f"decode(black_png(12_600, 12_700, extra={ROTATE}))",
        f"decode(black_png(10_000, 10_000, colour_type=2, extra={ROTATE}))",
        "decode(black_png(10_000, 10_000, colour_type=4))",
        "decode(black_png(10_000, 10_000, colour_type=6))",
        "decode(black_png(11_000, 11_000, bits=16))",
        "decode(black_png(1, 100_000, colour_type=6))",
        "from_array(np.broadcast_to(np.float64(0.5), (12_000, 12_000, 3)))",
        "from_array(np.broadcast_to(np.float32(0.5), (12_000, 12_000, 4)))",
    ],
)
def test_the_largest_images_stay_within_the_documented_memory(code):
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(MEASURE).format(code=code)],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    # The bands that are being converted, and what the allocator keeps.
    assert int(run.stdout) <= MAX_DECODED_BYTES + 64_000_000
