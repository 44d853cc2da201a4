"""Inspect an index on the disk without changing it."""

from __future__ import annotations

import sqlite3
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from imagesearch.stores.local import _schema as schema
from imagesearch.stores.local._connections import read_database, translated
from imagesearch.stores.local._graph_file import GraphState
from imagesearch.stores.local._paths import Layout, without_side_files

__all__ = ["GraphAge", "Inspection", "inspect_index"]


GraphAge: TypeAlias = Literal["none", "fresh", "behind", "damaged"]

# Operations of SQLite's virtual machine between two looks at the clock.
_LOOK_EVERY = 100_000


@dataclass(frozen=True, slots=True)
class Inspection:
    """The state of an index on the disk.

    Attributes:
        format: Version of the format on the disk.
        current_format: The version that this program writes.
        records: How many there are.
        size: Bytes of all its files.
        damage: What SQLite finds wrong with its database; empty if nothing.
        checked: Whether the database was looked through to its end in the time given.
        writer: Which process writes to it, such as ``process 4711``; empty if none does.
        graph: The state of the saved search graph.
        covered: Rows that the saved graph knows.
        rows: Rows there are, those of deleted records among them.
    """

    format: int
    current_format: int
    records: int
    size: int
    damage: str
    checked: bool
    writer: str
    graph: GraphAge
    covered: int
    rows: int


def inspect_index(path: Path, *, patience: float = 10.0) -> Inspection | None:
    """Look through an index; None where there is none.

    Args:
        path: Its folder.
        patience: Seconds after which the search for damage in the database stops.

    Raises:
        IncompatibleIndexError: The path holds something else, or a newer format.
        StoreCorruptError: The database is damaged so much that it cannot be read.
        StoreUnavailableError: It cannot be read.

    Example:
        >>> inspect_index(Path("no-such.idx")) is None
        True
    """
    layout = Layout(path.absolute())
    with translated(path), without_side_files(path):
        if not layout.exists():
            return None

        def read(connection: sqlite3.Connection) -> tuple[int, int, int, int, str, bool] | None:
            format = schema.check_format(connection, layout.folder)
            if not format:
                return None
            counts = connection.execute("SELECT generation, rows, live FROM state").fetchone()
            return format, *counts, *_damage(connection, patience)

        state = read_database(layout.database, read, read_only=True)
        if state is None:
            return None
        format, generation, rows, records, damage, checked = state
        graph, covered = _graph(layout, generation, rows)
        return Inspection(
            format=format,
            current_format=schema.FORMAT,
            records=records,
            size=sum(file.stat().st_size for file in layout.folder.iterdir() if file.is_file()),
            damage=damage,
            checked=checked,
            writer=_writer(layout.lock),
            graph=graph,
            covered=covered,
            rows=rows,
        )


def _damage(connection: sqlite3.Connection, patience: float) -> tuple[str, bool]:
    deadline = time.monotonic() + patience
    connection.set_progress_handler(lambda: time.monotonic() > deadline, _LOOK_EVERY)
    try:
        (answer,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_INTERRUPT:
            raise
        return "", False
    finally:
        connection.set_progress_handler(None, 0)
    return ("" if answer == "ok" else str(answer)), True


def _graph(layout: Layout, generation: int, rows: int) -> tuple[GraphAge, int]:
    if not layout.graph_state.exists():
        return "none", 0
    loaded = GraphState(layout).load()
    if loaded is None:
        return ("damaged" if GraphState(layout).current else "behind"), 0
    about, arrays, _ = loaded
    covered = len(arrays["node_of_row"])
    fresh = about.get("generation") == generation and covered == rows
    return ("fresh" if fresh else "behind"), covered


def _writer(lock: Path) -> str:
    """Name the process that writes; the lock's file is empty when it was given back."""
    try:
        with lock.open("rb") as file:
            owner = file.read(20).decode("ascii", "replace").strip()
            if not owner or _is_free(file.fileno()):
                return ""
    except OSError:
        return ""
    return f"process {owner}" if owner.isdigit() else "another process"


if sys.platform == "win32":

    def _is_free(descriptor: int) -> bool:
        """Believe what the file says: there, asking for the lock is taking it."""
        del descriptor
        return False
else:
    import fcntl

    def _is_free(descriptor: int) -> bool:
        # Shared, and only where a process has died in the lock: no writer is kept out by a look.
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return False
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        return True
