"""The filter tree: a closed union of frozen nodes."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias, assert_never, cast

from imagesearch.errors import FilterError
from imagesearch.filters.operands import Scalar, check_field, check_scalar

__all__ = [
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
    "fields_of",
]

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
        from imagesearch.filters.formatting import format_filter

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


def fields_of(filter: Filter) -> frozenset[str]:
    """Return the names of all fields that a filter reads.

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
