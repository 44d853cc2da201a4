"""Checksums of what filters read: for each field the sum over all its entries in the table ``fields``.

An entry that is missing or changed hides a record from a filter, and nothing in the record tells.
So each field has a sum over its entries, modulo 2^63, which grows and shrinks with them: the CRC-32
of kind and value times 2 row + 1. SQLite adds up the rows of equal values, so that a field with
few values is verified at the speed of a scan.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, cast

from imagesearch.errors import StoreCorruptError
from imagesearch.filters import And, Filter, FilterNode, Not, Or
from imagesearch.stores.local._checksums import CHECK, values_checksum
from imagesearch.types import RESERVED_FIELDS

__all__ = [
    "Entry",
    "change_field_sums",
    "field_sums",
    "require_field_sums",
    "stored_field_sums",
    "write_field_sums",
]

Entry = tuple[str, str, Any, int]
"""Name, kind, value and row, as the table ``fields`` has them."""

_MODULUS = 2**63


def field_sums(connection: sqlite3.Connection, name: str | None = None) -> dict[str, int]:
    """Add up the entries of all fields, or of one, as they are.

    Args:
        connection: In a transaction.
        name: The field; None for all.
    """
    where, bound = ("", ()) if name is None else ("WHERE name = ?", (name,))
    sums: dict[str, int] = defaultdict(int)
    for field, kind, value, count, rows in connection.execute(
        f"SELECT name, kind, value, count(*), sum(row) FROM fields {where}"  # noqa: S608  # of two texts
        " GROUP BY name, kind, value",
        bound,
    ):
        if not isinstance(rows, int):
            raise StoreCorruptError(
                f"what filters read of the field {field!r} has impossible rows; {CHECK}"
            )
        sums[field] += _checksum(kind, value) * (2 * rows + count)
    return {field: total % _MODULUS for field, total in sums.items() if total % _MODULUS}


def change_field_sums(
    connection: sqlite3.Connection, added: Iterable[Entry], removed: Iterable[Entry] = ()
) -> None:
    """Follow entries that are added and removed; within a write transaction.

    Raises:
        StoreCorruptError: The sum of one of these fields is damaged.
    """
    changes: dict[str, int] = defaultdict(int)
    for sign, entries in ((1, added), (-1, removed)):
        for name, kind, value, row in entries:
            changes[name] += sign * _checksum(kind, value) * (2 * row + 1)
    before = _stored(connection, changes)
    write_field_sums(
        connection,
        {name: (before.get(name, 0) + change) % _MODULUS for name, change in changes.items()},
    )


def write_field_sums(connection: sqlite3.Connection, sums: Mapping[str, int]) -> None:
    """Store sums in place of those of the same fields; within a write transaction."""
    connection.executemany(
        "INSERT OR REPLACE INTO field_sums VALUES (?, ?, ?)",
        ((name, total, values_checksum(name, total)) for name, total in sums.items()),
    )


def stored_field_sums(connection: sqlite3.Connection) -> dict[str, int]:
    """Return the stored sums of all fields that have entries, or had them.

    Raises:
        StoreCorruptError: One of them is damaged.
    """
    names = [name for (name,) in connection.execute("SELECT name FROM field_sums")]
    return {name: total for name, total in _stored(connection, names).items() if total}


def require_field_sums(connection: sqlite3.Connection, where: Filter, known: set[str]) -> None:
    """Verify the entries of the fields that a filter reads, unless that has been done.

    Args:
        connection: In a transaction.
        where: The filter.
        known: Fields that were found to be sound; those of the filter are added.

    Raises:
        StoreCorruptError: Entries of a field are damaged.
    """
    for name in _fields_of(where) - known:
        stored = _stored(connection, [name]).get(name, 0)
        if field_sums(connection, name).get(name, 0) != stored:
            raise StoreCorruptError(
                f"what filters read of the field {name!r} does not have its checksum; {CHECK}"
            )
        known.add(name)


def _fields_of(where: Filter) -> set[str]:
    names: set[str] = set()
    nodes = [where]
    while nodes:
        match cast(FilterNode, nodes.pop()):
            case And(operands=operands) | Or(operands=operands):
                nodes += operands
            case Not(operand=operand):
                nodes.append(operand)
            case leaf:
                names.add(leaf.field)
    return names - RESERVED_FIELDS


def _stored(connection: sqlite3.Connection, names: Iterable[str]) -> dict[str, int]:
    sums = {}
    # One by one: SQLite's JSON would end a name at a NUL.
    for name in names:
        line = connection.execute(
            "SELECT total, checksum FROM field_sums WHERE name = ?", (name,)
        ).fetchone()
        if line is None:
            continue
        total, checksum = line
        if values_checksum(name, total) != checksum:
            raise StoreCorruptError(f"the checksum of the field {name!r} is damaged; {CHECK}")
        sums[name] = total
    return sums


def _checksum(kind: str, value: object) -> int:
    # SQLite takes 1 and 1.0 for one value, and -0.0 for 0.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return zlib.crc32(f"{kind}{value}".encode("utf-8", "surrogatepass"))
