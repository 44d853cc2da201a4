"""The tables of an index, and how older ones become newer ones."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from imagesearch.errors import IncompatibleIndexError
from imagesearch.stores.local.encoding import Dtype
from imagesearch.types import IndexMeta

__all__ = [
    "FIELDS",
    "FORMAT",
    "READABLE",
    "RECORDS",
    "check_format",
    "create",
    "migrate",
    "read_dtype",
    "read_meta",
]

FORMAT = 2
"""Version of the format on disk, kept as SQLite's user_version."""

READABLE = 1
"""Formats from this one on can be read as they are; only writing needs the present one."""

# "imgs": tells our databases from those of other programs.
_APPLICATION = 0x696D6773

# records.row is the record's row in the vectors file, and no number is used twice in one
# generation: a replaced or deleted record leaves its row in `dead` until compaction.
# fields holds what filters read: every top-level value with its kind, of dead rows too.
RECORDS = """
CREATE TABLE records (
    row INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    uri TEXT NOT NULL,
    digest TEXT NOT NULL,
    metadata TEXT NOT NULL
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
_OTHERS = """
CREATE TABLE state (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    meta TEXT NOT NULL,
    generation INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    live INTEGER NOT NULL,
    version INTEGER NOT NULL,
    dtype TEXT NOT NULL DEFAULT 'float32'
);
CREATE TABLE dead (
    number INTEGER PRIMARY KEY,
    row INTEGER NOT NULL
);
"""

# MIGRATIONS[n] turns format n + 1 into n + 2.
MIGRATIONS: tuple[str, ...] = (
    # How vectors are kept became a choice.
    "ALTER TABLE state ADD COLUMN dtype TEXT NOT NULL DEFAULT 'float32'",
)


def create(connection: sqlite3.Connection, meta: IndexMeta, dtype: Dtype) -> None:
    """Make the tables of an empty index, in one transaction.

    Args:
        connection: To an empty database, outside a transaction.
        meta: What the index holds.
        dtype: How its vectors are kept.
    """
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("BEGIN IMMEDIATE")
    for statement in (RECORDS + FIELDS + _OTHERS).split(";"):
        connection.execute(statement)
    connection.execute(
        "INSERT INTO state VALUES (1, ?, 1, 0, 0, 1, ?)",
        (json.dumps(meta.to_dict(), ensure_ascii=False), dtype),
    )
    connection.execute(f"PRAGMA application_id = {_APPLICATION}")
    connection.execute(f"PRAGMA user_version = {FORMAT}")
    connection.execute("COMMIT")


def check_format(connection: sqlite3.Connection, path: Path) -> int:
    """Return the format of a database; 0 when nothing was created in it yet.

    Raises:
        IncompatibleIndexError: Another program made it, or a newer version of this one.
    """
    (format,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if not tables and not application:
        return 0
    if application != _APPLICATION:
        raise IncompatibleIndexError(
            f"{path} holds an index.sqlite of another program; choose another path"
        )
    if format > FORMAT:
        raise IncompatibleIndexError(
            f"the index at {path} has format {format}; this version of imagesearch reads formats "
            f"up to {FORMAT}: upgrade imagesearch-index, or build a new index"
        )
    return int(format)


def migrate(connection: sqlite3.Connection, format: int) -> None:
    """Bring a database to the present format, one step after the other."""
    for number in range(format, FORMAT):
        connection.execute("BEGIN IMMEDIATE")
        for statement in MIGRATIONS[number - 1].split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {number + 1}")
        connection.execute("COMMIT")


def read_meta(connection: sqlite3.Connection) -> IndexMeta:
    """Return the meta of an index."""
    (text,) = connection.execute("SELECT meta FROM state").fetchone()
    return IndexMeta.from_json(text)


def read_dtype(connection: sqlite3.Connection, format: int) -> Dtype:
    """Return how the vectors of an index are kept; before format 2 there was one way."""
    if format < 2:
        return "float32"
    dtype: Dtype
    (dtype,) = connection.execute("SELECT dtype FROM state").fetchone()
    return dtype
