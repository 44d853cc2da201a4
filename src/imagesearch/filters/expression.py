"""The filter tree: a closed union of frozen nodes, and `Field`, which builds them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias, assert_never, cast

import numpy as np

from imagesearch.errors import FilterError

__all__ = [
    "MAX_DEPTH",
    "And",
    "Compare",
    "Contains",
    "Exists",
    "Field",
    "Filter",
    "FilterNode",
    "IsIn",
    "Not",
    "Operator",
    "Or",
    "Scalar",
    "fields_of",
]

Scalar: TypeAlias = str | int | float | bool

MAX_DEPTH = 100
"""How deep ``and``, ``or`` and ``not`` may be nested: what Python's stack holds, with room to spare.

Many operands on one level are not deep. A store whose own language holds less refuses earlier, with
`UnsupportedFilterError`.
"""


class Operator(StrEnum):
    """How `Compare` compares.

    Example:
        >>> Operator("<=").name
        'LE'
    """

    EQ = "="
    LT = "<"
    LE = "<="
    GT = ">"
    GE = ">="


class Filter:
    """A condition on a record; combine with ``&``, ``|`` and ``~``.

    Logic is two-valued: on a record that lacks the field (or holds None there) every comparison
    is false, so that its negation is true. Values of different kinds are never equal and never
    ordered: ``True`` is not ``1``, ``"1"`` is not ``1``; but ``1`` equals ``1.0``.

    Example:
        >>> from imagesearch import Field
        >>> cheap_fish = (Field("label") == "goldfish") & (Field("price") < 10)
        >>> print(cheap_fish)
        label = "goldfish" and price < 10
    """

    __slots__ = ()

    @property
    def depth(self) -> int:
        """How deep ``and``, ``or`` and ``not`` are nested; 0 for a condition on one field.

        Example:
            >>> (Field("a").exists() & ~(Field("b") == 1)).depth
            2
        """
        return 0

    def __and__(self, other: Filter) -> And:
        return And(_flat(And, self, other))

    def __or__(self, other: Filter) -> Or:
        return Or(_flat(Or, self, other))

    def __invert__(self) -> Filter:
        return self.operand if isinstance(self, Not) else Not(self)

    def __bool__(self) -> bool:
        raise FilterError(
            "a filter has no truth value: combine filters with & | ~ (in parentheses), "
            "not with and, or, not, and do not chain comparisons"
        )

    def __str__(self) -> str:
        from imagesearch.filters.text import format_filter

        return format_filter(self)


@dataclass(frozen=True, slots=True)
class Compare(Filter):
    """The field holds a scalar that compares so to `value`.

    Example:
        >>> print(Compare("price", Operator.LT, 10))
        price < 10
    """

    field: str
    operator: Operator
    value: Scalar

    def __post_init__(self) -> None:
        check_field(self.field)
        object.__setattr__(self, "value", check_scalar(self.value))
        if self.operator is not Operator.EQ and isinstance(self.value, bool):
            raise FilterError(
                f"{self.field} {self.operator} {self.value}: true and false have no order; "
                "use == or !="
            )

    # Filters are compared by structure; 1 == True in Python, but not in a filter.
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Compare) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[object, ...]:
        return (self.field, self.operator, type(self.value), self.value)


@dataclass(frozen=True, slots=True)
class IsIn(Filter):
    """The field holds one of `values`; false for no values.

    Example:
        >>> print(IsIn("label", ("cat", "dog")))
        label in ("cat", "dog")
    """

    field: str
    values: tuple[Scalar, ...]

    def __post_init__(self) -> None:
        check_field(self.field)
        object.__setattr__(self, "values", tuple(check_scalar(value) for value in self.values))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IsIn) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[object, ...]:
        return (self.field, tuple((type(value), value) for value in self.values))


@dataclass(frozen=True, slots=True)
class Contains(Filter):
    """The field holds a list in which the string `value` is an element.

    Example:
        >>> print(Contains("tags", "red"))
        tags contains "red"
    """

    field: str
    value: str

    def __post_init__(self) -> None:
        check_field(self.field)
        if not isinstance(self.value, str):
            raise FilterError(
                f"contains looks for text in a list of texts, not for {self.value!r}; "
                "to compare a single value use == or is_in"
            )
        object.__setattr__(self, "value", check_scalar(self.value))


@dataclass(frozen=True, slots=True)
class Exists(Filter):
    """The record has the field, with a value other than None.

    Example:
        >>> print(~Exists("price"))
        not price exists
    """

    field: str

    def __post_init__(self) -> None:
        check_field(self.field)


@dataclass(frozen=True, slots=True)
class And(Filter):
    """All operands match.

    Example:
        >>> print(And((Exists("a"), Exists("b"))))
        a exists and b exists
    """

    operands: tuple[Filter, ...]
    depth: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "depth", _depth("and", self.operands))


@dataclass(frozen=True, slots=True)
class Or(Filter):
    """At least one operand matches.

    Example:
        >>> print(Or((Exists("a"), Exists("b"))))
        a exists or b exists
    """

    operands: tuple[Filter, ...]
    depth: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "depth", _depth("or", self.operands))


@dataclass(frozen=True, slots=True)
class Not(Filter):
    """The operand does not match.

    Example:
        >>> print(Not(Exists("a")))
        not a exists
    """

    operand: Filter
    depth: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "depth", _depth("not", (self.operand,)))


FilterNode: TypeAlias = Compare | IsIn | Contains | Exists | And | Or | Not
"""The closed union that compilers match on: ``match cast(FilterNode, filter)``."""


class Field:
    """A metadata field, or the record's own ``id`` or ``uri``, to build filters from.

    Args:
        name: Any non-empty text.

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
        """Match records whose field holds one of `values`.

        Raises:
            FilterError: `values` is a single text, or holds something that is no scalar.

        Example:
            >>> print(Field("label").is_in(["cat", "dog"]))
            label in ("cat", "dog")
        """
        if isinstance(values, str | bytes):
            raise FilterError(f"is_in takes a list of values; write is_in([{values!r}])")
        return IsIn(self.name, tuple(values))

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


def fields_of(filter: Filter) -> frozenset[str]:
    """Return the names of all fields that a filter reads.

    Example:
        >>> sorted(fields_of((Field("a") == 1) & ~Field("b").exists()))
        ['a', 'b']
    """
    node = cast(FilterNode, filter)
    match node:
        case Compare() | IsIn() | Contains() | Exists():
            return frozenset({node.field})
        case And() | Or():
            return frozenset().union(*(fields_of(operand) for operand in node.operands))
        case Not():
            return fields_of(node.operand)
        case _:
            assert_never(node)


def check_field(name: object) -> str:
    """Return a usable field name, or raise `FilterError`."""
    if not isinstance(name, str) or not name:
        raise FilterError(f"field name {name!r} is not a non-empty text")
    if "\0" in name:
        raise FilterError(f"field name {name!r} contains a NUL character; remove it")
    _check_unicode(name)
    return name


def check_scalar(value: object) -> Scalar:
    """Return a plain Python scalar that every store can compare with, or raise `FilterError`."""
    if isinstance(value, np.generic):
        value = value.item()
    match value:
        case bool():
            return value
        case str():
            _check_unicode(value)
            return str(value)
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


def _depth(word: str, operands: tuple[Filter, ...]) -> int:
    """Check operands, and return the depth of the node that combines them."""
    if not operands:
        raise FilterError(f"'{word}' needs at least one operand")
    for operand in operands:
        if not isinstance(operand, Filter):
            raise FilterError(
                f"'{word}' combines filters, not {operand!r}; put comparisons in parentheses: "
                '(Field("a") == 1) & (Field("b") == 2)'
            )
    depth = 1 + max(operand.depth for operand in operands)
    if depth > MAX_DEPTH:
        raise FilterError(
            f"the filter is nested more than {MAX_DEPTH} deep; simplify it: a & b & c is one "
            "level, and is_in takes any number of values"
        )
    return depth


def _flat(kind: type[And | Or], *operands: Filter) -> tuple[Filter, ...]:
    flat: list[Filter] = []
    for operand in operands:
        flat.extend(operand.operands if isinstance(operand, kind) else (operand,))
    return tuple(flat)
