"""Filters into the service's language: a compiler over declared columns.

The text it writes uses only ``=``, ``<`` … ``>=``, ``in``, ``include``, ``and``, ``or`` and ``not``
with parentheses. Two rules make it mean what `imagesearch.filters.matches` means, whatever the
service does with a field that a document lacks (its documentation does not say):

- a comparison that stands under an odd number of ``not`` is joined with a test that the field is
  there, and so is every comparison of numbers, for a missing number might count as zero;
- ``!=``, ``not in`` and ``exclude`` are never written.

Field names never reach the text: columns do, and those are identifiers. Texts are escaped
(backslash, then quotation mark); texts with control characters, empty ones and very long ones are
compared by hash.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import NoReturn, TypeAlias, assert_never, cast

from imagesearch.errors import UnsupportedFilterError
from imagesearch.filters import (
    And,
    Compare,
    Contains,
    Exists,
    Filter,
    FilterNode,
    IsIn,
    Not,
    Operator,
    Or,
    Scalar,
)
from imagesearch.stores.tencent._schema import TERMS, Column
from imagesearch.stores.tencent._values import (
    any_term,
    bound_terms,
    contains_term,
    equals_term,
    has_term,
    is_plain,
    native_scalar,
)

__all__ = ["Compiled", "compile_filter", "quoted"]


Compiled: TypeAlias = str | bool
"""A condition in the service's language; or true or false for every document."""

_NUMBERS = ("double", "int64", "uint64")


def compile_filter(
    filter: Filter, columns: Mapping[str, Column], *, has_terms: bool = True
) -> Compiled:
    r"""Write a filter in the service's language.

    Args:
        filter: The condition.
        columns: The columns that can be filtered on, by field name.
        has_terms: Whether the collection has the column of terms; False for collections that
            others made, where presence is tested with ``is not null``.

    Raises:
        UnsupportedFilterError: It names a field that has no column, orders texts, or needs terms
            where there are none.

    Example:
        >>> from imagesearch import Field
        >>> columns = {"label": Column("label", "label", "string")}
        >>> print(compile_filter(Field("label") == 'a "b" \\', columns))
        label = "a \"b\" \\"
        >>> print(compile_filter(Field("label") != "a", columns))
        not ((imagesearch_terms include ("has:label") and label = "a"))
    """
    return _Compiler(columns, has_terms).write(filter, positive=True)


def quoted(text: str) -> str:
    r"""Return a text literal.

    Example:
        >>> print(quoted('me") or tag in ("you'))
        "me\") or tag in (\"you"
    """
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@dataclass(frozen=True, slots=True)
class _Compiler:
    columns: Mapping[str, Column]
    has_terms: bool

    def write(self, filter: Filter, *, positive: bool) -> Compiled:
        node = cast(FilterNode, filter)
        match node:
            case Compare(operator=Operator.EQ):
                return self._equals(self._column(node.field), (node.value,), node, positive)
            case Compare():
                return self._ordered(self._column(node.field), node)
            case IsIn():
                return self._equals(self._column(node.field), node.values, node, positive)
            case Contains():
                return self._contains(self._column(node.field), node, positive)
            case Exists():
                return self._exists(self._column(node.field))
            case And():
                return _joined("and", [self.write(one, positive=positive) for one in node.operands])
            case Or():
                return _joined("or", [self.write(one, positive=positive) for one in node.operands])
            case Not():
                inner = self.write(node.operand, positive=not positive)
                return not inner if isinstance(inner, bool) else f"not ({inner})"
            case _:
                assert_never(node)

    def _column(self, field: str) -> Column:
        column = self.columns.get(field)
        if column is None:
            known = ", ".join(sorted(self.columns)) or "none"
            hint = (
                "the service cannot filter on a record's own id or uri; use get() or search with "
                "Query.id"
                if field in ("id", "uri")
                else "declare it under fields, with its type, when the collection is made"
            )
            raise UnsupportedFilterError(
                f"Tencent Cloud VectorDB cannot filter on {field!r}: only declared fields have an "
                f"index (here: {known}); {hint}"
            )
        return column

    def _equals(
        self, column: Column, values: tuple[Scalar, ...], node: FilterNode, positive: bool
    ) -> Compiled:
        literals: dict[str, None] = {}
        terms: dict[str, None] = {}
        for value in values:
            native = native_scalar(column, value)
            if native is not None:
                literals[_literal(native)] = None
            elif _never(column, value):
                continue
            elif self.has_terms:
                terms[equals_term(column, value)] = None
            elif isinstance(value, str) and column.type == "string":
                self._needs_terms(node, "texts that are empty, long or have control characters")
        parts: list[Compiled] = []
        if len(literals) == 1:
            parts.append(self._guarded(column, f"{column.name} = {next(iter(literals))}", positive))
        elif literals:
            test = f"{column.name} in ({', '.join(literals)})"
            parts.append(self._guarded(column, test, positive))
        if terms:
            parts.append(_include(TERMS, terms))
        return _joined("or", parts) if parts else False

    def _ordered(self, column: Column, node: Compare) -> Compiled:
        if isinstance(node.value, str):
            raise UnsupportedFilterError(
                f"{node}: Tencent Cloud VectorDB does not order texts; compare with = or in, or "
                "keep a number beside the text"
            )
        if column.type not in _NUMBERS:
            if not self.has_terms:
                return False
            terms = bound_terms(column, node.operator, node.value)
            return _include(TERMS, terms) if terms else False
        test = _number_test(column, node.operator, node.value)
        if test is True:
            return self._present(column)
        return test if test is False else self._guarded(column, str(test), positive=False)

    def _contains(self, column: Column, node: Contains, positive: bool) -> Compiled:
        if column.type == "array" and is_plain(node.value):
            return self._guarded(column, _include(column.name, [node.value]), positive)
        if self.has_terms:
            return _include(TERMS, [contains_term(column, node.value)])
        if column.type == "array":
            self._needs_terms(node, "texts that are empty, long or have control characters")
        return False

    def _exists(self, column: Column) -> Compiled:
        if self.has_terms:
            return _include(TERMS, [has_term(column), any_term(column)])
        return f"{column.name} is not null"

    def _present(self, column: Column) -> str:
        if self.has_terms:
            return _include(TERMS, [has_term(column)])
        return f"{column.name} is not null"

    def _guarded(self, column: Column, test: str, positive: bool) -> str:
        # On a document without the field a comparison may give false, or nothing, or compare
        # with zero. As long as it is not negated and compares texts, all of these mean "no".
        if positive and column.type not in _NUMBERS:
            return test
        return f"({self._present(column)} and {test})"

    def _needs_terms(self, node: FilterNode, what: str) -> NoReturn:
        raise UnsupportedFilterError(
            f"{node}: this collection was made by another program, and {what} cannot be compared "
            "in it"
        )


def _never(column: Column, value: Scalar) -> bool:
    # A number that its column cannot hold was refused when it was written.
    return column.type in _NUMBERS and not isinstance(value, bool | str)


def _number_test(column: Column, operator: Operator, value: float) -> Compiled:
    """Write ``column operator value`` exactly, for a value that the column may not hold."""
    if column.type == "double":
        bound = float(value)
        if bound != value:
            # No double lies between a large integer and the double nearest to it.
            upward = operator in (Operator.LT, Operator.LE)
            operator = (
                (Operator.LT if bound > value else Operator.LE)
                if upward
                else (Operator.GT if bound < value else Operator.GE)
            )
        return f"{column.name} {operator} {_literal(bound)}"
    low, high = (0, 2**64 - 1) if column.type == "uint64" else (-(2**63), 2**63 - 1)
    # Whole numbers: x < 2.5 is x <= 2, and x > 2.5 is x >= 3.
    floor = int(value // 1)
    whole = floor == value
    match operator:
        case Operator.LT | Operator.LE:
            last = floor - 1 if whole and operator is Operator.LT else floor
            if last >= high:
                return True
            return f"{column.name} <= {last}" if last >= low else False
        case _:
            first = floor if whole and operator is Operator.GE else floor + 1
            if first <= low:
                return True
            return f"{column.name} >= {first}" if first <= high else False


def _include(column: str, texts: Mapping[str, None] | list[str]) -> str:
    return f"{column} include ({', '.join(map(quoted, texts))})"


def _literal(value: str | float) -> str:
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, int):
        return str(value)
    # The grammar knows no exponents; Decimal writes them out, exactly as repr means them.
    return f"{Decimal(repr(value)):f}"


def _joined(word: str, parts: list[Compiled]) -> Compiled:
    deciding = word == "or"
    if any(part is deciding for part in parts):
        return deciding
    texts = [part for part in parts if isinstance(part, str)]
    if not texts:
        return not deciding
    return texts[0] if len(texts) == 1 else f"({f' {word} '.join(texts)})"
