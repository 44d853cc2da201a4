"""Metadata fields in memory, one column a field, so that a filter compares arrays."""

from __future__ import annotations

import math
import sqlite3
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, assert_never

import numpy as np
from numpy.typing import NDArray

from imagesearch.filters import (
    Compare,
    Contains,
    Exists,
    FilterNode,
    IsIn,
    Operator,
    Scalar,
)
from imagesearch.stores.local._checksums import (
    MODULUS,
    damaged_field,
    entry_checksums,
    stored_field_sum,
)
from imagesearch.stores.local._sql import BOOL, ELEMENT, NUMBER, OTHER, TEXT

__all__ = ["MAX_COLUMN_BYTES", "Column", "Entries", "Mask"]

Mask = NDArray[np.bool_]

MAX_COLUMN_BYTES: Final = 128 * 2**20
"""A field that needs more is filtered in SQLite: 14 million rows, or some 500,000 different texts."""

_MISSING, _BOOL, _INT, _FLOAT, _TEXT, _OTHER = range(6)
_KINDS = {BOOL: _BOOL, NUMBER: _INT, TEXT: _TEXT, OTHER: _OTHER, ELEMENT: _OTHER}
_COMPARE: dict[Operator, Callable[..., Mask]] = {
    Operator.EQ: np.equal,
    Operator.LT: np.less,
    Operator.LE: np.less_equal,
    Operator.GT: np.greater,
    Operator.GE: np.greater_equal,
}
_ROW_BYTES = 9
# Memory of a text in a dict and a list, without its characters.
_TEXT_BYTES = 150
_OVERHEAD_BYTES = 1000
# Entries read at a time. They are grouped by value if the first groups have enough rows on average.
_CHUNK = 50_000
_GROUPS = 1000
_GROUP_ROWS = 4
_MIN_INT, _MAX_INT = -(2**63), 2**63 - 1


@dataclass(frozen=True, slots=True, eq=False)
class Entries:
    """Entries of one field and kind in the table ``fields``, those with the same value together.

    Attributes:
        kind: Kind of the values.
        values: The value of each group.
        counts: How many rows each group has.
        rows: The rows of the first group, of the second, and so on.
    """

    kind: str
    values: Sequence[Any]
    counts: NDArray[np.int64]
    rows: NDArray[np.int64]

    def total(self) -> int:
        """Return what these entries add to the sum of their field."""
        checksums = np.repeat(entry_checksums(self.kind, self.values), self.counts)
        # The overflow is intended: the modulus divides 2^64.
        weights = 2 * self.rows.astype(np.uint64) + np.uint64(1)
        return int((checksums * weights).sum() % np.uint64(MODULUS))


def _read_entries(connection: sqlite3.Connection, name: str, kind: str) -> Iterator[Entries]:
    """Yield the entries of a field and kind, ordered by value."""
    cursor = connection.execute(
        "SELECT value, count(*), group_concat(row) FROM fields WHERE name = ? AND kind = ?"
        " GROUP BY value",
        (name, kind),
    )
    groups = cursor.fetchmany(_GROUPS)
    if len(groups) == _GROUPS and sum(count for _, count, _ in groups) < _GROUP_ROWS * _GROUPS:
        yield from _read_one_by_one(connection, name, kind)
        return
    while groups:
        values, counts, texts = zip(*groups, strict=True)
        rows = np.fromstring(",".join(texts), np.int64, sep=",")
        yield Entries(kind, values, np.array(counts, np.int64), rows)
        groups = cursor.fetchmany(_CHUNK)


def _read_one_by_one(connection: sqlite3.Connection, name: str, kind: str) -> Iterator[Entries]:
    cursor = connection.execute(
        "SELECT value, row FROM fields WHERE name = ? AND kind = ?", (name, kind)
    )
    while pairs := cursor.fetchmany(_CHUNK):
        values, rows = zip(*pairs, strict=True)
        yield Entries(kind, values, np.ones(len(rows), np.int64), np.array(rows, np.int64))


class _Texts:
    """Different texts and their codes."""

    __slots__ = ("codes", "nbytes", "ordered", "texts")

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.codes: dict[str, int] = {}
        self.ordered = 0
        self.nbytes = 0

    def encode(self, values: Sequence[str]) -> list[int]:
        """Return the codes of texts; new texts get the next codes."""
        new = [value for value in dict.fromkeys(values) if value not in self.codes]
        first = len(self.texts)
        self.texts += new
        self.codes.update(zip(new, range(first, first + len(new)), strict=True))
        self.nbytes += _TEXT_BYTES * len(new) + 4 * sum(map(len, new))
        return list(map(self.codes.__getitem__, values))

    def set_ordered(self) -> None:
        """Mark the texts so far as sorted, as read from the database."""
        self.ordered = len(self.texts)

    def compare(self, codes: NDArray[np.int64], operator: Operator, value: str) -> Mask:
        """Return for which codes the comparison of the text with `value` is true."""
        first = bisect_left(self.texts, value, 0, self.ordered)
        last = bisect_right(self.texts, value, first, self.ordered)
        late = self.texts[self.ordered :]
        match operator:
            case Operator.EQ:
                return np.asarray(codes == self.codes.get(value, -1))
            case Operator.LT:
                mask, more = codes < first, [text < value for text in late]
            case Operator.LE:
                mask, more = codes < last, [text <= value for text in late]
            case Operator.GT:
                mask, more = codes >= last, [text > value for text in late]
            case Operator.GE:
                mask, more = codes >= first, [text >= value for text in late]
            case _:
                assert_never(operator)
        if late:
            # Rows of another kind hold numbers here, not codes.
            is_late = (codes >= self.ordered) & (codes < self.ordered + len(late))
            mask[is_late] = np.array(more, np.bool_)[codes[is_late] - self.ordered]
        return mask


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """The values of one field for all rows of a generation, tombstones included.

    A column never changes; a column extended by more rows shares its arrays.

    Attributes:
        generation: Number of the vectors file.
        edits: Metadata updates of the index up to this state.
        rows: Rows covered.
        total: Sum of the checksums of the entries.
        kinds: (≥ rows,), kind of the value of each row.
        values: (≥ rows,), integers, codes of texts, or the bits of floats.
        texts: Texts and their codes.
        elements: Texts in lists and their codes.
        element_rows: (elements,), rows of the texts in lists.
        element_codes: (elements,), codes of the texts in lists.
    """

    generation: int
    edits: int
    rows: int
    total: int
    kinds: NDArray[np.uint8]
    values: NDArray[np.int64]
    texts: _Texts
    elements: _Texts
    element_rows: NDArray[np.int64]
    element_codes: NDArray[np.int64]

    @classmethod
    def read(
        cls, connection: sqlite3.Connection, name: str, generation: int, edits: int, rows: int
    ) -> Column | None:
        """Read a field; None if its column would be too large.

        Args:
            connection: In a transaction.
            name: The field.
            generation: Number of the vectors file.
            edits: Metadata updates of the index so far.
            rows: Rows in the vectors file.

        Raises:
            StoreCorruptError: The entries do not match their checksum.
        """
        if rows * _ROW_BYTES > MAX_COLUMN_BYTES:
            return None
        kinds, values = np.zeros(rows, np.uint8), np.zeros(rows, np.int64)
        none = np.empty(0, np.int64)
        column = cls(generation, edits, rows, 0, kinds, values, _Texts(), _Texts(), none, none)
        for kind in _KINDS:
            try:
                for entries in _read_entries(connection, name, kind):
                    column = column.with_entries(entries)
                    if column.nbytes > MAX_COLUMN_BYTES:
                        return None
            except (LookupError, TypeError, ValueError, OverflowError, DeprecationWarning) as error:
                raise damaged_field(name) from error
        if column.total != stored_field_sum(connection, name):
            raise damaged_field(name)
        column.texts.set_ordered()
        return column

    @property
    def nbytes(self) -> int:
        """Approximate size in memory."""
        return (
            _OVERHEAD_BYTES
            + _ROW_BYTES * len(self.kinds)
            + 2 * self.element_rows.nbytes
            + self.texts.nbytes
            + self.elements.nbytes
        )

    def extended(self, rows: int, parts: Iterable[Entries]) -> Column:
        """Return the column with more rows; call it only once for each column."""
        column = self
        if rows > len(self.kinds):
            room = rows + rows // 4
            kinds, values = np.zeros(room, np.uint8), np.zeros(room, np.int64)
            kinds[: self.rows] = self.kinds[: self.rows]
            values[: self.rows] = self.values[: self.rows]
            column = replace(column, kinds=kinds, values=values)
        column = replace(column, rows=rows)
        for entries in parts:
            column = column.with_entries(entries)
        return column

    def with_entries(self, entries: Entries) -> Column:
        """Write entries into the arrays, and return the column with them."""
        kind, values, counts, rows = entries.kind, entries.values, entries.counts, entries.rows
        total = (self.total + entries.total()) % MODULUS
        if len(rows) and rows.min() < 0:
            raise IndexError(rows.min())
        if kind == ELEMENT:
            codes = np.repeat(np.array(self.elements.encode(values), np.int64), counts)
            return replace(
                self,
                total=total,
                element_rows=np.concatenate([self.element_rows, rows]),
                element_codes=np.concatenate([self.element_codes, codes]),
            )
        if kind == NUMBER:
            is_int = np.fromiter((type(value) is int for value in values), np.bool_, len(values))
            data = np.empty(len(values), np.int64)
            if is_int.all():
                data[:] = values
            else:
                data[is_int] = [value for value in values if type(value) is int]
                floats = [value for value in values if type(value) is not int]
                data[~is_int] = np.array(floats, np.float64).view(np.int64)
            self.kinds[rows] = np.repeat(np.where(is_int, _INT, _FLOAT), counts)
            self.values[rows] = np.repeat(data, counts)
            return replace(self, total=total)
        self.kinds[rows] = _KINDS[kind]
        if kind == TEXT:
            self.values[rows] = np.repeat(self.texts.encode(values), counts)
        elif kind == BOOL:
            self.values[rows] = np.repeat(values, counts)
        return replace(self, total=total)

    def matching(self, node: FilterNode, rows: int) -> Mask:
        """Return which of the first `rows` rows meet a condition on this field.

        Args:
            node: The condition.
            rows: At most the rows that the column covers.
        """
        kinds, values = self.kinds[:rows], self.values[:rows]
        match node:
            case Compare():
                return self._compare(kinds, values, node.operator, node.value)
            case IsIn():
                return self._is_in(kinds, values, node.values)
            case Contains():
                mask = np.zeros(self.rows, np.bool_)
                code = self.elements.codes.get(node.value)
                if code is not None:
                    mask[self.element_rows[self.element_codes == code]] = True
                return mask[:rows]
            case Exists():
                return np.asarray(kinds != _MISSING)
            case _:
                raise AssertionError(node)

    def _compare(
        self,
        kinds: NDArray[np.uint8],
        values: NDArray[np.int64],
        operator: Operator,
        value: Scalar,
    ) -> Mask:
        mask: Mask
        match value:
            case bool():
                mask = values == int(value)
                mask &= kinds == _BOOL
            case str():
                mask = self.texts.compare(values, operator, value)
                mask &= kinds == _TEXT
            case int() | float():
                mask = _compare_integers(values, operator, value)
                mask &= kinds == _INT
                is_float = kinds == _FLOAT
                if is_float.any():
                    mask |= is_float & _compare_floats(values.view(np.float64), operator, value)
            case _:
                assert_never(value)
        return mask

    def _is_in(
        self, kinds: NDArray[np.uint8], values: NDArray[np.int64], expected: Sequence[Scalar]
    ) -> Mask:
        numbers = [value for value in expected if type(value) in {int, float}]
        texts = [self.texts.codes.get(value, -1) for value in expected if isinstance(value, str)]
        whole = [int(value) for value in numbers if int(value) == value]
        mask = np.zeros(len(values), np.bool_)
        for kind, choices in (
            (_TEXT, texts),
            (_BOOL, [int(value) for value in expected if isinstance(value, bool)]),
            (_INT, [value for value in whole if _MIN_INT <= value <= _MAX_INT]),
        ):
            if choices:
                mask |= np.isin(values, np.array(choices, np.int64)) & (kinds == kind)
        is_float = kinds == _FLOAT
        if numbers and is_float.any():
            floats = np.array([float(value) for value in numbers if float(value) == value])
            mask |= np.isin(values.view(np.float64), floats) & is_float
        return mask


def _compare_integers(values: NDArray[np.int64], operator: Operator, value: float) -> Mask:
    """Compare integers with a finite number, exactly as Python does."""
    # An integer is below a fraction if it is below the next integer.
    bound = math.floor(value) if operator in {Operator.LE, Operator.GT} else math.ceil(value)
    if operator is Operator.EQ and bound != value:
        return np.zeros(len(values), np.bool_)
    if not _MIN_INT <= bound <= _MAX_INT:
        below = operator in {Operator.LT, Operator.LE}
        return np.full(len(values), operator is not Operator.EQ and below == (bound > 0))
    return _COMPARE[operator](values, np.int64(bound))


def _compare_floats(values: NDArray[np.float64], operator: Operator, value: float) -> Mask:
    """Compare floats with a finite number, exactly as Python does."""
    bound = float(value)
    if bound == value:
        return _COMPARE[operator](values, bound)
    # The number lies between two floats.
    if operator in {Operator.LT, Operator.LE}:
        return np.asarray(values <= (bound if bound < value else math.nextafter(bound, -math.inf)))
    if operator in {Operator.GT, Operator.GE}:
        return np.asarray(values >= (bound if bound > value else math.nextafter(bound, math.inf)))
    return np.zeros(len(values), np.bool_)
