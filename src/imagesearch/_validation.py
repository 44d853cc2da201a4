"""Checks of arguments: numbers as callers give them, arrays, and pieces of a sequence."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Iterator
from typing import Any, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from imagesearch._printable import shorten
from imagesearch.errors import ConfigError

__all__ = [
    "as_float32",
    "as_real",
    "as_whole",
    "at_least",
    "chunks",
    "elements",
    "flag",
    "is_one_of",
]


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
        raise ConfigError(f"{name}={shorten(number)}; it must be a whole number ≥ {least}")
    return whole


def elements(values: object) -> list[Any] | None:
    """Return the elements of an iterable; None for what is not one, or claims to be.

    Example:
        >>> elements(("a", "b")), elements(3), elements(np.array(3))
        (['a', 'b'], None, None)
    """
    if not isinstance(values, Iterable):
        return None
    try:
        iterator = iter(values)
    except (TypeError, NotImplementedError):  # an array, tensor or memoryview of other dimensions
        return None
    return list(iterator)


def flag(value: object, name: str) -> bool:
    """Return an option that is true or false.

    Raises:
        ConfigError: It is something else, such as the text ``"no"``, which Python calls true.

    Example:
        >>> flag(np.True_, "replace")
        True
    """
    if isinstance(value, bool | np.bool_):
        return bool(value)
    raise ConfigError(f"{name} must be True or False, got {shorten(value)}")


def is_one_of(value: object, allowed: Iterable[str]) -> bool:
    """Return whether a value is one of some words; an array, which compares as many, is none.

    Example:
        >>> is_one_of("best", ("best", "mean")), is_one_of(np.array([1, 2]), ("best", "mean"))
        (True, False)
    """
    return isinstance(value, str) and value in set(allowed)


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


def as_float32(values: object) -> NDArray[np.float32]:
    """Return real numbers as a float32 array; what exceeds its range becomes infinity.

    Args:
        values: An array of any library that NumPy can read, or nested sequences of numbers.

    Raises:
        ValueError: They are not real numbers (text, complex numbers, objects), have no rectangular
            shape, or stand in a tensor that requires gradients; the message says which.

    Example:
        >>> as_float32([[1, 2.5]]).tolist()
        [[1.0, 2.5]]
        >>> as_float32([1j])
        Traceback (most recent call last):
        ValueError: complex128 numbers are not real
    """
    try:
        array = np.asarray(values)
        if array.dtype.kind == "c":
            raise ValueError(f"{array.dtype} numbers are not real")
        if array.dtype.kind not in "biufO":
            raise ValueError(f"{array.dtype} values are not numbers")
        if array.dtype.kind == "O":
            # NumPy itself would turn None into NaN.
            array = np.array([float(value) for value in array.flat]).reshape(array.shape)
        with np.errstate(over="ignore"):
            return array.astype(np.float32, copy=False)
    except OverflowError as error:
        raise ValueError(f"a number is outside the range of a float: {error}") from error
    except (TypeError, RuntimeError) as error:
        # torch raises RuntimeError for a tensor that requires gradients, and names the remedy.
        raise ValueError(str(error)) from error


class _Sliceable(Protocol):
    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> Self: ...


_Parts = TypeVar("_Parts", bound=_Sliceable)


def chunks(sequence: _Parts, size: int) -> Iterator[_Parts]:
    """Cut a list or array into parts.

    Example:
        >>> list(chunks([1, 2, 3], 2))
        [[1, 2], [3]]
    """
    return (sequence[first : first + size] for first in range(0, len(sequence), size))
