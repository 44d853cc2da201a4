"""Convert an image of any mode to upright RGB."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from PIL import Image, ImageChops

from imagesearch.errors import DecodeError
from imagesearch.images._encoded import read_planes_rightly, shared_exif
from imagesearch.images._limits import MAX_PIXELS, check_memory, check_size
from imagesearch.images._pillow import quiet
from imagesearch.images._samples import Samples, SampleScale, samples_of

__all__ = [
    "BandSource",
    "assemble",
    "band_rows",
    "bare",
    "ground_of",
    "is_blank",
    "put_on",
    "to_rgb",
    "upright_rgb",
]


BandSource = Callable[[int, int], Image.Image]
"""Returns rows ``top`` to ``end - 1`` as an image of full width."""

_BAND_PIXELS = 1 << 20
"""Pixels in a band; about 30 MB as float64 with temporaries."""

_UPSIDE_DOWN = frozenset({Image.Transpose.ROTATE_180, Image.Transpose.FLIP_TOP_BOTTOM})
_SIDEWAYS = frozenset(
    {
        Image.Transpose.TRANSPOSE,
        Image.Transpose.TRANSVERSE,
        Image.Transpose.ROTATE_90,
        Image.Transpose.ROTATE_270,
    }
)
_RIGHT_TO_LEFT = frozenset({Image.Transpose.ROTATE_270, Image.Transpose.TRANSVERSE})


def band_rows(width: int, height: int) -> Iterator[tuple[int, int]]:
    """Yield (top, end) of each band from the top; ``end`` is exclusive.

    Example:
        >>> list(band_rows(1 << 19, 5))
        [(0, 2), (2, 4), (4, 5)]
    """
    step = max(1, _BAND_PIXELS // width)
    for top in range(0, height, step):
        yield top, min(top + step, height)


def assemble(
    size: tuple[int, int], band: BandSource, turn: Image.Transpose | None = None
) -> Image.Image:
    """Join RGB bands into one image and rotate it upright, band by band.

    Args:
        size: Width and height before rotation.
        band: Returns RGB images.
        turn: The transposition that makes the image upright; None for none.

    Returns:
        A new RGB image.

    Example:
        >>> assemble((4, 2), lambda top, end: Image.new("RGB", (4, end - top)), None).size
        (4, 2)
    """
    width, height = size
    rows = [*band_rows(width, height)]
    if len(rows) == 1:
        whole = band(0, height)
        return whole if turn is None else whole.transpose(turn)
    out = Image.new("RGB", (height, width) if turn in _SIDEWAYS else size)
    for top, end in rows:
        part = band(top, end)
        if turn is not None:
            part = part.transpose(turn)
        if turn in _SIDEWAYS:
            out.paste(part, (height - end if turn in _RIGHT_TO_LEFT else top, 0))
        else:
            out.paste(part, (0, height - end if turn in _UPSIDE_DOWN else top))
    return out


WHITE, BLACK = 255, 0

_LIGHT = 240
"""A pixel whose three channels all reach this level counts as white: on white paper it differs by
at most 15 levels of 255."""

_DARK = 128
"""A pixel whose brightest channel is below this level counts as dark: it could vanish on black."""

_LIGHT_SHARE = 9, 10
"""Share of the visible area that must be white before black is used. With the next limit it keeps
clip art with white surfaces and outlines, white goods and pale photographs on white."""

_DARK_SHARE = 1, 1000
"""Largest dark share of the visible area on black; outlines and shadows exceed it."""


def ground_of(size: tuple[int, int], band: BandSource) -> int:
    """Return the background for a transparent image: 255 (white) or 0 (black).

    Pixels are weighted by alpha. Black is chosen if at least 9/10 of the visible area is white
    (240 or more in each channel) and at most 1/1000 is dark (less than 128 in each channel).

    Args:
        size: Width and height.
        band: Returns RGBA images.

    Example:
        >>> ground_of((2, 2), lambda top, end: Image.new("RGBA", (2, end - top), (255,) * 4))
        0
        >>> ground_of((2, 2), lambda top, end: Image.new("RGBA", (2, end - top), (0, 0, 0, 99)))
        255
    """
    width, height = size
    most = width * height * 255
    visible = light = dark = 0
    for top, end in band_rows(width, height):
        red, green, blue, alpha = band(top, end).split()
        least = ImageChops.darker(ImageChops.darker(red, green), blue)
        greatest = ImageChops.lighter(ImageChops.lighter(red, green), blue)
        visible += _weight(alpha.histogram())
        light += _weight(alpha.histogram(least.point(_FROM_LIGHT)))
        dark += _weight(alpha.histogram(greatest.point(_BELOW_DARK)))
        # The remaining bands cannot change the outcome; most photographs are decided here.
        if dark * _DARK_SHARE[1] > most * _DARK_SHARE[0]:
            return WHITE
    mostly_light = visible and light * _LIGHT_SHARE[1] >= visible * _LIGHT_SHARE[0]
    return BLACK if mostly_light and dark * _DARK_SHARE[1] <= visible * _DARK_SHARE[0] else WHITE


def put_on(rgba: Image.Image, ground: int) -> Image.Image:
    """Blend an RGBA image over a grey level, 0 to 255."""
    paper = Image.new("RGB", rgba.size, (ground, ground, ground))
    paper.paste(rgba, mask=rgba.getchannel("A"))
    return paper


_FROM_LIGHT = [255 if level >= _LIGHT else 0 for level in range(256)]
_BELOW_DARK = [255 if level < _DARK else 0 for level in range(256)]


def _weight(histogram: list[int]) -> int:
    return sum(level * count for level, count in enumerate(histogram))


_ORIENTATION = 0x0112

# EXIF 2.32, section 4.6.4: what turns each stored orientation upright.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def upright_rgb(
    image: Image.Image, *, max_pixels: int = MAX_PIXELS, name: str = "image"
) -> Image.Image:
    """Return a PIL image as upright 8-bit RGB, by the policy of `decode`.

    The caller's image keeps its mode, size and content; an opened file that was not loaded is loaded.
    The current frame of an animation is used.

    Args:
        image: Any mode.
        max_pixels: Limit on width times height.
        name: The image in messages.

    Returns:
        A new image, or `image` itself if it is plain upright RGB already.

    Raises:
        DecodeError: Not a PIL image, no pixels or too many, an unreadable file, or a mode that
            cannot be converted to colour.

    Example:
        >>> upright_rgb(Image.new("LA", (2, 1), (0, 0))).getpixel((0, 0))
        (255, 255, 255)
    """
    if not isinstance(image, Image.Image):
        raise DecodeError(f"{name} is a {type(image).__name__}, not a PIL image")
    check_size(*image.size, max_pixels=max_pixels, name=name)
    try:
        with quiet(name):
            key = _transparent_key(image)
            read_planes_rightly(image, name=name)
            if getattr(image, "tile", None):
                check_memory(image.mode, image.size, name=name)
            image.load()
            return to_rgb(image, key=key, name=name)
    except DecodeError:
        raise
    except Exception as error:  # Pillow raises whatever its decoders meet
        raise DecodeError(
            f"{name} (mode {image.mode}) cannot be read as RGB: {_words(error)}; "
            "save it as PNG or JPEG and try again"
        ) from error


def to_rgb(
    image: Image.Image,
    *,
    key: tuple[int, ...] | None,
    name: str,
    samples: Samples | None = None,
) -> Image.Image:
    """Return a loaded image as upright RGB; the same object if there is nothing to do.

    Args:
        image: Any mode, with its pixels.
        key: The transparent grey level or colour, in the image's own levels; None without one or
            with an alpha channel.
        name: The image in messages.
        samples: Scale of a single-channel image; None to derive it from the mode.

    Raises:
        DecodeError: Levels that contradict the declared format, or a mode that cannot be
            converted to colour.
    """
    turn = _TURNS.get(_orientation(image))
    samples = samples or samples_of(image)
    plain = image.mode == "RGB" and key is None
    if plain and turn is None:
        return image
    check_memory(image.mode, image.size, turned=turn is not None, name=name)
    size = image.size
    if samples is not None and image.mode in {"L", "I", "F"} | _I16:
        return _scaled(image, samples, key, turn, name)
    if plain:
        return assemble(size, _rows_of(image), turn)
    if key is not None or image.has_transparency_data:
        rgba = _rgba_of(image, key)
        ground = ground_of(size, rgba)
        return assemble(size, lambda top, end: put_on(rgba(top, end), ground), turn)
    convert = _from_lab(name) if image.mode == "LAB" else _to_rgb
    rows = _rows_of(image)
    return assemble(size, lambda top, end: convert(rows(top, end)), turn)


_I16 = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})


def _transparent_key(image: Image.Image) -> tuple[int, ...] | None:
    """Return the transparent colour of an image without an alpha channel.

    Pillow expands grey PNGs of 2 or 4 bits to 8 and keeps the upper 8 bits of 16-bit RGB, but leaves
    the key as stored. The original depth is known only until the pixels are loaded.
    """
    key = image.info.get("transparency")
    raw_mode = ""
    for tile in getattr(image, "tile", ()):
        args = tile[3] if isinstance(tile[3], tuple) else (tile[3],)
        raw_mode = str(args[0]) if args else ""
    if image.mode == "RGB" and isinstance(key, tuple) and len(key) == 3:
        wide = raw_mode.startswith("RGB;16") or max(key) > 255
        return tuple(level >> 8 if wide else level for level in key)
    if isinstance(key, int) and image.mode in {"1", "L", "I"} | _I16:
        return (key * {"L;2": 85, "L;4": 17}.get(raw_mode, 1),)
    return None


def _orientation(image: Image.Image) -> int:
    exif = image.info.get("exif")
    if isinstance(exif, bytes) and shared_exif(exif):
        return 1
    try:
        value = image.getexif().get(_ORIENTATION)
    except Exception:  # noqa: BLE001  # damaged EXIF does not make the pixels bad
        return 1
    return value if isinstance(value, int) else 1


def _rows_of(image: Image.Image) -> BandSource:
    """Return a function that crops rows, without metadata that has been applied already."""

    def rows(top: int, end: int) -> Image.Image:
        band = image.crop((0, top, image.width, end))
        if image.mode not in {"P", "PA"}:
            band.info.clear()
        return band

    return rows


def _to_rgb(band: Image.Image) -> Image.Image:
    return _bare(band.convert("RGB"))


def _rgba_of(image: Image.Image, key: tuple[int, ...] | None) -> BandSource:
    """Return a function that converts rows of a transparent image to RGBA."""
    rows = _rows_of(image)
    if key is not None:
        return lambda top, end: _keyed(rows(top, end), key)
    if image.mode == "La":
        return lambda top, end: rows(top, end).convert("LA").convert("RGBA")
    if image.mode in {"LA", "P", "PA", "RGBA", "RGBa"}:
        return lambda top, end: rows(top, end).convert("RGBA")
    return lambda top, end: rows(top, end).convert("RGB").convert("RGBA")


def _keyed(band: Image.Image, key: tuple[int, ...]) -> Image.Image:
    pixels = np.asarray(band.convert("L") if band.mode == "1" else band)
    same = pixels == key[0] if len(key) == 1 else (pixels == key).all(axis=2)
    rgba = band.convert("RGB").convert("RGBA")
    rgba.putalpha(Image.fromarray(np.where(same, 0, 255).astype(np.uint8)))
    return rgba


def _from_lab(name: str) -> Callable[[Image.Image], Image.Image]:
    try:
        from PIL import ImageCms

        transform = ImageCms.buildTransform(
            ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB"
        )
    except ImportError as error:
        raise DecodeError(
            f"{name} is in CIELAB, which this build of Pillow cannot convert; save it as RGB"
        ) from error

    def convert(band: Image.Image) -> Image.Image:
        converted = ImageCms.applyTransform(band, transform)
        if converted is None:
            raise DecodeError(f"{name} is in CIELAB and could not be converted; save it as RGB")
        return _bare(converted)

    return convert


def _scaled(
    image: Image.Image,
    samples: Samples,
    key: tuple[int, ...] | None,
    turn: Image.Transpose | None,
    name: str,
) -> Image.Image:
    """Scale one wide channel to 8 bits; the transparent level is matched before scaling."""
    rows = _rows_of(image)
    scale = SampleScale(samples, name=name)

    def rgba(top: int, end: int) -> Image.Image:
        values = np.asarray(rows(top, end))
        band = Image.fromarray(scale.grey(values)).convert("RGBA")
        band.putalpha(Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8)))
        return band

    def grey(top: int, end: int) -> Image.Image:
        return Image.fromarray(scale.grey(np.asarray(rows(top, end)))).convert("RGB")

    if key is None:
        upright = assemble(image.size, grey, turn)
    else:
        ground = ground_of(image.size, rgba)
        upright = assemble(image.size, lambda top, end: put_on(rgba(top, end), ground), turn)
    scale.check()
    return upright


def bare(image: Image.Image) -> Image.Image:
    """Return an in-memory image that shares the pixels of an opened file."""
    shared = image._new(image.im)  # noqa: SLF001  # copy() would take as much memory again
    shared.info.clear()
    return shared


def _bare(image: Image.Image) -> Image.Image:
    """Drop orientation and transparency, which have been applied."""
    image.info.clear()
    return image


def _words(error: Exception) -> str:
    return f"{error}".strip() or type(error).__name__


_NOISE = 2
"""Levels by which pixels of one colour may differ after lossy compression."""

_SAMPLE = 8


def is_blank(image: Image.Image) -> bool:
    """Whether an RGB image is a single colour, up to 2 levels of 255 in each channel.

    A fully transparent image counts, because it was blended over white.

    Example:
        >>> is_blank(Image.new("RGB", (64, 48), "teal"))
        True
        >>> is_blank(Image.radial_gradient("L").convert("RGB"))
        False
    """
    # A few pixels rule out most images without a pass over all of them.
    sample = image.resize((_SAMPLE, _SAMPLE), Image.Resampling.NEAREST)
    return _is_even(sample) and _is_even(image)


def _is_even(image: Image.Image) -> bool:
    extrema: Any = image.getextrema()  # a pair for each channel
    return all(high - low <= _NOISE for low, high in extrema)
