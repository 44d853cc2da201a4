"""Filters built from the fields of an index."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagesearch import ImageIndex, Item, MemoryStore
from imagesearch._demo_images import draw_scene
from imagesearch.errors import FilterError, UnsupportedFilterError
from imagesearch.filters import matches, parse_filter
from imagesearch.protocols import Capability
from imagesearch.ui._filter_form import (
    CHOICE_SLOTS,
    combine,
    compose,
    compose_filter,
    describe_values,
    facets_of,
    moved_values,
    sample_fields,
    summarise,
)
from tests.small_embedder import SmallEmbedder


def test_a_hundred_labels_are_choices_and_titles_that_come_once_are_not():
    rows = [{"label": f"label {number % 100}", "title": str(number)} for number in range(500)]
    fields = {field.name: field.is_choice for field in summarise(rows)}
    assert fields == {"label": True, "title": False}


def test_few_values_are_choices_many_numbers_are_a_range_and_prose_is_neither():
    rows = [
        {
            "kind": "cat" if number % 2 else "dog",
            "price": number / 7,
            "title": f"number {number}",
            "sold": number == 3,
            "stars": number % 5,
            "tags": ["a", "b"][: number % 3],
            "note": "long " * 30,
            "box": {"x": 1},
            "only": "same",
        }
        for number in range(60)
    ]
    fields = {field.name: field for field in summarise(rows)}
    choices = {name for name, field in fields.items() if field.is_choice}
    ranges = {name for name, field in fields.items() if field.is_range}
    assert choices == {"kind", "sold", "stars", "tags"}
    assert ranges == {"price"}
    assert fields["tags"].kind == "list"
    assert describe_values(fields["price"]) == "0 … 8.42857"


def test_fields_of_mixed_kinds_are_listed_but_not_offered():
    [field] = summarise([{"x": 1}, {"x": "one"}, {"x": True}])
    assert field.kind == "mixed"
    assert not field.is_choice
    assert not field.is_range


def test_true_is_not_offered_as_one():
    [field] = summarise([{"x": True}, {"x": False}])
    assert field.values == (False, True)
    assert compose_filter([field], {"x": [True]}, {}) == "x = true"


def test_there_are_no_more_facets_than_slots():
    fields = summarise([{f"f{n}": "a" for n in range(20)}, {f"f{n}": "b" for n in range(20)}])
    assert len(facets_of(fields).choices) == CHOICE_SLOTS


values = st.one_of(st.text(max_size=8), st.integers(-5, 5), st.booleans())
rows = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "name": st.text(max_size=5),
            "odd `field` name": st.sampled_from(["x", 'quo"te', "back\\slash", "换行\n"]),
            "n": st.integers(-3, 3),
            "flag": st.booleans(),
            "tags": st.lists(st.sampled_from(["a", "b", "c"]), max_size=3),
        },
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(rows, st.data())
def test_choices_match_exactly_the_rows_with_these_values(rows, data):
    fields = summarise(rows)
    field = data.draw(st.sampled_from(fields)) if fields else None
    if field is None or not field.values:
        return
    chosen = data.draw(st.lists(st.sampled_from(field.values), min_size=1, unique=True))
    text = compose_filter(fields, {field.name: chosen}, {})
    found = [matches(parse_filter(text), row, id="x", uri="y") for row in rows]
    expected = [
        bool(set(row.get(field.name) or []) & set(chosen))
        if field.kind == "list"
        else row.get(field.name) in chosen
        for row in rows
    ]
    assert found == expected


def test_ranges_include_both_ends_and_may_be_open():
    fields = summarise([{"price": n / 4} for n in range(100)])
    assert compose_filter(fields, {}, {"price": (2.0, None)}) == "price >= 2"
    assert compose_filter(fields, {}, {"price": (0, 9.5)}) == "price >= 0 and price <= 9.5"
    assert compose_filter(fields, {}, {}) == ""


def test_slots_are_read_by_the_names_that_the_visitor_saw():
    fields = summarise([{"b": "x", "price": n / 4} for n in range(100)] + [{"b": "y"}])
    seen = facets_of(fields).names
    later = summarise([{"a": "1", "b": "x"}, {"a": "2", "b": "y"}, {"price": 1.5}])
    values = [['"y"'], *([None] * (CHOICE_SLOTS - 1)), None, 3]
    assert compose(later, seen, values) == 'b = "y" and price <= 3'


class _DeclaredFieldsOnly(MemoryStore):
    """A store that filters by ``kind`` alone, as servers with a schema do."""

    @property
    def capabilities(self):
        return super().capabilities - {Capability.FILTER_ANY_FIELD}

    def scan(self, *, where=None, batch_size=1000, vectors=False):
        if where is not None and "kind" not in str(where):
            raise UnsupportedFilterError("only kind is declared")
        return super().scan(where=where, batch_size=batch_size, vectors=vectors)


@pytest.mark.parametrize(
    ("store", "names"), [(MemoryStore, ["kind", "other"]), (_DeclaredFieldsOnly, ["kind"])]
)
def test_fields_that_the_store_cannot_filter_by_are_not_offered(store, names):
    with ImageIndex(embedder=SmallEmbedder(), store=store()) as index:
        index.add(
            Item(draw_scene("boat", n), metadata={"kind": f"k{n}", "other": n}) for n in range(3)
        )
        assert [field.name for field in sample_fields(index)[1]] == names


def test_a_field_is_offered_without_its_long_values():
    rows = [{"kind": "cat"}, {"kind": "dog"}, {"kind": "x" * 61}, {"kind": "cat"}]
    [field] = summarise(rows)
    assert field.is_choice
    assert field.values == ("cat", "dog")
    assert describe_values(field) == "cat, dog, …"


def test_a_field_of_prose_with_a_short_value_or_two_is_not_offered():
    rows = [{"note": f"{number} " * 40} for number in range(3)] + [{"note": "a"}, {"note": "b"}]
    [field] = summarise(rows)
    assert not field.is_choice


def test_choices_stay_with_their_fields_when_new_fields_come_before_them():
    before = facets_of(
        summarise([{"kind": "cat", "n": n / 7} for n in range(20)] + [{"kind": "b"}])
    )
    values = [['"cat"'], *([[]] * (CHOICE_SLOTS - 1)), 1.5, None, None, None, None, None]
    rows = [{"a": f"{n % 2}", "kind": "cat", "m": n / 3, "n": n / 7} for n in range(20)]
    after = facets_of(summarise([*rows, {"a": "0", "m": 0.5}, {"kind": "b"}]))
    assert after.names == [["a", "kind"], ["m", "n"]]
    moved = moved_values(after, before.names, values)
    assert moved[:2] == [[], ['"cat"']]
    assert moved[CHOICE_SLOTS : CHOICE_SLOTS + 4] == [None, None, 1.5, None]
    assert moved_values(before, after.names, moved)[:1] == [['"cat"']]


def test_an_error_in_a_written_filter_names_the_position_in_it():
    with pytest.raises(FilterError, match=r"filter 'price <': expected a value .*, got the end"):
        combine('kind = "fish"', "price <")
    assert combine('kind = "fish"', " ") == 'kind = "fish"'
    assert combine("", "price < 3") == "price < 3"
