"""Regions: the part of a query image that matters most, and the whole that gives it context."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imagesearch.errors import QueryError
from imagesearch.sources import Payload, describe, read
from imagesearch.types import Box, Item, Metric
from imagesearch.vectors import normalise

__all__ = ["cut_out", "fuse"]


def cut_out(payload: Payload, box: Box) -> Payload:
    """Return a region of an image as an image in memory.

    Args:
        payload: The whole image.
        box: In pixels of the upright image.

    Raises:
        QueryError: The box ends outside of the image.
        SourceError: The image cannot be decoded.

    Example:
        >>> from PIL import Image
        >>> whole = read(Item(Image.new("RGB", (60, 40))))
        >>> cut_out(whole, (10, 10, 30, 40)).open().size
        (20, 30)
    """
    image = payload.open()
    _, _, right, bottom = box
    if right > image.width or bottom > image.height:
        raise QueryError(
            f"box {box} ends outside of {describe(payload.uri)}, which is {image.width} × "
            f"{image.height} pixels when upright; count the box in pixels of that image"
        )
    return read(Item(image.crop(box)))


def fuse(
    whole: NDArray[np.float32], region: NDArray[np.float32], focus: float, metric: Metric
) -> NDArray[np.float32]:
    """Return the vector that looks for a region in its context.

    Args:
        whole: The vector of the whole image, (dim,).
        region: The vector of its region, (dim,).
        focus: The region's share, from 0 to 1.
        metric: Under ``cosine`` both, and the result, have unit length.

    Example:
        >>> axes = np.eye(2, dtype=np.float32)
        >>> fuse(axes[0], axes[1], 0.25, "dot").tolist()
        [0.75, 0.25]
    """
    if metric == "cosine":
        whole, region = normalise(whole), normalise(region)
    fused: NDArray[np.float32] = np.float32(1 - focus) * whole + np.float32(focus) * region
    return normalise(fused) if metric == "cosine" else fused
