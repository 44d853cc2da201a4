"""Projection: vectors centred, turned onto their principal axes and cut to fewer dimensions."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagesearch.errors import EmbeddingError, IncompatibleIndexError

__all__ = ["Projection"]


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """A step between embedder and store, fitted on the vectors of one index.

    Attributes:
        mean: float32 of shape (input_dim,).
        components: float32 of shape (input_dim, dim), orthonormal columns.
        fitted_on: How many records it was fitted on.

    Example:
        >>> axes = np.eye(3, 2, dtype=np.float32)
        >>> Projection(np.zeros(3, np.float32), axes, 9).apply(np.array([[3, 4, 5.0]], np.float32))
        array([[0.6, 0.8]], dtype=float32)
    """

    mean: NDArray[np.float32]
    components: NDArray[np.float32]
    fitted_on: int

    @property
    def dim(self) -> int:
        """Length of a projected vector."""
        return int(self.components.shape[1])

    @property
    def fingerprint(self) -> str:
        """A hash of what decides the projected vectors."""
        digest = hashlib.sha256(np.ascontiguousarray(self.mean).tobytes())
        digest.update(np.ascontiguousarray(self.components).tobytes())
        return digest.hexdigest()

    def apply(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Project vectors and scale them to unit length.

        Args:
            vectors: (n, input_dim), of unit length, as the embedder gave them.

        Returns:
            float32 of shape (n, dim).

        Raises:
            EmbeddingError: A vector is the mean itself and leaves no direction.
        """
        turned = (vectors - self.mean) @ self.components
        length = np.linalg.norm(turned, axis=1, keepdims=True)
        if not length.all():
            raise EmbeddingError(
                "a vector equals the mean of the index, and its projection has no direction"
            )
        return np.asarray(turned / length, np.float32)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Projection) and self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def to_dict(self) -> dict[str, Any]:
        """Return the projection as JSON values; arrays as base64 of little-endian float32."""
        return {
            "input_dim": len(self.mean),
            "dim": self.dim,
            "fitted_on": self.fitted_on,
            "mean": _encode(self.mean),
            "components": _encode(self.components),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Projection:
        """Read back what `to_dict` gave.

        Raises:
            IncompatibleIndexError: The data are no projection.
        """
        try:
            input_dim, dim, fitted_on = (data[name] for name in ("input_dim", "dim", "fitted_on"))
            _require_counts(input_dim, dim, fitted_on)
            return cls(
                _decode(data["mean"]).reshape(input_dim),
                _decode(data["components"]).reshape(input_dim, dim),
                fitted_on,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise IncompatibleIndexError(
                f"the projection in the index meta cannot be read ({error!r}); build a new index"
            ) from error


def _require_counts(*numbers: object) -> None:
    if any(type(number) is not int or number < 1 for number in numbers):
        raise ValueError("input_dim, dim and fitted_on must be whole numbers of at least 1")


def _encode(array: NDArray[np.float32]) -> str:
    return base64.b64encode(np.ascontiguousarray(array, "<f4").tobytes()).decode()


def _decode(text: str) -> NDArray[np.float32]:
    array = np.frombuffer(base64.b64decode(text), "<f4").astype(np.float32, copy=False)
    if not np.isfinite(array).all():
        raise ValueError("it holds NaN or infinity")
    return array
