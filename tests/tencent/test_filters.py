"""Filters: a compiled filter selects the records that the evaluator selects."""

from __future__ import annotations

import random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from imagesearch.errors import UnsupportedFilterError
from imagesearch.filters import (
    And,
    Compare,
    Contains,
    Exists,
    Field,
    IsIn,
    Not,
    Operator,
    Or,
    matches,
)
from imagesearch.stores.memory import MemoryStore
from imagesearch.stores.tencent._documents import DocumentMapping
from imagesearch.stores.tencent._filters import compile_filter
from imagesearch.stores.tencent._schema import (
    TERMS,
    column_values,
    declared_columns,
    existing_columns,
)
from imagesearch.testing.tencent_server._collection import Behaviour
from imagesearch.testing.tencent_server._filters import read_condition
from imagesearch.types import Record, check_metadata, updated_metadata
from tests.tencent.examples import batch, meta, vectors

FIELDS = {
    "label": "string",
    "and": "string",
    "价格": "double",
    "price": "double",
    "stock": "int64",
    "seen": "uint64",
    "sold": "bool",
    "tags": "array",
    "score": "int64",
}
TEXTS = (
    "", "a", "A", "cat", "and", "or", "not", "in", "null", "true", "1", "it's", 'say "x"', '"', "\\",
    "\\\\", 'a\\"', 'a" or label = "cat', 'a") or label in ("cat', "金鱼", "🐟", "é", "e\u0301",
    "two\nlines", "nul\0", "\u2028", " ", "%", "*", "x" * 600, "has:label", "imagesearch_terms",
)  # fmt: skip
NUMBERS = (0, 1, 2, -1, 5, 10, 2.5, -0.0, 0.1, 1e-7, 1e300, 5e-324, 2**53, 2**53 + 1, 2**63 - 1)
WHOLE = tuple(number for number in NUMBERS if isinstance(number, int))

texts = st.sampled_from(TEXTS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
numbers = st.sampled_from(NUMBERS)
values = {
    "string": texts,
    "bool": st.booleans(),
    "array": st.lists(texts, max_size=4),
    "double": st.sampled_from([n for n in NUMBERS if float(n) == n]),
    "int64": st.sampled_from(WHOLE) | st.just(2.0),
    "uint64": st.sampled_from([n for n in WHOLE if n >= 0]),
}
records = st.fixed_dictionaries(
    {}, optional={name: values[kind] | st.none() for name, kind in FIELDS.items()}
).map(check_metadata)
# Version 0.1 also stored values of other types than the declared one.
untyped = st.one_of(
    texts,
    st.booleans(),
    st.lists(texts | st.sampled_from([1, None, True]), max_size=4),
    st.dictionaries(texts, texts, max_size=1),
)
untyped_records = st.fixed_dictionaries(
    {}, optional={name: values[kind] | untyped for name, kind in FIELDS.items()}
).map(check_metadata)
names = st.sampled_from(sorted(FIELDS))
scalars = st.one_of(texts, numbers, st.booleans(), st.integers(-(2**63), 2**63 - 1))
leaves = st.one_of(
    st.builds(Compare, names, st.just(Operator.EQ), scalars),
    st.builds(
        Compare,
        names,
        st.sampled_from(list(Operator)[1:]),
        numbers | st.floats(allow_nan=False, allow_infinity=False),
    ),
    st.builds(IsIn, names, st.lists(scalars, max_size=4).map(tuple)),
    st.builds(Contains, names, texts),
    st.builds(Exists, names),
)
filters = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(And, st.lists(inner, min_size=1, max_size=3).map(tuple)),
        st.builds(Or, st.lists(inner, min_size=1, max_size=3).map(tuple)),
    ),
    max_leaves=6,
)
COLUMNS = declared_columns(FIELDS, "path")
MAPPING = DocumentMapping(COLUMNS, "path", ours=True, revisions=True)
FORMAT_1 = DocumentMapping(COLUMNS, "path", ours=True, typed=False)
TYPES = {column.name: column.wire_type for column in COLUMNS.values()} | {TERMS: "array"}


def selects(compiled, document, missing):
    if isinstance(compiled, bool):
        return compiled
    behaviour = Behaviour(missing=missing, null_checks=False)
    return read_condition(compiled, TYPES, behaviour)(document) is True


def as_document(metadata):
    values, terms = column_values(metadata, COLUMNS)
    return {**values, TERMS: terms}


every_behaviour = pytest.mark.parametrize("missing", ["false", "unknown", "negated", "zero"])


@every_behaviour
@settings(max_examples=80, deadline=None)
@given(st.lists(records, min_size=1, max_size=6), filters)
def test_a_compiled_filter_selects_what_the_evaluator_selects(missing, examples, where):
    compiled = compile_filter(where, MAPPING)
    for metadata in examples:
        selected = selects(compiled, as_document(metadata), missing)
        assert selected is matches(where, metadata), compiled


@every_behaviour
@settings(max_examples=80, deadline=None)
@given(st.lists(untyped_records, min_size=1, max_size=6), filters)
def test_a_filter_on_a_collection_of_format_1_is_right_or_refused(missing, examples, where):
    try:
        compiled = compile_filter(where, FORMAT_1)
    except UnsupportedFilterError:
        compiled = None
    assume(compiled is not None)
    for metadata in examples:
        selected = selects(compiled, as_document(metadata), missing)
        assert selected is matches(where, metadata), compiled


@pytest.mark.parametrize(
    "where",
    [
        Field("label") == 1,
        Field("label") < 5,
        Field("label").contains("a"),
        Field("price") == "9.5",
        Field("stock") == True,  # noqa: E712  # builds a filter
        Field("sold") != "true",
        Field("tags") == "a",
        ~Field("label").is_in(["a", 1]),
    ],
    ids=str,
)
def test_a_comparison_with_another_type_matches_nothing_or_is_refused_in_format_1(where):
    compiled = compile_filter(where, MAPPING)
    for metadata in ({}, {"label": "b", "price": 9.5, "stock": 1, "sold": True, "tags": ["a"]}):
        assert selects(compiled, as_document(metadata), "unknown") is matches(where, metadata)
    with pytest.raises(UnsupportedFilterError, match=r"declared as.*new collection"):
        compile_filter(where, FORMAT_1)


@every_behaviour
@settings(max_examples=60, deadline=None)
@given(st.lists(records, min_size=2, max_size=4), filters, st.booleans())
def test_no_filter_matches_values_that_updates_removed(missing, history, where, replace):
    metadata, *others = history
    document = MAPPING.document(Record("a", "/a.jpg", "", metadata), [])
    for fields in others:
        metadata = updated_metadata(metadata, fields, replace=replace)
        document |= MAPPING.changes(document, metadata)
    selected = selects(compile_filter(where, MAPPING), document, missing)
    assert selected is matches(where, metadata)


@every_behaviour
@settings(max_examples=60, deadline=None)
@given(records, names)
def test_a_removed_value_is_not_found_by_its_own_filters(missing, metadata, name):
    document = MAPPING.document(Record("a", "/a.jpg", "", metadata), [])
    after = updated_metadata(metadata, {name: None})
    document |= MAPPING.changes(document, after)
    value = metadata.get(name)
    tests = [Exists(name)]
    if isinstance(value, str | float | int):
        tests += [Compare(name, Operator.EQ, value), Not(Compare(name, Operator.EQ, value))]
    if isinstance(value, list):
        tests += [Contains(name, text) for text in value]
    for where in tests:
        selected = selects(compile_filter(where, MAPPING), document, missing)
        assert selected is isinstance(where, Not), where


def test_300_random_filters_give_the_same_hits_as_the_memory_store(make_store):
    chance = random.Random(20)
    hostile = [text for text in TEXTS if len(text) < 100]
    fields = {"label": "string", "price": "double", "sold": "bool", "tags": "array"}
    make = {
        "label": lambda: chance.choice(hostile),
        "price": lambda: chance.choice([0, 1, 2.5, -3, 1e6, 0.1]),
        "sold": lambda: chance.random() < 0.5,
        "tags": lambda: chance.sample(hostile, chance.randrange(4)),
    }
    metadata = [
        {name: value() for name, value in make.items() if chance.random() < 0.7} for _ in range(60)
    ]

    def leaf():
        name = chance.choice(list(fields))
        value = make[chance.choice(["label", "price", "sold"])]()
        match chance.randrange(6):
            case 0:
                return Field(name) == value
            case 1:
                return Field(name) != value
            case 2:
                return Field(name).is_in([make["label"](), make["price"](), value])
            case 3:
                return Field("tags").contains(chance.choice(hostile))
            case 4:
                return Field(name).exists()
            case _:
                operator = chance.choice(list(Operator)[1:])
                return Compare("price", operator, make["price"]())

    def tree(depth):
        if depth == 0 or chance.random() < 0.3:
            return leaf()
        left, right = tree(depth - 1), tree(depth - 1)
        return chance.choice([left & right, left | right, ~left])

    store, oracle = make_store(fields=fields), MemoryStore()
    for filled in (store, oracle):
        filled.open(meta())
        filled.upsert(batch(60, metadata=metadata))
    query = vectors(1, seed=9)
    selected = 0
    for _ in range(300):
        where = tree(3)
        expected = oracle.search(query, k=60, where=where)[0]
        hits = store.search(query, k=60, where=where)[0]
        assert {hit.id for hit in hits} == {hit.id for hit in expected}, where
        assert [hit.score for hit in hits] == pytest.approx(
            [hit.score for hit in expected], abs=1e-5
        )
        assert store.count(where) == oracle.count(where) == len(hits)
        selected += 0 < len(hits) < 60
    assert selected > 150


@pytest.mark.parametrize(
    "text", ['me" or tag = "you', 'me") or tag in ("you', 'me\\" or tag = \\"you', "me\\"]
)
@pytest.mark.parametrize("how", ["equal", "in", "not in"])
def test_a_hostile_text_never_widens_a_filter(text, how):
    columns = declared_columns({"tag": "string"}, "path")
    mapping = DocumentMapping(columns, "path", ours=True)
    field = Field("tag")
    where = {"equal": field == text, "in": field.is_in([text, "x"]), "not in": field != text}[how]
    condition = read_condition(
        compile_filter(where, mapping), {"tag": "string", TERMS: "array"}, Behaviour()
    )

    def holds(tag):
        values, terms = column_values({"tag": tag}, columns)
        return condition({**values, TERMS: terms})

    assert holds(text) is (how != "not in")
    assert holds("you") is (how == "not in")


@pytest.mark.parametrize(
    "where",
    [
        Field("id") == "id-00000",
        Field("uri") != "/photos/id-00000.jpg",
        Field("uri") == "",
        Field("uri") > "/photos",
        Field("uri").exists(),
        Field("undeclared") == 1,
        ~Field("undeclared").exists(),
        Field("label") < "x",
        (Field("label") == "a") & (Field("price") >= "1"),
    ],
)
def test_an_unsupported_filter_is_refused_before_any_request(server, store, where):
    server.forget_requests()
    for call in (
        lambda: store.search(vectors(1), k=1, where=where),
        lambda: store.count(where),
        lambda: list(store.scan(where=where)),
    ):
        with pytest.raises(UnsupportedFilterError):
            call()
    assert server.requests == []


def test_the_refusal_names_the_field_and_the_declared_ones(store):
    with pytest.raises(UnsupportedFilterError, match=r"'colour'.*label, price.*declare it"):
        store.count(Field("colour") == "red")


def test_filters_on_another_programs_collection_use_only_its_columns():
    columns = existing_columns({"label": "string", "page": "uint64"}, "path")
    mapping = DocumentMapping(columns, "path", ours=False)
    types = {"label": "string", "page": "uint64"}
    documents = [{"label": "a", "page": 3}, {"label": "b"}, {"page": 0}, {}]
    for where in (
        Field("label") == "a",
        Field("label") != "a",
        Field("label").is_in(["a", "b"]),
        Field("label").exists(),
        ~(Field("page") > 1),
        Field("page") != 3,
        (Field("page") < 1.5) | (Field("label") == True),  # noqa: E712  # builds a filter
    ):
        compiled = compile_filter(where, mapping)
        condition = read_condition(compiled, types, Behaviour())
        for document in documents:
            assert (condition(document) is True) is matches(where, document), (where, compiled)


def test_a_text_that_another_programs_collection_cannot_compare_is_refused():
    columns = existing_columns({"label": "string"}, "path")
    mapping = DocumentMapping(columns, "path", ours=False)
    with pytest.raises(UnsupportedFilterError, match="another program"):
        compile_filter(Field("label") == "two\nlines", mapping)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_written_without_exponents_and_exactly(number):
    mapping = DocumentMapping(declared_columns({"price": "double"}, "path"), "path", ours=True)
    compiled = compile_filter(Field("price") >= number, mapping)
    literal = compiled.removesuffix(")").rsplit(" ", 1)[1]
    assert "e" not in literal.lower()
    assert float(literal) == number


def test_records_are_selected_by_their_uri(store):
    store.upsert(batch(5, metadata=[{"price": n} for n in range(5)]))
    uri = Field("uri")
    assert store.count(uri == "/photos/id-00003.jpg") == 1
    assert store.count(uri == '/photos/") or imagesearch_key >= 0 or path in ("') == 0
    both = uri.is_in(["/photos/id-00003.jpg", "/photos/id-00004.jpg"]) & (Field("price") > 3)
    assert [id for part in store.scan(where=both) for id in part.ids] == ["id-00004"]
    assert store.count(uri.is_in([])) == 0
    assert store.update_metadata({"label": "x"}, where=uri == "/photos/id-00001.jpg") == 1
    assert store.delete_where(uri == "/photos/id-00001.jpg") == 1
