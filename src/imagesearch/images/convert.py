"""Convert: a PIL image of any mode → upright RGB, scaled where it has more than 8 bits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from imagesearch.errors import DecodeError
from imagesearch.images._bands import BandSource, assemble
from imagesearch.images._encoded import read_planes_rightly
from imagesearch.images._ground import ground_of, put_on
from imagesearch.images._metadata import shared_exif
from imagesearch.images._samples import Samples, SampleScale, samples_of
from imagesearch.images.limits import MAX_PIXELS, check_memory, check_size
from imagesearch.images.quiet import quiet

__all__ = ["bare", "to_rgb", "upright_rgb"]

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

    The caller's image keeps its mode, size and content; one that was opened but not read is read.
    Of an animation, the frame it stands at is taken.

    Args:
        image: Any mode.
        max_pixels: Most pixels, width times height.
        name: What messages call the image.

    Returns:
        A new image, or `image` itself if it is plain upright RGB already.

    Raises:
        DecodeError: No PIL image, no pixels or too many, an unreadable file behind it, or a mode
            without a meaning as colour.

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
        key: The grey level or the colour that is transparent, in the image's own numbers; None if
            there is none, or alpha says it.
        name: What messages call the image.
        samples: What the numbers of a single channel mean; None to go by the image.

    Raises:
        DecodeError: Numbers that contradict what is declared, or a mode without a meaning as
            colour.
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
    """Return the transparent colour that Pillow keeps beside an image that has no alpha.

    Grey PNGs of 2 or 4 bits are spread to 8, and of 16-bit RGB the upper 8 bits are kept; the key
    stays as the file has it. Which bits those are is only known until the pixels are read.
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
    """Return what cuts rows out of an image; without its notes, which its pixels have obeyed."""

    def rows(top: int, end: int) -> Image.Image:
        band = image.crop((0, top, image.width, end))
        if image.mode not in {"P", "PA"}:
            band.info.clear()
        return band

    return rows


def _to_rgb(band: Image.Image) -> Image.Image:
    return _bare(band.convert("RGB"))


def _rgba_of(image: Image.Image, key: tuple[int, ...] | None) -> BandSource:
    """Return what gives rows of an image with transparency as RGBA."""
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
    """Scale one wide channel to 8 bits; a transparent level is compared before it is scaled."""
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
    """Return an image that was opened as one in memory, sharing the pixels that it has read."""
    shared = image._new(image.im)  # noqa: SLF001  # copy() would take as much memory again
    shared.info.clear()
    return shared


def _bare(image: Image.Image) -> Image.Image:
    """Drop orientation and transparency, which have been applied to the pixels."""
    image.info.clear()
    return image


def _words(error: Exception) -> str:
    return f"{error}".strip() or type(error).__name__
