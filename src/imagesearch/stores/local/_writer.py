"""Writer: appends vectors, then commits their records."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from imagesearch._validation import batched
from imagesearch.errors import StoreCorruptError, StoreError, StoreLockedError
from imagesearch.filters import Filter
from imagesearch.stores.local._checksums import (
    BLOCK,
    CHECK,
    append_vector_checksums,
    change_field_sums,
    checksums_of,
    dead_sum_of,
    field_sums,
    read_vector_checksums,
    record_checksum,
    require_field_sums,
    stored_field_sums,
    vector_checksums,
    write_field_sums,
)
from imagesearch.stores.local._database import Database
from imagesearch.stores.local._lock import WriterLock
from imagesearch.stores.local._paths import Layout, sync_folder
from imagesearch.stores.local._rows import read_lines, record_of, require_matches
from imagesearch.stores.local._schema import EDIT, FIELDS, RECORDS, read_state
from imagesearch.stores.local._session import Opened
from imagesearch.stores.local._sql import compile_filter, field_entries
from imagesearch.stores.local._vectors import Encoding, VectorsFile, map_vectors
from imagesearch.types import Metadata, RecordBatch, updated_metadata

__all__ = ["Writer", "compact_if_wasteful", "keep_graph"]


# Compaction copies all live rows, so it waits until a third of the rows are tombstones.
_WASTE_ROWS = 1000
_WASTE_SHARE = 1 / 3
_COPY_BYTES = 16 * 2**20
_UPDATED_ROWS = 1000


_RENUMBERING = """
CREATE TABLE numbers (old INTEGER PRIMARY KEY, new INTEGER NOT NULL);
INSERT INTO numbers SELECT row, row_number() OVER (ORDER BY row) - 1 FROM records;
ALTER TABLE records RENAME TO old_records;
ALTER TABLE fields RENAME TO old_fields;
{tables}
INSERT INTO records
    SELECT new, id, uri, digest, metadata, (checksum - old + new) & 0xFFFFFFFF
    FROM old_records JOIN numbers ON old = row ORDER BY new;
INSERT INTO fields SELECT name, kind, value, new
    FROM old_fields JOIN numbers ON old = row ORDER BY name, kind, value, new;
DROP TABLE old_records;
DROP TABLE old_fields;
DROP TABLE numbers;
DELETE FROM dead;
DELETE FROM field_sums;
DELETE FROM checksums
"""


class Writer:
    """Changes an index; created while the writer's lock is held.

    The order makes every commit atomic: vectors reach the disk first, where nothing refers to them
    yet, and a SQLite transaction then makes them part of the index. A crash in between leaves a
    tail that the next append overwrites. All files are changed inside a transaction, which excludes
    other writers even after another program has removed the writer's lock.

    Args:
        layout: The files of the index.
        database: Connections to its database.
        dim: Elements of a vector.
        encoding: How vectors are stored.

    Attributes:
        live: Records that there were when `wasteful` was asked.
    """

    def __init__(self, layout: Layout, database: Database, dim: int, encoding: Encoding) -> None:
        self._layout = layout
        self._database = database
        self._dim, self._encoding = dim, encoding
        self._row_bytes = dim * encoding.stored.itemsize
        with database.holding_off_writers() as state:
            self._generation = state.generation
            path = layout.vectors(state.generation, encoding)
            layout.remove_leftovers(path)
            self._file = VectorsFile(path, self._row_bytes)

    def upsert(self, batch: RecordBatch) -> None:
        """Insert or replace records; they are on the disk on return.

        Args:
            batch: As returned by `check_batch`.

        Raises:
            StoreRequestError: A vector cannot be stored; nothing was written.
            OSError, sqlite3.Error: Nothing was written.
        """
        vectors = cast(NDArray[np.float32], batch.vectors)
        encoded = self._encoding.encode(vectors, batch.ids)
        texts = list(map(_metadata_text, batch.metadata))
        crcs = vector_checksums(encoded)
        with self._database.writing() as connection:
            # Counts of this very transaction, because its commit replaces them.
            state = read_state(connection)
            first = state.rows
            self._file_of(state.generation).append(first, encoded)
            numbers = range(first, first + len(batch.ids))
            replaced = _mark_deleted(connection, _rows_of(connection, batch.ids))
            lines = zip(numbers, batch.ids, batch.uris, batch.digests, texts, strict=True)
            connection.executemany(
                "INSERT INTO records VALUES (?, ?, ?, ?, ?, ?)",
                ((*line, record_checksum(*line)) for line in lines),
            )
            append_vector_checksums(connection, first, crcs)
            # Sorted by key, so that neighbours share pages.
            entries = sorted(
                (
                    (name, kind, value, row)
                    for row, fields in zip(numbers, batch.metadata, strict=True)
                    for name, kind, value in field_entries(fields)
                ),
                key=lambda entry: entry[:2],
            )
            connection.executemany("INSERT INTO fields VALUES (?, ?, ?, ?)", entries)
            change_field_sums(connection, entries)
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
            return _delete(connection, _rows_of(connection, ids))

    def delete_where(self, where: Filter) -> int:
        """Delete all records that match; returns how many.

        Raises:
            sqlite3.Error: Nothing was deleted.
        """
        with self._database.writing() as connection:
            return _delete(connection, _matching_rows(connection, where))

    def update_metadata(
        self, fields: Metadata, *, ids: Sequence[str] | None, where: Filter | None, replace: bool
    ) -> int:
        """Set fields of records that exist; returns how many there are.

        Args:
            fields: Checked; None removes a field.
            ids: Which records; None for those that match `where`.
            where: Used if `ids` is None; not None then.
            replace: Whether to remove all other fields.

        Raises:
            sqlite3.Error: Nothing was changed.
        """
        with self._database.writing() as connection:
            if ids is not None:
                rows = _rows_of(connection, ids)
            else:
                rows = _matching_rows(connection, cast(Filter, where))
            changed = False
            for some in batched(rows, _UPDATED_ROWS):
                changed |= _set_fields(connection, some, fields, replace=replace)
            if changed:
                # Readers that keep columns of metadata see that they are outdated.
                connection.execute("UPDATE state SET version = version + ?", (EDIT,))
        return len(rows)

    def wasteful(self) -> bool:
        """Return whether compaction is worthwhile."""
        state = self._database.newest_state()
        self.live = state.live
        dead = state.rows - state.live
        return dead >= _WASTE_ROWS and dead >= _WASTE_SHARE * state.rows

    def compact(self) -> tuple[NDArray[np.int64], int]:
        """Copy the live rows to the next generation, and switch to it in one commit.

        Returns:
            For each old row its new number, or -1 if it was dead; and the new generation.

        Raises:
            OSError, sqlite3.Error: Nothing has changed.
        """
        path = None
        try:
            with self._database.writing() as connection:
                state = read_state(connection)
                kept = np.fromiter(
                    (row for (row,) in connection.execute("SELECT row FROM records ORDER BY row")),
                    np.int64,
                )
                # Stored checksums, not new ones, so that damage stays visible.
                blocks = read_vector_checksums(connection, np.unique(kept // BLOCK).tolist())
                crcs = checksums_of(blocks, kept)
                before = self._layout.vectors(state.generation, self._encoding)
                path = self._layout.vectors(state.generation + 1, self._encoding)
                self._copy(before, path, kept, state.rows)
                _renumber(connection)
                append_vector_checksums(connection, 0, crcs)
                connection.execute(
                    "UPDATE state SET generation = generation + 1, rows = live, dead_sum = 0, "
                    "version = version + 1"
                )
        except BaseException:
            if path is not None:
                self._remove_unless_current(path)
            raise
        self._file_of(state.generation + 1)
        with self._database.holding_off_writers() as now:
            self._layout.remove_leftovers(self._layout.vectors(now.generation, self._encoding))
        new = np.full(state.rows, -1, np.int64)
        new[kept] = np.arange(len(kept))
        return new, state.generation + 1

    def _copy(self, before: Path, after: Path, kept: NDArray[np.int64], rows: int) -> None:
        old = map_vectors(before, rows, self._dim, self._encoding).rows
        step = max(1, _COPY_BYTES // self._row_bytes)
        with closing(VectorsFile(after, self._row_bytes)) as following:
            for first in range(0, len(kept), step):
                following.append(first, old[kept[first : first + step]])
        sync_folder(self._layout.folder)

    def _file_of(self, generation: int) -> VectorsFile:
        if generation != self._generation:
            path = self._layout.vectors(generation, self._encoding)
            self._file.close()
            self._file = VectorsFile(path, self._row_bytes)
            self._generation = generation
        return self._file

    def close(self) -> None:
        """Close the vectors file."""
        self._file.close()

    def _remove_unless_current(self, path: Path) -> None:
        # A commit may have succeeded despite an error: the database decides.
        with (
            suppress(OSError, sqlite3.Error, StoreError),
            self._database.holding_off_writers() as state,
        ):
            if path != self._layout.vectors(state.generation, self._encoding):
                path.unlink(missing_ok=True)


def _rows_of(connection: sqlite3.Connection, ids: Sequence[str]) -> list[int]:
    wanted = json.dumps(list(ids), ensure_ascii=False)
    found = connection.execute(
        "SELECT row FROM records WHERE id IN (SELECT value FROM json_each(?))", (wanted,)
    )
    return [row for (row,) in found]


def _matching_rows(connection: sqlite3.Connection, where: Filter) -> list[int]:
    require_field_sums(connection, where, set())
    condition, bound = compile_filter(where)
    lines = list(read_lines(connection, condition, bound, checked=True))
    # A damaged filter entry must not delete or change a record.
    require_matches(where, (record_of(line, None) for line in lines))
    return [line[0] for line in lines]


def _mark_deleted(connection: sqlite3.Connection, rows: Sequence[int]) -> int:
    """Delete records and list their rows as tombstones; return how many there were."""
    numbers = [(row,) for row in rows]
    connection.executemany("INSERT INTO dead (row) VALUES (?)", numbers)
    connection.executemany("DELETE FROM records WHERE row = ?", numbers)
    if rows:
        (before,) = connection.execute("SELECT dead_sum FROM state").fetchone()
        after = dead_sum_of(rows, before)
        connection.execute("UPDATE state SET dead_sum = ?", (after,))
    return len(rows)


def _delete(connection: sqlite3.Connection, rows: Sequence[int]) -> int:
    if rows:
        _mark_deleted(connection, rows)
        connection.execute("UPDATE state SET live = live - ?, version = version + 1", (len(rows),))
    return len(rows)


def _set_fields(
    connection: sqlite3.Connection, rows: Sequence[int], fields: Metadata, *, replace: bool
) -> bool:
    """Change metadata and filter entries of records; return whether any changed."""
    found = list(
        read_lines(
            connection,
            "row IN (SELECT value FROM json_each(?))",
            (json.dumps(list(rows)),),
            checked=True,
        )
    )
    texts: list[tuple[str, int, int]] = []
    old_entries: list[tuple[str, str, Any, int]] = []
    new_entries: list[tuple[str, str, Any, int]] = []
    for row, id, uri, digest, text in found:
        before = json.loads(text)
        after = updated_metadata(before, fields, replace=replace)
        changed_text = _metadata_text(after)
        if changed_text == text:
            continue
        texts.append((changed_text, record_checksum(row, id, uri, digest, changed_text), row))
        # The table has no index by row, so each entry is deleted by its full key.
        old, new = set(field_entries(before)), set(field_entries(after))
        old_entries += [(*entry, row) for entry in old - new]
        new_entries += [(*entry, row) for entry in new - old]
    connection.executemany("UPDATE records SET metadata = ?, checksum = ? WHERE row = ?", texts)
    connection.executemany(
        "DELETE FROM fields WHERE name = ? AND kind = ? AND value = ? AND row = ?", old_entries
    )
    connection.executemany("INSERT INTO fields VALUES (?, ?, ?, ?)", new_entries)
    change_field_sums(connection, new_entries, old_entries)
    return bool(texts)


def _metadata_text(metadata: Metadata) -> str:
    return json.dumps(metadata, ensure_ascii=False, separators=(",", ":"))


def _renumber(connection: sqlite3.Connection) -> None:
    """Renumber the live rows for the next generation."""
    # Verified before the entries of tombstones are dropped, which are part of the sums.
    if field_sums(connection) != stored_field_sums(connection):
        raise StoreCorruptError(f"the filter entries do not match their checksums; {CHECK}")
    for statement in _RENUMBERING.format(tables=RECORDS + FIELDS).split(";"):
        connection.execute(statement)
    write_field_sums(connection, field_sums(connection))


_logger = logging.getLogger("imagesearch")


def compact_if_wasteful(opened: Opened, writer: Writer) -> None:
    """Compact the vectors file if too many rows are dead; a failure is only logged."""
    if not writer.wasteful():
        return
    try:
        with opened.reading() as (_, old):
            # Its numbers alone are used below; its vectors belong to this transaction.
            pass
        _logger.info("compacting the index at %s", opened.path)
        with opened.searcher.builder.paused():
            new, generation = writer.compact()
            # A writer beside this one is no more than a removed lock file away.
            if generation == old.generation + 1 and len(new) == old.rows:
                opened.searcher.builder.follow(old, new, generation)
    except (OSError, sqlite3.Error, StoreError) as error:
        # The write itself is acknowledged; the waste stays until there is room to compact.
        _logger.warning("the index at %s could not be compacted: %s", opened.path, error)


def keep_graph(opened: Opened, lock: WriterLock) -> None:
    """Stop extending the graph, and save it if this process may write to the index."""
    builder = opened.searcher.builder
    builder.stop()
    if not opened.database.in_place:
        # The folder belongs to another index, or is gone.
        return
    with suppress(StoreLockedError):
        lock.require_in_place()
    if not lock.held:
        if not builder.grown:
            return
        try:
            lock.acquire()
        except (StoreLockedError, OSError):
            return
    builder.save(lambda: True)
