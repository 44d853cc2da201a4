"""Order terms: numbers in fields that were declared as something else, still ordered.

A field declared as text, truth or list may hold a number all the same, and a filter may ask for
``label < 5``. The number then becomes terms: an order-preserving key in hexadecimal, and all of
its prefixes. What is smaller than a bound has one of at most 285 prefixes that stand below it.
(The scheme is that of Lucene's trie-encoded numeric fields.) Such numbers are rare, so that the
20 terms of each do not weigh.
"""

from __future__ import annotations

import math
import struct

from imagesearch.filters import Operator
from imagesearch.stores.tencent.schema import Column

__all__ = ["bound_terms", "number_terms", "sortable"]

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
