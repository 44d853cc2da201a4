"""Looks through all files of an index and says what is damaged; changes nothing."""

from __future__ import annotations

import json
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
    block_checksum,
    dead_sum_of,
    field_sums,
    named_ids,
    record_checksum,
    stored_field_sums,
    values_checksum,
    vector_checksums,
)
from imagesearch.stores.local._connections import ReadConnection, connect_to_read, translated
from imagesearch.stores.local._graph_file import GraphState
from imagesearch.stores.local._paths import Layout, without_side_files
from imagesearch.stores.local._rows import metadata_of
from imagesearch.stores.local._schema import State
from imagesearch.stores.local._sql import field_entries
from imagesearch.stores.local._vectors import Encoding
from imagesearch.stores.local._verification import impossible_rows, lost_commits, read_marker
from imagesearch.types import CheckResult

__all__ = ["Damage", "check_index", "examine"]

_BACKUP = "restore the index from a backup, or build a new one"
_REPAIR = "imagesearch check --repair"
_REEMBED = (
    "imagesearch check --repair embeds again those whose files are there; with --remove the others "
    "are removed from the index"
)
_REMOVE = (
    "imagesearch check --repair restores what can be proved, and with --remove removes the others; "
    "or restore the index from a backup"
)
_BATCH = 2000
_HASH = 2**64


@dataclass(slots=True)
class Damage:
    """What is damaged, in the terms of the tables; what `repair_index` works from.

    Attributes:
        structure: What SQLite finds wrong.
        state: Whether the table ``state`` is not what the other tables say.
        dead: Whether the table ``dead`` is not all rows without a record.
        records: Rows of records that do not have their checksums.
        missing: Ids and rows of records that only SQLite's index knows.
        fields: Whether what filters read differs from the metadata.
        blocks: Blocks of checksums that are damaged or missing.
        vectors: Rows of records whose vectors are damaged.
        notes: Names of damaged notes.
        marker: Whether the marker is not what the database says.
        journal: Whether SQLite's log is turned off.
        graph: Whether the saved graph is damaged.
    """

    structure: str = ""
    state: bool = False
    dead: bool = False
    records: list[int] = field(default_factory=list)
    missing: list[tuple[int, str]] = field(default_factory=list)
    fields: bool = False
    blocks: list[int] = field(default_factory=list)
    vectors: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    marker: bool = False
    journal: bool = False
    graph: bool = False


@dataclass(frozen=True, slots=True)
class _Index:
    """What the larger checks work on."""

    connection: sqlite3.Connection
    layout: Layout
    state: State
    dim: int
    encoding: Encoding
    damage: Damage

    @property
    def vectors(self) -> Path:
        return self.layout.vectors(self.state.generation, self.encoding)


def check_index(layout: Layout, progress: CheckProgress | None) -> Iterator[CheckResult]:
    """Look through an index; see `LocalStore.check`."""
    with translated(layout.folder), without_side_files(layout.folder):
        try:
            if not layout.exists():
                raise StoreError(f"there is no index at {layout.folder}")
            with translated(layout.folder), closing(_connection(layout)) as connection:
                try:
                    yield from examine(connection, layout, progress)
                finally:
                    # Pages of two states look like damage.
                    connection.require_settled()
        except StoreCorruptError as error:
            yield CheckResult("database", "problem", str(error), _BACKUP, error.ids)


def _connection(layout: Layout) -> ReadConnection:
    connection, _ = connect_to_read(layout.database, read_only=True)
    connection.execute("BEGIN")
    return connection


def examine(
    connection: sqlite3.Connection, layout: Layout, progress: CheckProgress | None
) -> Generator[CheckResult, None, Damage]:
    """Look through an index in one transaction.

    Args:
        connection: In a transaction.
        layout: Where the files are.
        progress: Told how many rows were looked at.

    Returns:
        What is damaged.

    Raises:
        StoreCorruptError: So much that the rest cannot be looked at.
        IncompatibleIndexError: Another program made it, or a newer version of this one.
        sqlite3.Error: So much that the rest cannot be looked at.
    """
    damage = Damage()
    connection.text_factory = _lenient
    format = schema.check_format(connection, layout.folder)
    meta, dtype = schema.read_meta(connection, format), schema.read_dtype(connection, format)
    yield from _structure(connection, format, damage)
    state = yield from _state(connection, layout, format, damage)
    index = _Index(connection, layout, state, meta.dim, Encoding(dtype, meta.metric), damage)
    alive = yield from _records(index, progress)
    yield from _vectors(index, alive, progress)
    if state.checked:
        yield from _notes(connection, damage)
    yield from _graph(layout, state, damage)
    yield from _leftovers(layout, index.vectors.name)
    return damage


def _structure(
    connection: sqlite3.Connection, format: int, damage: Damage
) -> Iterator[CheckResult]:
    if format < schema.CHECKED:
        yield CheckResult(
            "database",
            "warning",
            f"it has format {format}, which has no checksums: little of what may be damaged is seen",
            "open it for writing once, or run imagesearch check --repair, to compute checksums",
        )
    found = [str(text) for (text,) in connection.execute("PRAGMA integrity_check(5)")]
    if found != ["ok"]:
        damage.structure = found[0]
        yield CheckResult(
            "database", "problem", f"SQLite finds it damaged: {'; '.join(found)}", _REPAIR
        )
    else:
        yield CheckResult("database", "ok", f"SQLite finds it sound; format {format}")
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    if mode != "wal":
        damage.journal = True
        yield CheckResult(
            "database", "problem", f"its journal mode must be wal, got {mode}", _REPAIR
        )


def _state(
    connection: sqlite3.Connection, layout: Layout, format: int, damage: Damage
) -> Generator[CheckResult, None, State]:
    checked = format >= schema.CHECKED
    try:
        state = schema.read_state(connection, checked=checked)
    except StoreCorruptError as error:
        damage.state = True
        state = derived_state(connection, layout)
        yield CheckResult("database", "problem", str(error), _REPAIR)
    if not checked:
        return state
    commit = read_marker(layout.marker)
    if commit is None:
        damage.marker = True
        yield CheckResult(
            "commit",
            "warning",
            f"{layout.marker.name} is missing or damaged: a lost log would not be noticed",
            "the next write makes it again, as does imagesearch check --repair",
        )
    elif commit.identity != schema.read_identity(connection, format):
        damage.marker = True
        yield CheckResult(
            "commit",
            "problem",
            f"{layout.marker.name} belongs to another index",
            f"restore the whole folder from a backup, or accept the database with {_REPAIR}",
        )
    elif commit.version > state.version:
        damage.marker = True
        yield CheckResult(
            "commit",
            "problem",
            str(lost_commits(layout.folder, commit, state)),
            f"restore the whole folder from a backup, or accept the older state with {_REPAIR}",
        )
    else:
        yield CheckResult(
            "commit", "ok", f"the database has version {state.version}, which was acknowledged last"
        )
    return state


def derived_state(connection: sqlite3.Connection, layout: Layout) -> State:
    """Return the state as the other tables, the marker and the folder say."""
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
    """Look at records, deleted rows and what filters read; returns which rows have a record."""
    connection, state, damage = index.connection, index.state, index.damage
    alive = np.zeros(state.rows, np.bool_)
    entries = np.zeros(state.rows, np.uint64)
    wrong: list[str] = []
    outside: list[str] = []
    columns = "row, id, uri, digest, metadata" + (", checksum" if state.checked else "")
    # The table itself, in its own order: an index may be damaged.
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
        yield CheckResult(
            "records",
            "problem",
            f"{len(names)} of {count} records are damaged: {named_ids(names)}",
            _REMOVE,
            names,
        )
    indexed = dict(connection.execute("SELECT row, id FROM records ORDER BY id").fetchall())
    missing = [(row, id) for row, id in indexed.items() if not _has(alive, row)]
    if missing or count != state.live:
        damage.missing = missing
        damage.state = damage.state or count != state.live
        names = tuple(str(id) for _, id in missing)
        yield CheckResult(
            "records",
            "problem",
            f"the index counts {state.live} records, and its database holds {count}"
            + (f"; missing are {named_ids(names)}" if names else ""),
            _REMOVE,
            names,
        )
    elif not (wrong or outside):
        yield CheckResult("records", "ok", f"{count} records are sound")
    yield from _dead(connection, state, alive, damage)
    yield from _fields(connection, state, alive, entries, damage)
    return alive


def _has(alive: NDArray[np.bool_], row: object) -> bool:
    return isinstance(row, int) and 0 <= row < len(alive) and bool(alive[row])


def _lenient(text: bytes) -> str:
    # Its checksum differs in any case; the rest of the record may name it.
    return text.decode("utf-8", "surrogateescape")


def _entries_of(line: Sequence[Any], *, checked: bool) -> np.uint64 | None:
    """Return a sum over what filters should read of a record; None if the record is damaged."""
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
        yield CheckResult(
            "database",
            "problem",
            f"it holds {len(dead)} deleted rows, and {len(expected)} rows have no record",
            _REPAIR,
        )


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
    sums = "sound"
    if state.checked:
        try:
            if field_sums(connection) != stored_field_sums(connection):
                sums = "not those of the entries"
        except StoreCorruptError:
            sums = "damaged"
    if sums != "sound" and not len(wrong) and not strange:
        damage.fields = True
        yield CheckResult("filters", "problem", f"checksums of fields are {sums}", _REPAIR)
        return
    if not len(wrong) and not strange:
        yield CheckResult("filters", "ok", "what filters read agrees with the metadata")
        return
    damage.fields = True
    rows = json.dumps(wrong.tolist())
    names = tuple(
        id
        for (id,) in connection.execute(
            "SELECT id FROM records NOT INDEXED WHERE row IN (SELECT value FROM json_each(?))",
            (rows,),
        )
    )
    yield CheckResult(
        "filters",
        "problem",
        f"what filters read differs from the metadata of {len(wrong)} records"
        + (f": {named_ids(names)}" if names else ""),
        _REPAIR,
        names,
    )


def _vectors(
    index: _Index, alive: NDArray[np.bool_], progress: CheckProgress | None
) -> Iterator[CheckResult]:
    connection, state, damage = index.connection, index.state, index.damage
    path, encoding = index.vectors, index.encoding
    row_bytes = index.dim * encoding.stored.itemsize
    size = path.stat().st_size if path.exists() else 0
    present = min(state.rows, size // row_bytes)
    if present < state.rows:
        yield CheckResult(
            "vectors",
            "problem",
            f"{path.name} has {size} bytes, and must have {state.rows * row_bytes}",
            _REEMBED,
        )
    stored = (
        np.memmap(path, encoding.stored, "r", shape=(present, index.dim)).view(np.ndarray)
        if present
        else np.empty((0, index.dim), encoding.stored)
    )
    damaged: list[int] = np.flatnonzero(alive[present:]).tolist()
    damaged = [row + present for row in damaged]
    live = int(np.count_nonzero(alive))
    for block in range(-(-state.rows // BLOCK)):
        first = block * BLOCK
        rows = np.flatnonzero(alive[first : min(first + BLOCK, present)]) + first
        some = stored[rows]
        if state.checked:
            expected, sound = block_of(connection, block, stored[first : first + BLOCK])
            if not sound:
                damage.blocks.append(block)
            wrong = ~matching(some, rows - first, expected)
        else:
            wrong = impossible_rows(some, encoding)
        damaged += rows[wrong].tolist()
        if progress is not None:
            progress(live + int(np.count_nonzero(alive[: first + BLOCK])), 2 * max(1, live))
    if damage.blocks:
        yield CheckResult(
            "checksums",
            "problem",
            f"{len(damage.blocks)} blocks of checksums of vectors are damaged or missing",
            _REPAIR,
        )
    damage.vectors = sorted(damaged)
    if damaged:
        names = ids_of(connection, damage.vectors)
        yield CheckResult(
            "vectors",
            "problem",
            f"{len(damaged)} of {live} vectors are damaged: {named_ids(names)}",
            _REEMBED,
            names,
        )
    elif present == state.rows:
        agree = "have their checksums" if state.checked else "are possible"
        yield CheckResult("vectors", "ok", f"{live} vectors {agree}")


def ids_of(connection: sqlite3.Connection, rows: list[int]) -> tuple[str, ...]:
    """Return the ids of rows, in their order."""
    found = connection.execute(
        "SELECT id FROM records NOT INDEXED WHERE row IN (SELECT value FROM json_each(?))"
        " ORDER BY row",
        (json.dumps(rows),),
    )
    return tuple(str(id) for (id,) in found)


def block_of(
    connection: sqlite3.Connection, block: int, stored: NDArray[np.generic]
) -> tuple[NDArray[np.uint32], bool]:
    """Return the checksums of a block as far as they can be known, and whether the blob is sound.

    A blob that is damaged itself is known again if those of the vectors, as they are, have the
    blob's own checksum: then all of these vectors are sound.

    Args:
        connection: In a transaction.
        block: Number of the block.
        stored: The rows of the block, dead ones among them.
    """
    line = connection.execute(
        "SELECT crcs, checksum FROM checksums WHERE block = ?", (block,)
    ).fetchone()
    if line is None:
        return np.empty(0, np.uint32), False
    crcs, checksum = line
    if not isinstance(crcs, bytes):
        return np.empty(0, np.uint32), False
    known = np.frombuffer(crcs[: len(crcs) // 4 * 4], "<u4").astype(np.uint32)
    sound = len(crcs) == 4 * len(known) and block_checksum(block, crcs) == checksum
    if sound:
        return known, len(known) >= len(stored)
    present = vector_checksums(stored)
    if block_checksum(block, present.astype("<u4").tobytes()) == checksum:
        return present, False
    return known, False


def matching(
    some: NDArray[np.generic], offsets: NDArray[np.int64], expected: NDArray[np.uint32]
) -> NDArray[np.bool_]:
    """Return which rows have their checksums; those without one have not."""
    known = offsets < len(expected)
    matches = np.zeros(len(some), np.bool_)
    matches[known] = vector_checksums(some[known]) == expected[offsets[known]]
    return matches


def _notes(connection: sqlite3.Connection, damage: Damage) -> Iterator[CheckResult]:
    for name, text, checksum in connection.execute("SELECT name, value, checksum FROM notes"):
        if values_checksum(name, text) != checksum:
            damage.notes.append(name)
            yield CheckResult(
                "notes",
                "problem",
                f"the note {name!r} is damaged",
                "imagesearch check --repair --remove removes it; a calibration can be learned again",
            )


def _graph(layout: Layout, state: State, damage: Damage) -> Iterator[CheckResult]:
    graphs = list(layout.folder.glob("graph-*.hnsw"))
    if not layout.graph_state.exists():
        if graphs:
            yield CheckResult("graph", "info", "graph.state is missing; the graph is rebuilt")
        return
    saved = GraphState(layout)
    loaded = saved.load()
    if loaded is None and not saved.current:
        text = "the saved search graph is of an earlier version; the next search builds it again"
        yield CheckResult("graph", "info", text)
        return
    if loaded is None:
        damage.graph = True
        yield CheckResult(
            "graph",
            "problem",
            "the saved search graph is damaged; it is a cache, and no answer depends on it",
            "the next search builds it again; imagesearch check --repair removes it",
        )
        return
    about, arrays, _ = loaded
    covered = len(arrays["node_of_row"])
    fresh = about.get("generation") == state.generation and covered <= state.rows
    yield CheckResult(
        "graph",
        "ok" if fresh else "info",
        f"the saved search graph knows {covered} of {state.rows} rows"
        if fresh
        else "the saved search graph is outdated; the next search builds it again",
    )


def _leftovers(layout: Layout, current: str) -> Iterator[CheckResult]:
    names = sorted(
        path.name
        for path in layout.folder.iterdir()
        if path.name.endswith(".new") or (path.name.startswith("vectors-") and path.name != current)
    )
    if names:
        yield CheckResult(
            "files",
            "info",
            f"left over from an interrupted write: {', '.join(names)}; the next write removes them",
        )
