"""Database: what the store asks of SQLite, and SQLite's errors in the library's words."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from imagesearch import Filter
from imagesearch.errors import StoreCorruptError, StoreUnavailableError
from imagesearch.filters import matches

__all__ = ["Database"]

_TABLES = """BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS imagesearch_meta (only INTEGER PRIMARY KEY, meta TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS imagesearch_notes (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS imagesearch_records (id TEXT PRIMARY KEY, uri TEXT NOT NULL,
    digest TEXT NOT NULL, metadata TEXT NOT NULL, vector BLOB NOT NULL);
"""


class Database:
    """A SQLite file that may hold other tables too.

    Each call opens it anew and is one transaction, so any number of threads and processes may use
    the file at once.

    Args:
        path: The file.
        timeout: Seconds to wait while another process writes.
    """

    def __init__(self, path: str | os.PathLike[str], timeout: float) -> None:
        self.path = Path(path).absolute()
        self._timeout = timeout

    def meta(self) -> Any:
        """Return what `create` was given, or None if there are no tables of ours."""
        if not self.path.exists():
            return None
        with self._connected("rw") as connection:
            if not connection.execute("PRAGMA table_info(imagesearch_meta)").fetchall():
                return None
            [text] = connection.execute("SELECT meta FROM imagesearch_meta").fetchone()
            return json.loads(text)

    def create(self, meta: Any) -> None:
        """Make our tables; if another process was first, its tables and its meta stay."""
        with self._connected("rwc") as connection:
            connection.executescript(_TABLES)
            row = [json.dumps(meta)]
            connection.execute("INSERT OR IGNORE INTO imagesearch_meta VALUES (1, ?)", row)

    def read(self, question: str, *values: object, where: Filter | None = None) -> list[Any]:
        """Return all rows; ``matches(id, uri, metadata)`` in the question stands for `where`."""

        def matching(id: str, uri: str, metadata: str) -> bool:
            return where is None or matches(where, json.loads(metadata), id=id, uri=uri)

        with self._connected("rw") as connection:
            connection.create_function("matches", 3, matching)
            return connection.execute(question, values).fetchall()

    def write(self, statement: str, rows: Iterable[tuple[object, ...]]) -> int:
        """Execute a statement for each row, all or nothing; return how many records it changed."""
        with self._connected("rw") as connection:
            return connection.executemany(statement, rows).rowcount

    @contextmanager
    def _connected(self, mode: str) -> Iterator[sqlite3.Connection]:
        place = f"{self.path.as_uri()}?mode={mode}"
        try:
            # The connection itself is a context manager too: it commits, or rolls back.
            with closing(sqlite3.connect(place, self._timeout, uri=True)) as connection, connection:
                yield connection
        except sqlite3.OperationalError as error:
            raise StoreUnavailableError(
                f"{self.path} cannot be used now ({error}): check the folder, its permissions and "
                "the space on the disk, and whether another process has been writing for long"
            ) from error
        except sqlite3.DatabaseError as error:
            raise StoreCorruptError(
                f"{self.path} is damaged or no SQLite file ({error}): restore a backup, or choose "
                "another path"
            ) from error
