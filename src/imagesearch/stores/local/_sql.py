"""Filters compiled to SQL, and the entries of the table that they read."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, assert_never, cast

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
from imagesearch.stores.local._connections import read_database, translated
from imagesearch.stores.local._paths import Layout, without_side_files
from imagesearch.stores.local._schema import check_format
from imagesearch.types import RESERVED_FIELDS, Metadata

__all__ = [
    "BOOL",
    "ELEMENT",
    "NUMBER",
    "OTHER",
    "TEXT",
    "compile_filter",
    "field_entries",
    "field_names",
]


# Skips from name to name along the primary key, whatever the number of records.
_NAMES = """
WITH RECURSIVE names(name) AS (
    SELECT min(name) FROM fields
    UNION ALL
    SELECT (SELECT min(name) FROM fields WHERE name > names.name) FROM names WHERE name IS NOT NULL
)
SELECT name FROM names WHERE name IS NOT NULL
"""


def field_names(path: Path) -> list[str]:
    """Return the names of all metadata fields that records of an index have, sorted.

    Fields of recently deleted records may be included. Only the names are read, so this is fast for
    an index of any size.

    Args:
        path: The folder of a local index.

    Raises:
        StoreError: It cannot be read.

    Example:
        >>> field_names(Path("no-such.idx"))
        []
    """
    layout = Layout(path.absolute())
    with translated(path), without_side_files(path):
        if not layout.exists():
            return []

        def read(connection: sqlite3.Connection) -> list[str]:
            if not check_format(connection, layout.folder):
                return []
            return [name for (name,) in connection.execute(_NAMES)]

        return read_database(layout.database, read, read_only=True)


Sql = tuple[str, list[Any]]

BOOL, NUMBER, TEXT, ELEMENT, OTHER = "b", "n", "t", "e", "x"
_FEW = 100


def field_entries(metadata: Metadata) -> Iterator[tuple[str, str, Any]]:
    """Yield the filter entries of a record's metadata, as (name, kind, value).

    Example:
        >>> list(field_entries({"label": "cat", "sold": True, "tags": ["a", "b"], "none": None}))
        [('label', 't', 'cat'), ('sold', 'b', 1), ('tags', 'x', ''), ('tags', 'e', 'a'),
         ('tags', 'e', 'b')]
    """
    for name, value in metadata.items():
        if value is None:
            continue
        kind, kept = _kind(value), value
        if kind == BOOL:
            kept = int(value)
        elif kind == OTHER:
            kept = ""
        yield name, kind, kept
        if isinstance(value, list):
            for element in dict.fromkeys(one for one in value if isinstance(one, str)):
                yield name, ELEMENT, element


def compile_filter(filter: Filter) -> Sql:
    """Return a condition on the table ``records``, and the values of its placeholders.

    Example:
        >>> from imagesearch import Field
        >>> compile_filter(Field("id") == "a")
        ('records.id = ?', ['a'])
        >>> compile_filter(Field("price") < 10)
        ('records.row IN (SELECT row FROM fields WHERE name = ? AND kind = ? AND value < ?)',
         ['price', 'n', 10])
    """
    node = cast(FilterNode, filter)
    match node:
        case Compare():
            return _compare(node.field, node.operator, node.value)
        case IsIn():
            return _is_in(node.field, node.values)
        case Contains():
            if node.field in RESERVED_FIELDS:
                return "0", []
            return _rows("kind = ? AND value = ?", node.field, ELEMENT, node.value)
        case Exists():
            if node.field in RESERVED_FIELDS:
                return "1", []
            return _rows("kind <> ?", node.field, ELEMENT)
        case And():
            return _balanced(list(map(compile_filter, node.operands)), "AND")
        case Or():
            return _balanced(list(map(compile_filter, node.operands)), "OR")
        case Not():
            inner, bound = compile_filter(node.operand)
            return f"NOT ({inner})", bound
        case _:
            assert_never(node)


def _compare(field: str, operator: Operator, value: Scalar) -> Sql:
    kind, kept = _kept(value)
    if field in RESERVED_FIELDS:
        return (f"records.{field} {operator} ?", [kept]) if kind == TEXT else ("0", [])
    return _rows(f"kind = ? AND value {operator} ?", field, kind, kept)


def _is_in(field: str, values: Sequence[Scalar]) -> Sql:
    by_kind: dict[str, list[Any]] = {}
    for value in values:
        kind, kept = _kept(value)
        by_kind.setdefault(kind, []).append(kept)
    if field in RESERVED_FIELDS:
        texts = by_kind.get(TEXT, [])
        return _among(f"records.{field}", texts) if texts else ("0", [])
    conditions = []
    for kind, kept_values in by_kind.items():
        among, bound = _among("value", kept_values)
        conditions.append(_rows(f"kind = ? AND ({among})", field, kind, *bound))
    return _balanced(conditions, "OR") if conditions else ("0", [])


def _among(column: str, values: list[Any]) -> Sql:
    # SQLite limits the number of bound values; integers and texts without NUL are exact in JSON.
    packed: list[Any] = []
    bound = values
    if len(values) > _FEW:
        packed = [value for value in values if _survives_json(value)]
        bound = [value for value in values if not _survives_json(value)]
    marks = f"{column} IN ({', '.join('?' * len(bound))})"
    if not packed:
        return marks, bound
    array = json.dumps(packed, ensure_ascii=False)
    return f"{column} IN (SELECT value FROM json_each(?)) OR {marks}", [array, *bound]  # noqa: S608  # all is bound


def _survives_json(value: object) -> bool:
    return not isinstance(value, float) and not (isinstance(value, str) and "\0" in value)


def _rows(condition: str, field: str, *bound: Any) -> Sql:
    return (
        f"records.row IN (SELECT row FROM fields WHERE name = ? AND {condition})",  # noqa: S608  # all is bound
        [field, *bound],
    )


def _balanced(conditions: list[Sql], word: str) -> Sql:
    # SQLite limits the depth of an expression, and a chain is as deep as it is long.
    if len(conditions) == 1:
        return conditions[0]
    middle = len(conditions) // 2
    left, left_bound = _balanced(conditions[:middle], word)
    right, right_bound = _balanced(conditions[middle:], word)
    return f"({left} {word} {right})", [*left_bound, *right_bound]


def _kept(value: Scalar) -> tuple[str, Any]:
    kind = _kind(value)
    return kind, int(value) if kind == BOOL else value


_KINDS: dict[type, str] = {bool: BOOL, int: NUMBER, float: NUMBER, str: TEXT}


def _kind(value: object) -> str:
    return _KINDS.get(type(value), OTHER)
