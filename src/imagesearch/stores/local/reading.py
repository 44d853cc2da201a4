"""Reading: records by id, and all of them in batches."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import islice
from typing import TypeAlias

import numpy as np

from imagesearch.errors import StoreCorruptError
from imagesearch.filters import Filter
from imagesearch.stores._checks import possible_ids
from imagesearch.stores.local._checksums import CHECK
from imagesearch.stores.local._connections import require_settled
from imagesearch.stores.local.opened import Opened
from imagesearch.stores.local.rows import read_lines, record_of, require_matches
from imagesearch.stores.local.snapshot import Snapshot
from imagesearch.stores.local.sql import compile_filter
from imagesearch.types import Record, RecordBatch

__all__ = ["read_records", "scan_records"]

Reading: TypeAlias = tuple[Opened, sqlite3.Connection, Snapshot]

_IDS = 1000

# More than a C int cannot be asked of SQLite; a batch may always be smaller than asked for.
_LARGEST_BATCH = 2**31 - 1


def read_records(
    connection: sqlite3.Connection, snapshot: Snapshot, ids: Sequence[str], *, vectors: bool
) -> dict[str, Record]:
    """Return the records that exist among `ids`."""
    records: dict[str, Record] = {}
    wanted = possible_ids(ids)
    for first in range(0, len(wanted), _IDS):
        some = json.dumps(wanted[first : first + _IDS], ensure_ascii=False)
        found = read_lines(
            connection,
            "id IN (SELECT value FROM json_each(?))",
            (some,),
            checked=snapshot.checked,
        )
        for line in found:
            records[line[1]] = record_of(line, snapshot.vectors if vectors else None)
    return records


def scan_records(
    reading: Callable[[], AbstractContextManager[Reading]],
    where: Filter | None,
    size: int,
    *,
    vectors: bool,
    require_open: Callable[[Opened], None],
) -> Iterator[RecordBatch]:
    """Go through the records that there are when the scan begins.

    Args:
        reading: Begins a transaction.
        where: Only records that match.
        size: Records in a batch.
        vectors: Whether the batches carry vectors.
        require_open: Raises when the index was closed between two batches.
    """
    condition, bound = ("1", []) if where is None else compile_filter(where)
    with reading() as (opened, connection, snapshot):
        if where is not None:
            snapshot.require_fields(where, connection)
        lines = read_lines(connection, condition, bound, checked=snapshot.checked)
        seen = 0
        while some := list(islice(lines, min(int(size), _LARGEST_BATCH))):
            seen += len(some)
            records = [record_of(line, None) for line in some]
            if where is not None and snapshot.checked:
                require_matches(where, records)
            batch = RecordBatch.of(records)
            if vectors:
                rows = np.array([line[0] for line in some], np.int64)
                batch = replace(batch, vectors=snapshot.vectors[rows])
            require_settled(connection)
            yield batch
            require_open(opened)
        if where is None and seen != snapshot.live:
            raise StoreCorruptError(
                f"the index at {opened.path} counts {snapshot.live} records, but its database "
                f"holds {seen}; {CHECK}"
            )
