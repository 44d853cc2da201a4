"""Rows of the database as records and hits."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from imagesearch.stores.local.vectors_file import StoredVectors
from imagesearch.stores.ranking import Candidates, order
from imagesearch.types import Hit, Record

__all__ = ["hits_of", "record_of"]

Line = tuple[int, str, str, str, str]


def record_of(line: Line, vectors: StoredVectors | None) -> Record:
    """Return a row of the table ``records`` as a record."""
    row, id, uri, digest, metadata = line
    vector = None if vectors is None else vectors[row : row + 1][0].copy()
    return Record(id, uri, digest, json.loads(metadata), vector)


def hits_of(connection: sqlite3.Connection, found: Sequence[Candidates], k: int) -> list[list[Hit]]:
    """Turn candidates into hits, ordered by score and then by id, at most k for each query."""
    chosen = [_cut(connection, rows, scores, k) for rows, scores in found]
    rows = np.unique(np.concatenate([rows for rows, _ in chosen])).tolist() if chosen else []
    lines = {
        row: (id, uri, metadata)
        for row, id, uri, metadata in connection.execute(
            "SELECT row, id, uri, metadata FROM records"
            " WHERE row IN (SELECT value FROM json_each(?))",
            (json.dumps(rows),),
        )
    }
    answers = []
    for some, scores in chosen:
        texts = {lines[row][0]: lines[row] for row in some.tolist()}
        ranked = order(
            (score, lines[row][0])
            for row, score in zip(some.tolist(), scores.tolist(), strict=True)
        )
        answers.append(
            [Hit(id, score, texts[id][1], json.loads(texts[id][2])) for score, id in ranked[:k]]
        )
    return answers


def _cut(
    connection: sqlite3.Connection, rows: NDArray[np.int64], scores: NDArray[np.float64], k: int
) -> Candidates:
    """Of thousands that tie with the k-th, keep those whose ids come first."""
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
