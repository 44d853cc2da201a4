"""Levels follow the bits and the sample format that a file declares, never its pixels' values."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imagesearch.errors import DecodeError
from imagesearch.images import decode, from_array, upright_rgb
from tests.bad_files import encode, png_chunk
from tests.tiff_files import tiff

RAMP = np.tile(np.arange(64) * 1040, (48, 1))


def grey(data):
    pixels = np.asarray(decode(data)).astype(int)
    assert (pixels[:, :, 0] == pixels[:, :, 1]).all()
    return pixels[:, :, 0]


def levels(values, white):
    return np.rint(np.clip(np.asarray(values, float) / white, 0, 1) * 255).astype(int)


def png(rows, *, bits, colour_type, transparent, width):
    header = struct.pack(">IIBBBBB", width, len(rows), bits, colour_type, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"tRNS", transparent)
        + png_chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
        + png_chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    "layout", [{}, {"deflate": True}, {"tile": 16}, {"tile": 32, "deflate": True}]
)
@pytest.mark.parametrize("photometric", [0, 1])
def test_a_16_bit_tiff_is_dark_where_it_says_black(order, layout, photometric):
    stored = 65535 - RAMP if photometric == 0 else RAMP
    data = tiff(stored, bits=16, photometric=photometric, order=order, **layout)
    assert np.array_equal(grey(data), levels(RAMP, 65535))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("deflate", [False, True])
def test_an_8_bit_white_is_zero_tiff_stays_right(order, deflate):
    stored = 255 - RAMP // 257
    data = tiff(stored, bits=8, photometric=0, order=order, deflate=deflate)
    assert np.array_equal(grey(data), RAMP // 257)


def test_a_float_white_is_zero_tiff_is_turned_round_too():
    data = tiff(np.tile(np.linspace(0, 1, 16), (4, 1)), bits=32, photometric=0, sample_format=3)
    assert grey(data)[0, 0] == 255
    assert grey(data)[0, -1] == 0


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("layout", [{}, {"deflate": True}, {"tile": 16}, {"orientation": 6}])
def test_planes_of_16_bit_colour_are_put_together(order, layout):
    across, down = np.meshgrid(np.arange(64), np.arange(48))
    colours = np.stack([4 * across, 5 * down, 255 - 4 * across], axis=2)
    data = tiff(colours * 257, bits=16, photometric=2, order=order, planar=True, **layout)
    expected = np.rot90(colours, -1) if "orientation" in layout else colours
    assert np.array_equal(np.asarray(decode(data)), expected)


def test_planes_that_pillow_has_opened_are_put_together_or_refused():
    colours = np.arange(16 * 16 * 3).reshape(16, 16, 3) % 256
    data = tiff(colours * 257, bits=16, photometric=2, planar=True)
    with Image.open(io.BytesIO(data)) as opened:
        for _ in range(2):
            assert np.array_equal(np.asarray(upright_rgb(opened)), colours)
    with Image.open(io.BytesIO(data)) as opened:
        opened.load()
        with pytest.raises(DecodeError, match="pass its path"):
            upright_rgb(opened)


@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("photometric", [0, 1])
def test_full_scale_of_12_bits_is_white(deflate, photometric):
    values = np.tile(np.linspace(0, 4095, 64).astype(int), (32, 1))
    stored = 4095 - values if photometric == 0 else values
    data = tiff(stored, bits=12, photometric=photometric, deflate=deflate)
    assert np.array_equal(grey(data), levels(values, 4095))


@pytest.mark.parametrize("bits", [10, 14, 24])
def test_bits_that_are_not_read_are_refused(bits):
    with pytest.raises(DecodeError):
        decode(tiff(np.zeros((16, 16), int), bits=bits))


def test_unsigned_32_bit_integers_reach_white_at_their_largest():
    values = np.array([[0, 2**31 - 1, 2**31, 2**32 - 1]])
    assert grey(tiff(values, bits=32))[0].tolist() == [0, 127, 128, 255]


def test_signed_integers_reach_white_at_their_largest_and_end_at_black():
    shorts = tiff(np.array([[-32768, -1, 0, 16384, 32767]]), bits=16, sample_format=2)
    assert grey(shorts)[0].tolist() == [0, 0, 0, 128, 255]
    bytes_ = tiff(np.array([[-128, -1, 0, 64, 127]]), bits=8, sample_format=2)
    assert grey(bytes_)[0].tolist() == [0, 0, 0, 129, 255]


@pytest.mark.parametrize("brightest", [255, 256, 300])
def test_32_bit_integers_that_pass_255_a_little_stay_as_bright(brightest):
    values = np.append(np.arange(255), brightest)[None].repeat(2, axis=0)
    expected = np.minimum(values, 255)
    assert np.array_equal(grey(tiff(values, bits=32, sample_format=2)), expected)
    image = upright_rgb(Image.fromarray(values.astype(np.int32)))
    assert np.array_equal(np.asarray(image)[:, :, 0], expected)


@pytest.mark.parametrize("brightest", [1.0, 1.0000001, 1.02, 1.4, 40.0])
def test_floats_that_pass_1_stay_as_bright(brightest):
    values = np.append(np.linspace(0, 1, 255), brightest)[None].astype(np.float32)
    expected = levels(values, 1.0)
    assert np.array_equal(grey(encode(Image.fromarray(values), "TIFF")), expected)
    assert np.array_equal(grey(encode(Image.fromarray(values), "PPM")), expected)


def test_the_same_scene_a_little_brighter_is_a_little_brighter():
    scene = np.tile(np.linspace(0, 0.9, 64, dtype=np.float32), (8, 1))
    means = [grey(encode(Image.fromarray(scene * gain), "TIFF")).mean() for gain in (1, 1.1, 1.2)]
    assert means == sorted(means)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (Image.fromarray(np.array([[0, 70.5, 255]], np.float32)), "0 to 255, but float .* 0 to 1"),
        (Image.fromarray(np.array([[-9, 3, 9]], np.float32)), "divide them by their white"),
        (Image.fromarray(np.array([[0, 257, 65535]], np.int32)), "save them as 8 or 16 bits"),
        (Image.fromarray(np.array([[-1000, 0, 9]], np.int32)), "-1000 to 9"),
    ],
)
def test_numbers_that_contradict_their_scale_are_refused_and_not_blanked(image, words):
    with pytest.raises(DecodeError, match=words):
        upright_rgb(image)
    with pytest.raises(DecodeError, match=words):
        decode(encode(image, "TIFF"))


def test_8_bit_levels_in_unsigned_32_bits_are_refused_and_not_blanked():
    with pytest.raises(DecodeError, match=r"all one level where 4.29497e\+09 is white"):
        decode(tiff(np.arange(256).reshape(16, 16), bits=32))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("junk", [0, 0x0100])
def test_the_transparent_level_of_a_grey_png_is_in_the_bits_of_the_file(bits, junk):
    count = min(1 << bits, 16)
    step = 255 // ((1 << bits) - 1)
    values = np.arange(count)
    digits = (values[:, None] >> np.arange(bits - 1, -1, -1) & 1).astype(np.uint8)
    row = np.packbits(digits.ravel()).tobytes()
    key = 1 if bits == 1 else min(11, count - 2)
    data = png(
        [row, row], bits=bits, colour_type=0, transparent=struct.pack(">H", key | junk), width=count
    )
    expected = values * step
    expected[key] = 255
    assert grey(data)[0].tolist() == expected.tolist()


def test_a_grey_png_that_pillow_has_opened_loses_its_transparent_level_as_well():
    row = np.packbits(np.array([0, 0, 1, 0, 1, 1, 0, 1], np.uint8)).tobytes()
    data = png([row], bits=2, colour_type=0, transparent=struct.pack(">H", 2), width=4)
    with Image.open(io.BytesIO(data)) as opened:
        assert np.asarray(upright_rgb(opened))[0, :, 0].tolist() == [0, 255, 255, 85]


def test_the_transparent_colour_of_an_rgb_png_is_in_the_bits_of_the_file():
    eight = bytes([9, 9, 9, 40, 50, 60])
    data = png([eight], bits=8, colour_type=2, transparent=b"\0\x09\0\x09\0\x09", width=2)
    assert np.asarray(decode(data))[0].tolist() == [[255] * 3, [40, 50, 60]]
    sixteen = struct.pack(">6H", 100, 100, 100, 100 * 257, 100 * 257, 100 * 257)
    data = png(
        [sixteen], bits=16, colour_type=2, transparent=struct.pack(">3H", *[100] * 3), width=2
    )
    assert np.asarray(decode(data))[0].tolist() == [[255] * 3, [100] * 3]


@pytest.mark.parametrize("maximum", [1, 15, 100, 255, 1023, 4095, 65535])
@pytest.mark.parametrize("kind", [b"P2", b"P3", b"P5", b"P6"])
def test_the_maximum_of_a_pgm_or_ppm_is_white(kind, maximum):
    channels = 3 if kind in {b"P3", b"P6"} else 1
    values = np.linspace(0, maximum, 12).round().astype(int).reshape(2, 6 // channels, channels)
    header = b"%s # a comment\n%d %d\n%d\n" % (kind, values.shape[1], 2, maximum)
    if kind in {b"P5", b"P6"}:
        body = values.astype(">u2" if maximum > 255 else "u1").tobytes()
    else:
        body = b"# another\n" + b" \n".join(b"%d" % value for value in values.ravel())
    pixels = np.asarray(decode(header + body))
    assert np.array_equal(pixels[:, :, :channels], levels(values, maximum))


def test_bitmaps_as_text_and_packed_are_black_where_they_have_ones():
    for data in (b"P1\n3 2\n010\n1 0 1", b"P4 3 2\n\x40\xa0"):
        assert grey(data).tolist() == [[255, 0, 255], [0, 255, 0]]


def test_colour_pfms_of_both_byte_orders_are_read_from_below():
    values = np.array([[[0, 0.5, 1]], [[1, 0, 0]]])
    for scale, order in ((b"-1.0", "<f4"), (b"1.0", ">f4")):
        data = b"PF\n1 2\n" + scale + b"\n" + values.astype(order).tobytes()
        assert np.asarray(decode(data))[:, 0].tolist() == [[255, 0, 0], [0, 128, 255]]


@pytest.mark.parametrize(
    "data",
    [
        b"P5 2 2 255\n123",
        b"P6 2 2 70000\n" + bytes(24),
        b"P2 2 2 9\n1 2 3",
        b"P2 2 2 9\n1 2 3 10",
        b"P2 2 2 9\n1 2 3 -1",
        b"P2 2 2 9\n1 2 3 x",
        b"P1 2 2\n0 1 2 0",
        b"P1 2 2\n0 1 0",
        b"P4 9 2\n123",
        b"Pf 2 2 -1\n" + bytes(15),
        b"Pf 2 2 nan\n" + bytes(16),
        b"P5 2",
        b"P5 2 99999999999999999999999 255\n",
        b"P5 # no end" + b"x" * 1000,
    ],
)
def test_a_damaged_pnm_is_refused(data):
    with pytest.raises(DecodeError, match=r"^photo"):
        decode(data, name="photo")


def test_a_pgm_of_16_bits_that_pillow_has_opened_keeps_its_levels():
    with Image.open(io.BytesIO(b"P5 2 1 4095\n" + struct.pack(">2H", 2048, 4095))) as opened:
        assert np.asarray(upright_rgb(opened))[0, :, 0].tolist() == [128, 255]


def test_a_12_bit_tiff_that_pillow_has_opened_keeps_its_levels():
    with Image.open(io.BytesIO(tiff(np.full((16, 16), 4095), bits=12))) as opened:
        assert upright_rgb(opened).getpixel((0, 0)) == (255, 255, 255)


def test_16_bit_arrays_and_jpeg_2000s_are_scaled_by_their_bits():
    values = np.array([[0, 257, 32768, 65535]] * 4, np.uint16)
    assert np.asarray(from_array(values))[0, :, 0].tolist() == [0, 1, 128, 255]
    data = encode(Image.fromarray(values), "JPEG2000", num_resolutions=1)
    assert grey(data)[0].tolist() == [0, 1, 128, 255]


@pytest.fixture
def faults():
    folder = Path(os.environ.get("IMAGESEARCH_SHARED", ""), "faults")
    if "IMAGESEARCH_SHARED" not in os.environ or not folder.is_dir():
        pytest.skip("IMAGESEARCH_SHARED names no folder with faults")
    return folder


def test_sample_files_of_other_programs_have_their_levels(faults):
    across, down = np.meshgrid(np.arange(64), np.arange(64))
    assert np.array_equal(
        grey((faults / "white_is_zero_16bit.tif").read_bytes()),
        np.rint(across[:48] * 1040 / 257).astype(int),
    )
    planes = np.asarray(decode((faults / "planar_rgb_16bit.tif").read_bytes()))
    blue = np.where(down < 32, 40, 220)
    assert np.array_equal(planes, np.stack([4 * across, 4 * down, blue], axis=2))
    assert grey((faults / "grey_12bit.tif").read_bytes()).max() == 255
    key = np.unique(grey((faults / "grey_4bit_trns_11.png").read_bytes()))
    assert key.tolist() == [level * 17 for level in range(16) if level != 11]
    assert 120 < grey((faults / "float_0_to_1.02.tif").read_bytes()).mean() < 135
