"""Ground: the colour behind transparent pixels, chosen by what is drawn.

It is white, except where a drawing would disappear on it: logos and icons in white, made for dark
pages, would all become the same blank sheet. Those are put on black.
"""

from __future__ import annotations

from PIL import Image, ImageChops

from imagesearch.images._bands import BandSource, band_rows

__all__ = ["ground_of", "put_on"]

WHITE, BLACK = 255, 0

_LIGHT = 240
"""Least value of all three channels from which a pixel counts as white: on white it differs by at
most 15 levels of 255."""

_DARK = 128
"""Value of the brightest channel below which a pixel counts as dark and might disappear on black."""

_LIGHT_SHARE = 9, 10
"""Share of the visible area that must be white for a black ground. Clip art with white surfaces
and outlines, white goods and pale photographs stay on white by this or by the next share."""

_DARK_SHARE = 1, 1000
"""Share of the visible area that may be dark on a black ground; outlines and shadows are more."""


def ground_of(size: tuple[int, int], band: BandSource) -> int:
    """Return the level of grey to put a transparent image on: 255 for white, 0 for black.

    Every pixel counts by its alpha. Black is chosen if at least 9/10 of what is visible is white
    (240 or more in each channel) and at most 1/1000 is dark (less than 128 in each channel).

    Args:
        size: Width and height.
        band: Gives RGBA images.

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
        # What remains cannot outweigh this: photographs are decided in their first band.
        if dark * _DARK_SHARE[1] > most * _DARK_SHARE[0]:
            return WHITE
    mostly_light = visible and light * _LIGHT_SHARE[1] >= visible * _LIGHT_SHARE[0]
    return BLACK if mostly_light and dark * _DARK_SHARE[1] <= visible * _DARK_SHARE[0] else WHITE


def put_on(rgba: Image.Image, ground: int) -> Image.Image:
    """Return an RGBA image as RGB over a level of grey."""
    paper = Image.new("RGB", rgba.size, (ground, ground, ground))
    paper.paste(rgba, mask=rgba.getchannel("A"))
    return paper


_FROM_LIGHT = [255 if level >= _LIGHT else 0 for level in range(256)]
_BELOW_DARK = [255 if level < _DARK else 0 for level in range(256)]


def _weight(histogram: list[int]) -> int:
    return sum(level * count for level, count in enumerate(histogram))
