"""UnionFind: pairs → groups."""

from __future__ import annotations

__all__ = ["UnionFind"]


class UnionFind:
    """Joins ids that belong together; holds only ids that were joined to another.

    The groups do not depend on the order of the pairs.

    Example:
        >>> union = UnionFind()
        >>> for pair in (("c", "b"), ("x", "y"), ("a", "b")):
        ...     union.join(*pair)
        >>> union.groups()
        [['a', 'b', 'c'], ['x', 'y']]
    """

    def __init__(self) -> None:
        self._parents: dict[str, str] = {}

    def join(self, one: str, other: str) -> None:
        """Put two ids, and all that was joined to them, into one group."""
        first, second = sorted((self._root(one), self._root(other)))
        self._parents[second] = first

    def groups(self) -> list[list[str]]:
        """Return the groups of two and more, each sorted, sorted by their first ids."""
        found: dict[str, list[str]] = {}
        for id in sorted(self._parents):
            found.setdefault(self._root(id), []).append(id)
        return [group for group in found.values() if len(group) > 1]

    def _root(self, id: str) -> str:
        root = id
        while (parent := self._parents.setdefault(root, root)) != root:
            root = parent
        while id != root:
            self._parents[id], id = root, self._parents[id]
        return root
