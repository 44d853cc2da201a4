"""Writer: appends vectors, then commits what they belong to."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from typing import cast

import numpy as np
from numpy.typing import NDArray

from imagesearch.stores.local.database import Database
from imagesearch.stores.local.encoding import Encoding
from imagesearch.stores.local.layout import Layout, sync_folder
from imagesearch.stores.local.schema import FIELDS, RECORDS
from imagesearch.stores.local.sql import field_entries
from imagesearch.stores.local.vectors_file import VectorsFile, map_vectors
from imagesearch.types import RecordBatch

__all__ = ["Writer"]

# Compaction copies all that is left, so it waits until a third of the file is waste.
_WASTE_ROWS = 1000
_WASTE_SHARE = 1 / 3
_COPY_BYTES = 16 * 2**20


_RENUMBERING = """
CREATE TABLE numbers (old INTEGER PRIMARY KEY, new INTEGER NOT NULL);
INSERT INTO numbers SELECT row, row_number() OVER (ORDER BY row) - 1 FROM records;
ALTER TABLE records RENAME TO old_records;
ALTER TABLE fields RENAME TO old_fields;
{tables}
INSERT INTO records SELECT new, id, uri, digest, metadata
    FROM old_records JOIN numbers ON old = row ORDER BY new;
INSERT INTO fields SELECT name, kind, value, new
    FROM old_fields JOIN numbers ON old = row ORDER BY name, kind, value, new;
DROP TABLE old_records;
DROP TABLE old_fields;
DROP TABLE numbers;
DELETE FROM dead
"""


class Writer:
    """The one that changes an index; made while the writer's lock is held.

    The order makes every commit whole: vectors reach the disk first, where nothing refers to them
    yet; one SQLite transaction then makes them part of the index. A crash in between leaves a
    tail that the next append overwrites.

    Args:
        layout: Where the files are.
        database: Connections.
        dim: Numbers in a vector.
        encoding: How they are kept.
    """

    def __init__(self, layout: Layout, database: Database, dim: int, encoding: Encoding) -> None:
        self._layout = layout
        self._database = database
        self._dim, self._encoding = dim, encoding
        self._row_bytes = dim * encoding.stored.itemsize
        with database.reading() as connection:
            (self._generation,) = connection.execute("SELECT generation FROM state").fetchone()
        path = layout.vectors(self._generation, encoding)
        layout.remove_leftovers(path)
        self._file = VectorsFile(path, self._row_bytes)

    def upsert(self, batch: RecordBatch) -> None:
        """Insert or replace; on the disk when it returns.

        Args:
            batch: As `check_batch` gives it.

        Raises:
            StoreRequestError: The index cannot keep such a vector; nothing was written.
            OSError, sqlite3.Error: Nothing was written.
        """
        vectors = cast(NDArray[np.float32], batch.vectors)
        encoded = self._encoding.encode(vectors, batch.ids)
        texts = [
            json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
            for fields in batch.metadata
        ]
        with self._database.reading() as connection:
            (first,) = connection.execute("SELECT rows FROM state").fetchone()
        self._file.append(first, encoded)
        numbers = range(first, first + len(batch.ids))
        with self._database.writing() as connection:
            replaced = _bury(connection, batch.ids)
            connection.executemany(
                "INSERT INTO records VALUES (?, ?, ?, ?, ?)",
                zip(numbers, batch.ids, batch.uris, batch.digests, texts, strict=True),
            )
            # In the order of the key, so that neighbours land on the same page.
            entries = sorted(
                (
                    (name, kind, value, row)
                    for row, fields in zip(numbers, batch.metadata, strict=True)
                    for name, kind, value in field_entries(fields)
                ),
                key=lambda entry: entry[:2],
            )
            connection.executemany("INSERT INTO fields VALUES (?, ?, ?, ?)", entries)
            connection.execute(
                "UPDATE state SET rows = rows + ?, live = live + ?, version = version + 1",
                (len(batch.ids), len(batch.ids) - replaced),
            )

    def delete(self, ids: Sequence[str]) -> int:
        """Delete records; returns how many existed.

        Raises:
            sqlite3.Error: Nothing was deleted.
        """
        with self._database.writing() as connection:
            gone = _bury(connection, ids)
            if gone:
                connection.execute(
                    "UPDATE state SET live = live - ?, version = version + 1", (gone,)
                )
        return gone

    def wasteful(self) -> bool:
        """Tell whether compaction is worth its while."""
        with self._database.reading() as connection:
            rows, live = connection.execute("SELECT rows, live FROM state").fetchone()
        dead = rows - live
        return bool(dead >= _WASTE_ROWS and dead >= _WASTE_SHARE * rows)

    def compact(self) -> NDArray[np.int64]:
        """Write the live rows to the next generation and switch to it in one commit.

        Returns:
            For each old row its new number, or -1 if it was dead.

        Raises:
            OSError, sqlite3.Error: Nothing has changed.
        """
        with self._database.reading() as connection:
            rows, generation = connection.execute("SELECT rows, generation FROM state").fetchone()
            kept = np.fromiter(
                (row for (row,) in connection.execute("SELECT row FROM records ORDER BY row")),
                np.int64,
            )
        path = self._layout.vectors(generation + 1, self._encoding)
        following = VectorsFile(path, self._row_bytes)
        try:
            before = self._layout.vectors(generation, self._encoding)
            old = map_vectors(before, rows, self._dim, self._encoding).rows
            step = max(1, _COPY_BYTES // self._row_bytes)
            for first in range(0, len(kept), step):
                following.append(first, old[kept[first : first + step]])
            sync_folder(self._layout.folder)
            with self._database.writing() as connection:
                _renumber(connection)
                connection.execute(
                    "UPDATE state SET generation = generation + 1, rows = live, "
                    "version = version + 1"
                )
        except BaseException:
            following.close()
            self._remove_unless_current(generation + 1)
            raise
        self._file.close()
        self._file = following
        self._generation = generation + 1
        self._layout.remove_leftovers(path)
        new = np.full(rows, -1, np.int64)
        new[kept] = np.arange(len(kept))
        return new

    def close(self) -> None:
        """Close the vectors file."""
        self._file.close()

    def _remove_unless_current(self, generation: int) -> None:
        # A commit that failed to say so may still have happened: what the database says counts.
        with suppress(OSError, sqlite3.Error), self._database.reading() as connection:
            (current,) = connection.execute("SELECT generation FROM state").fetchone()
            if current != generation:
                self._layout.vectors(generation, self._encoding).unlink()


def _bury(connection: sqlite3.Connection, ids: Sequence[str]) -> int:
    """Take records out and remember their rows as dead; return how many there were."""
    wanted = json.dumps(list(ids), ensure_ascii=False)
    rows = connection.execute(
        "SELECT row FROM records WHERE id IN (SELECT value FROM json_each(?))", (wanted,)
    ).fetchall()
    connection.executemany("INSERT INTO dead (row) VALUES (?)", rows)
    connection.executemany("DELETE FROM records WHERE row = ?", rows)
    return len(rows)


def _renumber(connection: sqlite3.Connection) -> None:
    """Give the live rows the numbers that they have in the next generation."""
    for statement in _RENUMBERING.format(tables=RECORDS + FIELDS).split(";"):
        connection.execute(statement)
