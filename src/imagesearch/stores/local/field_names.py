"""Field names: what filters can ask for, read from the database alone."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from imagesearch.stores.local._connections import read_database
from imagesearch.stores.local.failures import translated
from imagesearch.stores.local.layout import Layout
from imagesearch.stores.local.schema import check_format
from imagesearch.stores.local.side_files import without_side_files

__all__ = ["field_names"]

# Jumps from name to name in the table's order, whatever the number of records.
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

    Those of records that were deleted lately may be among them. Nothing is loaded but the names,
    so this is quick for an index of any size.

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
