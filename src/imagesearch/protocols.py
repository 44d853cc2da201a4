"""Embedder: images, and where the model can, texts, into vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imagesearch.types import EmbeddingSpec

__all__ = ["Embedder", "TextEmbedder"]


@runtime_checkable
class Embedder(Protocol):
    """Turns images into vectors.

    An implementation is one class with these three members; nothing is inherited. The conformance
    suite `imagesearch.testing.EmbedderConformance` states the rules as tests.

    Example:
        >>> class MeanColour:
        ...     spec = EmbeddingSpec("mean-colour", dim=3, normalised=False, fingerprint="1")
        ...     def preprocess(self, image):
        ...         return np.asarray(image.resize((1, 1)), np.float32).reshape(3)
        ...     def embed(self, batch):
        ...         return np.stack(batch).astype(np.float32)
        >>> isinstance(MeanColour(), Embedder)
        True
    """

    @property
    def spec(self) -> EmbeddingSpec:
        """Identity and shape of the vectors."""
        ...

    def preprocess(self, image: Image.Image) -> NDArray[Any]:
        """Prepare one image on the CPU.

        Called from several threads at once, ahead of the model.

        Args:
            image: Upright, mode RGB, at least 1 × 1 pixel. It must not be modified.

        Returns:
            What `embed` takes for this image; the same shape for every image.
        """
        ...

    def embed(self, batch: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """Turn prepared images into vectors.

        The vector of an image does not depend on what else is in the batch (to 1e-5). May be
        called from two threads at once, so that the device never waits for the next batch.

        Args:
            batch: n ≥ 1 results of `preprocess`.

        Returns:
            float32 of shape (n, dim), finite; row i belongs to ``batch[i]``.

        Raises:
            EmbeddingError: The model failed.
        """
        ...


@runtime_checkable
class TextEmbedder(Embedder, Protocol):
    """An embedder that also turns texts into the same space.

    Example:
        >>> hasattr(TextEmbedder, "embed_text")
        True
    """

    def embed_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Turn texts into vectors that are comparable with those of images.

        Args:
            texts: n ≥ 1 texts.

        Returns:
            float32 of shape (n, dim), finite; row i belongs to ``texts[i]``.

        Raises:
            EmbeddingError: The model failed.
        """
        ...
