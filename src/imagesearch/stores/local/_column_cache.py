"""Columns of an open index in memory, and filters evaluated on them."""

from __future__ import annotations

import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, cast

import numpy as np

from imagesearch._forks import on_fork
from imagesearch.filters import And, Filter, FilterNode, Not, Or
from imagesearch.stores.local._checksums import MODULUS, stored_field_sum
from imagesearch.stores.local._columns import Column, Entries, Mask
from imagesearch.stores.local._connections import require_settled
from imagesearch.stores.local._rows import metadata_of, read_lines
from imagesearch.stores.local._sql import field_entries

__all__ = ["ColumnCache", "select"]

MAX_BYTES: Final = 256 * 2**20
"""All columns of an open index together; the least recently used one is dropped first."""

# Reading a new record takes as long as reading twenty entries of a column.
_NEW_ROWS = 1000
_NEW_SHARE = 1 / 20


def select(where: Filter, rows: int, leaf: Callable[[FilterNode], Mask]) -> Mask:
    """Combine the masks of the conditions in a filter.

    Args:
        where: The filter.
        rows: Length of a mask.
        leaf: Returns the mask of a condition on one field; it may be changed.

    Example:
        >>> from imagesearch import Field
        >>> select(~(Field("a") == 1), 2, lambda node: np.array([True, False])).tolist()
        [False, True]
    """
    node = cast(FilterNode, where)
    match node:
        case And():
            mask = np.ones(rows, np.bool_)
            for operand in node.operands:
                mask &= select(operand, rows, leaf)
            return mask
        case Or():
            mask = np.zeros(rows, np.bool_)
            for operand in node.operands:
                mask |= select(operand, rows, leaf)
            return mask
        case Not():
            mask = select(node.operand, rows, leaf)
            return np.logical_not(mask, out=mask)
        case _:
            return leaf(node)


class ColumnCache:
    """The columns of an open index, read when a filter first needs them.

    Several threads may use it at once.
    """

    def __init__(self) -> None:
        self._columns: OrderedDict[str, Column] = OrderedDict()
        # Fields whose columns are too large, with the generation and number of rows.
        self._too_large: dict[str, tuple[int, int]] = {}
        self._lock = threading.Lock()
        on_fork(self, in_child=ColumnCache._forget)

    def _forget(self) -> None:
        # A thread of the parent may have been in the middle of a change.
        self._columns, self._too_large = OrderedDict(), {}
        self._lock = threading.Lock()

    def column(
        self, name: str, connection: sqlite3.Connection, generation: int, edits: int, rows: int
    ) -> Column | None:
        """Return the column of a field for one state of the index; None to use SQL instead.

        Args:
            name: The field.
            connection: In a transaction on this state.
            generation: Number of the vectors file.
            edits: Metadata updates of the index so far.
            rows: Rows in the vectors file.

        Raises:
            StoreCorruptError: The entries of the field are damaged.
        """
        state = (generation, edits)
        with self._lock:
            known = self._columns.get(name)
            if known is not None:
                self._columns.move_to_end(name)
            large = self._too_large.get(name)
        if known is not None and (known.generation, known.edits) == state:
            if known.rows >= rows:
                return known
            column = self._extended(known, name, connection, rows)
            if column is not None:
                return column
        elif known is not None and (known.generation, known.edits) > state:
            # A transaction that began before a newer one read the column.
            return None
        if large is not None and large[0] == generation and rows >= large[1]:
            return None
        column = Column.read(connection, name, generation, edits, rows)
        # Only a consistent state may be kept for later transactions.
        require_settled(connection)
        with self._lock:
            if column is None:
                self._columns.pop(name, None)
                self._too_large[name] = (generation, rows)
            else:
                self._keep(name, column)
        return column

    def _extended(
        self, known: Column, name: str, connection: sqlite3.Connection, rows: int
    ) -> Column | None:
        """Add new records to a column; None if it has to be read again."""
        if rows - known.rows > _NEW_ROWS + _NEW_SHARE * known.rows:
            return None
        found: dict[str, list[tuple[Any, int]]] = {}
        for row, id, _, _, text in read_lines(connection, "row >= ?", (known.rows,), checked=True):
            for field, kind, value in field_entries(metadata_of(id, text)):
                if field == name:
                    found.setdefault(kind, []).append((value, row))
        parts = []
        for kind, pairs in found.items():
            values, numbers = zip(*pairs, strict=True)
            ones = np.ones(len(values), np.int64)
            parts.append(Entries(kind, values, ones, np.array(numbers, np.int64)))
        total = known.total + sum(entries.total() for entries in parts)
        if total % MODULUS != stored_field_sum(connection, name):
            # Records were added and deleted in the meantime; their entries are still there.
            return None
        require_settled(connection)
        with self._lock:
            if self._columns.get(name) is not known:
                return None
            column = known.extended(rows, parts)
            self._keep(name, column)
        return column

    def _keep(self, name: str, column: Column) -> None:
        """Keep a column unless there is a newer one; the lock is held."""
        known = self._columns.get(name)
        if known is not None and _age(known) > _age(column):
            return
        self._columns[name] = column
        self._columns.move_to_end(name)
        total = sum(column.nbytes for column in self._columns.values())
        while total > MAX_BYTES:
            _, dropped = self._columns.popitem(last=False)
            total -= dropped.nbytes


def _age(column: Column) -> tuple[int, int, int]:
    return column.generation, column.edits, column.rows
