"""Checks of arguments: numbers, words and texts as callers give them, arrays, and batches."""

from __future__ import annotations

import difflib
import math
import operator
from collections.abc import Collection, Iterable, Iterator
from typing import Any, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from imagesearch._printable import shorten
from imagesearch.errors import ConfigError, ImageSearchError

__all__ = [
    "as_float32",
    "as_real",
    "as_whole",
    "batched",
    "did_you_mean",
    "elements",
    "flag",
    "is_unicode",
    "one_of",
    "real",
    "text",
    "whole",
]


def as_whole(value: Any) -> int | None:
    """Return a whole number as int; None for anything else, including bools.

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


def whole(
    value: Any,
    name: str,
    *,
    least: int | None = None,
    most: int | None = None,
    error: type[ImageSearchError] = ConfigError,
) -> int:
    """Return an argument that must be a whole number.

    Args:
        value: What the caller passed.
        name: The argument's name, for the message.
        least: Smallest valid value; None for no limit.
        most: Largest valid value; None for no limit.
        error: Class of the error to raise.

    Raises:
        ImageSearchError: It is not a whole number, or out of range.

    Example:
        >>> whole(np.int64(32), "batch_size", least=1)
        32
        >>> whole(0, "batch_size", least=1)
        Traceback (most recent call last):
        imagesearch.errors.ConfigError: batch_size must be a whole number ≥ 1, got 0
    """
    number = as_whole(value)
    if number is None or not _within(number, least, most):
        raise error(f"{name} must be a whole number{_limits(least, most)}, got {shorten(value)}")
    return number


def real(
    value: Any,
    name: str,
    *,
    least: float | None = None,
    most: float | None = None,
    error: type[ImageSearchError] = ConfigError,
) -> float:
    """Return an argument that must be a finite number; the parameters are those of `whole`.

    Raises:
        ImageSearchError: It is not a finite number, or out of range.

    Example:
        >>> real(float("nan"), "focus", least=0, most=1)
        Traceback (most recent call last):
        imagesearch.errors.ConfigError: focus must be a finite number from 0 to 1, got nan
    """
    number = as_real(value)
    if number is None or not _within(number, least, most):
        raise error(f"{name} must be a finite number{_limits(least, most)}, got {shorten(value)}")
    return number


def _within(number: float, least: float | None, most: float | None) -> bool:
    return (least is None or number >= least) and (most is None or number <= most)


def _limits(least: float | None, most: float | None) -> str:
    if least is None:
        return "" if most is None else f" ≤ {most:g}"
    return f" ≥ {least:g}" if most is None else f" from {least:g} to {most:g}"


def one_of(
    value: object,
    name: str,
    allowed: Collection[str],
    *,
    error: type[ImageSearchError] = ConfigError,
) -> str:
    """Return an argument that must be one of some words.

    Raises:
        ImageSearchError: It is anything else.

    Example:
        >>> one_of("consine", "metric", ("cosine", "dot"))
        Traceback (most recent call last):
        imagesearch.errors.ConfigError: metric must be 'cosine' or 'dot', got 'consine' (did you mean 'cosine'?)
    """
    if isinstance(value, str) and value in allowed:
        return value
    *others, last = map(repr, allowed)
    words = f"{', '.join(others)} or {last}" if others else last
    raise error(f"{name} must be {words}, got {shorten(value)}{did_you_mean(value, allowed)}")


def text(
    value: object,
    name: str,
    *,
    empty: bool = False,
    error: type[ImageSearchError] = ConfigError,
) -> str:
    """Return an argument that must be text that can be stored and printed.

    Raises:
        ImageSearchError: It is not a str, is empty while `empty` is False, or has lone surrogates.

    Example:
        >>> text("", "label")
        Traceback (most recent call last):
        imagesearch.errors.ConfigError: label must be text that is not empty, got ''
    """
    if not isinstance(value, str) or not (value or empty):
        raise error(
            f"{name} must be text{'' if empty else ' that is not empty'}, got {shorten(value)}"
        )
    if not is_unicode(value):
        raise error(f"{name} {shorten(value)} is not valid Unicode (a lone surrogate)")
    return value


def is_unicode(value: str) -> bool:
    r"""Return whether text can be encoded; lone surrogates cannot.

    Example:
        >>> is_unicode("é"), is_unicode("\ud800")
        (True, False)
    """
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """Return a suggestion for the message about an unknown word, or nothing.

    Example:
        >>> did_you_mean("pth", ["path", "dtype"]), did_you_mean("x", ["path"])
        (" (did you mean 'path'?)", '')
    """
    close = difflib.get_close_matches(word, known, n=1) if isinstance(word, str) else []
    return f" (did you mean {close[0]!r}?)" if close else ""


def elements(values: object) -> list[Any] | None:
    """Return the elements of an iterable; None for a value that cannot be iterated over.

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
    """Return an argument that must be True or False.

    Raises:
        ConfigError: It is anything else, such as the text ``"no"``, which is true in Python.

    Example:
        >>> flag(np.True_, "replace")
        True
    """
    if isinstance(value, bool | np.bool_):
        return bool(value)
    raise ConfigError(f"{name} must be True or False, got {shorten(value)}")


def as_real(value: Any) -> float | None:
    """Return a finite number as float; None for anything else, including bools.

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
    """Return real numbers as a float32 array; numbers beyond its range become infinity.

    Args:
        values: An array of any library that NumPy can read, or nested sequences of numbers.

    Raises:
        ValueError: The values are not real numbers (text, complex numbers, objects), have no
            rectangular shape, or are in a tensor that requires gradients.

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


def batched(sequence: _Parts, size: int) -> Iterator[_Parts]:
    """Cut a list or array into parts of at most `size` elements.

    Example:
        >>> list(batched([1, 2, 3], 2))
        [[1, 2], [3]]
    """
    return (sequence[first : first + size] for first in range(0, len(sequence), size))
