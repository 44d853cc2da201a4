"""Notes of an index, in a table that is made with the first of them."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

__all__ = ["read_notes", "write_note"]

# Made when it is needed, so that an index without notes stays readable for every version that
# knows its format, and a read-only one needs no migration.
_TABLE = "CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, value TEXT NOT NULL)"


def read_notes(connection: sqlite3.Connection) -> dict[str, Any]:
    """Return all notes by name."""
    exists = connection.execute(
        "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'notes'"
    ).fetchone()
    if not exists:
        return {}
    lines = connection.execute("SELECT name, value FROM notes ORDER BY name")
    return {name: json.loads(text) for name, text in lines}


def write_note(connection: sqlite3.Connection, name: str, text: str | None) -> None:
    """Replace a note by its JSON text, or remove it; within a write transaction."""
    connection.execute(_TABLE)
    if text is None:
        connection.execute("DELETE FROM notes WHERE name = ?", (name,))
    else:
        connection.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", (name, text))
