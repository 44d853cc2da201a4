"""Thumbnails: small pictures of records, drawn anew, so that no original is ever served."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from PIL import Image, ImageDraw

from imagesearch.errors import ImageSearchError
from imagesearch.sources import open_image

__all__ = ["Thumbnails", "data_uri", "placeholder", "shrink"]

_SIDE = 384
_THREADS = 4
_PAPER, _INK = (241, 243, 246), (178, 186, 198)


class Thumbnails:
    """Draws small pictures of what records point to.

    Args:
        fetch_remote: Whether pictures that the index knows by URL are fetched.
        side: Most pixels of a thumbnail's longer side.
    """

    def __init__(self, *, fetch_remote: bool, side: int = _SIDE) -> None:
        self._fetch_remote = fetch_remote
        self.side = side

    def of(self, uris: Sequence[str]) -> list[Image.Image]:
        """Return one picture for each URI, a placeholder where there is none to show."""
        if not uris:
            return []
        with ThreadPoolExecutor(min(_THREADS, len(uris))) as threads:
            return list(threads.map(self._one, uris))

    def _one(self, uri: str) -> Image.Image:
        if uri.startswith("sha256:") or ("://" in uri and not self._fetch_remote):
            return placeholder()
        try:
            return shrink(open_image(uri, shrink_to=self.side), self.side)
        except (ImageSearchError, OSError):
            return placeholder()


def shrink(image: Image.Image, side: int) -> Image.Image:
    """Return a copy whose longer side is at most `side`.

    Example:
        >>> shrink(Image.new("RGB", (400, 100)), 200).size
        (200, 50)
    """
    small = image.copy()
    small.thumbnail((side, side))
    return small


def placeholder() -> Image.Image:
    """Return what stands for a picture that cannot be shown.

    Example:
        >>> placeholder().size
        (320, 240)
    """
    card = Image.new("RGB", (320, 240), _PAPER)
    draw = ImageDraw.Draw(card)
    draw.rounded_rectangle((110, 75, 210, 165), 8, outline=_INK, width=5)
    draw.polygon([(122, 153), (150, 115), (168, 138), (180, 126), (198, 153)], fill=_INK)
    draw.ellipse((178, 90, 194, 106), fill=_INK)
    draw.line((100, 180, 220, 60), fill=_PAPER, width=14)
    draw.line((100, 180, 220, 60), fill=_INK, width=5)
    return card


def data_uri(image: Image.Image, side: int) -> str:
    """Return a small picture as text that a page can hold.

    Example:
        >>> data_uri(placeholder(), 40)[:23]
        'data:image/jpeg;base64,'
    """
    buffer = io.BytesIO()
    shrink(image, side).convert("RGB").save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
