"""Marks: whether a decoder has reached the last row of an image."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image

__all__ = ["MarkedSource"]

_MARKS = 8
_STEP = 97
_MODES = {"L": 1, "P": 1, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4, "I;16": 1, "I": 1}


class MarkedSource(io.BytesIO):
    """An encoded image that marks the last row of what a decoder makes of it.

    Decoders that work row by row leave the rows for which there are no data as they were. Pixels of
    the last row get values that hardly any image has there, when the decoder reads for the first
    time; if they are still there, the row is missing.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._image: Image.Image | None = None

    @property
    def watching(self) -> bool:
        """Whether an image is being loaded whose last row can be marked."""
        return self._image is not None

    def watch(self, image: Image.Image) -> None:
        """Take part in loading an image that was opened from this source."""
        # In fewer columns, or in black and white, a row might hold the marks by chance.
        if image.width >= _MARKS and image.mode in _MODES:
            self._image = image
            image.readonly = 0  # Pillow sets it anew after loading

    def check(self) -> None:
        """After loading, raise OSError if the data were not what the image needs."""

    def mark(self) -> bool:
        """Mark the last row if Pillow has made the image; nothing is decoded yet."""
        pixels = self._pixels()
        if pixels is not None:
            for place, value in self._marks():
                pixels[place] = value
        return pixels is not None

    def has_last_row(self) -> bool:
        """Whether the decoder has written the last row."""
        pixels = self._pixels()
        return pixels is None or any(pixels[place] != value for place, value in self._marks())

    def _pixels(self) -> Any:
        # Not the image's own `load`, which is what runs at this moment.
        return None if self._image is None else Image.Image.load(self._image)

    def _marks(self) -> list[tuple[tuple[int, int], int | tuple[int, ...]]]:
        image = self._image
        if image is None:
            return []
        bands = _MODES[image.mode]
        places = [(n * (image.width - 1) // (_MARKS - 1), image.height - 1) for n in range(_MARKS)]
        values = [
            tuple((n * bands + band + 1) * _STEP % 256 for band in range(bands))
            for n in range(_MARKS)
        ]
        return [
            (at, value if bands > 1 else value[0]) for at, value in zip(places, values, strict=True)
        ]
