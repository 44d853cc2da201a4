"""Nodes: which rows of the vectors file share a node of the search graph, by equal bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["NO_NODE", "Nodes", "RowsByNode", "digests"]

NO_NODE = -1
_HASHED_ROWS = 1024


@dataclass(frozen=True, slots=True, eq=False)
class RowsByNode:
    """The rows of each node at one moment; later changes do not reach it.

    Attributes:
        rows: Rows, one node after the other, ascending within a node.
        starts: (nodes + 1,), where the rows of each node begin.
    """

    rows: NDArray[np.int64]
    starts: NDArray[np.int64]

    def first(self, nodes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the first row of nodes, dead or alive; -1 if it has none any more."""
        used = self.starts[nodes + 1] > self.starts[nodes]
        first = np.full(len(nodes), NO_NODE, np.int64)
        first[used] = self.rows[self.starts[nodes[used]]]
        return first

    def expand(self, nodes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the rows of nodes, one node after the other, and how many each node has.

        Example:
            >>> table = RowsByNode(np.array([0, 2, 5, 1]), np.array([0, 3, 4]))
            >>> [part.tolist() for part in table.expand(np.array([1, 0]))]
            [[1, 0, 2, 5], [1, 3]]
        """
        counts = self.starts[nodes + 1] - self.starts[nodes]
        ends = np.cumsum(counts)
        within = np.arange(int(counts.sum())) - np.repeat(ends - counts, counts)
        return self.rows[np.repeat(self.starts[nodes], counts) + within], counts


class Nodes:
    """The nodes of a graph and the rows that belong to each.

    Rows with the same stored bytes share a node, because a graph with many equal vectors falls
    apart: each is linked with its copies only, and nothing else is reached through them. Nodes
    are numbered in the order of insertion and never renumbered; rows change with compaction.

    Attributes:
        of_row: (rows,), the node of each row, or -1.
        keys: (nodes,), a hash of the bytes of each node.
        hidden: (nodes,), whether a node has no live row and is not found.
    """

    def __init__(self) -> None:
        self.of_row = np.empty(0, np.int64)
        self.keys = np.empty(0, np.uint64)
        self.hidden = np.empty(0, np.bool_)
        self._table: RowsByNode | None = None

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def found(self) -> int:
        """Nodes that are not hidden."""
        return len(self) - int(np.count_nonzero(self.hidden))

    def missing(self, alive: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return the live rows without a node that can be found, ascending."""
        without = alive.copy()
        reach = min(len(self.of_row), len(alive))
        # The last element is for rows without a node, -1.
        without[:reach] &= np.append(self.hidden, True)[self.of_row[:reach]]
        return np.flatnonzero(without)

    def unused(self, alive: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return the nodes that are not hidden and have no live row; rows beyond `alive` live."""
        reach = min(len(self.of_row), len(alive))
        counting = self.of_row != NO_NODE
        counting[:reach] &= alive[:reach]
        unused = ~self.hidden
        unused[self.of_row[counting]] = False
        return np.flatnonzero(unused)

    def owners(
        self, rows: NDArray[np.int64], keys: NDArray[np.uint64], stored: NDArray[Any]
    ) -> NDArray[np.int64]:
        """Return for each row the first row with the same bytes: with a node, in `rows`, or itself.

        Args:
            rows: (n,), ascending, without nodes.
            keys: (n,), as `digests` gives them.
            stored: The rows of the vectors file.
        """
        first = self.rows_by_node().first(np.arange(len(self)))
        known = np.flatnonzero((first != NO_NODE) & (first < len(stored)))
        everything = np.concatenate([first[known], rows])
        _, index, inverse = np.unique(
            np.concatenate([self.keys[known], keys]), return_index=True, return_inverse=True
        )
        owners = everything[index[inverse[len(known) :]]]
        copies = np.flatnonzero(owners != rows)
        for start in range(0, len(copies), _HASHED_ROWS):
            some = copies[start : start + _HASHED_ROWS]
            # A hash of 64 bits may be the same by chance.
            differ = (_bytes_of(stored, rows[some]) != _bytes_of(stored, owners[some])).any(axis=1)
            owners[some[differ]] = rows[some[differ]]
        return owners

    def reserve(self, rows: int) -> None:
        """Make room for so many rows."""
        if rows > len(self.of_row):
            grown = np.full(rows, NO_NODE, np.int64)
            grown[: len(self.of_row)] = self.of_row
            self.of_row = grown

    def append(self, rows: NDArray[np.int64], keys: NDArray[np.uint64]) -> None:
        """Make a new node for each row; `reserve` has made room."""
        self._table = None
        self.of_row[rows] = np.arange(len(self), len(self) + len(rows))
        self.hidden = np.append(self.hidden, np.zeros(len(rows), np.bool_))
        # Last, for the number of keys says how many nodes there are.
        self.keys = np.append(self.keys, keys)

    def share(self, rows: NDArray[np.int64], owners: NDArray[np.int64]) -> None:
        """Let rows belong to the nodes of their owners."""
        self._table = None
        self.of_row[rows] = self.of_row[owners]

    def renumber(self, new: NDArray[np.int64]) -> None:
        """Follow a compaction: `new` has for each old row its new number, or -1."""
        reach = min(len(self.of_row), len(new))
        kept = np.flatnonzero(new[:reach] != NO_NODE)
        of_row = np.full(len(kept), NO_NODE, np.int64)
        of_row[new[kept]] = self.of_row[kept]
        self.of_row, self._table = of_row, None

    def rows_by_node(self) -> RowsByNode:
        """Return the rows of each node; kept until something changes."""
        # Two threads may both make it, which does no harm.
        table = self._table
        if table is None:
            rows = np.flatnonzero(self.of_row != NO_NODE)
            nodes = self.of_row[rows]
            starts = np.zeros(len(self) + 1, np.int64)
            np.cumsum(np.bincount(nodes, minlength=len(self)), out=starts[1:])
            table = RowsByNode(rows[np.argsort(nodes, kind="stable")], starts)
            self._table = table
        return table

    def live_rows(self, alive: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return for each node its first live row, (nodes,); -1 if it has none or is hidden."""
        reach = min(len(self.of_row), len(alive))
        rows = np.flatnonzero(alive[:reach] & (self.of_row[:reach] != NO_NODE))
        nodes, first = np.unique(self.of_row[rows], return_index=True)
        live = np.full(len(self), NO_NODE, np.int64)
        live[nodes] = rows[first]
        live[self.hidden] = NO_NODE
        return live

    def arrays(self) -> dict[str, NDArray[np.int64]]:
        """Return what `restore` needs."""
        covered = np.flatnonzero(self.of_row != NO_NODE)
        return {
            "node_of_row": self.of_row[: covered[-1] + 1 if len(covered) else 0],
            "keys": self.keys.view(np.int64),
            "hidden": np.flatnonzero(self.hidden),
        }

    def restore(self, arrays: Mapping[str, NDArray[np.int64]]) -> None:
        """Take over what `arrays` gave."""
        self.of_row = arrays["node_of_row"].copy()
        self.keys = arrays["keys"].view(np.uint64).copy()
        self.hidden = np.zeros(len(self.keys), np.bool_)
        self.hidden[arrays["hidden"]] = True
        self._table = None


def digests(stored: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return a hash of the stored bytes of each row, the same in every program.

    Example:
        >>> keys = digests(np.array([[1, 2], [3, 4], [1, 2]], np.int8), np.arange(3))
        >>> (keys == keys[0]).tolist()
        [True, False, True]
    """
    parts = []
    for start in range(0, len(rows), _HASHED_ROWS):
        block = _bytes_of(stored, rows[start : start + _HASHED_ROWS])
        parts += [hashlib.blake2b(row.data, digest_size=8).digest() for row in block]
    return np.frombuffer(b"".join(parts), "<u8").astype(np.uint64)


def _bytes_of(stored: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(stored[rows]).view(np.uint8)
