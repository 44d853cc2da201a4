"""Checksums of vectors, records and filter entries."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagesearch.errors import StoreCorruptError
from imagesearch.filters import Filter, fields_of
from imagesearch.types import RESERVED_FIELDS

__all__ = [
    "BLOCK",
    "CHECK",
    "MODULUS",
    "Entry",
    "append_vector_checksums",
    "block_checksum",
    "change_field_sums",
    "checksums_of",
    "damaged_field",
    "damaged_records",
    "dead_sum_of",
    "entry_checksums",
    "field_sums",
    "named_ids",
    "read_vector_checksums",
    "record_checksum",
    "require_field_sums",
    "stored_field_sum",
    "stored_field_sums",
    "values_checksum",
    "vector_checksums",
    "write_field_sums",
]


BLOCK = 1000
"""Rows whose checksums share a blob: 4,000 bytes, which fit on one page of SQLite."""

CHECK = "run imagesearch check --repair, restore the index from a backup, or build a new index"
"""What to do about damage, for the end of a message."""

MODULUS = 2**63
"""Sums of checksums are kept modulo this number."""

_NAMED = 5


def record_checksum(row: int, id: str, uri: str, digest: str, metadata: str) -> int:
    """Return the checksum of a row of the table ``records``.

    A statement that writes one of these columns must also write the column ``checksum``. The row is
    added to the CRC of the rest, so that SQL can renumber records and damage stays visible.

    Args:
        row: The record's row in the vectors file.
        id: The record's id.
        uri: Where the image came from.
        digest: Hex SHA-256 of the image, or empty.
        metadata: The JSON text in the column of that name.

    Returns:
        0 to 2^32 - 1; -1, which is never stored, for impossible values.

    Example:
        >>> record_checksum(0, "a", "/a.jpg", "", "{}")
        3674397091
    """
    try:
        text = f"{len(id)} {len(uri)} {len(digest)} {id}{uri}{digest}{metadata}"
        return (zlib.crc32(text.encode()) + row) & 0xFFFFFFFF
    except (TypeError, UnicodeEncodeError):
        return -1


def values_checksum(*values: object) -> int:
    """Return the checksum of a row of another table, whose columns are integers and texts.

    Example:
        >>> values_checksum("note", 1) == values_checksum("note", "1")
        False
    """
    return zlib.crc32(repr(values).encode("utf-8", "surrogatepass"))


def vector_checksums(rows: NDArray[np.generic]) -> NDArray[np.uint32]:
    """Return the checksum of each row of an encoded array, (n, dim).

    Example:
        >>> vector_checksums(np.zeros((2, 4), np.int8)).tolist()
        [558161692, 558161692]
    """
    if not rows.size:
        return np.zeros(len(rows), np.uint32)
    data = memoryview(np.ascontiguousarray(rows).data).cast("B")
    size = len(data) // len(rows)
    crc32 = zlib.crc32
    return np.fromiter(
        (crc32(data[first : first + size]) for first in range(0, len(data), size)),
        np.uint32,
        len(rows),
    )


def block_checksum(block: int, crcs: bytes) -> int:
    """Return the checksum of a blob of checksums, to tell its damage from that of the vectors."""
    return zlib.crc32(crcs, block & 0xFFFFFFFF)


def dead_sum_of(rows: Iterable[int], before: int = 0) -> int:
    """Return ``state.dead_sum`` after more rows have died.

    Squares, because sums of rows are equal for many pairs of rows.

    Example:
        >>> dead_sum_of([0, 2])
        10
    """
    return (before + sum((row + 1) ** 2 for row in rows)) % MODULUS


def append_vector_checksums(
    connection: sqlite3.Connection, first: int, crcs: NDArray[np.uint32]
) -> None:
    """Write the checksums of rows that are appended; within a write transaction.

    Args:
        connection: In a transaction.
        first: Number of the first row; all rows before it have their checksums.
        crcs: Checksums of the rows from `first` on.

    Raises:
        StoreCorruptError: The checksums of the rows before are damaged.
    """
    written = 0
    while written < len(crcs):
        block, offset = divmod(first + written, BLOCK)
        some = crcs[written : written + BLOCK - offset]
        before = b""
        if offset:
            before = read_vector_checksums(connection, [block])[block].astype("<u4").tobytes()
            if len(before) != 4 * offset:
                raise _damaged_block(block)
        blob = before + some.astype("<u4").tobytes()
        connection.execute(
            "INSERT OR REPLACE INTO checksums VALUES (?, ?, ?)",
            (block, blob, block_checksum(block, blob)),
        )
        written += len(some)


def read_vector_checksums(
    connection: sqlite3.Connection, blocks: Sequence[int]
) -> dict[int, NDArray[np.uint32]]:
    """Return the checksums of the rows of blocks.

    Raises:
        StoreCorruptError: A block is missing or damaged.
    """
    lines = connection.execute(
        "SELECT block, crcs, checksum FROM checksums"
        " WHERE block IN (SELECT value FROM json_each(?))",
        (json.dumps(list(blocks)),),
    )
    found: dict[int, NDArray[np.uint32]] = {}
    for block, crcs, checksum in lines:
        if not isinstance(crcs, bytes) or len(crcs) % 4 or block_checksum(block, crcs) != checksum:
            raise _damaged_block(block)
        found[block] = np.frombuffer(crcs, "<u4").astype(np.uint32, copy=False)
    for block in blocks:
        if block not in found:
            raise _damaged_block(block)
    return found


def damaged_records(ids: Iterable[str], reason: str) -> StoreCorruptError:
    """Return the error for records that do not match their checksums.

    Example:
        >>> print(damaged_records(["a"], "the stored vector does not match its checksum"))
        the stored vector does not match its checksum: record 'a' is damaged; run imagesearch check ...
    """
    names = tuple(ids)
    what = f"record {names[0]!r} is" if len(names) == 1 else f"records {named_ids(names)} are"
    return StoreCorruptError(f"{reason}: {what} damaged; {CHECK}", ids=names)


def named_ids(ids: Sequence[str]) -> str:
    """Return the first few ids as text.

    Example:
        >>> named_ids(["a", "b", "c", "d", "e", "f", "g"])
        "'a', 'b', 'c', 'd', 'e' and 2 more"
    """
    names = ", ".join(repr(id) for id in ids[:_NAMED])
    return f"{names} and {len(ids) - _NAMED} more" if len(ids) > _NAMED else names


def checksums_of(
    blocks: Mapping[int, NDArray[np.uint32]], rows: NDArray[np.int64]
) -> NDArray[np.uint32]:
    """Return the checksums of rows from the blocks that hold them.

    Raises:
        StoreCorruptError: A block is too short.
    """
    expected = np.empty(len(rows), np.uint32)
    numbers = rows // BLOCK
    for block, crcs in blocks.items():
        here = np.flatnonzero(numbers == block)
        offsets = rows[here] - block * BLOCK
        if len(offsets) and offsets.max() >= len(crcs):
            raise _damaged_block(block)
        expected[here] = crcs[offsets]
    return expected


def _damaged_block(block: int) -> StoreCorruptError:
    return StoreCorruptError(
        f"the checksums of the vectors {block * BLOCK} to {block * BLOCK + BLOCK - 1} are missing "
        f"or damaged; {CHECK}"
    )


Entry = tuple[str, str, Any, int]
"""Name, kind, value and row, as the table ``fields`` has them."""


def field_sums(connection: sqlite3.Connection, name: str | None = None) -> dict[str, int]:
    """Compute the sums of all fields, or of one, from their entries.

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
                f"the filter entries of the field {field!r} have impossible rows; {CHECK}"
            )
        sums[field] += _checksum(kind, value) * (2 * rows + count)
    return {field: total % MODULUS for field, total in sums.items() if total % MODULUS}


def change_field_sums(
    connection: sqlite3.Connection, added: Iterable[Entry], removed: Iterable[Entry] = ()
) -> None:
    """Update the sums for entries that are added and removed; within a write transaction.

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
        {name: (before.get(name, 0) + change) % MODULUS for name, change in changes.items()},
    )


def write_field_sums(connection: sqlite3.Connection, sums: Mapping[str, int]) -> None:
    """Replace the sums of fields; within a write transaction."""
    connection.executemany(
        "INSERT OR REPLACE INTO field_sums VALUES (?, ?, ?)",
        ((name, total, values_checksum(name, total)) for name, total in sums.items()),
    )


def stored_field_sums(connection: sqlite3.Connection) -> dict[str, int]:
    """Return the stored sums of all fields that have entries.

    Raises:
        StoreCorruptError: One of them is damaged.
    """
    names = [name for (name,) in connection.execute("SELECT name FROM field_sums")]
    return {name: total for name, total in _stored(connection, names).items() if total}


def require_field_sums(connection: sqlite3.Connection, where: Filter, known: set[str]) -> None:
    """Verify the entries of the fields that a filter reads.

    Args:
        connection: In a transaction.
        where: The filter.
        known: Fields that were verified before; those of the filter are added.

    Raises:
        StoreCorruptError: Entries of a field are damaged.
    """
    for name in fields_of(where) - RESERVED_FIELDS - known:
        if field_sums(connection, name).get(name, 0) != stored_field_sum(connection, name):
            raise damaged_field(name)
        known.add(name)


def damaged_field(name: str) -> StoreCorruptError:
    """Return the error for a field whose entries do not match their checksum."""
    return StoreCorruptError(
        f"the filter entries of the field {name!r} do not match their checksum; {CHECK}"
    )


def stored_field_sum(connection: sqlite3.Connection, name: str) -> int:
    """Return the stored sum of a field; 0 if it never had entries.

    Raises:
        StoreCorruptError: The sum itself is damaged.
    """
    return _stored(connection, [name]).get(name, 0)


def _stored(connection: sqlite3.Connection, names: Iterable[str]) -> dict[str, int]:
    sums = {}
    # One by one: SQLite's JSON ends a name at a NUL.
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


def entry_checksums(kind: str, values: Sequence[Any]) -> NDArray[np.uint64]:
    """Return the checksums of entries of one kind.

    Example:
        >>> entry_checksums("n", [1, 1.0]).tolist()
        [3950597356, 3950597356]
    """
    start, crc32 = zlib.crc32(kind.encode()), zlib.crc32
    types = set(map(type, values))
    # Loops without a call for each value take a third of the time.
    if types == {str}:
        with suppress(UnicodeEncodeError):
            return np.array([crc32(value.encode(), start) for value in values], np.uint64)
    elif types == {int}:
        return np.array([crc32(b"%d" % value, start) for value in values], np.uint64)
    elif types == {float}:
        texts = [str(value if value % 1 else int(value)) for value in values]
        return np.array([crc32(text.encode(), start) for text in texts], np.uint64)
    return np.array([_checksum(kind, value) for value in values], np.uint64)


def _checksum(kind: str, value: object) -> int:
    # For SQLite 1 and 1.0 are one value, as are 0 and -0.0.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return zlib.crc32(f"{kind}{value}".encode("utf-8", "surrogatepass"))
