"""Check all files of an index for damage, without changing anything."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagesearch.errors import StoreCorruptError, StoreError
from imagesearch.protocols import CheckProgress
from imagesearch.stores.local import _schema as schema
from imagesearch.stores.local._checksums import (
    BLOCK,
    dead_sum_of,
    field_sums,
    named_ids,
    record_checksum,
    stored_field_sums,
    values_checksum,
)
from imagesearch.stores.local._connections import connect_to_read, translated
from imagesearch.stores.local._graph_file import GraphState
from imagesearch.stores.local._paths import Layout, without_side_files
from imagesearch.stores.local._rows import ids_of, metadata_of
from imagesearch.stores.local._schema import State
from imagesearch.stores.local._sql import field_entries
from imagesearch.stores.local._vectors import Encoding
from imagesearch.stores.local._verification import (
    impossible_rows,
    lost_commits,
    match_checksums,
    read_block,
    read_marker,
)
from imagesearch.types import CheckResult

__all__ = ["Damage", "check_index", "examine"]

_BACKUP = "restore the index from a backup, or build a new one"
_REPAIR = "imagesearch check --repair"
_FOLDER = "restore the whole folder from a backup, or accept"
_REEMBED = (
    "imagesearch check --repair embeds those again whose files exist; with --remove it removes the "
    "others from the index"
)
_REMOVE = (
    "imagesearch check --repair restores records of which an intact copy exists; with --remove it "
    "removes the others; or restore the index from a backup"
)
_BATCH = 2000
_HASH = 2**64


@dataclass(slots=True)
class Damage:
    """What `repair_index` has to repair.

    Attributes:
        state: Whether the table ``state`` contradicts the other tables.
        dead: Whether the table ``dead`` differs from the rows without a record.
        records: Rows of records that do not match their checksums.
        missing: Rows and ids of records that only SQLite's index has.
        fields: Whether filter entries differ from the metadata.
        blocks: Blocks of checksums that are damaged or missing.
        vectors: Rows of records whose vectors are damaged.
        notes: Names of damaged notes.
        marker: Whether ``last-commit`` contradicts the database.
        graph: Whether the saved graph is damaged.
    """

    state: bool = False
    dead: bool = False
    records: list[int] = field(default_factory=list)
    missing: list[tuple[int, str]] = field(default_factory=list)
    fields: bool = False
    blocks: list[int] = field(default_factory=list)
    vectors: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    marker: bool = False
    graph: bool = False


@dataclass(frozen=True, slots=True)
class _Index:
    connection: sqlite3.Connection
    layout: Layout
    state: State
    dim: int
    encoding: Encoding
    damage: Damage

    @property
    def vectors(self) -> Path:
        return self.layout.vectors(self.state.generation, self.encoding)


def _ok(topic: str, text: str) -> CheckResult:
    return CheckResult(topic, "ok", text)


def _info(topic: str, text: str) -> CheckResult:
    return CheckResult(topic, "info", text)


def _problem(topic: str, text: str, remedy: str, ids: Sequence[str] = ()) -> CheckResult:
    return CheckResult(topic, "problem", text, remedy, tuple(ids))


def check_index(layout: Layout, progress: CheckProgress | None) -> Iterator[CheckResult]:
    """Check an index; see `LocalStore.check`."""
    with translated(layout.folder), without_side_files(layout.folder):
        try:
            if not layout.exists():
                raise StoreError(f"there is no index at {layout.folder}")
            connection, _ = connect_to_read(layout.database, read_only=True)
            with translated(layout.folder), closing(connection):
                connection.execute("BEGIN")
                try:
                    yield from examine(connection, layout, progress)
                finally:
                    # Pages of two states look like damage.
                    connection.require_settled()
        except StoreCorruptError as error:
            yield _problem("database", str(error), _BACKUP, error.ids)


def examine(
    connection: sqlite3.Connection, layout: Layout, progress: CheckProgress | None
) -> Generator[CheckResult, None, Damage]:
    """Check an index in one transaction, and return what is damaged.

    Args:
        connection: In a transaction.
        layout: Where the files are.
        progress: Called with the number of rows that were checked.

    Raises:
        StoreCorruptError, sqlite3.Error: The rest cannot be checked.
        IncompatibleIndexError: Another program made it, or a newer version of this one.
    """
    damage = Damage()
    connection.text_factory = _lenient
    format = schema.check_format(connection, layout.folder)
    meta, dtype = schema.read_meta(connection, format), schema.read_dtype(connection, format)
    yield from _structure(connection, format)
    state = yield from _state(connection, layout, format, damage)
    index = _Index(connection, layout, state, meta.dim, Encoding(dtype, meta.metric), damage)
    alive = yield from _records(index, progress)
    yield from _vectors(index, alive, progress)
    if state.checked:
        yield from _notes(connection, damage)
    yield from _graph(layout, state, damage)
    yield from _leftovers(layout, index.vectors.name)
    return damage


def _structure(connection: sqlite3.Connection, format: int) -> Iterator[CheckResult]:
    if format < schema.CHECKED:
        yield CheckResult(
            "database",
            "warning",
            f"format {format} has no checksums: most damage cannot be detected",
            f"open it once for writing, or run {_REPAIR}, to compute checksums",
        )
    errors = [str(text) for (text,) in connection.execute("PRAGMA integrity_check(5)")]
    if errors != ["ok"]:
        yield _problem("database", f"SQLite reports damage: {'; '.join(errors)}", _REPAIR)
    else:
        yield _ok("database", f"SQLite reports no damage; format {format}")
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    if mode != "wal":
        yield _problem("database", f"its journal mode must be wal, got {mode}", _REPAIR)


def _state(
    connection: sqlite3.Connection, layout: Layout, format: int, damage: Damage
) -> Generator[CheckResult, None, State]:
    checked = format >= schema.CHECKED
    try:
        state = schema.read_state(connection, checked=checked)
    except StoreCorruptError as error:
        damage.state = True
        state = derived_state(connection, layout)
        yield _problem("database", str(error), _REPAIR)
    if not checked:
        return state
    commit, name = read_marker(layout.marker), layout.marker.name
    damage.marker = True
    if commit is None:
        yield CheckResult(
            "commit",
            "warning",
            f"{name} is missing or damaged: a lost write-ahead log would not be noticed",
            f"the next write makes it again, as does {_REPAIR}",
        )
    elif commit.identity != schema.read_identity(connection, format):
        remedy = f"{_FOLDER} the database with {_REPAIR}"
        yield _problem("commit", f"{name} belongs to another index", remedy)
    elif commit.version > state.version:
        text = str(lost_commits(layout.folder, commit, state))
        yield _problem("commit", text, f"{_FOLDER} the older state with {_REPAIR}")
    else:
        damage.marker = False
        yield _ok("commit", f"the database has version {state.version}, the last acknowledged one")
    return state


def derived_state(connection: sqlite3.Connection, layout: Layout) -> State:
    """Return the state that follows from the other tables, ``last-commit`` and the folder."""
    (live, highest) = connection.execute("SELECT count(*), max(row) FROM records").fetchone()
    (rows,) = connection.execute("SELECT total(length(crcs) / 4) FROM checksums").fetchone()
    generations = [
        int(path.name.split("-")[1].split(".")[0]) for path in layout.folder.glob("vectors-*.*")
    ]
    line = connection.execute("SELECT version FROM state").fetchone()
    commit = read_marker(layout.marker)
    known = [value for (value,) in [line or (1,)] if isinstance(value, int) and 0 < value < 2**62]
    version = max([1, *known, *([commit.version] if commit is not None else [])])
    rows = max(int(rows), -1 if highest is None else highest + 1)
    dead = dead_sum_of(row for (row,) in connection.execute("SELECT row FROM dead"))
    return State(max(generations, default=1), rows, live, version, dead, checked=True)


def _records(
    index: _Index, progress: CheckProgress | None
) -> Generator[CheckResult, None, NDArray[np.bool_]]:
    """Check records, deleted rows and filter entries; return which rows have a record."""
    connection, state, damage = index.connection, index.state, index.damage
    alive = np.zeros(state.rows, np.bool_)
    entries = np.zeros(state.rows, np.uint64)
    wrong: list[str] = []
    outside: list[str] = []
    columns = "row, id, uri, digest, metadata" + (", checksum" if state.checked else "")
    # NOT INDEXED reads the table itself: SQLite's index may be damaged.
    lines = connection.execute(f"SELECT {columns} FROM records NOT INDEXED ORDER BY row")  # noqa: S608  # of two texts
    count = 0
    for line in lines:
        count += 1
        row, id = line[:2]
        if progress is not None and not count % _BATCH:
            progress(count, 2 * max(1, state.live))
        if not isinstance(row, int) or not 0 <= row < state.rows:
            outside.append(str(id))
            damage.records.append(row)
            continue
        alive[row] = True
        entries_of_row = _entries_of(line, checked=state.checked)
        if entries_of_row is None:
            wrong.append(str(id))
            damage.records.append(row)
        else:
            entries[row] = entries_of_row
    if wrong or outside:
        names = (*wrong, *outside)
        text = f"{len(names)} of {count} records are damaged: {named_ids(names)}"
        yield _problem("records", text, _REMOVE, names)
    indexed = dict(connection.execute("SELECT row, id FROM records ORDER BY id").fetchall())
    missing = [(row, id) for row, id in indexed.items() if not _has(alive, row)]
    if missing or count != state.live:
        damage.missing = missing
        damage.state = damage.state or count != state.live
        names = tuple(str(id) for _, id in missing)
        text = f"the index counts {state.live} records, but its database holds {count}"
        text += f"; missing: {named_ids(names)}" if names else ""
        yield _problem("records", text, _REMOVE, names)
    elif not (wrong or outside):
        yield _ok("records", f"{count} records are intact")
    yield from _dead(connection, state, alive, damage)
    yield from _fields(connection, state, alive, entries, damage)
    return alive


def _has(alive: NDArray[np.bool_], row: object) -> bool:
    return isinstance(row, int) and 0 <= row < len(alive) and bool(alive[row])


def _lenient(text: bytes) -> str:
    # The checksum differs in any case; the rest of the record may still name it.
    return text.decode("utf-8", "surrogateescape")


def _entries_of(line: Sequence[Any], *, checked: bool) -> np.uint64 | None:
    """Return the hash of the filter entries that a record should have; None if it is damaged."""
    if checked and record_checksum(*line[:5]) != line[5]:
        return None
    try:
        metadata = metadata_of(line[1], line[4])
        return np.uint64(sum(map(hash, field_entries(metadata))) % _HASH)
    except (StoreCorruptError, AttributeError):
        return None


def _dead(
    connection: sqlite3.Connection, state: State, alive: NDArray[np.bool_], damage: Damage
) -> Iterator[CheckResult]:
    dead = [row for (row,) in connection.execute("SELECT row FROM dead")]
    rows = {row for row in dead if isinstance(row, int)}
    expected = set(np.flatnonzero(~alive).tolist())
    summed = dead_sum_of(rows) if state.checked else 0
    if len(rows) != len(dead) or rows != expected or summed != state.dead_sum:
        damage.dead = True
        text = f"it lists {len(dead)} deleted rows, but {len(expected)} rows have no record"
        yield _problem("database", text, _REPAIR)


def _fields(
    connection: sqlite3.Connection,
    state: State,
    alive: NDArray[np.bool_],
    entries: NDArray[np.uint64],
    damage: Damage,
) -> Iterator[CheckResult]:
    found = np.zeros(state.rows, np.uint64)
    strange = 0
    cursor = connection.execute("SELECT row, name, kind, value FROM fields")
    while lines := cursor.fetchmany(_BATCH):
        sound = [line for line in lines if isinstance(line[0], int) and 0 <= line[0] < state.rows]
        strange += len(lines) - len(sound)
        hashes = np.array([hash(line[1:]) % _HASH for line in sound], np.uint64)
        np.add.at(found, np.array([line[0] for line in sound], np.int64), hashes)
    alive = alive.copy()
    alive[[row for row in damage.records if _has(alive, row)]] = False
    wrong = np.flatnonzero((found != entries) & alive)
    damage.fields = True
    if len(wrong) or strange:
        ids = ids_of(connection, wrong.tolist())
        text = f"filter entries differ from the metadata of {len(wrong)} records"
        yield _problem("filters", text + (f": {named_ids(ids)}" if ids else ""), _REPAIR, ids)
        return
    try:
        matches = not state.checked or field_sums(connection) == stored_field_sums(connection)
    except StoreCorruptError:
        matches = False
    if not matches:
        yield _problem("filters", "the checksums of filter entries are damaged", _REPAIR)
        return
    damage.fields = False
    yield _ok("filters", "filter entries match the metadata")


def _vectors(
    index: _Index, alive: NDArray[np.bool_], progress: CheckProgress | None
) -> Iterator[CheckResult]:
    connection, state, damage = index.connection, index.state, index.damage
    path, encoding = index.vectors, index.encoding
    row_bytes = index.dim * encoding.stored.itemsize
    size = path.stat().st_size if path.exists() else 0
    present = min(state.rows, size // row_bytes)
    if present < state.rows:
        text = f"{path.name} must have {state.rows * row_bytes} bytes, got {size}"
        yield _problem("vectors", text, _REEMBED)
    stored = (
        np.memmap(path, encoding.stored, "r", shape=(present, index.dim)).view(np.ndarray)
        if present
        else np.empty((0, index.dim), encoding.stored)
    )
    damaged: list[int] = (np.flatnonzero(alive[present:]) + present).tolist()
    live = int(np.count_nonzero(alive))
    for block in range(-(-state.rows // BLOCK)):
        first = block * BLOCK
        rows = np.flatnonzero(alive[first : min(first + BLOCK, present)]) + first
        vectors = stored[rows]
        if state.checked:
            expected, sound = read_block(connection, block, stored[first : first + BLOCK])
            if not sound:
                damage.blocks.append(block)
            wrong = ~match_checksums(vectors, rows - first, expected)
        else:
            wrong = impossible_rows(vectors, encoding)
        damaged += rows[wrong].tolist()
        if progress is not None:
            progress(live + int(np.count_nonzero(alive[: first + BLOCK])), 2 * max(1, live))
    if damage.blocks:
        text = f"{len(damage.blocks)} blocks of vector checksums are damaged or missing"
        yield _problem("checksums", text, _REPAIR)
    damage.vectors = sorted(damaged)
    if damaged:
        ids = ids_of(connection, damage.vectors)
        text = f"{len(damaged)} of {live} vectors are damaged: {named_ids(ids)}"
        yield _problem("vectors", text, _REEMBED, ids)
    elif present == state.rows:
        agree = "match their checksums" if state.checked else "are plausible"
        yield _ok("vectors", f"{live} vectors {agree}")


def _notes(connection: sqlite3.Connection, damage: Damage) -> Iterator[CheckResult]:
    remedy = f"{_REPAIR} --remove removes it; a calibration can be learned again"
    for name, text, checksum in connection.execute("SELECT name, value, checksum FROM notes"):
        if values_checksum(name, text) != checksum:
            damage.notes.append(name)
            yield _problem("notes", f"the note {name!r} is damaged", remedy)


def _graph(layout: Layout, state: State, damage: Damage) -> Iterator[CheckResult]:
    rebuilt = "imagesearch optimize builds it again"
    if not layout.graph_state.exists():
        if layout.graphs():
            yield _info("graph", f"graph.state of the saved search graph is missing; {rebuilt}")
        return
    saved = GraphState(layout)
    loaded = saved.load()
    if loaded is None and not saved.current:
        yield _info("graph", f"the saved search graph is of an earlier version; {rebuilt}")
        return
    if loaded is None or not loaded.verify():
        damage.graph = True
        text = "the saved search graph is damaged; no answer depends on it"
        yield _problem("graph", text, f"{rebuilt}; {_REPAIR} removes it")
        return
    covered = len(loaded.arrays["node_of_row"])
    if loaded.about.get("generation") == state.generation and covered <= state.rows:
        yield _ok("graph", f"the saved search graph covers {covered} of {state.rows} rows")
    else:
        yield _info("graph", f"the saved search graph is outdated; {rebuilt}")


def _leftovers(layout: Layout, current: str) -> Iterator[CheckResult]:
    names = sorted(
        path.name
        for path in layout.folder.iterdir()
        if path.name.endswith(".new") or (path.name.startswith("vectors-") and path.name != current)
    )
    if names:
        text = (
            f"left over from an interrupted write: {', '.join(names)}; the next write removes them"
        )
        yield _info("files", text)
