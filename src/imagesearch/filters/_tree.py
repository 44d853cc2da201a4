"""Filters as trees: their nodes, what they compare, and their text form."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias, assert_never, cast

import numpy as np

from imagesearch._printable import shorten
from imagesearch._validation import elements, is_unicode
from imagesearch.errors import FilterError

__all__ = [
    "KEYWORDS",
    "MAX_DEPTH",
    "And",
    "Compare",
    "Contains",
    "Exists",
    "Filter",
    "FilterNode",
    "IsIn",
    "Not",
    "Operator",
    "Or",
    "Scalar",
    "check_field",
    "check_scalar",
    "fields_of",
    "format_filter",
]


Scalar: TypeAlias = str | int | float | bool


def check_field(name: object) -> str:
    """Return a usable field name, or raise `FilterError`."""
    if not isinstance(name, str) or not name:
        raise FilterError(f"a field name must be a non-empty string, got {shorten(name)}")
    if "\0" in name:
        raise FilterError(f"field name {shorten(name)} contains a NUL character; remove it")
    _check_unicode(name)
    return str.__str__(name)


def check_scalar(value: object) -> Scalar:
    """Return a value as a plain Python scalar that every store supports, or raise `FilterError`."""
    if isinstance(value, np.generic):
        value = value.item()
    match value:
        case bool():
            return value
        case str():
            _check_unicode(value)
            # str() of a string enumeration's member may be its name, such as Label.CAT.
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
                raise FilterError(f"a number in a filter must be finite, got {value}")
            return float(value)
        case None:
            raise FilterError("cannot compare with None; use Field(name).exists() or its negation")
        case _:
            raise FilterError(
                f"a filter's value must be str, int, float or bool, got {type(value).__name__} "
                f"{shorten(value)}"
            )


def _check_unicode(text: str) -> None:
    if not is_unicode(text):
        raise FilterError(f"{shorten(text)} is not valid Unicode (a lone surrogate)")


KEYWORDS = frozenset({"and", "or", "not", "in", "contains", "exists", "true", "false"})
"""Words that are field names only in backticks."""

_NAME = re.compile(r"[^\W\d][\w.\-]*")


def format_filter(filter: Filter) -> str:
    r"""Return the text of a filter, which `parse_filter` parses to an equal one.

    Example:
        >>> from imagesearch import Field
        >>> format_filter(Field("label") != "it's")
        'not label = "it\'s"'
    """
    node = cast(FilterNode, filter)
    match node:
        case Compare():
            return f"{_name(node.field)} {node.operator} {_literal(node.value)}"
        case IsIn():
            return f"{_name(node.field)} in ({', '.join(map(_literal, node.values))})"
        case Contains():
            return f"{_name(node.field)} contains {_literal(node.value)}"
        case Exists():
            return f"{_name(node.field)} exists"
        case And():
            return " and ".join(_within(operand, (And, Or)) for operand in node.operands)
        case Or():
            return " or ".join(_within(operand, (Or,)) for operand in node.operands)
        case Not():
            return f"not {_within(node.operand, (And, Or))}"
        case _:
            assert_never(node)


def _within(filter: Filter, parenthesised: tuple[type, ...]) -> str:
    text = format_filter(filter)
    return f"({text})" if isinstance(filter, parenthesised) else text


def _name(field: str) -> str:
    if _NAME.fullmatch(field) and field.lower() not in KEYWORDS:
        return field
    return "`" + field.replace("`", "``") + "`"


def _literal(value: Scalar) -> str:
    return json.dumps(value, ensure_ascii=False)


MAX_DEPTH = 100
"""Maximum nesting of ``and``, ``or`` and ``not``, well within Python's recursion limit.

Many operands on one level are not deep. A store whose own language allows less raises
`UnsupportedFilterError` earlier.
"""


class Operator(StrEnum):
    """The operator of a `Compare`.

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
    is false, and its negation true. Values of different kinds are neither equal nor ordered:
    ``True`` is not ``1``, ``"1"`` is not ``1``; but ``1`` equals ``1.0``.

    Example:
        >>> from imagesearch import Field
        >>> cheap_fish = (Field("label") == "goldfish") & (Field("price") < 10)
        >>> print(cheap_fish)
        label = "goldfish" and price < 10
    """

    __slots__ = ()

    @property
    def depth(self) -> int:
        """Nesting depth of ``and``, ``or`` and ``not``; 0 for a condition on one field.

        Example:
            >>> from imagesearch import Field
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
        return format_filter(self)


@dataclass(frozen=True, slots=True)
class Compare(Filter):
    """The field's value compares to `value` as the operator requires.

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
                f"{self.field} {self.operator} {self.value}: booleans have no order; use == or !="
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
    """The field's value is one of `values`; false if there are none.

    Example:
        >>> print(IsIn("label", ("cat", "dog")))
        label in ("cat", "dog")
    """

    field: str
    values: tuple[Scalar, ...]

    def __post_init__(self) -> None:
        check_field(self.field)
        given: object = self.values
        values = None if isinstance(given, str | bytes) else elements(given)
        if values is None:
            raise FilterError(f"the values of 'in' must be a list, got {shorten(given)}")
        object.__setattr__(self, "values", tuple(map(check_scalar, values)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IsIn) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[object, ...]:
        return (self.field, tuple((type(value), value) for value in self.values))


@dataclass(frozen=True, slots=True)
class Contains(Filter):
    """The field's value is a list with the string `value` as an element.

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
                f"the value of 'contains' must be str, got {shorten(self.value)}; to compare a "
                "single value use == or is_in"
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


def fields_of(filter: Filter) -> frozenset[str]:
    """Return the names of all fields in a filter.

    Example:
        >>> from imagesearch import Field
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


def _depth(word: str, operands: tuple[Filter, ...]) -> int:
    """Check operands, and return the depth of the node that combines them."""
    if not isinstance(operands, tuple | list):
        raise FilterError(f"the operands of '{word}' must be a tuple, got {shorten(operands)}")
    if not operands:
        raise FilterError(f"'{word}' needs at least one operand")
    for operand in operands:
        if not isinstance(operand, Filter):
            raise FilterError(
                f"an operand of '{word}' must be a filter, got {shorten(operand)}; put comparisons "
                'in parentheses: (Field("a") == 1) & (Field("b") == 2)'
            )
    depth = 1 + max(operand.depth for operand in operands)
    if depth > MAX_DEPTH:
        raise FilterError(
            f"the filter is nested more than {MAX_DEPTH} levels deep; simplify it: a & b & c is "
            "one level, and is_in takes any number of values"
        )
    return depth


def _flat(kind: type[And | Or], *operands: Filter) -> tuple[Filter, ...]:
    flat: list[Filter] = []
    for operand in operands:
        flat.extend(operand.operands if isinstance(operand, kind) else (operand,))
    return tuple(flat)
