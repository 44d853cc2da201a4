"""Quantities: numbers as callers give them, numpy's included, as numbers of Python."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from imagesearch.errors import ConfigError

__all__ = ["as_real", "as_whole", "at_least"]


def as_whole(value: Any) -> int | None:
    """Return a whole number as int; None for anything else, truth values among it.

    Example:
        >>> as_whole(np.int64(3)), as_whole(2.0), as_whole(True), as_whole("2")
        (3, None, None, None)
    """
    if isinstance(value, bool | np.bool_):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def at_least(least: int, number: Any, name: str) -> int:
    """Return an option that is a whole number and not too small.

    Raises:
        ConfigError: It is something else; names the option.

    Example:
        >>> at_least(1, np.int64(32), "batch_size")
        32
    """
    whole = as_whole(number)
    if whole is None or whole < least:
        raise ConfigError(f"{name}={number!r}; it must be a whole number ≥ {least}")
    return whole


def as_real(value: Any) -> float | None:
    """Return a finite number as float; None for anything else, truth values among it.

    Example:
        >>> as_real(np.float32(0.5)), as_real(1), as_real(float("nan")), as_real("0.5")
        (0.5, 1.0, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
