"""What a filter compares: names of fields, and plain values."""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np

from imagesearch.errors import FilterError

__all__ = ["Scalar", "check_field", "check_scalar"]

Scalar: TypeAlias = str | int | float | bool


def check_field(name: object) -> str:
    """Return a usable field name, or raise `FilterError`."""
    if not isinstance(name, str) or not name:
        raise FilterError(f"field name {name!r} is not a non-empty text")
    if "\0" in name:
        raise FilterError(f"field name {name!r} contains a NUL character; remove it")
    _check_unicode(name)
    return str.__str__(name)


def check_scalar(value: object) -> Scalar:
    """Return a plain Python scalar that every store can compare with, or raise `FilterError`."""
    if isinstance(value, np.generic):
        value = value.item()
    match value:
        case bool():
            return value
        case str():
            _check_unicode(value)
            # A text enumeration's own str() may be its name in the program, such as Label.CAT.
            return str.__str__(value)
        case int():
            if not -(2**63) <= value < 2**63:
                # Python refuses to write out an integer of thousands of digits.
                raise FilterError(
                    f"an integer of {value.bit_length()} bits does not fit in 64 bits; compare "
                    "with a float, or keep the field as text"
                )
            return int(value)
        case float():
            if not math.isfinite(value):
                raise FilterError(f"{value} compares with nothing; use a finite number")
            return float(value)
        case None:
            raise FilterError("None compares with nothing; use Field(name).exists(), or its ~")
        case _:
            raise FilterError(
                f"{value!r} is a {type(value).__name__}; filters compare text, numbers and "
                "true/false"
            )


def _check_unicode(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise FilterError(f"{text!r} is not valid Unicode (a lone surrogate)") from error
