"""What stands behind transparent pixels: white, and black for drawings that white would hide."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from imagesearch.duplicates import phash
from imagesearch.images import decode, from_array, upright_rgb
from tests.bad_files import encode

SIZE = 64
WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def drawing(colour, shape="ellipse", *, hidden=(0, 0, 0)):
    image = Image.new("RGBA", (SIZE, SIZE), (*hidden, 0))
    draw = ImageDraw.Draw(image)
    getattr(draw, shape)((12, 16, 50, 44), fill=(*colour, 255))
    return image


def over(image, ground):
    alpha = np.asarray(image)[:, :, 3:].astype(float) / 255
    return np.rint(np.asarray(image)[:, :, :3] * alpha + ground * (1 - alpha)).astype(int)


def differs(image, expected):
    return np.abs(np.asarray(image).astype(int) - expected).max()


def through_every_path(image):
    """An RGBA image as each kind of file and object in which it may come in."""
    yield "PIL", upright_rgb(image)
    yield "array", from_array(np.asarray(image))
    yield "float array", from_array(np.asarray(image) / 255.0)
    yield "premultiplied", upright_rgb(image.convert("RGBa"))
    for format, options in (
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("TIFF", {}),
        ("ICO", {"sizes": [(SIZE, SIZE)]}),
        ("JPEG2000", {}),
    ):
        yield format, decode(encode(image, format, **options))
    yield "AVIF", decode(encode(image, "AVIF", quality=100, subsampling="4:4:4"))
    palette = image.quantize(8)
    yield "palette", upright_rgb(palette)
    yield "palette PNG", decode(encode(palette, "PNG"))
    yield "GIF", decode(encode(image, "GIF"))
    if np.ptp(np.asarray(image)[:, :, :3], axis=2).max() == 0:
        yield "LA", upright_rgb(image.convert("LA"))
        yield "LA PNG", decode(encode(image.convert("LA"), "PNG"))


@pytest.mark.parametrize("colour", [WHITE, (250, 250, 250), (241, 245, 255)])
def test_a_white_drawing_is_put_on_black_in_whatever_it_comes(colour):
    image = drawing(colour)
    for path, rgb in through_every_path(image):
        assert differs(rgb, over(image, 0)) <= 8, path


@pytest.mark.parametrize("colour", [BLACK, (0, 90, 200), (200, 30, 30), (255, 220, 0), (160,) * 3])
def test_other_drawings_stay_on_white_in_whatever_they_come(colour):
    image = drawing(colour, hidden=(255, 255, 255))
    for path, rgb in through_every_path(image):
        assert differs(rgb, over(image, 255)) <= 8, path


def test_transparent_levels_of_files_without_alpha_are_a_ground_too():
    grey = Image.new("L", (8, 8), 0)
    grey.paste(255, (2, 2, 5, 5))
    data = encode(grey, "PNG", transparency=0)
    assert decode(data).getpixel((0, 0)) == BLACK
    assert decode(data).getpixel((3, 3)) == WHITE
    bits = decode(encode(grey.convert("1"), "PNG", transparency=0))
    assert (bits.getpixel((0, 0)), bits.getpixel((3, 3))) == (BLACK, WHITE)
    colour = decode(encode(grey.convert("RGB"), "PNG", transparency=(0, 0, 0)))
    assert (colour.getpixel((0, 0)), colour.getpixel((3, 3))) == (BLACK, WHITE)


def test_two_white_logos_are_no_longer_the_same_blank_sheet():
    hashes = [phash(upright_rgb(drawing(WHITE, shape))) for shape in ("ellipse", "rectangle")]
    assert (hashes[0] != hashes[1]).any()


def test_clip_art_with_white_surfaces_and_a_thin_outline_stays_on_white():
    image = drawing(WHITE)
    ImageDraw.Draw(image).ellipse((12, 16, 50, 44), outline=(0, 0, 0, 255))
    assert differs(upright_rgb(image), over(image, 255)) <= 1


def test_a_white_icon_with_a_coloured_dot_is_put_on_black_and_shows_both():
    image = drawing(WHITE)
    ImageDraw.Draw(image).ellipse((44, 10, 52, 18), fill=(220, 40, 40, 255))
    rgb = upright_rgb(image)
    assert rgb.getpixel((30, 30)) == WHITE
    assert rgb.getpixel((48, 14)) == (220, 40, 40)
    assert rgb.getpixel((0, 0)) == BLACK


def test_an_icon_that_is_half_white_and_half_coloured_stays_on_white():
    image = drawing(WHITE)
    image.paste((220, 40, 40, 255), (12, 16, 31, 44))
    assert differs(upright_rgb(image), over(image, 255)) <= 1


@pytest.mark.parametrize("darkest", [0, 100, 200, 230])
def test_a_light_photograph_that_is_partly_transparent_stays_on_white(darkest):
    random = np.random.default_rng(0)
    pixels = random.integers(darkest, 256, (SIZE, SIZE, 4)).astype(np.uint8)
    pixels[:, :, 3] = np.tile(np.linspace(0, 255, SIZE), (SIZE, 1))
    image = Image.fromarray(pixels)
    assert differs(upright_rgb(image), over(image, 255)) <= 1


def test_the_shadow_of_a_white_drawing_keeps_it_on_white():
    image = drawing((0, 0, 0)).resize((SIZE, SIZE))
    image.putalpha(image.getchannel("A").point(lambda level: level // 3))
    image.alpha_composite(drawing(WHITE).crop((4, 4, SIZE, SIZE)), (0, 0))
    assert upright_rgb(image).getpixel((0, 0)) == WHITE


def test_an_image_without_anything_visible_is_white():
    assert upright_rgb(Image.new("RGBA", (4, 4), (255, 255, 255, 0))).getpixel((0, 0)) == WHITE
    assert upright_rgb(Image.new("LA", (4, 4), (0, 0))).getpixel((0, 0)) == WHITE


def test_the_ground_of_a_large_drawing_does_not_depend_on_where_it_starts():
    # Several bands: the first ones are empty, the drawing is in the last.
    large = Image.new("RGBA", (1500, 1500))
    large.paste((255, 255, 255, 255), (200, 1400, 900, 1480))
    rgb = upright_rgb(large)
    assert rgb.getpixel((0, 0)) == BLACK
    assert rgb.getpixel((300, 1450)) == WHITE
    large.paste((0, 0, 0, 255), (200, 1300, 900, 1390))
    assert upright_rgb(large).getpixel((0, 0)) == WHITE


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "I;16", "P"])
def test_large_images_are_turned_upright_as_small_ones_are(orientation, mode):
    random = np.random.default_rng(orientation)
    grey = Image.fromarray(random.integers(0, 256, (1100, 1200), np.uint8))
    source = {
        "RGB": lambda: grey.convert("RGB"),
        "RGBA": lambda: Image.merge("RGBA", (grey, grey.rotate(180), grey, grey)),
        "I;16": lambda: Image.fromarray(np.asarray(grey).astype(np.uint16) * 257),
        "P": lambda: grey.convert("P"),
    }[mode]()
    straight = upright_rgb(source)
    source.getexif()[0x0112] = orientation
    turned = upright_rgb(source)
    from PIL import ImageOps

    straight = straight.copy()
    straight.getexif()[0x0112] = orientation
    assert np.array_equal(np.asarray(turned), np.asarray(ImageOps.exif_transpose(straight)))
