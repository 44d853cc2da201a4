"""Bands: large images are converted a few rows at a time, so that wide numbers exist for those only.

Without them a rotated RGBA image would be held four times: as read, as RGB, and both turned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from PIL import Image

__all__ = ["BandSource", "assemble", "band_rows"]

BandSource = Callable[[int, int], Image.Image]
"""Gives the rows from the first number up to the second as an image of full width."""

_BAND_PIXELS = 1 << 20
"""Pixels in a band: as float64 with its temporaries about 30 MB."""

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
    """Yield first and last row + 1 of each band, from the top.

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
    """Put RGB bands together, each turned as the whole image is.

    Args:
        size: Width and height before turning.
        band: Gives RGB images.
        turn: What makes the image upright; None if it is.

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
