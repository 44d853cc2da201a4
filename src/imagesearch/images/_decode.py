"""Decode encoded bytes into an upright RGB image."""

from __future__ import annotations

import importlib
import threading

from PIL import Image, ImageFile, UnidentifiedImageError

from imagesearch.errors import (
    DecodeError,
    ImageTooLargeError,
    MissingDependencyError,
    UnsupportedImageError,
)
from imagesearch.images._convert import bare, to_rgb
from imagesearch.images._damage import damage_of
from imagesearch.images._encoded import Encoded, read_planes_rightly, without_metadata
from imagesearch.images._jpeg import read_jpeg, unsupported_jpeg
from imagesearch.images._limits import MAX_PIXELS, check_memory, check_size
from imagesearch.images._pillow import quiet, strict, watched
from imagesearch.images._pnm import is_pnm, read_pnm
from imagesearch.images._sniff import heif_brand, look_of, perhaps_unsupported, unsupported_kind

__all__ = ["decode"]


# Formats that Pillow decodes by itself from bytes: none that run a program (EPS) or call the
# system (WMF), none without a signature (TGA), and no exotic decoders, to keep the attack surface small.
_FORMATS = {
    "JPEG": "JpegImagePlugin",  # including MPO (several images in one file)
    "PNG": "PngImagePlugin",
    "WEBP": "WebPImagePlugin",
    "GIF": "GifImagePlugin",
    "AVIF": "AvifImagePlugin",
    "TIFF": "TiffImagePlugin",
    "BMP": "BmpImagePlugin",
    "JPEG2000": "Jpeg2KImagePlugin",
    "ICO": "IcoImagePlugin",
}
_setup = threading.Lock()
_ready = False


def decode(
    data: bytes,
    *,
    shrink_to: int | None = None,
    max_pixels: int = MAX_PIXELS,
    name: str = "image",
) -> Image.Image:
    """Decode bytes into an upright 8-bit RGB image with all its pixels read.

    - Formats, recognised by content and not by name: JPEG, MPO, PNG, GIF, WebP, AVIF, TIFF,
      BMP, PPM/PGM/PBM/PFM, JPEG 2000, ICO, and HEIC/HEIF where ``pillow-heif`` is installed.
    - EXIF orientation is applied.
    - Transparency is blended over white. Over black, where white would hide the drawing: if at
      least 9/10 of what is visible, weighted by alpha, is white (240 or more in each channel) and
      at most 1/1000 dark (less than 128 in each). Photographs and black drawings stay on white.
    - The first frame of an animation and the first page of a TIFF are used.
    - Levels follow what the file declares, never the numbers in it. Unsigned integers of n bits
      reach white at 2**n - 1, signed ones at 2**(n-1) - 1, a PGM or PPM at its maximum, floats
      at 1; negative numbers are black. 32-bit signed integers declare no white and are read as 0
      to 255, where small excesses are clipped. WhiteIsZero TIFFs are inverted. NaN is black.
    - Levels that contradict this are refused: floats of which more than half lie far outside 0 to
      1 (zeros aside), 32-bit signed integers far outside 0 to 255, 32-bit unsigned integers that
      would all become one level.
    - CMYK, YCbCr, HSV and CIELAB are converted. ICC profiles are not applied, because models are
      trained on images that were read without them.
    - A damaged or truncated file is an error where the format makes damage detectable. Changed bytes
      in uncompressed pixels, and some in compressed data, are not.

    Args:
        data: One encoded image.
        shrink_to: The shorter side that the caller needs, in pixels, at least 1. A large JPEG is then
            decoded at 1/2, 1/4 or 1/8 of its size, which is much faster; its shorter side never
            falls below `shrink_to`. None: full size.
        max_pixels: Limit on width times height, checked in the header before decoding. Pillow has
            the default as a limit of its own, which only ``PIL.Image.MAX_IMAGE_PIXELS`` changes.
            A side has at most `MAX_SIDE` pixels, and decoding uses at most `MAX_DECODED_BYTES`.
        name: The image in messages, such as its path.

    Raises:
        UnsupportedImageError: An unsupported kind of image, such as a 12-bit JPEG.
        ImageTooLargeError: A limit above is exceeded.
        DecodeError: Not an image of these formats, damaged, or levels that contradict the format.
        MissingDependencyError: HEIC, and ``pillow-heif`` is not installed.
        ValueError: `shrink_to` is below 1.

    Example:
        >>> import io
        >>> buffer = io.BytesIO()
        >>> Image.new("P", (40, 30)).save(buffer, "PNG")
        >>> image = decode(buffer.getvalue())
        >>> image.mode, image.size
        ('RGB', (40, 30))
    """
    if shrink_to is not None and shrink_to < 1:
        raise ValueError(f"shrink_to must be at least 1, got {shrink_to}")
    if not data:
        raise DecodeError(f"{name} is empty (0 bytes); fetch or export it again")
    data = without_metadata(data, name=name)
    jpeg = read_jpeg(data, name=name)
    if jpeg is not None and (kind := unsupported_jpeg(jpeg)) is not None:
        raise _unsupported(name, kind)
    if is_pnm(data):
        return read_pnm(data, max_pixels=max_pixels, name=name)
    encoded = Encoded.of(data, jpeg=jpeg, max_pixels=max_pixels, name=name)
    damage = damage_of(data, jpeg)
    if damage is not None:
        raise _damaged(name, damage)
    source = watched(encoded.data, jpeg)
    _prepare()
    formats = [*_FORMATS]
    if heif_brand(data):
        _prepare_heif(name)
        formats = ["HEIF"]
    try:
        with quiet(name), strict(), Image.open(source, formats=formats) as opened:
            check_size(*opened.size, max_pixels=max_pixels, name=name)
            if jpeg is not None and jpeg.arithmetic and isinstance(opened, ImageFile.ImageFile):
                opened.decodermaxblock = len(data)
            if shrink_to is not None and jpeg is not None and jpeg.scalable:
                opened.draft(None, (shrink_to, shrink_to))
            read_planes_rightly(opened, name=name)
            check_memory(opened.mode, opened.size, decoder=encoded.decoder_bytes(opened), name=name)
            source.watch(opened)
            opened.load()
            source.check()
            # The PNGs inside an ICO have headers of their own, read only now.
            check_size(*opened.size, max_pixels=max_pixels, name=name)
            image = to_rgb(
                opened,
                key=encoded.transparent_key(opened),
                samples=encoded.samples(opened),
                name=name,
            )
            return bare(image) if image is opened else image
    except DecodeError:
        raise
    except UnidentifiedImageError as error:
        if (kind := unsupported_kind(data)) is not None:
            raise _unsupported(name, kind) from error
        raise DecodeError(f"{name} {look_of(data)}") from error
    except Image.DecompressionBombError as error:
        raise ImageTooLargeError(
            f"{name} has more than {max_pixels / 1e6:.4g} megapixels, the limit that keeps a small file "
            "from filling the memory; save a smaller copy"
        ) from error
    except Exception as error:  # decoders raise anything on hostile bytes
        reason = f"{error}".strip() or type(error).__name__
        if (kind := perhaps_unsupported(data, jpeg)) is not None:
            raise UnsupportedImageError(
                f"{name} is damaged or is {kind}, which this build of Pillow cannot decode "
                f"({reason}); convert it to PNG"
            ) from error
        raise _damaged(name, reason) from error


def _unsupported(name: str, kind: str) -> UnsupportedImageError:
    return UnsupportedImageError(f"{name} is {kind}, which is not supported; convert it to PNG")


def _damaged(name: str, reason: str) -> DecodeError:
    return DecodeError(
        f"{name} is damaged or truncated and cannot be decoded ({reason}); fetch or export it again"
    )


def _prepare() -> None:
    """Import only the plug-ins of the formats above; Pillow would import all of them."""
    global _ready  # noqa: PLW0603  # once for the process, as Pillow's own registry is
    if _ready:
        return
    with _setup:
        for plugin in _FORMATS.values():
            importlib.import_module(f"PIL.{plugin}")
        _ready = True


def _prepare_heif(name: str) -> None:
    try:
        import pillow_heif
    except ImportError as error:
        raise MissingDependencyError(
            f"{name} is a HEIC image, which needs the package pillow-heif",
            remedy='pip install "imagesearch-index[heif]"',
        ) from error
    with _setup:
        if "HEIF" not in Image.OPEN:
            pillow_heif.register_heif_opener()
