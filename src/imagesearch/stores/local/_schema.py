"""The tables of an index: created, recognised, read, and sealed with checksums."""

from __future__ import annotations

import json
import secrets
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from imagesearch.errors import IncompatibleIndexError, StoreCorruptError, StoreUnavailableError
from imagesearch.stores.local._checksums import CHECK, values_checksum
from imagesearch.stores.local._connections import RESTORE
from imagesearch.stores.local._vectors import Dtype
from imagesearch.types import IndexMeta

__all__ = [
    "APPLICATION",
    "CHECKED",
    "EDIT",
    "FIELDS",
    "FORMAT",
    "READABLE",
    "RECORDS",
    "State",
    "altered_tables",
    "check_format",
    "create",
    "fill_about",
    "read_dtype",
    "read_identity",
    "read_meta",
    "read_state",
    "seal_state",
]


FORMAT = 3
"""Version of the format on disk, kept as SQLite's user_version."""

READABLE = 1
"""Formats from this one on can be read; writing needs the current one."""

CHECKED = 3
"""Formats from this one on have checksums."""

EDIT = 2**32
"""What a change of metadata adds to the version; all other writes add 1."""

APPLICATION = 0x696D6773
"""SQLite's application_id, "imgs"; databases of other programs have another."""

# records.row is the record's row in the vectors file, and no number is used twice in one
# generation: a replaced or deleted record leaves its row in `dead` until compaction.
# fields holds the filter entries: every top-level value with its kind, of tombstones too.
RECORDS = """
CREATE TABLE records (
    row INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    uri TEXT NOT NULL,
    digest TEXT NOT NULL,
    metadata TEXT NOT NULL,
    checksum INTEGER NOT NULL
);
"""
FIELDS = """
CREATE TABLE fields (
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    value NOT NULL,
    row INTEGER NOT NULL,
    PRIMARY KEY (name, kind, value, row)
) WITHOUT ROWID;
"""
# about never changes; it is apart from state, which is written with every commit, because a
# projection makes it megabytes large. state.dead_sum is the sum of the squares of row + 1 over
# the table dead, modulo 2^63. checksums.crcs are those of vectors, as little-endian uint32.
# field_sums.total is explained in field_sums.
OTHERS = """
CREATE TABLE about (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    identity TEXT NOT NULL,
    dtype TEXT NOT NULL,
    meta TEXT NOT NULL,
    checksum INTEGER NOT NULL
);
CREATE TABLE state (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    generation INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    live INTEGER NOT NULL,
    version INTEGER NOT NULL,
    dead_sum INTEGER NOT NULL,
    checksum INTEGER NOT NULL
);
CREATE TABLE dead (
    number INTEGER PRIMARY KEY,
    row INTEGER NOT NULL
);
CREATE TABLE checksums (
    block INTEGER PRIMARY KEY,
    crcs BLOB NOT NULL,
    checksum INTEGER NOT NULL
);
CREATE TABLE field_sums (
    name TEXT PRIMARY KEY,
    total INTEGER NOT NULL,
    checksum INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE notes (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    checksum INTEGER NOT NULL
);
"""

_TABLES = {
    statement.split()[2]: statement.strip()
    for statement in (RECORDS + FIELDS + OTHERS).split(";")
    if statement.strip()
}


@dataclass(frozen=True, slots=True)
class State:
    """The table ``state``, which changes with every write.

    Attributes:
        generation: Number of the vectors file; compaction starts the next.
        rows: Rows in the vectors file, tombstones included.
        live: Number of records.
        version: Grows with every write.
        dead_sum: Sum over the table ``dead``, see `dead_sum_of`; 0 before format 3.
        checked: Whether the index has checksums.
    """

    generation: int
    rows: int
    live: int
    version: int
    dead_sum: int
    checked: bool


def create(connection: sqlite3.Connection, meta: IndexMeta, dtype: Dtype) -> None:
    """Create the tables of an empty index, in one transaction.

    Args:
        connection: To an empty database, outside a transaction.
        meta: Meta of the index.
        dtype: How its vectors are stored.

    Raises:
        StoreUnavailableError: SQLite's write-ahead log cannot be created.
        sqlite3.Error: The tables cannot be created.
    """
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        # This is how SQLite reports a disk failure here.
        raise StoreUnavailableError(
            f"the index cannot be created: SQLite failed to begin its log (journal mode {mode}); is "
            "the disk full, or on a network? Repeat the call, or choose another disk"
        )
    connection.execute("BEGIN IMMEDIATE")
    for statement in _TABLES.values():
        connection.execute(statement)
    fill_about(connection, json.dumps(meta.to_dict(), ensure_ascii=False), dtype)
    connection.execute("INSERT INTO state VALUES (1, 1, 0, 0, 1, 0, 0)")
    seal_state(connection)
    connection.execute(f"PRAGMA application_id = {APPLICATION}")
    connection.execute(f"PRAGMA user_version = {FORMAT}")
    connection.execute("COMMIT")


def fill_about(connection: sqlite3.Connection, meta: str, dtype: str) -> None:
    """Write the table ``about``, with a new, unique identity."""
    values = (secrets.token_hex(8), dtype, meta)
    connection.execute(
        "INSERT INTO about VALUES (1, ?, ?, ?, ?)", (*values, values_checksum(*values))
    )


def check_format(connection: sqlite3.Connection, path: Path) -> int:
    """Return the format of a database; 0 if nothing was created in it yet.

    Raises:
        IncompatibleIndexError: Another program made it, or a newer version of this one.
        StoreCorruptError: It lacks the tables of its format.
    """
    (format,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if not tables and not application:
        return 0
    if application != APPLICATION:
        raise IncompatibleIndexError(
            f"{path} holds an index.sqlite of another program; choose another path"
        )
    if format > FORMAT:
        raise IncompatibleIndexError(
            f"the index at {path} has format {format}; this version of imagesearch reads formats "
            f"up to {FORMAT}: upgrade imagesearch-index, or build a new index"
        )
    if altered := altered_tables(connection, format):
        raise StoreCorruptError(
            f"the database of the index at {path} is damaged: it has format {format}, but not that "
            f"format's table {altered[0]!r}",
            remedy=RESTORE,
        )
    return int(format)


def altered_tables(connection: sqlite3.Connection, format: int) -> list[str]:
    """Return the names of the tables that differ from the format."""
    found = dict(connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'table'"))
    if format >= CHECKED:
        return [name for name, statement in _TABLES.items() if found.get(name) != statement]
    # The tables of these formats vary; the presence of ``about`` decides.
    return ["state"] if "about" in found or "state" not in found or format < READABLE else []


def read_state(connection: sqlite3.Connection, *, checked: bool = True) -> State:
    """Return the table ``state``.

    Args:
        connection: In a transaction.
        checked: Whether the index has checksums.

    Raises:
        StoreCorruptError: The state is missing or does not match its checksum.
    """
    more = ", dead_sum, checksum" if checked else ""
    line = connection.execute(
        f"SELECT generation, rows, live, version{more} FROM state"  # noqa: S608  # of two texts
    ).fetchone()
    if line is None or (checked and values_checksum(*line[:-1]) != line[-1]):
        raise StoreCorruptError(f"the state of the index does not match its checksum; {CHECK}")
    generation, rows, live, version = line[:4]
    return State(generation, rows, live, version, line[4] if checked else 0, checked)


def seal_state(connection: sqlite3.Connection) -> State:
    """Update the checksum of the state, as the last step of a write transaction."""
    values = connection.execute(
        "SELECT generation, rows, live, version, dead_sum FROM state"
    ).fetchone()
    connection.execute("UPDATE state SET checksum = ?", (values_checksum(*values),))
    generation, rows, live, version, dead_sum = values
    return State(generation, rows, live, version, dead_sum, checked=True)


def read_meta(connection: sqlite3.Connection, format: int) -> IndexMeta:
    """Return the meta of an index.

    Raises:
        IncompatibleIndexError: Its content is unsupported.
        StoreCorruptError: It is damaged.
    """
    if format >= CHECKED:
        text = _about(connection)[2]
    else:
        (text,) = connection.execute("SELECT meta FROM state").fetchone()
    return IndexMeta.from_json(text)


def read_dtype(connection: sqlite3.Connection, format: int) -> Dtype:
    """Return how the vectors of an index are stored; always float32 before format 2.

    Raises:
        StoreCorruptError: It is damaged.
    """
    if format < 2:
        return "float32"
    dtype: Dtype
    if format >= CHECKED:
        dtype = _about(connection)[1]  # type: ignore[assignment]  # looked at below
    else:
        (dtype,) = connection.execute("SELECT dtype FROM state").fetchone()
    if dtype not in get_args(Dtype):
        raise _damaged_about(f"dtype {dtype!r}")
    return dtype


def read_identity(connection: sqlite3.Connection, format: int) -> str:
    """Return the unique identity of an index; empty before format 3.

    Raises:
        StoreCorruptError: It is damaged.
    """
    return _about(connection)[0] if format >= CHECKED else ""


def _about(connection: sqlite3.Connection) -> tuple[str, str, str]:
    line = connection.execute("SELECT identity, dtype, meta, checksum FROM about").fetchone()
    if line is None or values_checksum(*line[:3]) != line[3]:
        raise _damaged_about("wrong checksum")
    identity, dtype, meta = line[:3]
    return identity, dtype, meta


def _damaged_about(reason: str) -> StoreCorruptError:
    return StoreCorruptError(
        f"the index's description of its embedder is damaged ({reason})", remedy=RESTORE
    )
