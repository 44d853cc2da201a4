"""Rules about filters, and their test cases."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagesearch.errors import UnsupportedFilterError
from imagesearch.filters import (
    And,
    Compare,
    Exists,
    Field,
    Filter,
    FilterNode,
    IsIn,
    Not,
    Operator,
    Or,
    fields_of,
    matches,
)
from imagesearch.protocols import Capability, VectorStore
from imagesearch.testing import strategies
from imagesearch.testing.stores._fixtures import (
    StoreFixtures,
    ids_of,
    make_batch,
    require,
    unit,
)
from imagesearch.types import RESERVED_FIELDS, RecordBatch

__all__ = ["ANY_FIELD_CASES", "ANY_FIELD_RECORDS", "CASES", "RECORDS", "FilterRules"]


HOSTILE_TEXTS = (
    "it's",
    'say "x"',
    "a\\b",
    "a\\",
    "100%",
    "under_score",
    "') OR 1=1 --",
    '" or "" = "',
    "line\nbreak",
    "金鱼",
    "🐟",
    "é",
    "e\u0301",
    " padded ",
    "true",
    "1",
    "null",
    "*",
    "{x}",
    "$.a",
)
"""Texts that break compilers which insert values without binding or escaping them."""

RECORDS: list[dict[str, Any]] = [
    {"label": "cat", "price": 1.0, "stock": 0, "sold": True, "tags": ["red", "small"]},
    {"label": "cat", "price": 9.5, "stock": 1, "sold": False, "tags": ["red"]},
    {"label": "Cat", "price": 10.0, "stock": 2, "sold": True, "tags": []},
    {"label": "dog", "price": 10.5, "stock": 10, "sold": False, "tags": ["blue", "red fox"]},
    {"label": "dog", "price": -3.25, "stock": 7, "sold": True, "tags": ["Red"]},
    {"label": "dogfish", "price": 0.0, "stock": 100, "sold": False, "tags": ["dog", "fish"]},
    {"label": "", "price": 0.1, "stock": 3, "note": "empty label"},
    {"label": "goldfish", "price": 1e6, "stock": 2**40},
    {"label": "zebra", "sold": True},
    {"price": 9.5},
    {"stock": 1},
    {"tags": ["red", "red", "small"]},
    {"note": "cat"},
    {},
    *({"note": text, "tags": [text], "label": text} for text in HOSTILE_TEXTS),
]
"""The stored metadata: only fields of FILTERABLE_FIELDS, with values of their types."""

_label, _price, _stock, _sold, _tags, _note = (
    Field(name) for name in ("label", "price", "stock", "sold", "tags", "note")
)

CASES: list[Filter] = [
    _label == "cat",
    _label == "Cat",
    _label == "",
    _label == "missing",
    _label != "cat",
    _price == 9.5,
    _price == 10,
    _price == 0,
    _price != 9.5,
    _price < 0,
    _price < 10,
    _price <= 10,
    _price > 9.5,
    _price >= 9.5,
    _price > 1e300,
    _price == 0.1,
    _stock == 1,
    _stock == 1.0,
    _stock == 0.5,
    _stock < 2.5,
    _stock >= 7,
    _stock == 2**40,
    _stock > -5,
    _sold == True,  # noqa: E712  # builds a filter
    _sold == False,  # noqa: E712  # builds a filter
    _sold != True,  # noqa: E712  # builds a filter
    _label.is_in(["cat", "dog"]),
    _label.is_in(["cat"]),
    IsIn("label", ()),
    Not(IsIn("label", ())),
    ~_label.is_in(["cat", "dog"]),
    _price.is_in([1, 9.5, 10]),
    _stock.is_in([1, 7, 100]),
    _sold.is_in([True, False]),
    _tags.contains("red"),
    _tags.contains("re"),
    _tags.contains(""),
    ~_tags.contains("red"),
    _label.exists(),
    _price.exists(),
    _sold.exists(),
    _tags.exists(),
    ~_note.exists(),
    ~_price.exists(),
    (_label == "cat") & (_price < 5),
    (_label == "cat") | (_price > 10),
    (_label == "cat") & (_price < 5) & (_sold == True),  # noqa: E712  # builds a filter
    ~((_label == "cat") | (_sold == True)),  # noqa: E712  # builds a filter
    ~((_label == "cat") & (_sold == True)),  # noqa: E712  # builds a filter
    Not(Not(_label == "cat")),
    Not(Not(Not(_price < 10))),
    ((_label == "cat") | (_label == "dog")) & ((_price < 5) | (_stock >= 10)),
    (_price >= 0) & (_price <= 10) & ~_sold.exists(),
    (_label == "cat") & (_label == "dog"),
    (_label == "cat") | ~(_label == "cat"),
    # Values of different kinds are never equal: "1" is not 1, and true is not 1.
    _price == "9.5",
    _price != "9.5",
    _stock == True,  # noqa: E712  # builds a filter
    _stock == False,  # noqa: E712  # builds a filter
    _sold == 1,
    _sold == 0,
    _sold != 1,
    _sold == "true",
    _sold > 0,
    _label == 1,
    _label == True,  # noqa: E712  # builds a filter
    _label < 5,
    _label.is_in([1, True, "cat"]),
    _stock.is_in([True, "1", 7]),
    _sold.is_in([1, "true"]),
    _tags == "red",
    _tags == 1,
    _label.contains("cat"),
    _price.contains("1"),
    # Texts are ordered by code point.
    _label < "dog",
    _label <= "dog",
    _label > "cat",
    _label >= "金",
    _price < "x",
    # What breaks a compiler that inserts values without escaping.
    *(_note == text for text in HOSTILE_TEXTS),
    *(_tags.contains(text) for text in HOSTILE_TEXTS),
    _label.is_in(HOSTILE_TEXTS),
    ~_label.is_in(HOSTILE_TEXTS),
    # The record's own fields.
    Field("id") == "id-00003",
    Field("id").is_in(["id-00001", "id-00002", "missing"]),
    Field("id") != "id-00003",
    Field("uri") == "/photos/id-00004.jpg",
    Field("id") < "id-00005",
    Field("uri") > "/photos/id-00030.jpg",
    Exists("id") & ~Exists("uri"),
    Field("id") == 3,
    Field("id").contains("id-00003"),
    (Field("id") == "id-00000") & (_label == "cat"),
]

_NAMES = (
    "a b",
    "a.b",
    "it's",
    'say "x"',
    "a\\b",
    "$",
    "$.a",
    "[0]",
    "a[0]",
    "金鱼",
    "%",
    "_",
    "rowid",
    "score",
    "vector",
    "metadata",
    "digest",
    "NOT",
    " ",
    "\n",
)

ANY_FIELD_RECORDS: list[dict[str, Any]] = [
    *({name: "there"} for name in _NAMES),
    dict.fromkeys(_NAMES, 1),
    {"a": {"b": 1}, "x": 1},
    {"x": True},
    {"x": 1.0},
    {"x": "1"},
    {"x": [1, "1", True, None]},
    {"x": ["1"]},
    {"x": [["1"]]},
    {"x": None},
    {"x": {"1": "1"}},
    {"x": False},
    {"x": 0},
    {"x": ""},
    {"x": []},
    {"x": {}},
    {"x": 2**53},
    {"x": 2**53 + 1},
    {"x": float(2**53)},
    {"x": 2**63 - 1},
    {"x": -(2**63)},
    {"x": 0.1 + 0.2},
    {"x": 5e-324},
    {"x": 1.7976931348623157e308},
    {"x": -0.0},
    {"x": "a\0b"},
    {"x": "a"},
    {"x": "\uffff"},
    {"x": "\U00010000"},
]
"""Values of several types under one name, and names that break compilers."""

_x = Field("x")
ANY_FIELD_CASES: list[Filter] = [
    *(Field(name) == "there" for name in _NAMES),
    *(Field(name) == 1 for name in _NAMES),
    *(Field(name).exists() for name in _NAMES),
    Field("a").exists(),
    Field("b").exists(),
    Field("X") == 1,
    _x == 1,
    _x == True,  # noqa: E712  # builds a filter
    _x == False,  # noqa: E712  # builds a filter
    _x == "1",
    _x == "",
    _x == 0,
    _x != 1,
    _x.contains("1"),
    ~_x.contains("1"),
    _x.exists(),
    ~_x.exists(),
    _x.is_in([1, "1", True]),
    _x == 2**53,
    _x == 2**53 + 1,
    _x > 2**53,
    _x == float(2**53),
    _x == 2**63 - 1,
    _x == -(2**63),
    _x < -(2**62),
    _x == 0.3,
    _x == 0.1 + 0.2,
    _x > 0,
    _x >= 0,
    _x == 5e-324,
    _x >= 1.7976931348623157e308,
    _x == "a\0b",
    _x == "a",
    _x < "b",
    _x > "\uffff",
    _x >= "",
]


class FilterRules(StoreFixtures):
    """A filter has the same meaning in every store."""

    def test_every_filter_selects_what_the_evaluator_selects(self, store: VectorStore) -> None:
        """Count, scan and search agree with `filters.matches`, or refuse what is not declared.

        If this fails, check the compiler for the nodes that are shown: missing fields, kinds,
        negation, quoting.
        """
        kept = [
            {name: fields[name] for name in fields if name in self.filterable_fields}
            for fields in RECORDS
        ]
        batch = make_batch(self.vectors(len(kept)), kept)
        self.write(store, batch)
        wrong = []
        for where in CASES:
            if self._expressible(store, where):
                wrong += self._disagreements(store, batch, where)
            elif "uri" in fields_of(where) and self._counts(store, where):
                # A store may select by URI without all that FILTER_IDENTITY means.
                wrong += self._disagreements(store, batch, where)
            else:
                self._refuses(store, where)
        assert wrong == []

    def test_filters_on_any_field_select_what_the_evaluator_selects(
        self, store: VectorStore
    ) -> None:
        """FILTER_ANY_FIELD: any name, and values of several types under one name.

        If this fails, check how field names are quoted and how kinds are distinguished.
        """
        require(store, Capability.FILTER_ANY_FIELD)
        batch = make_batch(self.vectors(len(ANY_FIELD_RECORDS)), ANY_FIELD_RECORDS)
        self.write(store, batch)
        wrong = []
        for where in ANY_FIELD_CASES:
            if self._expressible(store, where):
                wrong += self._disagreements(store, batch, where)
        assert wrong == []

    def test_what_is_not_declared_is_refused_by_every_method(self, store: VectorStore) -> None:
        """A filter that a store does not support raises UnsupportedFilterError.

        If this fails, check that search, scan and count compile the filter before the request.
        """
        self.write(store, self.batch(3))
        undeclared = {
            Capability.FILTER_ANY_FIELD: Field("never_declared") == "x",
            Capability.FILTER_IDENTITY: Field("id") == "id-00000",
            Capability.ORDER_TEXT: Field("label") < "x",
        }
        refused = [
            where for needed, where in undeclared.items() if needed not in store.capabilities
        ]
        if not refused:
            pytest.skip("the store declares support for every filter")
        for where in refused:
            self._refuses(store, where)

    def test_random_filters_on_random_records_agree_with_the_evaluator(
        self, open_store: Any
    ) -> None:
        """Any filter tree selects the same records as the evaluator.

        If this fails, check the smallest filter that hypothesis shows.
        """
        store = open_store()
        random = strategies.records(self.filterable_fields)
        random_filter = strategies.filters(
            self.filterable_fields,
            order_text=Capability.ORDER_TEXT in store.capabilities,
            identity=Capability.FILTER_IDENTITY in store.capabilities,
        )

        @settings(max_examples=self.model_examples, deadline=None, database=None)
        @given(st.lists(random, min_size=1, max_size=8), random_filter)
        def agree(records: list[dict[str, Any]], where: Filter) -> None:
            self.remove(store, [id for part in store.scan() for id in part.ids])
            batch = make_batch(self.vectors(len(records)), records)
            self.write(store, batch)
            assert self._disagreements(store, batch, where) == []

        agree()

    @pytest.mark.parametrize("every", [2, 10, 50])
    def test_a_narrow_filter_still_gives_as_many_hits_as_match(
        self, store: VectorStore, every: int
    ) -> None:
        """A search returns min(k, matches) hits, even if the nearest records do not match.

        If this fails, check for filtering after the search, and limits on the records examined.
        """
        near = unit(np.eye(self.dim)[:1] + 0.01 * self.vectors(300))
        far = -near[: 300 // every]
        self.write(store, make_batch(near, [{"stock": 0}] * 300, prefix="near"))
        self.write(store, make_batch(far, [{"stock": 1}] * len(far), prefix="far"))
        for k in (1, 10, 200):
            hits = store.search(near[:2], k=k, where=Field("stock") == 1)
            for matching in hits:
                assert len(matching) == min(k, len(far))
                assert all(id.startswith("far") for id in ids_of(matching))

    def test_a_filter_that_matches_nothing_gives_empty_answers(self, store: VectorStore) -> None:
        """No matching record is not an error. If this fails, check searches with an empty allow-list."""
        self.write(store, make_batch(self.vectors(5), [{"stock": row} for row in range(5)]))
        where = Field("stock") == 77
        assert store.search(self.vectors(2), k=3, where=where) == [[], []]
        assert store.count(where) == 0
        assert list(store.scan(where=where)) == []

    def test_a_filter_follows_replacement_and_deletion(self, store: VectorStore) -> None:
        """Replaced values no longer match. If this fails, check that filter indexes are updated."""
        vectors = self.vectors(3)
        self.write(store, make_batch(vectors, [{"stock": 1}] * 3))
        self.write(store, make_batch(vectors[:1], [{"stock": 2}]))
        self.remove(store, ["id-00001"])
        assert ids_of(store.search(vectors[:1], k=5, where=Field("stock") == 1)[0]) == ["id-00002"]
        assert ids_of(store.search(vectors[:1], k=5, where=Field("stock") == 2)[0]) == ["id-00000"]
        assert store.count(~(Field("stock") == 1)) == 1

    def _disagreements(self, store: VectorStore, batch: RecordBatch, where: Filter) -> list[str]:
        expected = sorted(
            record.id
            for record in batch
            if matches(where, record.metadata, id=record.id, uri=record.uri)
        )
        hits = store.search(self.vectors(1, seed=5), k=len(batch) + 1, where=where)[0]
        answers = {
            "search": sorted(ids_of(hits)),
            "scan": sorted(id for part in store.scan(where=where, batch_size=9) for id in part.ids),
        }
        wrong = [
            f"{method} where {where}: got {ids}, not {expected}"
            for method, ids in answers.items()
            if ids != expected
        ]
        if (count := store.count(where)) != len(expected):
            wrong.append(f"count where {where}: got {count}, not {len(expected)}")
        return wrong

    def _refuses(self, store: VectorStore, where: Filter) -> None:
        with pytest.raises(UnsupportedFilterError):
            store.search(self.vectors(1), k=1, where=where)
        with pytest.raises(UnsupportedFilterError):
            store.count(where)
        with pytest.raises(UnsupportedFilterError):
            list(store.scan(where=where))

    def _counts(self, store: VectorStore, where: Filter) -> bool:
        try:
            store.count(where)
        except UnsupportedFilterError:
            return False
        return True

    def _expressible(self, store: VectorStore, where: Filter) -> bool:
        names = fields_of(where)
        if names & RESERVED_FIELDS and Capability.FILTER_IDENTITY not in store.capabilities:
            return False
        if Capability.FILTER_ANY_FIELD not in store.capabilities and (
            names - RESERVED_FIELDS - set(self.filterable_fields)
        ):
            return False
        return Capability.ORDER_TEXT in store.capabilities or not _orders_text(where)


def _orders_text(where: Filter) -> bool:
    node = cast(FilterNode, where)
    match node:
        case Compare():
            return node.operator is not Operator.EQ and isinstance(node.value, str)
        case And() | Or():
            return any(map(_orders_text, node.operands))
        case Not():
            return _orders_text(node.operand)
        case _:
            return False
