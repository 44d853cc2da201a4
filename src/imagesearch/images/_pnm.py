"""Read PBM, PGM, PPM and PFM files, scaled by the maximum in their header.

Pillow reads maxima other than 255 and text samples one by one in Python, and header comments byte by
byte: 5 MB take ten seconds. Formats: https://netpbm.sourceforge.net/doc/#formats
and, for PFM, https://www.pauldebevec.com/Research/HDR/PFM/.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imagesearch.errors import DecodeError
from imagesearch.images._convert import assemble
from imagesearch.images._limits import check_memory, check_size
from imagesearch.images._samples import Samples, SampleScale

__all__ = ["is_pnm", "read_pnm"]

_MAGIC = re.compile(rb"P[1-6Ff][ \t\n\v\f\r#]")
# Possessive, so that endless blanks and comments are skipped in linear time.
_TOKEN = re.compile(rb"(?:[ \t\n\v\f\r]++|#[^\r\n]*+[\r\n])*+([^\s#]{1,20}+)(?=[\s#])")
_COMMENT = re.compile(rb"#[^\r\n]*+")
_BLANKS = b" \t\n\v\f\r"
_NUMBERS = re.compile(rb"(?:\s*+[0-9]{1,9}+(?![0-9]))*+\s*+")
_TEXT_PIECE = 1 << 20
_MAX_COMMENTS = 10_000

_Rows = Callable[[int, int], NDArray[Any]]


def is_pnm(data: bytes) -> bool:
    """Whether data start like a PBM, PGM, PPM or PFM file.

    Example:
        >>> is_pnm(b"P6 1 1 255 rgb"), is_pnm(b"P7")
        (True, False)
    """
    return _MAGIC.match(data) is not None


def read_pnm(data: bytes, *, max_pixels: int, name: str) -> Image.Image:
    r"""Decode the first image of a file for which `is_pnm` is true.

    Returns:
        An RGB image.

    Raises:
        ImageTooLargeError: More than `max_pixels`.
        DecodeError: A malformed header, or too few samples.

    Example:
        >>> read_pnm(b"P5 2 1 100 \x00\x64", max_pixels=2, name="image").getpixel((1, 0))
        (255, 255, 255)
    """
    kind = data[1:2]
    numbers: list[float] = []
    end = 2
    for _ in range(2 if kind in b"14" else 3):
        token = _TOKEN.match(data, end)
        if token is None:
            raise _damaged(name, "its header ends early")
        try:
            number = float(token[1])
            numbers.append(number if kind in b"Ff" and len(numbers) == 2 else int(number))
        except (ValueError, OverflowError) as error:
            raise _damaged(name, f"its header has the invalid number {token[1]!r}") from error
        end = token.end()
    width, height = int(numbers[0]), int(numbers[1])
    check_size(width, height, max_pixels=max_pixels, name=name)
    check_memory("RGB", (width, height), name=name)
    maximum = numbers[2] if len(numbers) == 3 else 1
    if (kind not in b"Ff" and not 1 <= maximum <= 65_535) or not np.isfinite(maximum):
        raise _damaged(name, f"its maximum must be 1 to 65535, got {maximum:g}")
    # One blank ends the header.
    raster = memoryview(data)[end + 1 :]
    if kind in b"Ff":
        return _floats(raster, (width, height), 3 if kind == b"F" else 1, maximum, name)
    channels = 3 if kind in b"36" else 1
    if kind in b"123":
        rows = _text_rows(data[end:], (width, height, channels), kind == b"1", int(maximum), name)
    elif kind == b"4":
        rows = _bit_rows(raster, (width, height), name)
    else:
        rows = _sample_rows(raster, (width, height, channels), int(maximum), name)
    return assemble((width, height), lambda top, end: _rgb(rows(top, end)))


def _sample_rows(raster: memoryview, shape: tuple[int, int, int], maximum: int, name: str) -> _Rows:
    width, height, channels = shape
    dtype = np.dtype(">u2" if maximum > 255 else "u1")
    values = _array(raster, dtype, width * height * channels, name)
    return lambda top, end: _scaled(
        values[top * width * channels : end * width * channels].reshape(
            (end - top, width, channels)[: 3 if channels == 3 else 2]
        ),
        maximum,
    )


def _bit_rows(raster: memoryview, size: tuple[int, int], name: str) -> _Rows:
    width, height = size
    stride = (width + 7) // 8
    packed = _array(raster, np.dtype("u1"), stride * height, name).reshape(height, stride)

    def rows(top: int, end: int) -> NDArray[np.uint8]:
        return np.where(np.unpackbits(packed[top:end], axis=1, count=width), 0, 255).astype(
            np.uint8
        )

    return rows


def _text_rows(
    text: bytes, shape: tuple[int, int, int], bits: bool, maximum: int, name: str
) -> _Rows:
    width, height, channels = shape
    if text.count(b"#") > _MAX_COMMENTS:
        raise _damaged(name, f"it has more than {_MAX_COMMENTS:,} comments")
    text = _COMMENT.sub(b"", text)
    samples = np.empty(width * height * channels, np.uint8)
    filled = at = 0
    while filled < samples.size and at < len(text):
        piece = text[at : at + _TEXT_PIECE]
        if not bits and at + len(piece) < len(text):
            # The last number may continue in the next piece.
            piece = piece[: max(piece.rfind(bytes([blank])) for blank in _BLANKS) + 1] or piece
        at += len(piece)
        levels = _numbers(piece, bits, maximum, name)[: samples.size - filled]
        samples[filled : filled + levels.size] = levels
        filled += levels.size
    if filled < samples.size:
        raise _damaged(name, f"it has {filled:,} of {samples.size:,} samples")
    grid = samples.reshape((height, width, channels)[: 3 if channels == 3 else 2])
    return lambda top, end: grid[top:end]


def _numbers(piece: bytes, bits: bool, maximum: int, name: str) -> NDArray[np.uint8]:
    if bits:
        digits = np.frombuffer(piece.translate(None, _BLANKS), np.uint8)
        if digits.size and (digits.min() < ord("0") or digits.max() > ord("1")):
            raise _damaged(name, "a bit must be 0 or 1")
        return np.where(digits == ord("1"), 0, 255).astype(np.uint8)
    if _NUMBERS.fullmatch(piece) is None:
        raise _damaged(name, "a sample is not a number")
    values: NDArray[Any] = np.empty(0, np.int64)
    if not piece.isspace():
        values = np.fromstring(piece, np.int64, sep=" ")
    if values.size and (values.max() > maximum):
        raise _damaged(name, f"a sample is not between 0 and {maximum}")
    return _scaled(values, maximum)


def _floats(
    raster: memoryview, size: tuple[int, int], channels: int, scale: float, name: str
) -> Image.Image:
    """Read a PFM: rows run from bottom to top; a negative scale means little-endian."""
    width, height = size
    values = _array(
        raster, np.dtype("<f4" if scale < 0 else ">f4"), width * height * channels, name
    )
    grid = values.reshape((height, width, channels)[: 3 if channels == 3 else 2])[::-1]
    levels = SampleScale(Samples("float", 32), name=name)
    image = assemble(size, lambda top, end: _rgb(levels.grey(grid[top:end])))
    levels.check()
    return image


def _array(raster: memoryview, dtype: np.dtype[Any], count: int, name: str) -> NDArray[Any]:
    if len(raster) < count * dtype.itemsize:
        raise _damaged(name, f"it has {len(raster):,} of {count * dtype.itemsize:,} bytes")
    return np.frombuffer(raster, dtype, count)


def _scaled(values: NDArray[Any], maximum: int) -> NDArray[np.uint8]:
    levels: NDArray[Any] = np.minimum(values, maximum)
    return (levels if maximum == 255 else np.rint(levels * (255.0 / maximum))).astype(np.uint8)


def _rgb(levels: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(levels)).convert("RGB")


def _damaged(name: str, reason: str) -> DecodeError:
    return DecodeError(
        f"{name} is damaged or truncated and cannot be decoded ({reason}); fetch or export it again"
    )
