"""Hypothesis strategies for metadata, filters, vectors and histories of a store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from imagesearch.filters import And, Compare, Contains, Exists, Filter, IsIn, Not, Operator, Or

__all__ = [
    "Step",
    "field_names",
    "filters",
    "histories",
    "json_values",
    "metadata",
    "records",
    "scalars",
]

_WORDS = ("", "a", "b", "ab", "A", "é", "金", "it's", 'say "x"', "a\\b", "true", "1", "%")
_NUMBERS = (0, 1, 2, -1, 0.5, 1.0, 2.5, 10, 1e6)
_SUBSCRIPTS = ("$", "$.a", "a.b", "a[0]", "[0]", 'say "x"', "it's", "a\\b", "rowid", "score", " ")

# Lone surrogates are not valid Unicode; control characters are refused in ids only.
_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def field_names() -> st.SearchStrategy[str]:
    """Field names: a few frequent ones for matches, hostile ones, and any others."""
    valid = _texts.filter(lambda name: bool(name) and "\0" not in name)
    return st.one_of(st.sampled_from(["a", "b", *_SUBSCRIPTS]), valid).filter(
        lambda name: name not in {"id", "uri"}
    )


def scalars() -> st.SearchStrategy[Any]:
    """Strings, numbers and booleans, from a small pool for matches and from all values."""
    return st.one_of(
        st.sampled_from(_WORDS),
        st.sampled_from(_NUMBERS),
        st.booleans(),
        _texts,
        st.integers(-(2**63), 2**63 - 1),
        st.floats(allow_nan=False, allow_infinity=False),
    )


def json_values() -> st.SearchStrategy[Any]:
    """Any metadata value: scalars, None, lists and dicts."""
    return st.recursive(
        st.one_of(st.none(), scalars()),
        lambda inner: st.one_of(
            st.lists(inner, max_size=4), st.dictionaries(_texts, inner, max_size=3)
        ),
        max_leaves=6,
    )


def metadata() -> st.SearchStrategy[dict[str, Any]]:
    """Metadata of a record, with any names and values."""
    return st.dictionaries(field_names(), json_values(), max_size=4)


def records(fields: Mapping[str, type]) -> st.SearchStrategy[dict[str, Any]]:
    """Metadata of a record with some of the declared fields, with values of their types."""
    return st.fixed_dictionaries({}, optional={name: _of(kind) for name, kind in fields.items()})


def filters(
    fields: Mapping[str, type] | None = None, *, order_text: bool = True, identity: bool = False
) -> st.SearchStrategy[Filter]:
    """Filter trees.

    Args:
        fields: The fields in the filter; None for any name and any value.
        order_text: Whether strings are compared with <, <=, > and >=.
        identity: Whether to include the fields ``id`` and ``uri``.
    """
    names = field_names() if fields is None else st.sampled_from(sorted(fields))
    if identity:
        names = st.one_of(names, st.sampled_from(["id", "uri"]))
    values = scalars() if fields is None else st.sampled_from([*_WORDS, *_NUMBERS, True, False])
    ordered = values.filter(
        lambda value: not isinstance(value, bool) and (order_text or not isinstance(value, str))
    )
    leaves: st.SearchStrategy[Filter] = st.one_of(
        st.builds(Compare, names, st.just(Operator.EQ), values),
        st.builds(Compare, names, st.sampled_from(list(Operator)[1:]), ordered),
        st.builds(IsIn, names, st.lists(values, max_size=4).map(tuple)),
        st.builds(Contains, names, st.one_of(st.sampled_from(_WORDS), _texts)),
        st.builds(Exists, names),
    )
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.builds(Not, inner),
            st.builds(And, st.lists(inner, min_size=1, max_size=3).map(tuple)),
            st.builds(Or, st.lists(inner, min_size=1, max_size=3).map(tuple)),
        ),
        max_leaves=6,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One operation of a history.

    Attributes:
        action: ``upsert``, ``update``, ``delete``, ``search``, ``count`` or ``reopen``.
        ids: The ids of the records.
        vectors: One for each id, or the queries.
        k: Number of hits.
        stock: The value of the metadata field ``stock``.
    """

    action: str
    ids: tuple[str, ...] = ()
    vectors: NDArray[np.float32] | None = None
    k: int = 1
    stock: int = 0


def histories(dim: int) -> st.SearchStrategy[list[Step]]:
    """Random histories with ten ids and few directions, so that replacements and ties occur."""
    ids = st.lists(st.sampled_from("abcdefghij"), min_size=1, max_size=6, unique=True)
    component = st.integers(-2, 2)
    vector = st.lists(component, min_size=dim, max_size=dim).filter(any)

    def upsert(names: list[str]) -> st.SearchStrategy[Step]:
        rows = st.lists(vector, min_size=len(names), max_size=len(names))
        return st.builds(
            lambda values, stock: Step(
                "upsert", tuple(names), np.array(values, np.float32), stock=stock
            ),
            rows,
            st.integers(0, 3),
        )

    return st.lists(
        st.one_of(
            ids.flatmap(upsert),
            ids.flatmap(upsert),
            st.builds(
                lambda names, stock: Step("update", tuple(names), stock=stock),
                ids,
                st.integers(0, 3),
            ),
            st.builds(lambda names: Step("delete", tuple(names)), ids),
            st.builds(
                lambda values, k: Step("search", vectors=np.array(values, np.float32), k=k),
                st.lists(vector, min_size=1, max_size=3),
                st.integers(1, 12),
            ),
            st.builds(lambda stock: Step("count", stock=stock), st.integers(0, 3)),
            st.just(Step("reopen")),
        ),
        max_size=12,
    )


def _of(kind: type) -> st.SearchStrategy[Any]:
    if kind is str:
        return st.sampled_from(_WORDS)
    if kind is bool:
        return st.booleans()
    if kind is list:
        return st.lists(st.sampled_from(_WORDS), max_size=3)
    numbers = [number for number in _NUMBERS if kind is float or isinstance(number, int)]
    return st.sampled_from([kind(abs(number)) for number in numbers])
