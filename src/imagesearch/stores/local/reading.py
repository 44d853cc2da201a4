"""Reading: records by id, and all of them in batches."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np

from imagesearch.errors import StoreCorruptError
from imagesearch.filters import Filter
from imagesearch.stores.checks import possible_ids
from imagesearch.stores.local._checksums import CHECK
from imagesearch.stores.local.opened import Opened
from imagesearch.stores.local.rows import read_lines, record_of, require_matches
from imagesearch.stores.local.sql import compile_filter
from imagesearch.types import Record, RecordBatch

__all__ = ["read_records", "scan_records"]

_IDS = 1000

# More than a C int cannot be asked of SQLite; a batch may always be smaller than asked for.
_LARGEST_BATCH = 2**31 - 1


def read_records(opened: Opened, ids: Sequence[str], *, vectors: bool) -> dict[str, Record]:
    """Return the records that exist among `ids`."""
    records: dict[str, Record] = {}
    wanted = possible_ids(ids)
    with opened.reading() as (connection, snapshot):
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
    opened: Opened,
    where: Filter | None,
    size: int,
    *,
    vectors: bool,
    require_open: Callable[[], None],
) -> Iterator[RecordBatch]:
    """Go through the records that there are when the scan begins.

    Args:
        opened: The index.
        where: Only records that match.
        size: Records in a batch.
        vectors: Whether the batches carry vectors.
        require_open: Raises when the index was closed between two batches.
    """
    return _batches(opened, where, size, vectors, require_open)


def _batches(
    opened: Opened,
    where: Filter | None,
    size: int,
    vectors: bool,
    require_open: Callable[[], None],
) -> Iterator[RecordBatch]:
    condition, bound = ("1", []) if where is None else compile_filter(where)
    with opened.reading() as (connection, snapshot):
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
            yield batch
            require_open()
        if where is None and seen != snapshot.live:
            raise StoreCorruptError(
                f"the index at {opened.path} counts {snapshot.live} records, but its database "
                f"holds {seen}; {CHECK}"
            )
