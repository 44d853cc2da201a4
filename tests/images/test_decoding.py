"""Formats, orientation, animation, shrinking, limits."""

from __future__ import annotations

import io
import random
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from imagesearch.errors import DecodeError, MissingDependencyError
from imagesearch.images import (
    IMAGE_SUFFIXES,
    MAX_PIXELS,
    decode,
    looks_like_image_name,
    upright_rgb,
)
from tests.bad_files import encode, picture, png_header

FORMATS = ["JPEG", "PNG", "GIF", "WEBP", "AVIF", "TIFF", "BMP", "PPM", "JPEG2000", "ICO", "MPO"]


@pytest.mark.parametrize("format", FORMATS)
def test_each_format_gives_its_picture(format):
    source = picture()
    options = {"sizes": [(64, 48)]} if format == "ICO" else {}
    if format == "MPO":
        options = {"save_all": True, "append_images": [Image.new("RGB", (64, 48))]}
    image = decode(encode(source, format, **options))
    assert (image.mode, image.size) == ("RGB", (64, 48))
    assert np.abs(np.asarray(image).astype(int) - np.asarray(source)).mean() < 12


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits"])
def test_compressed_tiffs_are_read(compression):
    assert decode(encode(picture(), "TIFF", compression=compression)).size == (64, 48)


def test_heic_is_read_by_its_extra_and_turned_upright():
    heif = pytest.importorskip("pillow_heif")
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    heif.from_pillow(picture()).save(buffer, exif=exif.tobytes())
    image = decode(buffer.getvalue())
    assert (image.mode, image.size) == ("RGB", (48, 64))


def test_heic_without_its_package_names_the_line_that_installs_it(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    data = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(40)
    with pytest.raises(MissingDependencyError, match=r'pip install "imagesearch-index\[heif\]"'):
        decode(data, name="IMG_0001.HEIC")


@pytest.mark.parametrize("format", ["EPS", "PDF", "TGA", "PCX", "SGI", "ICNS", "DDS", "MSP"])
def test_formats_that_are_not_allowed_are_refused_even_though_pillow_knows_them(format):
    source = picture().convert("1") if format == "MSP" else picture()
    with pytest.raises(DecodeError):
        decode(encode(source, format))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_all_eight_orientations_are_turned_upright(orientation, format):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(picture(), format, exif=exif)
    with Image.open(io.BytesIO(data)) as opened:
        expected = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
    image = decode(data)
    assert np.array_equal(np.asarray(image), expected)
    assert image.size == ((64, 48) if orientation < 5 else (48, 64))
    assert ImageOps.exif_transpose(image).size == image.size, "it must not be turned again"


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_changes_nothing(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert decode(encode(picture(), "JPEG", exif=exif)).size == (64, 48)


def test_a_photo_with_damaged_exif_is_still_read():
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "a description that is long enough to lie outside of its entry"
    data = encode(picture(), "JPEG", exif=exif)
    start = data.index(b"Exif\0\0") + 6
    for cut in range(8, 60):
        damaged = data[: start + cut] + b"\xff" * 4 + data[start + cut + 4 :]
        assert decode(damaged).mode == "RGB"


def test_an_image_in_memory_is_turned_upright_too():
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(io.BytesIO(encode(picture(), "JPEG", exif=exif))) as opened:
        assert upright_rgb(opened).size == (48, 64)
        assert opened.size == (64, 48)


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "AVIF", "TIFF"])
def test_of_an_animation_or_many_pages_the_first_is_taken(format):
    red, blue = Image.new("RGB", (20, 20), "red"), Image.new("RGB", (20, 20), "blue")
    data = encode(red, format, save_all=True, append_images=[blue, blue])
    assert np.abs(np.asarray(decode(data)).astype(int) - (255, 0, 0)).max() < 8


@settings(max_examples=30, deadline=None)
@given(
    width=st.integers(1, 400),
    height=st.integers(1, 400),
    shrink_to=st.integers(1, 300),
    mode=st.sampled_from(["RGB", "L", "CMYK"]),
)
def test_a_shrunk_jpeg_is_never_smaller_than_asked(width, height, shrink_to, mode):
    data = encode(Image.new(mode, (width, height)), "JPEG")
    image = decode(data, shrink_to=shrink_to)
    assert image.mode == "RGB"
    if min(width, height) >= shrink_to:
        assert min(image.size) >= shrink_to
        assert (min(image.size) < min(width, height)) == (min(width, height) >= 2 * shrink_to)
    else:
        assert image.size == (width, height)
    assert abs(image.width * height - image.height * width) <= 8 * (width + height)


def test_shrinking_turns_the_photo_as_well_and_leaves_other_formats_alone():
    exif = Image.Exif()
    exif[0x0112] = 8
    large = picture((640, 480))
    assert decode(encode(large, "JPEG", exif=exif), shrink_to=100).size == (120, 160)
    assert decode(encode(large, "PNG"), shrink_to=100).size == (640, 480)
    with pytest.raises(ValueError, match="shrink_to must be at least 1, got 0"):
        decode(b"x", shrink_to=0)


def test_a_bomb_is_refused_by_its_header_before_anything_is_decoded():
    cut = b"\0\0\0\x08IDAT"  # decoding would meet the end of the file and say so
    with pytest.raises(DecodeError, match="megapixels"):
        decode(png_header(60_000, 60_000) + cut, name="bomb.png")
    with pytest.raises(DecodeError, match=r"bomb\.png is 10000×10000, 100 megapixels; at most 50 "):
        decode(png_header(10_000, 10_000) + cut, name="bomb.png", max_pixels=50_000_000)


def test_the_cap_is_where_pillow_stops():
    assert MAX_PIXELS == 2 * Image.MAX_IMAGE_PIXELS


def test_a_picture_that_pillow_would_warn_about_is_read_without_a_warning(monkeypatch):
    data = encode(Image.new("1", (40, 40)), "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert decode(data).size == (40, 40)
    assert caught == []


def test_pillows_warnings_reach_its_other_users_as_before():
    decode(encode(picture(), "PNG"))
    with (
        pytest.warns(Image.DecompressionBombWarning),
        Image.open(io.BytesIO(png_header(10_000, 10_000) + b"\0\0\0\4IDATxxxx")),
    ):
        pass


def test_an_icon_with_a_picture_larger_than_it_says_is_refused():
    icon = encode(picture((256, 256)), "ICO", sizes=[(32, 32)])
    inner = encode(picture((500, 500)), "PNG")
    offset = 22
    lying = icon[:14] + len(inner).to_bytes(4, "little") + offset.to_bytes(4, "little") + inner
    with pytest.raises(DecodeError, match="500×500"):
        decode(lying, max_pixels=500 * 499)


def outcome(data):
    """The mode of what is in the bytes, or the first word of the reason why there is nothing."""
    try:
        return decode(data, max_pixels=2_000_000).mode
    except (DecodeError, MissingDependencyError) as error:
        return str(error).split()[0]


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400))
def test_arbitrary_bytes_give_an_image_or_a_decode_error(data):
    assert outcome(data) in {"RGB", "image"}


SEEDS = [
    encode(picture((40, 30)), format, **options)
    for format, options in (
        (
            "JPEG",
            {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"},
        ),
        ("PNG", {}),
        ("GIF", {}),
        ("WEBP", {}),
        ("AVIF", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("BMP", {}),
        ("PPM", {}),
        ("JPEG2000", {}),
        ("ICO", {"sizes": [(32, 24)]}),
        ("MPO", {"save_all": True, "append_images": [Image.new("RGB", (40, 30))]}),
    )
]


@settings(max_examples=300, deadline=None)
@given(
    seed=st.sampled_from(SEEDS),
    changes=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=8),
    cut=st.one_of(st.none(), st.floats(0, 1)),
    early=st.booleans(),
)
def test_damaged_images_give_an_image_or_a_decode_error(seed, changes, cut, early):
    data = bytearray(seed)
    for place, value in changes:
        # Headers are where damage does most, so half of the trials aim there.
        data[int(place * (min(len(data), 200) if early else len(data)))] = value
    if cut is not None:
        data = data[: int(cut * len(data))]
    assert outcome(bytes(data)) in {"RGB", "image"}


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "WEBP", "AVIF", "TIFF", "BMP", "PPM"])
def test_a_truncated_file_is_never_a_picture_with_an_empty_rest(format):
    data = encode(picture((200, 150)), format)
    for part in (0.3, 0.6, 0.9):
        with pytest.raises(DecodeError, match=r"photo .*(truncated|damaged)"):
            decode(data[: int(part * len(data))], name="photo")


def test_many_threads_decode_at_once_without_a_warning():
    shuffled = [*SEEDS, *(encode(picture((60, 40)), "PNG") for _ in range(8))] * 4
    random.Random(0).shuffle(shuffled)
    with ThreadPoolExecutor(8) as pool:
        sizes = [image.size for image in pool.map(decode, shuffled)]
    assert len(sizes) == len(shuffled)


def test_names_are_known_by_their_suffix_in_any_case():
    assert looks_like_image_name("a/IMG.JPeG")
    assert not looks_like_image_name("a/jpg")
    assert not looks_like_image_name(".jpg")
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in IMAGE_SUFFIXES)
