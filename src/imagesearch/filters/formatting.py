"""The text form of filters, written: what `parse_filter` reads."""

from __future__ import annotations

import json
import re
from typing import assert_never, cast

from imagesearch.filters.expression import (
    And,
    Compare,
    Contains,
    Exists,
    Filter,
    FilterNode,
    IsIn,
    Not,
    Or,
)
from imagesearch.filters.operands import Scalar

__all__ = ["KEYWORDS", "format_filter"]

KEYWORDS = frozenset({"and", "or", "not", "in", "contains", "exists", "true", "false"})
"""Words that a field without backticks cannot be called."""

_NAME = re.compile(r"[^\W\d][\w.\-]*")


def format_filter(filter: Filter) -> str:
    r"""Write a filter so that `parse_filter` gives it back.

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
