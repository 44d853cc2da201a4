"""The reference evaluator: what a filter means, in plain Python."""

from __future__ import annotations

from typing import assert_never, cast

from imagesearch.filters._tree import (
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
from imagesearch.types import Metadata

__all__ = ["matches"]


def matches(filter: Filter, metadata: Metadata, *, id: str = "", uri: str = "") -> bool:
    """Return whether a record matches; the compilers of all stores must agree with it.

    Args:
        filter: The condition.
        metadata: The record's own fields.
        id: The record's id, read by ``Field("id")``.
        uri: The record's URI, read by ``Field("uri")``.

    Example:
        >>> from imagesearch import Field
        >>> matches(Field("price") < 10, {"price": 9.5})
        True
        >>> matches(Field("price") != 1, {"price": True}), matches(Field("price") < 1, {})
        (True, False)
    """
    node = cast(FilterNode, filter)
    match node:
        case Compare():
            return _compare(_value(node.field, metadata, id, uri), node.operator, node.value)
        case IsIn():
            value = _value(node.field, metadata, id, uri)
            return any(_compare(value, Operator.EQ, operand) for operand in node.values)
        case Contains():
            value = _value(node.field, metadata, id, uri)
            return isinstance(value, list | tuple) and any(
                isinstance(element, str) and element == node.value for element in value
            )
        case Exists():
            return _value(node.field, metadata, id, uri) is not None
        case And():
            return all(matches(operand, metadata, id=id, uri=uri) for operand in node.operands)
        case Or():
            return any(matches(operand, metadata, id=id, uri=uri) for operand in node.operands)
        case Not():
            return not matches(node.operand, metadata, id=id, uri=uri)
        case _:
            assert_never(node)


def _value(field: str, metadata: Metadata, id: str, uri: str) -> object:
    if field == "id":
        return id
    if field == "uri":
        return uri
    return metadata.get(field)


def _compare(value: object, operator: Operator, operand: Scalar) -> bool:
    if _kind(value) is None or _kind(value) is not _kind(operand):
        return False
    # Same kind on both sides: str with str, numbers with numbers, bool with bool.
    left, right = cast(float, value), cast(float, operand)
    match operator:
        case Operator.EQ:
            return left == right
        case Operator.LT:
            return left < right
        case Operator.LE:
            return left <= right
        case Operator.GT:
            return left > right
        case Operator.GE:
            return left >= right
        case _:
            assert_never(operator)


def _kind(value: object) -> type | None:
    match value:
        case bool():
            return bool
        case int() | float():
            return float
        case str():
            return str
        case _:
            return None
