"""What filters mean, by the reference evaluator."""

from __future__ import annotations

import pytest

from imagesearch import Field
from imagesearch.errors import FilterError
from imagesearch.filters import MAX_DEPTH, And, Not, Or, as_filter, fields_of, matches, parse_filter

RECORD = {
    "label": "goldfish",
    "price": 9.5,
    "stock": 3,
    "sold": True,
    "tags": ["red", "fish"],
    "nothing": None,
}


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        (Field("label") == "goldfish", True),
        (Field("label") == "Goldfish", False),
        (Field("label") != "goldfish", False),
        (Field("label") != "cat", True),
        (Field("label") < "gz", True),
        (Field("price") < 10, True),
        (Field("price") <= 9.5, True),
        (Field("price") > 9.5, False),
        (Field("price") >= 9.5, True),
        (Field("stock") == 3.0, True),
        (Field("stock").is_in([1, 2, 3]), True),
        (Field("stock").is_in([]), False),
        (Field("tags").contains("red"), True),
        (Field("tags").contains("re"), False),
        (Field("label").contains("gold"), False),
        (Field("sold").exists(), True),
        (Field("price").exists() & Field("stock").exists(), True),
        ((Field("stock") == 4) | (Field("label") == "goldfish"), True),
        (~(Field("stock") == 4), True),
        (Field("id") == "a", True),
        (Field("uri") == "/photos/a.jpg", True),
    ],
)
def test_a_filter_matches_what_it_says(filter, expected):
    assert matches(filter, RECORD, id="a", uri="/photos/a.jpg") is expected


@pytest.mark.parametrize("value", ["x", 0, 1.5, False])
def test_a_missing_field_makes_every_comparison_false_and_its_negation_true(value):
    for name in ("absent", "nothing"):
        assert not matches(Field(name) == value, RECORD)
        assert matches(Field(name) != value, RECORD)
        assert not matches(Field(name).is_in([value]), RECORD)
    assert not matches(Field("absent").exists(), RECORD)
    assert not matches(Field("nothing").exists(), RECORD)


def test_values_of_different_kinds_are_never_equal_and_never_ordered():
    assert not matches(Field("sold") == 1, RECORD)
    assert not matches(Field("stock") == True, RECORD)  # noqa: E712  # builds a filter
    assert not matches(Field("stock") == "3", RECORD)
    assert not matches(Field("label") > 1, RECORD)
    assert not matches(Field("tags") == "red", RECORD)
    assert not matches(Field("sold").is_in([1]), RECORD)


@pytest.mark.parametrize(
    "build",
    [
        lambda: Field(""),
        lambda: Field("a") == None,  # noqa: E711  # builds a filter
        lambda: Field("a") == float("nan"),
        lambda: Field("a") == [1],
        lambda: Field("a") < True,
        lambda: Field("a") == 2**63,
        lambda: Field("a") == 10**5000,
        lambda: Field("a") == "\ud800",
        lambda: Field("a").is_in("cat"),
        lambda: Field("a").contains(3),
        lambda: (Field("a") == 1) & True,
        lambda: bool(Field("a") == 1),
        lambda: 1 < Field("a") < 3,
        lambda: (Field("a") == 1) and (Field("b") == 2),
    ],
)
def test_a_filter_that_means_nothing_is_refused_when_it_is_built(build):
    with pytest.raises(FilterError):
        build()


def test_filters_are_equal_by_structure_but_true_is_not_one():
    assert (Field("a") == 1) == (Field("a") == 1)
    assert (Field("a") == 1) != (Field("a") == True)  # noqa: E712  # builds a filter
    assert hash(Field("a").is_in([1])) != hash(Field("a").is_in([True]))


@pytest.mark.parametrize(
    ("where", "right"),
    [
        ({"label": "cat", "n": 3}, """(Field('label') == 'cat') & (Field('n') == 3)"""),
        (Field("label"), "Field('label').exists()"),
        (True, "Field("),
        (["a"], "Field("),
        ({}, "Field("),
    ],
)
def test_what_is_no_filter_is_refused_with_the_right_form(where, right):
    with pytest.raises(FilterError) as caught:
        as_filter(where)
    assert right in str(caught.value)


def nested(depth):
    """Nest and, or and not in turn."""
    filter = Field("a") == 1
    for level in range(depth):
        kind = (And, Or)[level % 2]
        filter = Not(filter) if level % 3 == 0 else kind((filter, Field("b") == level))
    return filter


def test_the_deepest_filter_can_be_asked_and_printed():
    deepest = nested(MAX_DEPTH)
    assert matches(deepest, {"a": 1}) is not matches(~deepest, {"a": 1})
    assert fields_of(deepest) == {"a", "b"}
    assert parse_filter(str(deepest)) == deepest


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 3000])
def test_a_filter_that_is_nested_too_deep_is_refused_when_it_is_built(depth):
    with pytest.raises(FilterError, match=f"more than {MAX_DEPTH} levels deep"):
        nested(depth)


def test_many_operands_on_one_level_are_not_deep():
    wide = Field("a") == 0
    for number in range(1, 1000):
        wide |= Field("a") == number
    assert wide.depth == 1
    assert matches(wide, {"a": 999})


def test_the_fields_of_a_filter_are_known():
    filter = (Field("a") == 1) | ~(Field("b").exists() & Field("c").contains("x"))
    assert fields_of(filter) == {"a", "b", "c"}
