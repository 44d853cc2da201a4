"""Rules about filters: every store agrees with the reference evaluator, or says that it can't."""

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
    Field,
    Filter,
    FilterNode,
    Not,
    Operator,
    Or,
    fields_of,
    matches,
)
from imagesearch.protocols import Capability, VectorStore
from imagesearch.testing import strategies
from imagesearch.testing.stores.filter_cases import (
    ANY_FIELD_CASES,
    ANY_FIELD_RECORDS,
    CASES,
    RECORDS,
)
from imagesearch.testing.stores.fixtures import (
    StoreFixtures,
    ids_of,
    make_batch,
    require,
    unit,
)
from imagesearch.types import RESERVED_FIELDS, RecordBatch

__all__ = ["FilterRules"]


class FilterRules(StoreFixtures):
    """What a filter means does not depend on the store."""

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
            else:
                self._refuses(store, where)
        assert wrong == []

    def test_filters_on_any_field_select_what_the_evaluator_selects(
        self, store: VectorStore
    ) -> None:
        """FILTER_ANY_FIELD: any name, and mixed kinds under one name.

        If this fails, check how field names are quoted and how kinds are told apart.
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
        """A store that cannot express a filter raises UnsupportedFilterError, and never guesses.

        If this fails, check that search, scan and count compile the filter before they ask.
        """
        self.write(store, self.batch(3))
        undeclared = {
            Capability.FILTER_ANY_FIELD: Field("never_declared") == "x",
            Capability.FILTER_IDENTITY: Field("uri") == "/photos/id-00000.jpg",
            Capability.ORDER_TEXT: Field("label") < "x",
        }
        refused = [
            where for needed, where in undeclared.items() if needed not in store.capabilities
        ]
        if not refused:
            pytest.skip("the store declares that it can express every filter")
        for where in refused:
            self._refuses(store, where)

    def test_random_filters_on_random_records_agree_with_the_evaluator(
        self, open_store: Any
    ) -> None:
        """Whatever the tree, the answer is the evaluator's.

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
        """min(k, matches) hits come, also when the nearest of all do not match.

        If this fails, check filtering after the search, and limits on what is looked through.
        """
        near = unit(np.eye(self.dim)[:1] + 0.01 * self.vectors(300))
        far = -near[: 300 // every]
        self.write(store, make_batch(near, [{"stock": 0}] * 300, prefix="near"))
        self.write(store, make_batch(far, [{"stock": 1}] * len(far), prefix="far"))
        for k in (1, 10, 200):
            hits = store.search(near[:2], k=k, where=Field("stock") == 1)
            for found in hits:
                assert len(found) == min(k, len(far))
                assert all(id.startswith("far") for id in ids_of(found))

    def test_a_filter_that_matches_nothing_gives_empty_answers(self, store: VectorStore) -> None:
        """Nothing matches is no error. If this fails, check searches with an empty allow-list."""
        self.write(store, make_batch(self.vectors(5), [{"stock": row} for row in range(5)]))
        where = Field("stock") == 77
        assert store.search(self.vectors(2), k=3, where=where) == [[], []]
        assert store.count(where) == 0
        assert list(store.scan(where=where)) == []

    def test_a_filter_follows_replacement_and_deletion(self, store: VectorStore) -> None:
        """Old values do not match any more. If this fails, check that filter indexes are updated."""
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
            f"{method} where {where}: got {found}, not {expected}"
            for method, found in answers.items()
            if found != expected
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
