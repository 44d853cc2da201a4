"""Notes of an index, each with a checksum."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from imagesearch.errors import StoreCorruptError
from imagesearch.stores.local._checksums import CHECK, values_checksum

__all__ = ["read_notes", "write_note"]


def read_notes(connection: sqlite3.Connection, *, checked: bool) -> dict[str, Any]:
    """Return all notes by name.

    Args:
        connection: In a transaction.
        checked: Whether the index has checksums.

    Raises:
        StoreCorruptError: A note is damaged.
    """
    if checked:
        notes = {}
        for name, text, checksum in connection.execute(
            "SELECT name, value, checksum FROM notes ORDER BY name"
        ):
            if values_checksum(name, text) != checksum:
                raise StoreCorruptError(f"the note {name!r} does not have its checksum; {CHECK}")
            notes[name] = json.loads(text)
        return notes
    # Before format 3 the table was made with the first note.
    exists = connection.execute(
        "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'notes'"
    ).fetchone()
    if not exists:
        return {}
    lines = connection.execute("SELECT name, value FROM notes ORDER BY name")
    return {name: json.loads(text) for name, text in lines}


def write_note(connection: sqlite3.Connection, name: str, text: str | None) -> None:
    """Replace a note by its JSON text, or remove it; within a write transaction."""
    connection.execute("UPDATE state SET version = version + 1")
    if text is None:
        connection.execute("DELETE FROM notes WHERE name = ?", (name,))
    else:
        connection.execute(
            "INSERT OR REPLACE INTO notes VALUES (?, ?, ?)",
            (name, text, values_checksum(name, text)),
        )
