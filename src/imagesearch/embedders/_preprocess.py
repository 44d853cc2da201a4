"""From an image to the pixels that a model was trained on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imagesearch._printable import shorten
from imagesearch._validation import one_of
from imagesearch.errors import ConfigError

__all__ = ["CROP_MODES", "INTERPOLATIONS", "ImageTransform", "Preprocess"]


CROP_MODES = ("center", "squash", "border")

INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
    "lanczos": Image.Resampling.LANCZOS,
    # In training timm picks bilinear or bicubic at random; an embedder must be deterministic.
    "random": Image.Resampling.BILINEAR,
}

# Up to this many output pixels ``exact`` resizes the whole image and then crops it. A 1 × 5000
# image at 256 pixels would need 1 GB, so only its crop is resized.
_EXACT_PIXELS = 16_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocess:
    """How `TimmEmbedder` resizes, crops and normalises images; None: as the weights were trained.

    In a config file it is a table: ``preprocess = {size = 224, crop_pct = 1.0}``.

    Attributes:
        size: Side, or (height, width), of the model's input in pixels, ≥ 1.
        crop_pct: Share of the resized image's side that the crop keeps, above 0 and at most 2.
        crop_mode: ``center`` resizes the shorter side and crops the middle, ``squash`` resizes both
            sides, ``border`` resizes the longer side and pads with the mean colour.
        interpolation: ``bicubic``, ``bilinear``, ``lanczos``, ``nearest``, ``box`` or ``hamming``.
        mean: Mean of each channel, in [0, 1].
        std: Standard deviation of each channel, in [0, 1], above 0.

    Example:
        >>> Preprocess(size=224, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)).size
        224
    """

    size: int | Sequence[int] | None = None
    crop_pct: float | None = None
    crop_mode: Literal["center", "squash", "border"] | None = None
    interpolation: str | None = None
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None

    @classmethod
    def of(cls, value: Preprocess | Mapping[str, Any] | None) -> Preprocess:
        """Return the settings that a constructor or a config file was given.

        Raises:
            ConfigError: It is something else, or a mapping with an unknown key.
        """
        if isinstance(value, Preprocess):
            return value
        names = [field.name for field in fields(cls)]
        if value is not None and not isinstance(value, Mapping):
            raise ConfigError(
                f"preprocess must be a Preprocess or a table of {', '.join(names)}, got "
                f"{shorten(value)}"
            )
        for name in value or {}:
            if name not in names:
                raise ConfigError(
                    f"preprocess has no setting {shorten(name)}; it has {', '.join(names)}"
                )
        return cls(**(value or {}))


@dataclass(frozen=True, slots=True)
class ImageTransform:
    """Resizes and crops as timm's evaluation transform does, without torch.

    Attributes:
        size: Height and width of the result, in pixels.
        crop_pct: As for `Preprocess`; so are `crop_mode` and `interpolation`.
        crop_mode: One of `CROP_MODES`.
        interpolation: A key of `INTERPOLATIONS`.
        mean: Mean of each channel, in [0, 1]; the embedder subtracts it, not this class.
        std: Standard deviation of each channel; the embedder divides by it, not this class.
        method: ``exact`` gives exactly the pixels of timm's transform. ``fast`` resizes only what
            the crop keeps, and lets a decoder shrink large JPEGs. From the same decoded image the
            cosine to the exact embedding was 1.0000 on average and 0.9999 at worst (MobileNetV2,
            550 photos); from JPEGs decoded at `decode_size`, 0.9985 at worst.
        fill: Red, green and blue of the padding under ``border``, 0 to 255; None for the mean.

    Raises:
        ConfigError: A value is out of range.

    Example:
        >>> prepare = ImageTransform((224, 224), 0.875, "center", "bicubic", (0.5,) * 3, (0.5,) * 3)
        >>> prepare(Image.new("RGB", (640, 480))).shape
        (224, 224, 3)
    """

    size: tuple[int, int]
    crop_pct: float
    crop_mode: str
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    method: Literal["fast", "exact"] = "fast"
    fill: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        if len(self.size) != 2 or min(self.size) < 1:
            raise ConfigError(f"size must be (height, width) in pixels, each ≥ 1, got {self.size}")
        if not 0 < self.crop_pct <= 2:
            raise ConfigError(f"crop_pct must be above 0 and at most 2, got {self.crop_pct}")
        for name, value, allowed in (
            ("crop_mode", self.crop_mode, CROP_MODES),
            ("interpolation", self.interpolation, INTERPOLATIONS),
            ("resize", self.method, ("fast", "exact")),
        ):
            one_of(value, name, tuple(allowed))
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != 3 or not all(math.isfinite(value) for value in values):
                raise ConfigError(f"{name} must be three finite numbers, got {list(values)}")
        if not all(value > 0 for value in self.std):
            raise ConfigError(f"std must be above 0 for every channel, got {list(self.std)}")

    @property
    def decode_size(self) -> int | None:
        """Pixels that a decoder must leave on the shorter side: twice the target; None for all.

        Below twice the target, scaled decoding begins to show in the vectors (cosine to the exact
        ones 0.982 at worst at the target itself, 0.9985 at twice the target).
        """
        return 2 * max(self._scale_size()) if self.method == "fast" else None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields of a `Preprocess` that gives this transform, as JSON values."""
        return {
            "size": list(self.size),
            "crop_pct": self.crop_pct,
            "crop_mode": self.crop_mode,
            "interpolation": self.interpolation,
            "mean": list(self.mean),
            "std": list(self.std),
        }

    def __call__(self, image: Image.Image) -> NDArray[np.uint8]:
        """Return uint8 pixels of shape (height, width, 3); the image is not modified."""
        height, width = self.size
        across = _span(image.width, self._resized(image.size)[0], width)
        down = _span(image.height, self._resized(image.size)[1], height)
        resample = INTERPOLATIONS[self.interpolation]
        if self.method == "exact" and across.resized * down.resized <= _EXACT_PIXELS:
            whole = image.resize((across.resized, down.resized), resample)
            left, top = across.start, down.start
            part = whole.crop((left, top, left + across.kept, top + down.kept))
        else:
            part = _resize_within(image, across, down, resample)
        if part.size == (width, height):
            return np.array(part, dtype=np.uint8)
        canvas = Image.new("RGB", (width, height), self._fill())
        canvas.paste(part, (across.offset, down.offset))
        return np.array(canvas, dtype=np.uint8)

    def _scale_size(self) -> tuple[int, int]:
        height, width = self.size
        return math.floor(height / self.crop_pct), math.floor(width / self.crop_pct)

    def _fill(self) -> tuple[int, ...]:
        if self.crop_mode != "border":
            return (0, 0, 0)
        if self.fill is not None:
            return self.fill
        return tuple(min(255, max(0, round(255 * value))) for value in self.mean)

    def _resized(self, size: Sequence[int]) -> tuple[int, int]:
        """Width and height after resizing, rounded as torchvision's and timm's resize round."""
        width, height = size
        scale_height, scale_width = (max(1, side) for side in self._scale_size())
        if self.crop_mode == "squash":
            return scale_width, scale_height
        if self.crop_mode == "center" and scale_height == scale_width:
            if width <= height:
                return scale_width, max(1, int(scale_width * height / width))
            return max(1, int(scale_height * width / height)), scale_height
        ratios = height / scale_height, width / scale_width
        ratio = max(ratios) if self.crop_mode == "border" else min(ratios)
        return max(1, round(width / ratio)), max(1, round(height / ratio))


@dataclass(frozen=True, slots=True)
class _Span:
    """One axis of a crop: its part of the resized image, of the source, and of the result."""

    resized: int
    start: int
    kept: int
    offset: int
    source: tuple[float, float]


def _resize_within(
    image: Image.Image, across: _Span, down: _Span, resample: Image.Resampling
) -> Image.Image:
    """Resize only what is kept: first across, then down, as Pillow resizes a whole image.

    In one call Pillow would choose the order by cost, and the rounding between the two passes would
    then differ from the whole image's by up to twenty levels.
    """
    # Lanczos, the widest kernel, reaches three source pixels, or three output pixels where those
    # are larger.
    reach = math.ceil(3 * max(1.0, (down.source[1] - down.source[0]) / down.kept)) + 1
    first = max(0, math.floor(down.source[0]) - reach)
    last = min(image.height, math.ceil(down.source[1]) + reach)
    rows = (
        image if (first, last) == (0, image.height) else image.crop((0, first, image.width, last))
    )
    narrow = rows.resize(
        (across.kept, rows.height),
        resample,
        box=(across.source[0], 0, across.source[1], rows.height),
    )
    return narrow.resize(
        (across.kept, down.kept),
        resample,
        box=(0, down.source[0] - first, across.kept, min(rows.height, down.source[1] - first)),
    )


def _span(original: int, resized: int, target: int) -> _Span:
    if resized >= target:
        start, kept, offset = round((resized - target) / 2.0), target, 0
    else:
        start, kept, offset = 0, resized, (target - resized) // 2
    scale = original / resized
    # Pillow refuses a box that rounding has pushed over the edge.
    source = start * scale, min(float(original), (start + kept) * scale)
    return _Span(resized, start, kept, offset, source)
