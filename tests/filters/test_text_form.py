"""The text form of filters, for the command line."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagesearch import Field
from imagesearch.errors import FilterError
from imagesearch.filters import (
    MAX_CONDITIONS,
    MAX_LENGTH,
    And,
    Compare,
    Contains,
    Exists,
    IsIn,
    Not,
    Operator,
    Or,
    parse_filter,
)

texts = st.text(st.characters(codec="utf-8"), max_size=8)
names = texts.filter(lambda name: name and "\0" not in name) | st.sampled_from(
    ["price", "not", "AND", "in", "a.b", "a b", "`", "标签"]
)
numbers = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
scalars = texts | numbers | st.booleans()
leaves = (
    st.builds(Compare, names, st.just(Operator.EQ), scalars)
    | st.builds(Compare, names, st.sampled_from(Operator), texts | numbers)
    | st.builds(IsIn, names, st.lists(scalars, max_size=3).map(tuple))
    | st.builds(Contains, names, texts)
    | st.builds(Exists, names)
)
filters = st.recursive(
    leaves,
    lambda inner: (
        st.builds(Not, inner)
        | st.builds(And, st.lists(inner, min_size=2, max_size=3).map(tuple))
        | st.builds(Or, st.lists(inner, min_size=2, max_size=3).map(tuple))
    ),
    max_leaves=6,
)


@given(filters)
@settings(max_examples=200, deadline=None)
def test_what_a_filter_prints_reads_back_as_the_same_filter(filter):
    assert parse_filter(str(filter)) == filter


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            'label = "goldfish" and price < 10',
            (Field("label") == "goldfish") & (Field("price") < 10),
        ),
        ("label == 'it''s'", None),
        (r"label == 'it\'s'", Field("label") == "it's"),
        ("""label == 'say "hi"'""", Field("label") == 'say "hi"'),
        ("a=1 or b=2 and c=3", (Field("a") == 1) | ((Field("b") == 2) & (Field("c") == 3))),
        ("NOT (a = 1)", ~(Field("a") == 1)),
        ("a != -1.5e3", Field("a") != -1500.0),
        ("a not in (1, 'x', true)", ~Field("a").is_in([1, "x", True])),
        ("tags contains 'red'", Field("tags").contains("red")),
        ("a not exists", ~Field("a").exists()),
        ("`my field` exists", Field("my field").exists()),
        ("标签 = '金鱼'", Field("标签") == "金鱼"),
        ("a in ()", Field("a").is_in([])),
    ],
)
def test_the_grammar(text, expected):
    if expected is None:
        with pytest.raises(FilterError):
            parse_filter(text)
    else:
        assert parse_filter(text) == expected


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "got the end"),
        ("label", "expected an operator"),
        ("label = ", "expected a value"),
        ("label = goldfish", "quotation marks"),
        ("label = 'goldfish", "quotation mark missing"),
        ("price < 10 price > 3", "'and', 'or' or the end"),
        ("(a = 1", "')'"),
        ("a not = 1", "after 'not'"),
        ("and = 1", "backticks"),
        ("a < true", "no order"),
        ("a contains 3", "the value of 'contains' must be str"),
        ("a = 10abc", "cannot be read"),
        ("a = '\\q'", "backslash"),
        ("(" * 500 + "a = 1" + ")" * 500, "nested"),
        ("a ; drop table", "cannot be read"),
        ("a = " + "9" * 5000, "digits"),
        ("a in (1, -" + "0" * 5000 + ")", "digits"),
        ("a = 99999999999999999999", "64 bits"),
    ],
)
def test_bad_text_says_where_and_what_was_expected(text, complaint):
    with pytest.raises(FilterError) as caught:
        parse_filter(text)
    assert complaint in str(caught.value)


def test_a_filter_with_too_many_conditions_or_characters_is_refused_before_a_store_sees_it():
    def joined(count):
        return " and ".join(f"a = {number}" for number in range(count))

    assert len(parse_filter(joined(MAX_CONDITIONS)).operands) == MAX_CONDITIONS
    for text in (joined(MAX_CONDITIONS + 1), "not (" + joined(20_000).replace("and", "or") + ")"):
        with pytest.raises(FilterError, match="more than 1,000 conditions"):
            parse_filter(text)
    with pytest.raises(FilterError, match="more than 3 conditions"):
        parse_filter(joined(4), max_conditions=3)
    with pytest.raises(FilterError, match="at most 1,000,000 characters"):
        parse_filter("a = '" + "x" * MAX_LENGTH + "'")


def test_the_values_of_one_in_are_one_condition():
    ids = [f"{number:032x}" for number in range(20_000)]
    filter = parse_filter(f"id in ({', '.join(repr(id) for id in ids)})")
    assert filter == Field("id").is_in(ids)


# With a pattern that backtracks, the time for these grows with the square of their length.
@pytest.mark.parametrize(
    "text",
    [
        "a = " + "1" * 500_000 + "x",
        "a = " + "1" * 250_000 + "." + "1" * 250_000 + "x",
        "a = '" + "\\" * 250_000,
        "`" + "``" * 250_000,
        " " * 900_000 + "?",
        "a " + "not " * 200_000,
        "(" * 900_000,
    ],
    ids=["digits", "decimals", "escapes", "backticks", "spaces", "nots", "parentheses"],
)
def test_long_text_that_is_no_filter_is_refused_in_one_pass(text):
    with pytest.raises(FilterError):
        parse_filter(text)


@given(st.text(max_size=30))
@settings(max_examples=200, deadline=None)
def test_any_text_is_a_filter_or_a_filter_error(text):
    with contextlib.suppress(FilterError):
        parse_filter(text)
