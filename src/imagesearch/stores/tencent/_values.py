"""Filter values as the columns of a collection keep them."""

from __future__ import annotations

import hashlib
import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from imagesearch.errors import StoreRequestError
from imagesearch.filters import Operator, Scalar
from imagesearch.stores.tencent._schema import Column

__all__ = [
    "EVERYWHERE",
    "NativeValue",
    "any_term",
    "bound_terms",
    "column_values",
    "contains_term",
    "equals_term",
    "has_term",
    "is_plain",
    "native_scalar",
    "no_value",
    "number_in",
    "number_terms",
    "sortable",
]


_DIGITS = "0123456789abcdef"


def sortable(value: float) -> str:
    """Return 19 hexadecimal digits that sort as the numbers do, exactly.

    Example:
        >>> numbers = [-(2**63), -1.5, 0, 5e-324, 1, 2**53, 2**53 + 1, 1e300]
        >>> sorted(numbers, key=sortable) == numbers
        True
    """
    below = float(value)
    if below > value:
        below = math.nextafter(below, -math.inf)
    # Between neighbouring doubles lie at most 1023 integers of 64 bits.
    rest = int(value) - int(below) if below != value else 0
    (bits,) = struct.unpack(">Q", struct.pack(">d", below + 0.0))
    # IEEE 754: positive numbers sort by their bits, negative ones in reverse.
    bits = bits ^ (2**64 - 1) if bits >> 63 else bits | 1 << 63
    return f"{bits:016x}{rest:03x}"


def number_terms(column: Column, value: float) -> list[str]:
    """Return the terms of a document with this number in this field."""
    key = sortable(value)
    return [_term(column, key[:length]) for length in range(1, len(key) + 1)]


def bound_terms(column: Column, operator: Operator, value: float) -> list[str]:
    """Return the terms of which a number has one if it is below (or above) a bound.

    Example:
        >>> column = Column("label", "label", "string")
        >>> wanted = bound_terms(column, Operator.LT, 5)
        >>> any(term in wanted for term in number_terms(column, 4.5))
        True
        >>> any(term in wanted for term in number_terms(column, 5))
        False
    """
    key = sortable(value)
    upward = operator in (Operator.GT, Operator.GE)
    terms: list[str] = []
    for length, digit in enumerate(key):
        place = _DIGITS.index(digit)
        others = _DIGITS[place + 1 :] if upward else _DIGITS[:place]
        terms.extend(_term(column, key[:length] + other) for other in others)
    if operator in (Operator.LE, Operator.GE):
        terms.append(_term(column, key))
    return terms


def _term(column: Column, prefix: str) -> str:
    return f"{column.name}:o{prefix}"


NativeValue = str | int | float | list[str]

EVERYWHERE = "*"
"""A term of every document, so that the column of terms is never empty or absent."""

_ABSENT = "imagesearch:none"
"""Stands in a text column whose field was removed by an update; it counts as no plain text."""

_LONGEST = 512
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_INT_RANGE = {"int64": (-(2**63), 2**63 - 1), "uint64": (0, 2**64 - 1)}


@dataclass(frozen=True, slots=True)
class _Parts:
    native: NativeValue | None
    terms: list[str]


def column_values(
    metadata: Mapping[str, Any], columns: Mapping[str, Column], *, id: str
) -> tuple[dict[str, NativeValue], list[str]]:
    """Split the declared fields of checked metadata into column values and terms.

    Raises:
        StoreRequestError: A number does not fit its number column.

    Example:
        >>> from imagesearch.stores.tencent._schema import declared_columns
        >>> columns = declared_columns({"price": "double", "sold": "bool"}, "path")
        >>> column_values({"price": 3, "sold": True, "other": []}, columns, id="a")
        ({'price': 3.0, 'sold': 'true'}, ['*', 'has:price', 'has:sold'])
    """
    native: dict[str, NativeValue] = {}
    terms = [EVERYWHERE]
    for field, column in columns.items():
        value = metadata.get(field)
        if value is None:
            continue
        parts = _split(column, value, id)
        if parts.native is not None:
            native[column.name] = parts.native
            terms.append(has_term(column))
        if parts.native is None or parts.terms:
            terms.append(any_term(column))
        terms.extend(parts.terms)
    return native, terms


def _split(column: Column, value: Any, id: str) -> _Parts:
    if isinstance(value, list | tuple):
        texts = [one for one in value if isinstance(one, str)]
        hidden = [one for one in texts if column.type != "array" or not is_plain(one)]
        kept = [one for one in texts if column.type == "array" and _storable(one)]
        return _Parts(kept or None, [contains_term(column, one) for one in dict.fromkeys(hidden)])
    if isinstance(value, Mapping):
        return _Parts(None, [])
    if isinstance(value, int | float) and not isinstance(value, bool) and _is_number(column):
        number = number_in(column, value)
        if number is None:
            raise StoreRequestError(
                f"record {id!r}: metadata field {column.field!r} is {value}, which its type "
                f"{column.type!r} cannot hold",
                ids=(id,) if id else (),
                remedy="declare it as another type in a new collection (double for fractions, "
                "int64 for large whole numbers), or store it as text",
            )
        return _Parts(number, [])
    native = native_scalar(column, value)
    if native is not None:
        return _Parts(native, [])
    terms = [equals_term(column, value)]
    if isinstance(value, int | float) and not isinstance(value, bool):
        terms += number_terms(column, value)
    long_text = column.type == "string" and isinstance(value, str) and _storable(value)
    return _Parts(value if long_text else None, terms)


def native_scalar(column: Column, value: Scalar) -> str | int | float | None:
    """Return what a column holds for a scalar, or None if equality must go by its term."""
    match value:
        case bool():
            return ("true" if value else "false") if column.type == "bool" else None
        case str():
            return value if column.type == "string" and is_plain(value) else None
        case int() | float():
            return number_in(column, value) if _is_number(column) else None


def number_in(column: Column, value: float) -> int | float | None:
    """Return a number as its column holds it, or None if it does not fit exactly.

    Example:
        >>> number_in(Column("n", "n", "int64"), 2.0), number_in(Column("n", "n", "int64"), 2.5)
        (2, None)
    """
    if column.type == "double":
        wide = float(value)
        return wide if wide == value else None
    if value != int(value):
        return None
    low, high = _INT_RANGE[column.type]
    return int(value) if low <= value <= high else None


def is_plain(text: str) -> bool:
    r"""Return whether a text can be compared natively: not empty, no control characters, short.

    Example:
        >>> is_plain('say "hi" \\ 你好'), is_plain(""), is_plain("two\nlines")
        (True, False, False)
    """
    return _storable(text) and text != _ABSENT and len(text.encode()) <= _LONGEST


def no_value(column: Column) -> NativeValue:
    """Return what takes the place of a column's value that goes; no filter finds it.

    Numbers are compared only where ``has:COLUMN`` says that there is one.

    Example:
        >>> no_value(Column("tags", "tags", "array")), no_value(Column("n", "n", "double"))
        (['imagesearch:none'], 0.0)
    """
    match column.type:
        case "array":
            return [_ABSENT]
        case "double":
            return 0.0
        case "int64" | "uint64":
            return 0
        case _:
            return _ABSENT


def has_term(column: Column) -> str:
    """Return the term of documents whose column holds the value."""
    return f"has:{column.name}"


def any_term(column: Column) -> str:
    """Return the term of documents that have the field, but not wholly in its column."""
    return f"any:{column.name}"


def equals_term(column: Column, value: Scalar) -> str:
    """Return the term of documents whose field equals `value`."""
    match value:
        case bool():
            return _text_term(column, "b", str(value))
        case str():
            return _text_term(column, "s", value)
        case int() | float():
            # 1 and 1.0 are equal and must hash alike; whole floats have an exact integer.
            whole = int(value)
            return _text_term(column, "n", str(whole) if whole == value else repr(float(value)))


def contains_term(column: Column, text: str) -> str:
    """Return the term of documents whose field is a list with this text."""
    return _text_term(column, "c", text)


def _text_term(column: Column, kind: str, text: str) -> str:
    return f"{column.name}:{kind}{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def _storable(text: str) -> bool:
    return bool(text) and _CONTROL.search(text) is None


def _is_number(column: Column) -> bool:
    return column.type in ("double", "int64", "uint64")
