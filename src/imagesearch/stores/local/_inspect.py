"""Inspect an index on the disk without changing it, for `imagesearch doctor`."""

from __future__ import annotations

import importlib.util
import os
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from imagesearch._disk import check_disk
from imagesearch.protocols import VectorStore
from imagesearch.stores.local import _schema as schema
from imagesearch.stores.local._connections import RESTORE, read_database, translated
from imagesearch.stores.local._graph_file import GraphState
from imagesearch.stores.local._lock import writer_of
from imagesearch.stores.local._paths import Layout, without_side_files
from imagesearch.types import CheckResult, CheckStatus

__all__ = ["Inspection", "diagnose_index", "inspect_index"]


_GraphState: TypeAlias = Literal["none", "fresh", "behind", "damaged"]

_TOPIC = "store"
# Instructions of SQLite's virtual machine between two looks at the clock.
_CLOCK_INTERVAL = 100_000


@dataclass(frozen=True, slots=True)
class Inspection:
    """The state of an index on the disk.

    Attributes:
        format: The version of its format.
        current_format: The version that this program writes.
        records: The number of records.
        size: The size of all its files in bytes.
        damage: The first damage that SQLite finds in the database; empty if none.
        checked: Whether the whole database was checked in the time given.
        writer: The process that writes to it, such as ``process 4711``; empty if none.
        graph: The state of the saved search graph.
        covered: The number of rows in the saved graph.
        rows: The number of rows, including those of deleted records.
    """

    format: int
    current_format: int
    records: int
    size: int
    damage: str
    checked: bool
    writer: str
    graph: _GraphState
    covered: int
    rows: int


def inspect_index(path: Path, *, patience: float = 10.0) -> Inspection | None:
    """Inspect an index; returns None if there is none.

    Args:
        path: The folder of the index.
        patience: Seconds after which the check of the database stops.

    Raises:
        IncompatibleIndexError: The path holds something else, or a newer format.
        StoreCorruptError: The database is too damaged to be read.
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
            writer=writer_of(layout.lock),
            graph=graph,
            covered=covered,
            rows=rows,
        )


def diagnose_index(
    store: VectorStore, path: str | os.PathLike[str], engine: str, exact_below: int
) -> Iterator[CheckResult]:
    """Check an index, and open it; see `LocalStore.diagnose`.

    Args:
        store: The store, not open, and read-only.
        path: The folder of the index.
        engine: The store's option.
        exact_below: The store's option.
    """
    folder = Path(path)
    state = inspect_index(folder)
    if state is None:
        command = f"imagesearch add FOLDER --store {folder}"
        yield _result("info", f"there is no index at {folder} yet", command)
        yield from check_disk(_TOPIC, "a new index", folder)
        return
    if state.damage:
        yield _result("problem", f"{folder} is damaged: {state.damage}", RESTORE)
    with without_side_files(folder):
        meta = store.describe()
        if meta is not None:
            store.open(meta)
            store.count()
        store.close()
    if meta is not None:
        yield _result(
            "ok",
            f"{folder}: {state.records} images, {state.size / 1e6:.1f} MB, made with "
            f"{meta.embedding.name}, dim {meta.dim}",
        )
    if not state.checked:
        yield _result("info", f"the database of {folder} is too large for a full check here")
    if state.format < state.current_format:
        yield _result(
            "info",
            f"{folder} has format {state.format}; opening it for writing upgrades it to "
            f"{state.current_format}",
        )
    if state.writer:
        yield _result(
            "warning",
            f"{state.writer} is writing to {folder}: searches work, other writers are refused",
            "wait until it closes the index, or stop it",
        )
    yield _graph_result(state, engine, exact_below)
    yield from check_disk(_TOPIC, "the index", folder)


def _graph_result(state: Inspection, engine: str, exact_below: int) -> CheckResult:
    if state.records <= exact_below or engine == "exact":
        return _result("ok", "searches scan all vectors, which is exact")
    if not any(map(importlib.util.find_spec, ("usearch", "hnswlib"))):
        return _result(
            "info",
            f"searches scan all {state.records} vectors, which is exact and slow",
            'pip install "usearch>=2.26.6"',
        )
    match state.graph:
        case "fresh":
            return _result("ok", f"the search graph contains all {state.rows} vectors")
        case "behind":
            text = f"the search graph contains {state.covered} of {state.rows} vectors"
            return _result(
                "info", text, "nothing if few are missing; otherwise: imagesearch optimize"
            )
        case "damaged":
            text = "the saved search graph is damaged"
            return _result("warning", text, "rebuild it: imagesearch optimize")
        case "none":
            text = "there is no search graph yet"
            return _result("info", text, "build it: imagesearch optimize")


def _result(status: CheckStatus, text: str, remedy: str = "") -> CheckResult:
    return CheckResult(_TOPIC, status, text, remedy)


def _damage(connection: sqlite3.Connection, patience: float) -> tuple[str, bool]:
    deadline = time.monotonic() + patience
    connection.set_progress_handler(lambda: time.monotonic() > deadline, _CLOCK_INTERVAL)
    try:
        (answer,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_INTERRUPT:
            raise
        return "", False
    finally:
        connection.set_progress_handler(None, 0)
    return ("" if answer == "ok" else str(answer)), True


def _graph(layout: Layout, generation: int, rows: int) -> tuple[_GraphState, int]:
    if not layout.graph_state.exists():
        return "none", 0
    loaded = GraphState(layout).load()
    if loaded is None:
        return ("damaged" if GraphState(layout).current else "behind"), 0
    covered = len(loaded.arrays["node_of_row"])
    fresh = loaded.about.get("generation") == generation and covered == rows
    return ("fresh" if fresh else "behind"), covered
