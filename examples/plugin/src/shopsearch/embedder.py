"""TrainedEmbedder: a network that you have trained yourself."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from imagesearch import EmbeddingSpec
from imagesearch.embedders import choose_device, file_sha256, fingerprint
from imagesearch.errors import WeightsUnavailableError
from shopsearch.network import DIM, SIDE, Network, pixels_of

__all__ = ["TrainedEmbedder"]

# Raised whenever `Network` or `pixels_of` changes: vectors of two versions cannot be compared.
_VERSION = 1


class TrainedEmbedder:
    """Images to vectors by our own network.

    Args:
        model: The file that ``python -m shopsearch.train`` has saved.
        device: Where the network runs: ``cpu``, ``cuda``, ``mps``, or ``auto`` for the fastest.
    """

    def __init__(self, model: str | os.PathLike[str], *, device: str = "auto") -> None:
        path = Path(model).absolute()
        self._device = choose_device(device)
        self._network = Network()
        try:
            identity = {"kind": "trained", "version": _VERSION, "weights": file_sha256(path)}
            self._network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        except Exception as error:  # torch raises anything, from EOFError to UnpicklingError
            raise WeightsUnavailableError(
                f"{path} holds no weights of our network ({type(error).__name__}): make them with "
                "python -m shopsearch.train PHOTOS WEIGHTS"
            ) from error
        self._network.to(self._device).eval()
        self.spec = EmbeddingSpec(
            name=f"trained/{path.stem}",
            dim=DIM,
            normalised=False,
            fingerprint=fingerprint(identity),
            decode_size=2 * SIDE,
            kind="trained",
            options={"model": str(path)},
        )

    def preprocess(self, image: Image.Image) -> NDArray[np.uint8]:
        return pixels_of(image)

    def embed(self, batch: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        pixels = torch.from_numpy(np.stack(batch))
        with torch.inference_mode():
            vectors: NDArray[np.float32] = self._network(pixels.to(self._device)).cpu().numpy()
        return vectors
