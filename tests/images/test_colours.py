"""What becomes of each mode and each number of bits."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from imagesearch.errors import DecodeError
from imagesearch.images import decode, upright_rgb
from tests.bad_files import encode, picture, png_chunk

ORANGE = (255, 128, 0)
WHITE = (255, 255, 255)
BLACK = (0, 0, 0)


def png16(values, *, colour_type=0, transparent=None):
    """A 16-bit PNG; Pillow itself writes only the grey kind."""
    array = np.asarray(values, ">u2")
    height, width = array.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in array)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + (png_chunk(b"tRNS", transparent) if transparent else b"")
        + png_chunk(b"IDAT", zlib.compress(rows))
        + png_chunk(b"IEND", b"")
    )


def pixels(image):
    return np.asarray(image)


def near(image, colour, by=3):
    return np.abs(pixels(image).astype(int) - colour).max() <= by


@pytest.mark.parametrize("mode", ["RGB", "RGBX", "RGBA", "RGBa", "CMYK", "YCbCr", "HSV"])
def test_an_opaque_colour_stays_the_same_in_every_colour_mode(mode):
    source = Image.new("RGB", (5, 4), ORANGE)
    source = source.convert("RGBA").convert(mode) if mode == "RGBa" else source.convert(mode)
    image = upright_rgb(source)
    assert image.mode == "RGB"
    assert near(image, ORANGE)


def test_lab_keeps_its_colours():
    from PIL import ImageCms

    to_lab = ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
    )
    lab = ImageCms.applyTransform(Image.new("RGB", (5, 4), ORANGE), to_lab)
    assert near(upright_rgb(lab), ORANGE, by=10)
    assert near(decode(encode(lab, "TIFF")), ORANGE, by=10)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "La", "P", "PA"])
def test_grey_and_palette_modes_keep_black_and_white(mode):
    source = Image.new("L", (2, 1))
    source.putpixel((0, 0), 255)
    source = source.convert("LA").convert(mode) if mode == "La" else source.convert(mode)
    image = upright_rgb(source)
    assert image.getpixel((0, 0)) == WHITE
    assert image.getpixel((1, 0)) == BLACK


def test_a_cmyk_jpeg_has_its_colours_and_not_their_inverse():
    assert near(decode(encode(Image.new("RGB", (16, 16), ORANGE).convert("CMYK"), "JPEG")), ORANGE)


@pytest.mark.parametrize("format", ["PNG", "WEBP", "AVIF", "TIFF"])
def test_what_is_transparent_becomes_white_whatever_colour_hides_there(format):
    source = Image.new("RGBA", (16, 16), (255, 0, 0, 0))
    source.paste((0, 0, 255, 255), (8, 0, 16, 16))
    options = {"lossless": True} if format == "WEBP" else {}
    image = decode(encode(source, format, **options))
    assert near(image.crop((0, 0, 6, 16)), WHITE)
    assert near(image.crop((10, 0, 16, 16)), (0, 0, 255), by=8)


def test_half_transparent_black_becomes_mid_grey():
    for source in (
        Image.new("RGBA", (2, 2), (0, 0, 0, 128)),
        Image.new("LA", (2, 2), (0, 128)),
        Image.new("RGBA", (2, 2), (0, 0, 0, 128)).convert("RGBa"),
    ):
        assert near(upright_rgb(source), (127, 127, 127), by=1)


def test_a_transparent_palette_entry_becomes_white_in_gif_and_png():
    source = Image.new("P", (8, 8))
    source.putpalette([255, 0, 0, 0, 0, 255])
    source.paste(1, (4, 0, 8, 8))
    for format, transparency in (("GIF", 0), ("PNG", 0), ("PNG", b"\x00\xff")):
        image = decode(encode(source, format, transparency=transparency))
        assert image.getpixel((0, 0)) == WHITE
        assert image.getpixel((7, 7)) == (0, 0, 255)


def test_a_transparent_colour_of_a_png_without_alpha_becomes_white():
    for mode, colour, key in (("L", 90, 90), ("RGB", ORANGE, ORANGE)):
        data = encode(Image.new(mode, (3, 3), colour), "PNG", transparency=key)
        assert decode(data).getpixel((1, 1)) == WHITE
    grey = png16([[500, 60000]], transparent=struct.pack(">H", 500))
    assert pixels(decode(grey))[0, :, 0].tolist() == [255, 233]
    colour = png16([[[65535, 0, 0], [0, 0, 65535]]], colour_type=2, transparent=b"\xff\xff\0\0\0\0")
    assert pixels(decode(colour))[0].tolist() == [[255, 255, 255], [0, 0, 255]]


@pytest.mark.parametrize("mode", ["I;16", "I;16L", "I;16B"])
def test_sixteen_bits_are_scaled_and_not_clipped(mode):
    order = ">u2" if mode == "I;16B" else "<u2"
    values = np.array([[0, 257, 32768, 65535]], order)
    image = upright_rgb(Image.frombytes(mode, (4, 1), values.tobytes()))
    assert pixels(image)[0, :, 0].tolist() == [0, 1, 128, 255]


@pytest.mark.parametrize("format", ["PNG", "TIFF", "PPM"])
def test_a_16_bit_grey_file_is_scaled(format):
    source = Image.fromarray(np.array([[0, 257, 32768, 65535]], np.uint16))
    assert pixels(decode(encode(source, format)))[0, :, 0].tolist() == [0, 1, 128, 255]


def test_a_16_bit_colour_png_is_scaled():
    data = png16([[[0, 32768, 65535], [65535, 257, 0]]], colour_type=2)
    assert pixels(decode(data))[0].tolist() == [[0, 128, 255], [255, 1, 0]]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([float("nan"), 0.0, 1.0], [0, 0, 255]),
        ([float("-inf"), float("inf"), 0.5], [0, 255, 128]),
        ([float("nan")] * 3, [0, 0, 0]),
    ],
)
def test_floats_go_from_0_to_1_and_nan_is_black(values, expected):
    image = upright_rgb(Image.fromarray(np.array([values], np.float32)))
    assert pixels(image)[0, :, 0].tolist() == expected


def test_a_float_tiff_is_read():
    source = Image.fromarray(np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4))
    assert pixels(decode(encode(source, "TIFF")))[2, 3].tolist() == [255, 255, 255]


def test_many_rows_of_wide_numbers_are_scaled_as_few_are():
    values = np.arange(2_200 * 2_000, dtype=np.int64).reshape(2_200, 2_000) % 65_536
    image = upright_rgb(Image.fromarray(values.astype(np.uint16)))
    assert np.array_equal(pixels(image)[:, :, 0], np.rint(values / 257).astype(np.uint8))


def test_the_callers_image_is_never_changed():
    for source in (
        Image.new("RGBA", (3, 2), (9, 8, 7, 6)),
        Image.new("I;16", (3, 2), 300),
        picture().quantize(8),
    ):
        source.info["note"] = "mine"
        before = (source.mode, source.tobytes(), dict(source.info))
        upright_rgb(source)
        assert (source.mode, source.tobytes(), dict(source.info)) == before


def test_a_plain_rgb_image_is_returned_as_it_is():
    source = picture()
    assert upright_rgb(source) is source


def test_a_closed_file_an_empty_image_and_another_object_are_refused():
    opened = Image.open(io.BytesIO(encode(picture(), "PNG")))
    opened.close()
    with pytest.raises(DecodeError, match="photo"):
        upright_rgb(opened, name="photo")
    with pytest.raises(DecodeError, match="no pixels"):
        upright_rgb(Image.new("RGB", (0, 5)))
    with pytest.raises(DecodeError, match="not a PIL image"):
        upright_rgb("a.jpg")
    with pytest.raises(DecodeError, match="megapixels"):
        upright_rgb(Image.new("1", (100, 100)), max_pixels=9_999)
