"""Looks: what pictures look like, small enough to keep for each, and how far two lie apart.

A look is 512 bits of `phash` and `dhash`, a 64-bit `phash` to find candidates by, and the colours
of 4 × 4 cells, for hashes see only grey and a red shoe is not a copy of the blue one. All of it is
taken from the picture at 128 × 128 pixels, as shrinking a photo once costs a third of six times.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imagesearch.duplicates.perceptual_hash import bit_distance, dhash, pack, phash

__all__ = ["BITS", "SHRINK_TO", "Look", "Looks", "look_at", "look_distance"]

BITS = 512
"""Bits that two looks are compared by."""

SHRINK_TO = 256
"""Pixels of the shorter side below which an image must not be shrunk before it is looked at."""

_SIDE = 128
_SIZE = 16
_CELLS = 4
_LOOK = np.dtype([("key", "u8"), ("bits", "u8", BITS // 64), ("colours", "u1", 2 * _CELLS**2)])

# Bytes enough that no two looks share one by chance.
_DIGEST = 16

# Largest difference of Cb or Cr in a cell. Of 150 ImageNet photos, copies that were re-encoded,
# resized, cropped by 5 %, watermarked or made 1.2 times as bright stay below 20; turning the hue
# by 60° brings half of them above, and the rest have hardly any colour.
_TINT = 20

# Standard deviation of grey levels (of 255) below which the hashes see only noise; photos have 10
# and more.
_PLAIN = 4.0

Look = NDArray[Any]
"""A structured scalar or array: ``key``, ``bits`` and ``colours``."""


def look_at(image: Image.Image) -> tuple[Look, Look] | None:
    """Return the look of an RGB image and of its mirror image, or None for a plain surface.

    Example:
        >>> look_at(Image.new("RGB", (64, 64), "teal")) is None
        True
        >>> picture = Image.radial_gradient("L").convert("RGB")
        >>> upright, mirrored = look_at(picture)
        >>> int(look_distance(upright, upright))
        0
    """
    grey = image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    if float(np.asarray(grey, np.float64).std()) < _PLAIN:
        return None
    cells = image.resize((_CELLS, _CELLS), Image.Resampling.BOX).convert("YCbCr")
    colours = np.asarray(cells)[..., 1:]
    mirrored = grey.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return _look(grey, colours), _look(mirrored, colours[:, ::-1])


def look_distance(one: Look, other: Look) -> NDArray[np.int64]:
    """Return in how many of 512 bits looks differ; all of them where the colours are others.

    Looks of unrelated pictures differ in about 256 bits.

    Args:
        one: A look, or an array of them.
        other: Of a shape that goes with it.
    """
    distance = bit_distance(one["bits"], other["bits"])
    tint = np.abs(one["colours"].astype(np.int16) - other["colours"]).max(axis=-1)
    return np.where(tint > _TINT, BITS, distance)


class Looks:
    """The looks of many pictures, row by row; about 300 bytes for each, its id included.

    All are added before the first is asked for.

    Example:
        >>> looks = Looks()
        >>> looks.add("a", look_at(Image.radial_gradient("L").convert("RGB")))
        >>> looks.ids, len(looks.upright)
        (['a'], 1)
    """

    def __init__(self) -> None:
        self.ids: list[str] = []
        self._upright, self._mirrored, self._digests = bytearray(), bytearray(), bytearray()

    def add(self, id: str, look: tuple[Look, Look]) -> None:
        """Add one picture."""
        self.ids.append(id)
        upright, mirrored = look[0].tobytes(), look[1].tobytes()
        self._upright += upright
        self._mirrored += mirrored
        self._digests += hashlib.blake2b(upright + mirrored, digest_size=_DIGEST).digest()

    @property
    def upright(self) -> Look:
        """The looks, in the order in which they were added."""
        return np.frombuffer(self._upright, _LOOK)

    @property
    def mirrored(self) -> Look:
        """The looks of the mirror images."""
        return np.frombuffer(self._mirrored, _LOOK)

    def stand_ins(self) -> NDArray[np.int64]:
        """Return for each row that of the first id among those that look exactly the same.

        Example:
            >>> looks, look = Looks(), look_at(Image.radial_gradient("L").convert("RGB"))
            >>> for id in "bac":
            ...     looks.add(id, look)
            >>> looks.stand_ins().tolist()
            [1, 1, 1]
        """
        by_id = np.array(sorted(range(len(self.ids)), key=self.ids.__getitem__), np.int64)
        digests = np.frombuffer(self._digests, f"V{_DIGEST}")
        _, first, which = np.unique(digests[by_id], return_index=True, return_inverse=True)
        stand_ins = np.empty_like(by_id)
        stand_ins[by_id] = by_id[first[which]]
        return stand_ins


def _look(grey: Image.Image, colours: NDArray[np.uint8]) -> Look:
    look = np.zeros((), _LOOK)
    look["key"] = pack(phash(grey))[0]
    look["bits"] = np.concatenate([pack(phash(grey, _SIZE)), pack(dhash(grey, _SIZE))])
    look["colours"] = colours.ravel()
    return look
