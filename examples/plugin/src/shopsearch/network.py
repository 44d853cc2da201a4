"""Network: our own model, as it stands for whatever yours is."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

__all__ = ["DIM", "SIDE", "Network", "pixels_of"]

SIDE = 64
"""Height and width of the images that the network sees, in pixels."""

DIM = 64
"""Length of its vectors."""


def pixels_of(image: Image.Image) -> NDArray[np.uint8]:
    """Return what the network sees of an RGB image, in training and in search alike.

    Returns:
        Pixels of the whole image, squeezed to shape (SIDE, SIDE, 3).
    """
    return np.array(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR))


class Network(nn.Module):
    """Pixels, uint8 of shape (n, SIDE, SIDE, 3), to vectors, float32 of shape (n, DIM)."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in ((3, 16), (16, 32), (32, 64), (64, 64)):
            layers += [
                nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            ]
        self.layers = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.last = nn.Linear(4 * 64, DIM)

    def forward(self, pixels: Tensor) -> Tensor:
        planes = pixels.permute(0, 3, 1, 2).to(torch.float32) / 127.5 - 1
        vectors: Tensor = self.last(self.layers(planes))
        return vectors
