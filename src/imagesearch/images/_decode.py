"""Decode: encoded bytes → upright RGB."""

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


# Formats that Pillow decodes by itself from bytes. Nothing that runs a program (EPS) or calls the
# system (WMF), nothing without a signature (TGA), and no exotic decoders that nobody needs.
_FORMATS = {
    "JPEG": "JpegImagePlugin",  # with MPO, its many-picture form
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

    - Formats, known by their bytes and not by their name: JPEG, MPO, PNG, GIF, WebP, AVIF, TIFF,
      BMP, PPM/PGM/PBM/PFM, JPEG 2000, ICO, and HEIC/HEIF where ``pillow-heif`` is installed.
    - EXIF orientation is applied.
    - Transparency is blended over white. Over black, where white would hide the drawing: if at
      least 9/10 of what is visible, weighted by alpha, is white (240 or more in each channel) and
      at most 1/1000 dark (less than 128 in each). Photographs and black drawings stay on white.
    - Of animations the first frame, of multi-page TIFFs the first page.
    - Levels follow what the file declares, never the numbers in it. Unsigned integers of n bits
      reach white at 2**n - 1, signed ones at 2**(n-1) - 1, a PGM or PPM at its maximum, floats
      at 1; negative numbers are black. 32-bit signed integers declare no white and are read as 0
      to 255, where small excesses are clipped. WhiteIsZero TIFFs are turned round. NaN is black.
    - Numbers that contradict that are refused: floats of which more than half lie far outside 0 to
      1 (zeros aside), 32-bit signed integers far outside 0 to 255, 32-bit unsigned integers that
      would all become one level.
    - CMYK, YCbCr, HSV and CIELAB are converted; ICC profiles are not applied, as the images that
      models are trained on have been read without them.
    - A damaged or truncated file is an error where its format can tell. Changed bytes in
      uncompressed pixels, and some in compressed data, cannot be told from an image.

    Args:
        data: One encoded image.
        shrink_to: The caller needs no more than this many pixels on the shorter side. A large JPEG
            is then decoded at 1/2, 1/4 or 1/8 of its size, which is much faster, and its shorter
            side never falls under `shrink_to`. None: full size.
        max_pixels: Most pixels, width times height, checked in the header before decoding. Pillow
            has its own limit at the default, which only ``PIL.Image.MAX_IMAGE_PIXELS`` moves. A
            side has at most `MAX_SIDE` pixels, and no more than `MAX_DECODED_BYTES` are used.
        name: What messages call the image, such as its path.

    Raises:
        UnsupportedImageError: A kind of image that is not decoded, such as a JPEG with 12 bits.
        ImageTooLargeError: More pixels, a longer side or more memory than that.
        DecodeError: No image of these formats, damaged, or numbers that contradict their format.
        MissingDependencyError: HEIC without ``pillow-heif``.

    Example:
        >>> import io
        >>> buffer = io.BytesIO()
        >>> Image.new("P", (40, 30)).save(buffer, "PNG")
        >>> image = decode(buffer.getvalue())
        >>> image.mode, image.size
        ('RGB', (40, 30))
    """
    if shrink_to is not None and shrink_to < 1:
        raise ValueError(f"shrink_to={shrink_to}; give the pixels that are needed, at least 1")
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
            # An ICO holds PNGs, whose own headers are read only now.
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
            f"{name} has more pixels than are decoded (at most {max_pixels / 1e6:.4g} megapixels), "
            "so that a small file cannot fill the memory; save a smaller copy"
        ) from error
    except Exception as error:  # decoders raise whatever hostile bytes lead them to
        reason = f"{error}".strip() or type(error).__name__
        if (kind := perhaps_unsupported(data, jpeg)) is not None:
            raise UnsupportedImageError(
                f"{name} is damaged, or {kind}, which this build of Pillow does not decode "
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
    """Import the plug-ins of the formats above, which spares Pillow the import of all others."""
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
            f"{name} is a HEIC image, which needs the package pillow-heif: "
            'pip install "imagesearch-index[heif]"'
        ) from error
    with _setup:
        if "HEIF" not in Image.OPEN:
            pillow_heif.register_heif_opener()
