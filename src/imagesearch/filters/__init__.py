"""Filters: one small expression tree, one reference evaluator, one text form.

Each store compiles the tree to its own language; the evaluator is the executable specification.
"""

from imagesearch.filters._evaluate import matches
from imagesearch.filters._parse import MAX_CONDITIONS, MAX_LENGTH, as_filter, parse_filter
from imagesearch.filters._tree import (
    MAX_DEPTH,
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
    fields_of,
    format_filter,
)
from imagesearch.filters.field import Field

__all__ = [
    "MAX_CONDITIONS",
    "MAX_DEPTH",
    "MAX_LENGTH",
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
    "as_filter",
    "fields_of",
    "format_filter",
    "matches",
    "parse_filter",
]
