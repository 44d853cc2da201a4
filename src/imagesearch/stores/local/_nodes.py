"""Nodes: which rows of the vectors file share a node of the search graph, by equal codes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagesearch._validation import batched

__all__ = ["NO_NODE", "Nodes", "RowsByNode", "digests"]

NO_NODE = -1
_HASHED_ROWS = 1024


@dataclass(frozen=True, slots=True, eq=False)
class RowsByNode:
    """The rows of each node at one moment; later changes do not reach it.

    Attributes:
        rows: Rows, one node after the other, ascending within a node.
        starts: (nodes + 1,), where the rows of each node begin.
        mixed: (nodes,), whether the vectors of a node differ.
    """

    rows: NDArray[np.int64]
    starts: NDArray[np.int64]
    mixed: NDArray[np.bool_]

    def first(self, nodes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the first row of nodes, dead or alive; -1 if it has none any more."""
        used = self.starts[nodes + 1] > self.starts[nodes]
        first = np.full(len(nodes), NO_NODE, np.int64)
        first[used] = self.rows[self.starts[nodes[used]]]
        return first

    def expand(self, nodes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the rows of nodes, one node after the other, and how many each node has.

        Example:
            >>> table = RowsByNode(np.array([0, 2, 5, 1]), np.array([0, 3, 4]), np.zeros(2, bool))
            >>> [part.tolist() for part in table.expand(np.array([1, 0]))]
            [[1, 0, 2, 5], [1, 3]]
        """
        counts = self.starts[nodes + 1] - self.starts[nodes]
        ends = np.cumsum(counts)
        within = np.arange(int(counts.sum())) - np.repeat(ends - counts, counts)
        return self.rows[np.repeat(self.starts[nodes], counts) + within], counts


class Nodes:
    """The nodes of a graph and the rows that belong to each.

    Rows with the same code share a node, because a graph with many equal codes falls apart: each
    is linked with its copies only, and nothing else is reached through them. Nodes are numbered in
    the order of insertion and never renumbered; rows change with compaction.

    Attributes:
        of_row: (rows,), the node of each row, or -1.
        keys: (nodes,), a hash of the code of each node.
        mixed: (nodes,), whether the vectors of a node differ, where a code stands for several.
    """

    def __init__(self) -> None:
        self.of_row = np.empty(0, np.int64)
        self.keys = np.empty(0, np.uint64)
        self.mixed = np.empty(0, np.bool_)
        self._table: RowsByNode | None = None

    def __len__(self) -> int:
        return len(self.keys)

    def missing(self, alive: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return the live rows without a node, ascending."""
        without = alive.copy()
        reach = min(len(self.of_row), len(alive))
        without[:reach] &= self.of_row[:reach] == NO_NODE
        return np.flatnonzero(without)

    def live(self, alive: NDArray[np.bool_]) -> int:
        """Return how many nodes have a live row; rows beyond `alive` live."""
        reach = min(len(self.of_row), len(alive))
        counting = self.of_row != NO_NODE
        counting[:reach] &= alive[:reach]
        used = np.zeros(len(self), np.bool_)
        used[self.of_row[counting]] = True
        return int(np.count_nonzero(used))

    def owners(
        self,
        rows: NDArray[np.int64],
        keys: NDArray[np.uint64],
        codes: Callable[[NDArray[np.int64]], NDArray[Any]],
        reach: int,
    ) -> NDArray[np.int64]:
        """Return for each row the first row with the same code: with a node, in `rows`, or itself.

        Args:
            rows: (n,), ascending, without nodes.
            keys: (n,), as `digests` gives them.
            codes: Gives the codes of rows.
            reach: Rows from this one on do not exist for `codes`.
        """
        first = self.rows_by_node().first(np.arange(len(self)))
        known = np.flatnonzero((first != NO_NODE) & (first < reach))
        everything = np.concatenate([first[known], rows])
        _, index, inverse = np.unique(
            np.concatenate([self.keys[known], keys]), return_index=True, return_inverse=True
        )
        owners = everything[index[inverse[len(known) :]]]
        copies = np.flatnonzero(owners != rows)
        for some in batched(copies, _HASHED_ROWS):
            # A hash of 64 bits may be the same by chance.
            differ = (_bytes_of(codes(rows[some])) != _bytes_of(codes(owners[some]))).any(axis=1)
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
        self.mixed = np.append(self.mixed, np.zeros(len(rows), np.bool_))
        # Last, for the number of keys says how many nodes there are.
        self.keys = np.append(self.keys, keys)

    def share(
        self, rows: NDArray[np.int64], owners: NDArray[np.int64], differ: NDArray[np.bool_]
    ) -> None:
        """Let rows belong to the nodes of their owners.

        Args:
            rows: (n,), without nodes.
            owners: (n,), with nodes.
            differ: (n,), whether a row has the code of its owner, but another vector.
        """
        self._table = None
        nodes = self.of_row[owners]
        self.mixed[nodes[differ]] = True
        self.of_row[rows] = nodes

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
            rows = rows[np.argsort(nodes, kind="stable")]
            table = RowsByNode(rows, starts, self.mixed.copy())
            self._table = table
        return table

    def live_rows(self, alive: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return for each node its first live row, (nodes,); -1 if it has none."""
        reach = min(len(self.of_row), len(alive))
        rows = np.flatnonzero(alive[:reach] & (self.of_row[:reach] != NO_NODE))
        nodes, first = np.unique(self.of_row[rows], return_index=True)
        live = np.full(len(self), NO_NODE, np.int64)
        live[nodes] = rows[first]
        return live

    def arrays(self) -> dict[str, NDArray[np.int64]]:
        """Return what `restore` needs."""
        covered = np.flatnonzero(self.of_row != NO_NODE)
        return {
            "node_of_row": self.of_row[: covered[-1] + 1 if len(covered) else 0],
            "keys": self.keys.view(np.int64),
            "mixed": np.flatnonzero(self.mixed),
        }

    def restore(self, arrays: Mapping[str, NDArray[np.int64]]) -> None:
        """Take over what `arrays` gave."""
        self.of_row = arrays["node_of_row"].copy()
        self.keys = arrays["keys"].view(np.uint64).copy()
        self.mixed = np.zeros(len(self.keys), np.bool_)
        self.mixed[arrays["mixed"]] = True
        self._table = None


def digests(codes: NDArray[Any]) -> NDArray[np.uint64]:
    """Return a hash of each code, the same in every program.

    Example:
        >>> keys = digests(np.array([[1, 2], [3, 4], [1, 2]], np.int8))
        >>> (keys == keys[0]).tolist()
        [True, False, True]
    """
    hashes = [hashlib.blake2b(row.data, digest_size=8).digest() for row in _bytes_of(codes)]
    return np.frombuffer(b"".join(hashes), "<u8").astype(np.uint64)


def _bytes_of(codes: NDArray[Any]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(codes).view(np.uint8)
