"""Field: builds filters in Python."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from imagesearch._printable import shorten
from imagesearch._validation import elements
from imagesearch.errors import FilterError
from imagesearch.filters._tree import (
    Compare,
    Contains,
    Exists,
    Filter,
    IsIn,
    Not,
    Operator,
    Scalar,
    check_field,
)

__all__ = ["Field"]


class Field:
    """A metadata field, or the record's own ``id`` or ``uri``, to build filters from.

    Args:
        name: Any non-empty string.

    Example:
        >>> print(Field("price") >= 5)
        price >= 5
        >>> print(Field("tags").contains("red") & ~Field("sold").exists())
        tags contains "red" and not sold exists
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = check_field(name)

    def __eq__(self, value: object) -> Compare:  # type: ignore[override]  # builds a filter
        return Compare(self.name, Operator.EQ, cast(Scalar, value))

    def __ne__(self, value: object) -> Filter:  # type: ignore[override]  # builds a filter
        return Not(self == value)

    def __lt__(self, value: Scalar) -> Compare:
        return Compare(self.name, Operator.LT, value)

    def __le__(self, value: Scalar) -> Compare:
        return Compare(self.name, Operator.LE, value)

    def __gt__(self, value: Scalar) -> Compare:
        return Compare(self.name, Operator.GT, value)

    def __ge__(self, value: Scalar) -> Compare:
        return Compare(self.name, Operator.GE, value)

    __hash__ = None  # type: ignore[assignment]  # == does not compare, so hashing would mislead

    def is_in(self, values: Iterable[Scalar]) -> IsIn:
        """Match records whose field has one of these values.

        Raises:
            FilterError: `values` is a single string, or contains something that is not a scalar.

        Example:
            >>> print(Field("label").is_in(["cat", "dog"]))
            label in ("cat", "dog")
        """
        if isinstance(values, str | bytes):
            raise FilterError(f"is_in takes a list of values; write is_in([{shorten(values)}])")
        operands = elements(values)
        if operands is None:
            raise FilterError(f"is_in takes a list of values, got {shorten(values)}")
        return IsIn(self.name, tuple(operands))

    def contains(self, value: str) -> Contains:
        """Match records whose field is a list with the element `value`.

        Example:
            >>> print(Field("tags").contains("red"))
            tags contains "red"
        """
        return Contains(self.name, value)

    def exists(self) -> Exists:
        """Match records that have the field, with a value other than None.

        Example:
            >>> print(Field("price").exists())
            price exists
        """
        return Exists(self.name)

    def __repr__(self) -> str:
        return f"Field({self.name!r})"
