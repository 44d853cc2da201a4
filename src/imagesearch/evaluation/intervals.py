"""Confidence intervals of means over queries, by bootstrap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imagesearch._validation import whole

__all__ = ["Estimate", "bootstrap"]

_CONFIDENCE = 0.95
_CELLS = 2_000_000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over queries, with its 95 % confidence interval.

    Attributes:
        value: The mean.
        low: Lower end.
        high: Upper end.

    Example:
        >>> print(Estimate(0.61, 0.55, 0.67))
        0.610 [0.550, 0.670]
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"

    def to_dict(self) -> dict[str, float]:
        """Return value, low and high."""
        return {"value": self.value, "low": self.low, "high": self.high}


def bootstrap(values: ArrayLike, *, resamples: int = 2000, seed: int = 0) -> list[Estimate]:
    """Estimate the mean of each column, resampling rows (queries) with replacement.

    The percentile bootstrap of Efron (1979): the interval holds the middle 95 % of the means of
    the resamples. All columns see the same resamples, and the same seed gives the same interval.
    It covers other queries of the same kind, not other galleries or classes, and is too narrow for
    a handful of queries, especially if all have the same value.

    Args:
        values: (queries, metrics), at least one row.
        resamples: Number of resamples, ≥ 1.
        seed: Seed of the random numbers.

    Raises:
        ConfigError: `resamples` is out of range.

    Example:
        >>> bootstrap([[0.0], [1.0], [1.0], [0.0]], seed=1)
        [Estimate(value=0.5, low=0.0, high=1.0)]
    """
    resamples = whole(resamples, "resamples", least=1)
    matrix: NDArray[np.float64] = np.asarray(values, np.float64)
    rows, columns = matrix.shape
    random = np.random.default_rng(seed)
    step = max(1, _CELLS // (rows * columns))
    means = np.vstack(
        [
            matrix[random.integers(rows, size=(min(step, resamples - first), rows))].mean(axis=1)
            for first in range(0, resamples, step)
        ]
    )
    tail = 100 * (1 - _CONFIDENCE) / 2
    low, high = np.percentile(means, [tail, 100 - tail], axis=0)
    return [
        Estimate(float(value), float(under), float(over))
        for value, under, over in zip(matrix.mean(axis=0), low, high, strict=True)
    ]
