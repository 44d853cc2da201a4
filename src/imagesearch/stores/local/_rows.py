"""Rows of the database as records, hits and notes."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from imagesearch.errors import StoreCorruptError
from imagesearch.filters import And, Filter, FilterNode, IsIn, Not, Or, matches
from imagesearch.stores._ranking import Candidates
from imagesearch.stores.local._checksums import (
    CHECK,
    damaged_records,
    record_checksum,
    values_checksum,
)
from imagesearch.stores.local._vectors import StoredVectors
from imagesearch.types import Hit, Record

__all__ = [
    "Line",
    "hits_of",
    "ids_of",
    "metadata_of",
    "read_lines",
    "read_notes",
    "record_of",
    "require_matches",
    "write_note",
]


Line = tuple[int, str, str, str, str]

_COMPARED_TERMS = 30


def read_lines(
    connection: sqlite3.Connection, condition: str, bound: Sequence[Any], *, checked: bool
) -> Iterator[Line]:
    """Yield the rows of the table ``records`` that meet a condition, ascending.

    Args:
        connection: In a transaction.
        condition: SQL with placeholders.
        bound: Values of the placeholders.
        checked: Whether the index has checksums.

    Raises:
        StoreCorruptError: A record does not match its checksum.
    """
    columns = "row, id, uri, digest, metadata" + (", checksum" if checked else "")
    for line in connection.execute(
        f"SELECT {columns} FROM records WHERE {condition} ORDER BY row",  # noqa: S608  # values are bound
        bound,
    ):
        if checked and record_checksum(*line[:5]) != line[5]:
            raise damaged_records([line[1]], "the stored record does not match its checksum")
        yield line[:5]


def record_of(line: Line, vectors: StoredVectors | None) -> Record:
    """Return a row of the table ``records`` as a record."""
    row, id, uri, digest, metadata = line
    vector = None if vectors is None else vectors[row : row + 1][0].copy()
    return Record(id, uri, digest, metadata_of(id, metadata), vector)


def metadata_of(id: str, text: str) -> dict[str, Any]:
    """Return metadata from their JSON text.

    Raises:
        StoreCorruptError: It is damaged, in an index without checksums.
    """
    try:
        metadata: dict[str, Any] = json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise damaged_records([id], f"the stored metadata are not valid JSON ({error})") from error
    return metadata


def hits_of(
    connection: sqlite3.Connection, found: Sequence[Candidates], k: int, *, checked: bool
) -> list[list[Hit]]:
    """Turn candidates into hits, ordered by score and then by id, at most k for each query.

    Args:
        connection: In the transaction in which they were found.
        found: Rows and scores, for each query.
        k: How many hits, ≥ 1.
        checked: Whether the index has checksums.

    Raises:
        StoreCorruptError: A record is damaged or missing.
    """
    chosen = [_cut(connection, rows, scores, k) for rows, scores in found]
    numbers = sorted({row for rows, _ in chosen for row in rows.tolist()})
    # The text of a list of integers is JSON.
    condition, bound = "row IN (SELECT value FROM json_each(?))", (str(numbers),)
    lines = {line[0]: line for line in read_lines(connection, condition, bound, checked=checked)}
    if len(lines) < len(numbers):
        missing = next(row for row in numbers if row not in lines)
        raise StoreCorruptError(
            f"the record of row {missing} is missing from the database, which is damaged; {CHECK}"
        )
    answers = []
    for rows, scores in chosen:
        best = [
            (-score, lines[row][1], row)
            for row, score in zip(rows.tolist(), scores.tolist(), strict=True)
        ]
        best.sort()
        answers.append([(-score, lines[row]) for score, _, row in best[:k]])
    metadata = iter(_all_metadata([line for answer in answers for _, line in answer]))
    return [
        [Hit(line[1], score, line[2], next(metadata)) for score, line in answer]
        for answer in answers
    ]


def _all_metadata(lines: Sequence[Line]) -> list[dict[str, Any]]:
    """Decode the metadata of all hits in one call, which takes half the time."""
    with suppress(ValueError, TypeError, RecursionError):
        metadata: list[dict[str, Any]] = json.loads(f"[{','.join(line[4] for line in lines)}]")
        if len(metadata) == len(lines):
            return metadata
    return [metadata_of(line[1], line[4]) for line in lines]


def ids_of(connection: sqlite3.Connection, rows: Sequence[int]) -> tuple[str, ...]:
    """Return the ids of rows, in the order of the rows."""
    found = connection.execute(
        "SELECT id FROM records NOT INDEXED WHERE row IN (SELECT value FROM json_each(?))"
        " ORDER BY row",
        (json.dumps(list(rows)),),
    )
    return tuple(str(id) for (id,) in found)


def require_matches(where: Filter, records: Iterable[Record | Hit]) -> None:
    """Verify that records match the filter that selected them.

    Filters read the table ``fields``; a wrong entry is detected here, a missing one by `check_index`.

    Raises:
        StoreCorruptError: A record does not match.
    """
    # The evaluator compares every record with every value of a term.
    if _terms(where) > _COMPARED_TERMS:
        return
    wrong = [
        record.id
        for record in records
        if not matches(where, record.metadata, id=record.id, uri=record.uri)
    ]
    if wrong:
        raise damaged_records(wrong, "the filter entries differ from the metadata")


def _terms(where: Filter) -> int:
    """Count the terms of a filter, up to the limit."""
    count, nodes = 0, [where]
    while nodes and count <= _COMPARED_TERMS:
        match cast(FilterNode, nodes.pop()):
            case And(operands=operands) | Or(operands=operands):
                nodes += operands
            case Not(operand=operand):
                # Counted, because a chain of negations is as deep as it is long.
                nodes.append(operand)
                count += 1
            case IsIn(values=values):
                count += len(values)
            case _:
                count += 1
    return count


def _cut(
    connection: sqlite3.Connection, rows: NDArray[np.int64], scores: NDArray[np.float64], k: int
) -> Candidates:
    """Keep only the first by id of many records that tie with the k-th."""
    if len(rows) <= k + 100:
        return rows, scores
    kth = scores.min()
    tied = scores == kth
    kept = rows[~tied]
    first = connection.execute(
        "SELECT row FROM records WHERE row IN (SELECT value FROM json_each(?)) ORDER BY id LIMIT ?",
        (json.dumps(rows[tied].tolist()), k - len(kept)),
    ).fetchall()
    late = np.array([row for (row,) in first], np.int64)
    return (
        np.concatenate([kept, late]),
        np.concatenate([scores[~tied], np.full(len(late), kth)]),
    )


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
                raise StoreCorruptError(f"the note {name!r} does not match its checksum; {CHECK}")
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
