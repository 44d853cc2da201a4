"""Older formats of an index become the present one, step by step."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable

from imagesearch.stores.local._checksums import (
    append_vector_checksums,
    dead_sum_of,
    record_checksum,
    values_checksum,
    vector_checksums,
)
from imagesearch.stores.local._field_sums import field_sums, write_field_sums
from imagesearch.stores.local._verification import impossible_rows
from imagesearch.stores.local.encoding import Encoding
from imagesearch.stores.local.layout import Layout
from imagesearch.stores.local.schema import (
    FORMAT,
    OTHERS,
    RECORDS,
    fill_about,
    read_dtype,
    read_meta,
    seal_state,
)
from imagesearch.stores.local.vectors_file import map_vectors

__all__ = ["MIGRATIONS", "migrate"]

_logger = logging.getLogger("imagesearch")

_COPY_BYTES = 16 * 2**20


def migrate(connection: sqlite3.Connection, format: int, layout: Layout) -> None:
    """Bring a database to the present format, each step in one transaction.

    Args:
        connection: Outside a transaction; the writer's lock is held.
        format: The one that it has, ≥ 1.
        layout: Where its vectors are.

    Raises:
        StoreCorruptError: The vectors file is shorter than its rows.
        sqlite3.Error, OSError: It cannot be changed.
    """
    for number in range(format, FORMAT):
        connection.execute("BEGIN IMMEDIATE")
        try:
            MIGRATIONS[number - 1](connection, layout)
            connection.execute(f"PRAGMA user_version = {number + 1}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def _add_dtype(connection: sqlite3.Connection, layout: Layout) -> None:
    """How vectors are kept became a choice."""
    del layout
    connection.execute("ALTER TABLE state ADD COLUMN dtype TEXT NOT NULL DEFAULT 'float32'")


def _add_checksums(connection: sqlite3.Connection, layout: Layout) -> None:
    """Everything got a checksum; of what is damaged already, only impossible vectors are known."""
    meta, dtype = read_meta(connection, 2), read_dtype(connection, 2)
    (text, generation, rows, live, version) = connection.execute(
        "SELECT meta, generation, rows, live, version FROM state"
    ).fetchone()
    _logger.info("computing checksums for the %d records of %s", live, layout.folder)
    # Under their old names they would stand in the way; indexes go with the tables.
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema")]
    old = [name for name in ("records", "state", "dead", "notes") if name in tables]
    for name in old:
        connection.execute(f"ALTER TABLE {name} RENAME TO old_{name}")
    for statement in (RECORDS + OTHERS).split(";"):
        connection.execute(statement)
    connection.executemany(
        "INSERT INTO records VALUES (?, ?, ?, ?, ?, ?)",
        (
            (*line, record_checksum(*line))
            for line in connection.execute(
                "SELECT row, id, uri, digest, metadata FROM old_records ORDER BY row"
            )
        ),
    )
    if "notes" in old:
        notes = connection.execute("SELECT name, value FROM old_notes").fetchall()
        connection.executemany(
            "INSERT INTO notes VALUES (?, ?, ?)",
            [(*note, values_checksum(*note)) for note in notes],
        )
    connection.execute("INSERT INTO dead SELECT number, row FROM old_dead")
    dead = dead_sum_of(row for (row,) in connection.execute("SELECT row FROM dead"))
    write_field_sums(connection, field_sums(connection))
    fill_about(connection, text, dtype)
    connection.execute(
        "INSERT INTO state VALUES (1, ?, ?, ?, ?, ?, 0)",
        (generation, rows, live, version + 1, dead),
    )
    seal_state(connection)
    encoding = Encoding(dtype, meta.metric)
    stored = map_vectors(layout.vectors(generation, encoding), rows, meta.dim, encoding)
    step = max(1, _COPY_BYTES // max(1, meta.dim * encoding.stored.itemsize))
    for first in range(0, rows, step):
        some = stored.rows[first : first + step]
        crcs = vector_checksums(some)
        impossible = impossible_rows(some, encoding)
        # No vector has this one, so that it is named when it is read.
        crcs[impossible] ^= 0xFFFFFFFF
        append_vector_checksums(connection, first, crcs)
    for name in old:
        connection.execute(f"DROP TABLE old_{name}")


MIGRATIONS: tuple[Callable[[sqlite3.Connection, Layout], None], ...] = (
    _add_dtype,
    _add_checksums,
)
"""MIGRATIONS[n] turns format n + 1 into n + 2."""
