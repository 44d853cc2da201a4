"""Compile filters into the service's language.

The text uses only ``=``, ``<`` … ``>=``, ``in``, ``include``, ``and``, ``or`` and ``not`` with
parentheses. Two rules make it agree with `imagesearch.filters.matches`, whatever the service does
with a document that lacks a field (its documentation does not say):

- a comparison under an odd number of ``not`` is joined with a test that the field is present, and
  so is every comparison of numbers, because a missing number might count as zero;
- ``!=``, ``not in`` and ``exclude`` are never written.

Field names never reach the text: columns do, and their names are identifiers. Texts are escaped
(backslash, then quotation mark); texts with control characters, empty ones and very long ones are
compared by hash. A comparison with a value of another type than the field's matches no document.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias, assert_never, cast

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
from imagesearch.stores.tencent._documents import DocumentMapping
from imagesearch.stores.tencent._schema import TERMS, Column, is_plain

__all__ = ["Compiled", "compile_filter", "quoted"]

Compiled: TypeAlias = str | bool
"""A condition in the service's language; or true or false for every document."""


def compile_filter(filter: Filter, mapping: DocumentMapping) -> Compiled:
    r"""Compile a filter into the service's language.

    Args:
        filter: The condition.
        mapping: The collection's columns. In collections that another program created, presence
            is tested with ``is not null``.

    Raises:
        UnsupportedFilterError: It names a field without a column, orders texts, or compares what
            the collection cannot.

    Example:
        >>> from imagesearch import Field
        >>> columns = {"label": Column("label", "label", "string")}
        >>> mapping = DocumentMapping(columns, "path", ours=True)
        >>> print(compile_filter(Field("label") == 'a "b" \\', mapping))
        label = "a \"b\" \\"
        >>> print(compile_filter(Field("label") != "a", mapping))
        not ((imagesearch_terms include ("has:label") and label = "a"))
    """
    return _Compiler(mapping).compile(filter, positive=True)


def quoted(text: str) -> str:
    r"""Return a text literal.

    Example:
        >>> print(quoted('me") or tag in ("you'))
        "me\") or tag in (\"you"
    """
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@dataclass(frozen=True, slots=True)
class _Compiler:
    mapping: DocumentMapping

    def compile(self, filter: Filter, *, positive: bool) -> Compiled:
        node = cast(FilterNode, filter)
        match node:
            case Compare(operator=Operator.EQ):
                return self._equals(node, node.field, (node.value,), positive)
            case Compare():
                return self._ordered(node)
            case IsIn():
                return self._equals(node, node.field, node.values, positive)
            case Contains():
                return self._contains(node, positive)
            case Exists():
                return self._exists(self._column(node.field))
            case And():
                parts = [self.compile(operand, positive=positive) for operand in node.operands]
                return _joined("and", parts)
            case Or():
                parts = [self.compile(operand, positive=positive) for operand in node.operands]
                return _joined("or", parts)
            case Not():
                inner = self.compile(node.operand, positive=not positive)
                return not inner if isinstance(inner, bool) else f"not ({inner})"
            case _:
                assert_never(node)

    def _column(self, field: str) -> Column:
        column = self.mapping.columns.get(field)
        if column is None:
            declared = ", ".join(sorted(self.mapping.columns)) or "none"
            hint = "declare it under fields, with its type, when the collection is created"
            if field == "id":
                hint = "the service cannot filter on ids; use get(), or a search with Query.id"
            elif field == "uri":
                hint = (
                    "a URI can only be compared with = and in"
                    if self.mapping.uri_indexed
                    else f"the column {self.mapping.uri_field!r} of the URI has no filter index"
                )
            raise UnsupportedFilterError(
                f"Tencent Cloud VectorDB cannot filter on {field!r}: only declared fields have an "
                f"index (here: {declared}); {hint}"
            )
        return column

    def _equals(
        self, node: FilterNode, field: str, values: tuple[Scalar, ...], positive: bool
    ) -> Compiled:
        if field == "uri" and self.mapping.uri_indexed:
            return self._uri_equals(node, values, positive)
        column = self._column(field)
        literals: dict[str, None] = {}
        terms: dict[str, None] = {}
        for value in values:
            if not column.compares_with(value):
                self._require_typed(node, column)
            elif isinstance(value, str) and not is_plain(value):
                self._require_own(node)
                terms[column.text_term(value)] = None
            elif (native := column.native(value)) is not None:
                literals[_literal(cast(str | float, native))] = None
        parts: list[Compiled] = []
        if len(literals) == 1:
            parts.append(self._guarded(column, f"{column.name} = {next(iter(literals))}", positive))
        elif literals:
            test = f"{column.name} in ({', '.join(literals)})"
            parts.append(self._guarded(column, test, positive))
        if terms:
            parts.append(_include(TERMS, terms))
        return _joined("or", parts) if parts else False

    def _uri_equals(self, node: FilterNode, values: tuple[Scalar, ...], positive: bool) -> Compiled:
        texts = dict.fromkeys(value for value in values if isinstance(value, str))
        if not texts:
            return False
        if not positive or not all(map(is_plain, texts)):
            raise UnsupportedFilterError(
                f"{node}: Tencent Cloud VectorDB compares URIs only with = and in, not negated, and "
                "only with texts of 1 to 512 bytes without control characters"
            )
        literals = ", ".join(map(quoted, texts))
        name = self.mapping.uri_field
        return f"{name} = {literals}" if len(texts) == 1 else f"{name} in ({literals})"

    def _ordered(self, node: Compare) -> Compiled:
        column = self._column(node.field)
        if isinstance(node.value, str):
            raise UnsupportedFilterError(
                f"{node}: Tencent Cloud VectorDB does not order texts; compare with = or in, or "
                "store a number in another field"
            )
        if not column.is_number:
            self._require_typed(node, column)
            return False
        test = _number_test(column, node.operator, node.value)
        if test is True:
            return self._present(column)
        return test if test is False else self._guarded(column, str(test), positive=False)

    def _contains(self, node: Contains, positive: bool) -> Compiled:
        column = self._column(node.field)
        if column.type != "array":
            self._require_typed(node, column)
            return False
        if is_plain(node.value):
            return self._guarded(column, _include(column.name, [node.value]), positive)
        self._require_own(node)
        return _include(TERMS, [column.text_term(node.value)])

    def _exists(self, column: Column) -> Compiled:
        if self.mapping.ours:
            return _include(TERMS, [column.present_term, column.partial_term])
        return f"{column.name} is not null"

    def _present(self, column: Column) -> str:
        if self.mapping.ours:
            return _include(TERMS, [column.present_term])
        return f"{column.name} is not null"

    def _guarded(self, column: Column, test: str, positive: bool) -> str:
        # On a document without the field a comparison may give false, or nothing, or compare
        # with zero. As long as it is not negated and compares texts, all of these mean "no".
        if positive and not column.is_number:
            return test
        return f"({self._present(column)} and {test})"

    def _require_typed(self, node: FilterNode, column: Column) -> None:
        """Refuse to compare with a value of another type where version 0.1 may have stored one."""
        if not self.mapping.typed:
            raise UnsupportedFilterError(
                f"{node}: field {column.field!r} is declared as {column.type!r}. Version 0.1 created "
                "this collection and stored values of other types, too, which cannot be compared "
                "any more; copy it into a new collection"
            )

    def _require_own(self, node: FilterNode) -> None:
        if not self.mapping.ours:
            raise UnsupportedFilterError(
                f"{node}: another program created this collection, where texts that are empty, "
                "longer than 512 bytes or contain control characters cannot be compared; copy it "
                "into a new collection"
            )


def _number_test(column: Column, operator: Operator, value: float) -> Compiled:
    """Return ``column operator value``, exact also for a value that the column cannot hold."""
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
    # The grammar has no exponents; Decimal writes the digits of repr out.
    return f"{Decimal(repr(value)):f}"


def _joined(word: str, parts: list[Compiled]) -> Compiled:
    deciding = word == "or"
    if any(part is deciding for part in parts):
        return deciding
    texts = [part for part in parts if isinstance(part, str)]
    if not texts:
        return not deciding
    return texts[0] if len(texts) == 1 else f"({f' {word} '.join(texts)})"
