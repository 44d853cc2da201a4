"""Scale channels wider than 8 bits by what the file declares.

The scale never depends on the levels themselves: the same scene, slightly brighter, must not be read
by another rule. An image whose levels contradict its format, such as floats from 0 to 255, is
refused instead of becoming a blank sheet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imagesearch.errors import DecodeError

__all__ = ["SampleScale", "Samples", "samples_of"]


@dataclass(frozen=True, slots=True)
class Samples:
    """The scale of one channel.

    Attributes:
        kind: ``unsigned`` and ``signed`` integers reach white at the greatest number of `bits`;
            ``float`` at 1; ``level`` are integers without a declared white, read as 0 to 255.
        bits: Bits of a sample.
        inverted: Whether 0 is white, as TIFF's WhiteIsZero says.
    """

    kind: Literal["unsigned", "signed", "float", "level"]
    bits: int
    inverted: bool = False

    @property
    def white(self) -> float:
        """The level that becomes 255."""
        match self.kind:
            case "unsigned":
                return float((1 << self.bits) - 1)
            case "signed":
                return float((1 << (self.bits - 1)) - 1)
            case "float":
                return 1.0
            case "level":
                return 255.0


_BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339
_WHITE_IS_ZERO = 0
_SIGNED = 2


def samples_of(image: Image.Image) -> Samples | None:
    """Return the scale of a Pillow image; None for ordinary 8-bit channels.

    It comes from the tags of a TIFF that was opened and not copied, otherwise from the mode: ``I;16``
    is 0 to 65535, ``F`` is 0 to 1, and ``I`` (32-bit integers) 0 to 255, or 0 to 65535 for a PGM, as
    Pillow scales it.

    Example:
        >>> samples_of(Image.new("I;16", (1, 1))).white, samples_of(Image.new("RGB", (1, 1)))
        (65535.0, None)
    """
    mode = image.mode
    wide = mode.startswith("I;16") or mode in {"I", "F"}
    tags: Any = getattr(image, "tag_v2", None)
    if tags is not None and image.format == "TIFF" and (wide or mode == "L"):
        bits = int(tags.get(_BITS_PER_SAMPLE, (1,))[0])
        signed = tags.get(_SAMPLE_FORMAT, (1,))[0] == _SIGNED
        if mode == "L" and not signed:
            return None  # Pillow inverts WhiteIsZero of up to 8 bits itself
        inverted = tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO
        if mode == "F":
            return Samples("float", bits, inverted)
        if signed:
            return Samples("level" if bits == 32 else "signed", bits, inverted)
        return Samples("unsigned", bits, inverted)
    if mode.startswith("I;16"):
        return Samples("unsigned", 16)
    if mode == "I":
        return Samples("unsigned", 16) if image.format == "PPM" else Samples("level", 32)
    return Samples("float", 32) if mode == "F" else None


_FAR = 0.5
"""Share of the range by which levels may exceed black or white, as overshoot of a resize or as
highlights; Lanczos overshoots by up to a quarter."""


class SampleScale:
    """Scales one channel to 8 bits, band by band, and detects levels that contradict its format.

    Args:
        samples: The scale of the channel.
        name: The image in messages.

    Example:
        >>> scale = SampleScale(Samples("float", 32), name="image")
        >>> scale.grey(np.array([[0.0, 0.5, 1.02]]))
        array([[  0, 128, 255]], dtype=uint8)
        >>> scale.check()
    """

    def __init__(self, samples: Samples, *, name: str) -> None:
        self._samples = samples
        self._name = name
        self._low, self._high = np.inf, -np.inf
        self._darkest, self._brightest = 255, 0
        self._counted = self._far = 0

    def grey(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """Return uint8 levels of the same shape; NaN and -inf become black, inf white."""
        samples = self._samples
        if samples.kind == "unsigned" and values.dtype == np.int32 and samples.bits == 32:
            values = values.view(np.uint32)  # Pillow has no mode for unsigned 32-bit samples
        elif samples.kind == "signed" and values.dtype == np.uint8:
            values = values.view(np.int8)
        scaled = values.astype(np.float64) / samples.white
        if samples.kind == "float":
            scaled = np.nan_to_num(scaled, nan=0.0, posinf=1.0, neginf=0.0)
        self._count(scaled)
        if samples.inverted:
            scaled = 1.0 - scaled
        grey = np.rint(np.clip(scaled, 0.0, 1.0) * 255.0).astype(np.uint8)
        self._darkest = min(self._darkest, int(grey.min()))
        self._brightest = max(self._brightest, int(grey.max()))
        return grey

    def check(self) -> None:
        """Refuse levels that cannot be on the declared scale.

        Raises:
            DecodeError: More than half of a float image's numbers other than 0 lie far outside 0
                to 1; any of an image without a declared white far outside 0 to 255; or different
                32-bit numbers have all become one level.
        """
        low, high, white = (value * self._samples.white for value in (self._low, self._high, 1))
        span = f"{self._name} has levels from {low:g} to {high:g}"
        match self._samples.kind:
            case "float" if self._far * 2 > self._counted:
                raise DecodeError(
                    f"{span}, but float images are read as 0 to 1; divide them by their white"
                )
            case "level" if self._far:
                raise DecodeError(
                    f"{span}, but 32-bit integers are read as 0 to 255; save them as 8 or 16 bits"
                )
            case "unsigned" if (
                self._samples.bits > 16 and self._darkest == self._brightest and high > low
            ):
                raise DecodeError(
                    f"{span}, which are all one level where {white:g} is white; save them as 8 or "
                    "16 bits"
                )

    def _count(self, scaled: NDArray[np.float64]) -> None:
        self._low = min(self._low, float(scaled.min()))
        self._high = max(self._high, float(scaled.max()))
        if self._samples.kind in {"float", "level"}:
            self._counted += int(np.count_nonzero(scaled))
            self._far += int(np.count_nonzero((scaled < -_FAR) | (scaled > 1.0 + _FAR)))
