"""Outputs: a model's vectors are checked before anybody compares them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imagesearch.errors import EmbeddingError
from imagesearch.vectors import normalise

__all__ = ["checked", "unit"]


def checked(vectors: NDArray[np.float32], *, name: str, what: str) -> NDArray[np.float32]:
    """Return vectors as they are, if all are finite.

    Args:
        vectors: A model's outputs, (n, dim).
        name: The embedder's, for the message.
        what: What the model was given, such as ``images``.

    Raises:
        EmbeddingError: One holds NaN or infinity.
    """
    bad = ~np.isfinite(vectors).all(axis=1)
    if bad.any():
        raise EmbeddingError(
            f"{name} gave NaN or infinity for {int(bad.sum())} of {len(vectors)} {what}: its "
            "weights are damaged, or need precision='fp32'"
        )
    return vectors


def unit(vectors: NDArray[np.float32], *, name: str, what: str) -> NDArray[np.float32]:
    """Return vectors scaled to unit length, if all are finite and have a direction.

    Args:
        vectors: A model's outputs, (n, dim).
        name: The embedder's, for the message.
        what: What the model was given, such as ``images``.

    Raises:
        EmbeddingError: One holds NaN or infinity, or is zero.

    Example:
        >>> unit(np.array([[3, 4]], np.float32), name="mine", what="images").round(1).tolist()
        [[0.6000000238418579, 0.800000011920929]]
    """
    zero = ~checked(vectors, name=name, what=what).any(axis=1)
    if zero.any():
        raise EmbeddingError(
            f"{name} gave a zero vector for {int(zero.sum())} of {len(vectors)} {what}; it has no "
            "direction to compare"
        )
    return normalise(vectors)
