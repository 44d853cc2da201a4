"""Sound images that are not decoded are called by what they are, not damaged."""

from __future__ import annotations

import struct

import pytest
from PIL import features

from imagesearch.errors import DecodeError, UnsupportedImageError
from imagesearch.images import decode
from imagesearch.ui._text import PageError
from imagesearch.ui._uploads import decode_upload
from tests.bad_files import encode, picture


def tiff(*, bits=8, format=1, channels=1, photometric=1, compression=1, extra=(), order="<"):
    """An uncompressed TIFF of 20 × 10 pixels in one strip (TIFF 6.0, section 2)."""
    data = bytes(20 * 10 * channels * bits // 8)
    shorts = {258: [bits] * channels, 339: [format] * channels, 338: list(extra)}
    tags = {256: [20], 257: [10], 259: [compression], 262: [photometric], 277: [channels]}
    tags |= {278: [10], 284: [1]} | {tag: values for tag, values in shorts.items() if values}
    count = len(tags) + 2
    place = 8 + 2 + 12 * count + 4
    entries, rest = [], b""
    for tag, values in tags.items():
        packed = struct.pack(f"{order}{len(values)}H", *values)
        if len(packed) > 4:
            rest += packed
            packed = struct.pack(f"{order}I", place + len(rest) - len(packed))
        entries.append((tag, 3, len(values), packed.ljust(4, b"\0")))
    for tag, value in ((273, place + len(rest)), (279, len(data))):
        entries.append((tag, 4, 1, struct.pack(f"{order}I", value)))
    body = b"".join(struct.pack(f"{order}HHI", *entry[:3]) + entry[3] for entry in sorted(entries))
    head = b"II*\0" if order == "<" else b"MM\0*"
    return head + struct.pack(f"{order}IH", 8, count) + body + bytes(4) + rest + data


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"bits": 16, "format": 3}, "TIFF with 16-bit floating-point grey samples"),
        ({"bits": 64, "format": 3}, "TIFF with 64-bit floating-point grey samples"),
        (
            {"bits": 32, "format": 3, "channels": 3, "photometric": 2},
            "TIFF with 32-bit floating-point RGB samples",
        ),
        (
            {"channels": 5, "photometric": 5, "extra": [1]},
            "TIFF with 8-bit CMYK samples, with alpha",
        ),
        ({"bits": 32, "channels": 3, "photometric": 2}, "TIFF with 32-bit RGB samples"),
        ({"bits": 64, "format": 6}, "TIFF with 64-bit complex or undefined grey samples"),
        (
            {"channels": 8, "extra": [0] * 7},
            "TIFF with 8-bit grey samples, with 8 samples per pixel",
        ),
        ({"compression": 34887}, "TIFF with 8-bit grey samples, compressed by LERC"),
        ({"compression": 50002, "channels": 3, "photometric": 2}, "compressed by JPEG XL"),
        ({"bits": 16, "photometric": 32803}, "TIFF with 16-bit raw sensor samples"),
    ],
)
def test_a_sound_tiff_of_a_rare_kind_is_described(options, words, order):
    with pytest.raises(
        UnsupportedImageError, match=rf"scan\.tif is a .*{words}.*convert it to PNG"
    ) as info:
        decode(tiff(**options, order=order), name="scan.tif")
    assert "damaged" not in str(info.value)


def test_a_tiff_of_a_kind_that_is_decoded_is_not_called_unsupported_when_it_is_damaged():
    assert decode(tiff()).size == (20, 10)
    broken = bytearray(tiff())
    broken[broken.index(struct.pack("<HHI", 273, 4, 1)) + 2] = 99
    with pytest.raises(DecodeError, match="damaged") as info:
        decode(bytes(broken))
    assert not isinstance(info.value, UnsupportedImageError)


@pytest.mark.parametrize(
    ("start", "words"),
    [
        (b"8BPS\0\1", "a Photoshop document"),
        (b"\xff\x0a\xfa\x1f", "a JPEG XL image"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL image"),
        (b"II\xbc\x01", "a JPEG XR image"),
        (b"%!PS-Adobe-3.0", "PostScript"),
        (b"qoif", "a QOI image"),
        (b"\x76\x2f\x31\x01", "an OpenEXR image"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1", "a raw photo of a camera"),
        (bytes(128) + b"DICM", "a DICOM image"),
    ],
)
def test_other_image_formats_are_named(start, words):
    with pytest.raises(UnsupportedImageError, match=rf"photo is {words}.*convert it to PNG"):
        decode(start + bytes(64), name="photo")


def test_a_bmp_that_holds_a_jpeg_is_named():
    data = bytearray(encode(picture(), "BMP"))
    data[30:34] = (4).to_bytes(4, "little")
    with pytest.raises(UnsupportedImageError, match="a BMP with JPEG compression"):
        decode(bytes(data))


@pytest.mark.parametrize(
    ("format", "feature"), [("AVIF", "avif"), ("WEBP", "webp"), ("JPEG2000", "jpg_2000")]
)
def test_a_format_that_this_pillow_was_built_without_is_not_called_damaged(
    format, feature, monkeypatch
):
    from PIL import Image

    data = encode(picture(), format)
    check = features.check
    monkeypatch.setattr(features, "check", lambda name: name != feature and check(name))
    monkeypatch.setitem(Image.OPEN, format, (Image.OPEN[format][0], lambda _: "not installed"))
    with pytest.raises(UnsupportedImageError, match="this build of Pillow lacks the library"):
        decode(data)


def test_the_page_says_that_a_kind_is_unsupported_in_the_visitors_language():
    with pytest.raises(PageError) as info:
        decode_upload(b"8BPS" + bytes(64), max_pixels=100)
    assert "a Photoshop document" in str(info.value)
    assert "不支持" in info.value.message.text("zh")
