"""Repair the damage of an index that can be repaired without images."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress

import numpy as np
from numpy.typing import NDArray

from imagesearch.errors import StoreCorruptError
from imagesearch.protocols import CheckProgress
from imagesearch.stores.local import _schema as schema
from imagesearch.stores.local._check import Damage, derived_state, examine
from imagesearch.stores.local._checksums import (
    BLOCK,
    block_checksum,
    dead_sum_of,
    field_sums,
    record_checksum,
    vector_checksums,
    write_field_sums,
)
from imagesearch.stores.local._connections import connect
from imagesearch.stores.local._create import migrate
from imagesearch.stores.local._paths import Layout
from imagesearch.stores.local._rows import ids_of
from imagesearch.stores.local._sql import field_entries
from imagesearch.stores.local._vectors import Encoding
from imagesearch.stores.local._verification import (
    match_checksums,
    read_block,
    read_marker,
    write_marker,
)
from imagesearch.types import CheckResult

__all__ = ["repair_index"]


def repair_index(
    layout: Layout, *, remove: bool, progress: CheckProgress | None
) -> list[CheckResult]:
    """Repair an index; see `LocalStore.repair`. The caller holds the writer's lock.

    Args:
        layout: The files of the index.
        remove: Whether to remove records that cannot be repaired.
        progress: Called with the number of rows that were checked.

    Raises:
        StoreCorruptError: It cannot be repaired.
        sqlite3.Error, OSError: It cannot be read or written.
    """
    with closing(connect(layout.database)) as connection:
        # Before REINDEX rebuilds SQLite's index from a table that may have lost records.
        indexed = _indexed_ids(connection)
        done = list(_whole(connection, layout))
        connection.execute("BEGIN IMMEDIATE")
        try:
            damage = _examined(connection, layout, progress)
            repair = _Repair(connection, layout, damage, indexed)
            done += repair.run(remove=remove)
            repair.seal()
            connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            raise
        write_marker(
            layout.marker,
            schema.read_identity(connection, schema.FORMAT),
            schema.read_state(connection),
        )
    if damage.graph:
        for path in (layout.graph_state, *layout.graphs()):
            with suppress(OSError):
                path.unlink(missing_ok=True)
        done.append(
            _done(
                "graph",
                "the damaged search graph was removed; imagesearch optimize builds it again",
            )
        )
    return done


def _done(topic: str, text: str, ids: Sequence[str] = ()) -> CheckResult:
    return CheckResult(topic, "info", text, ids=tuple(ids))


def _whole(connection: sqlite3.Connection, layout: Layout) -> Iterator[CheckResult]:
    """Repair the database file itself, and migrate it to the current format."""
    (format,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if not schema.altered_tables(connection, schema.FORMAT) and (format, application) != (
        schema.FORMAT,
        schema.APPLICATION,
    ):
        connection.execute(f"PRAGMA application_id = {schema.APPLICATION}")
        connection.execute(f"PRAGMA user_version = {schema.FORMAT}")
        yield _done("database", f"its format was reset to {schema.FORMAT}")
    format = schema.check_format(connection, layout.folder)
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    if mode != "wal":
        connection.execute("PRAGMA journal_mode = WAL")
        yield _done("database", "its journal mode was reset to wal")
    if format < schema.FORMAT:
        migrate(connection, format, layout)
        yield _done("database", f"it was migrated from format {format} to {schema.FORMAT}")
    for statement in ("REINDEX", "VACUUM"):
        found = _integrity(connection)
        if found == "ok":
            return
        with suppress(sqlite3.DatabaseError):
            connection.execute(statement)
            yield _done("database", f"SQLite reported {found}; {statement} was run")
    found = _integrity(connection)
    if found != "ok":
        raise StoreCorruptError(
            f"the database of the index at {layout.folder} cannot be repaired ({found}); restore "
            "the folder from a backup, or build a new index"
        )


def _indexed_ids(connection: sqlite3.Connection) -> dict[int, str]:
    try:
        return dict(connection.execute("SELECT row, id FROM records ORDER BY id").fetchall())
    except sqlite3.DatabaseError:
        return {}


def _integrity(connection: sqlite3.Connection) -> str:
    return str(connection.execute("PRAGMA integrity_check(1)").fetchone()[0])


def _examined(
    connection: sqlite3.Connection, layout: Layout, progress: CheckProgress | None
) -> Damage:
    looking = examine(connection, layout, progress)
    while True:
        try:
            next(looking)
        except StopIteration as finished:
            damage: Damage = finished.value
            return damage


class _Repair:
    """The steps of a repair, all in one transaction.

    Args:
        connection: In a write transaction.
        layout: The files of the index.
        damage: The damage to repair.
        indexed: Ids of rows according to SQLite's index.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        layout: Layout,
        damage: Damage,
        indexed: dict[int, str],
    ) -> None:
        self._connection = connection
        self._layout = layout
        self._damage = damage
        self._indexed = indexed

    def run(self, *, remove: bool) -> Iterator[CheckResult]:
        """Repair part by part; later steps depend on earlier ones."""
        yield from self._marker()
        if self._damage.records:
            yield from self._records(remove=remove)
        if self._damage.missing or self._damage.state or self._damage.dead:
            yield from self._counts(remove=remove)
        if self._damage.fields or self._damage.records:
            self._fields()
            yield _done("filters", "filter entries were rebuilt from the metadata")
        yield from self._vectors()
        if remove and self._damage.notes:
            for name in self._damage.notes:
                self._connection.execute("DELETE FROM notes WHERE name = ?", (name,))
                yield _done("notes", f"the damaged note {name!r} was removed")

    def seal(self) -> None:
        """Seal the state with a new version, greater than all before."""
        (version,) = self._connection.execute("SELECT version FROM state").fetchone()
        commit = read_marker(self._layout.marker)
        newer = max(version, 0 if commit is None else commit.version) + schema.EDIT
        self._connection.execute("UPDATE state SET version = ?", (newer,))
        schema.seal_state(self._connection)

    def _marker(self) -> Iterator[CheckResult]:
        if not self._damage.marker:
            return
        commit = read_marker(self._layout.marker)
        identity = schema.read_identity(self._connection, schema.FORMAT)
        if commit is None or commit.identity != identity:
            yield _done("commit", "last-commit was written again")
            return
        (version, live) = self._connection.execute("SELECT version, live FROM state").fetchone()
        if version < commit.version:
            fewer = commit.live - live
            yield _done(
                "commit",
                f"the older state of version {version} was accepted in place of {commit.version}: it "
                f"has {live} records, {abs(fewer)} {'fewer' if fewer >= 0 else 'more'} than were "
                "acknowledged",
            )

    def _records(self, *, remove: bool) -> Iterator[CheckResult]:
        restored, lost = [], []
        for row in self._damage.records:
            id = self._restored(row)
            if id is None:
                lost.append(row)
            else:
                restored.append(id)
        if restored:
            yield _done("records", f"{len(restored)} records were restored", restored)
        self._damage.records = lost
        if lost and remove:
            names = ids_of(self._connection, lost)
            rows = [(row,) for row in lost]
            self._connection.executemany("DELETE FROM records WHERE row = ?", rows)
            self._damage.dead = True
            yield _done("records", f"{len(lost)} damaged records were removed", names)

    def _restored(self, row: int) -> str | None:
        """Restore a record from its copies; return its id, or None.

        SQLite's index has a copy of the id, and the table ``fields`` one of metadata without nesting.
        Values that match the checksum are those that were written.
        """
        connection = self._connection
        line = connection.execute(
            "SELECT id, uri, digest, metadata, checksum FROM records WHERE row = ?", (row,)
        ).fetchone()
        if line is None:
            return None
        known, uri, digest, text, checksum = line
        for id in (known, self._indexed.get(row, known)):
            for metadata in (text, self._metadata_from_fields(row, text)):
                if metadata is None or record_checksum(row, id, uri, digest, metadata) != checksum:
                    continue
                connection.execute(
                    "UPDATE records SET id = ?, metadata = ? WHERE row = ?", (id, metadata, row)
                )
                return str(id)
        return None

    def _metadata_from_fields(self, row: int, text: object) -> str | None:
        """Return flat metadata from the table ``fields``, in the order of the damaged text."""
        lines = self._connection.execute(
            "SELECT name, kind, value FROM fields WHERE row = ?", (row,)
        ).fetchall()
        lists: dict[str, list[str]] = {}
        found: dict[str, object] = {}
        for name, kind, value in lines:
            match kind:
                case "b":
                    found[name] = bool(value)
                case "n" | "t":
                    found[name] = value
                case "e":
                    lists.setdefault(name, []).append(value)
                case _:
                    found.setdefault(name, lists.setdefault(name, []))
        place = str(text)
        ordered = sorted(found, key=lambda name: (place.find(json.dumps(name)) % (1 << 62), name))
        try:
            return json.dumps(
                {name: found[name] for name in ordered}, ensure_ascii=False, separators=(",", ":")
            )
        except (TypeError, ValueError):
            return None

    def _counts(self, *, remove: bool) -> Iterator[CheckResult]:
        """Rebuild ``state`` and ``dead`` from the other tables."""
        connection, damage = self._connection, self._damage
        derived = derived_state(connection, self._layout)
        present = [row for (row,) in connection.execute("SELECT row FROM records")]
        state = self._stored_state()
        lost = 0 if state is None else state.live - len(present)
        if lost > 0 and not remove and not damage.dead:
            # Missing records are only given up with `remove`.
            return
        rows = derived.rows if state is None else max(state.rows, derived.rows)
        alive = np.zeros(rows, np.bool_)
        alive[present] = True
        dead = np.flatnonzero(~alive).tolist()
        connection.execute("DELETE FROM dead")
        connection.executemany("INSERT INTO dead (row) VALUES (?)", [(row,) for row in dead])
        connection.execute("DELETE FROM state")
        connection.execute(
            "INSERT INTO state VALUES (1, ?, ?, ?, ?, ?, 0)",
            (
                derived.generation if state is None else state.generation,
                rows,
                len(present),
                derived.version if state is None else max(derived.version, state.version),
                dead_sum_of(dead),
            ),
        )
        yield _done(
            "database", f"the index now counts {len(present)} records and {len(dead)} deleted rows"
        )
        if lost > 0:
            gone = self._indexed.keys() - set(present)
            names = sorted(str(self._indexed[row]) for row in gone)
            yield _done("records", f"{lost} missing records were removed from the count", names)

    def _stored_state(self) -> schema.State | None:
        try:
            return schema.read_state(self._connection)
        except StoreCorruptError:
            return None

    def _fields(self) -> None:
        connection = self._connection
        connection.execute("DELETE FROM fields")
        damaged = set(self._damage.records)
        lines = connection.execute("SELECT row, metadata FROM records ORDER BY row")
        connection.executemany(
            "INSERT OR IGNORE INTO fields VALUES (?, ?, ?, ?)",
            (
                (*entry, row)
                for row, text in lines
                if row not in damaged
                for entry in field_entries(json.loads(text))
            ),
        )
        connection.execute("DELETE FROM field_sums")
        write_field_sums(connection, field_sums(connection))

    def _vectors(self) -> Iterator[CheckResult]:
        """Restore the size of the vectors file and the checksums; damaged vectors stay damaged."""
        connection = self._connection
        meta = schema.read_meta(connection, schema.FORMAT)
        encoding = Encoding(schema.read_dtype(connection, schema.FORMAT), meta.metric)
        (generation, rows) = connection.execute("SELECT generation, rows FROM state").fetchone()
        path = self._layout.vectors(generation, encoding)
        needed = rows * meta.dim * encoding.stored.itemsize
        if needed and (not path.exists() or path.stat().st_size < needed):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
            try:
                os.ftruncate(descriptor, needed)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            yield _done("vectors", f"{path.name} was extended to its full size with zeros")
        if not self._damage.blocks or not rows:
            return
        stored: NDArray[np.generic] = np.memmap(
            path, encoding.stored, "r", shape=(rows, meta.dim)
        ).view(np.ndarray)
        for block in self._damage.blocks:
            some = stored[block * BLOCK : block * BLOCK + BLOCK]
            self._rewrite(block, some)
        yield _done("checksums", f"{len(self._damage.blocks)} blocks of checksums were rewritten")

    def _rewrite(self, block: int, some: NDArray[np.generic]) -> None:
        """Rewrite the checksums of a block; vectors that did not match stay damaged."""
        known, _ = read_block(self._connection, block, some)
        present = vector_checksums(some)
        proved = match_checksums(some, np.arange(len(some)), known)
        present[~proved] ^= 0xFFFFFFFF
        blob = present.astype("<u4").tobytes()
        self._connection.execute(
            "INSERT OR REPLACE INTO checksums VALUES (?, ?, ?)",
            (block, blob, block_checksum(block, blob)),
        )
