from __future__ import annotations

import sqlite3

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagesearch import Field, LocalStore, RecordBatch
from imagesearch.filters import And, Compare, IsIn, Operator, Or, matches
from imagesearch.stores.local import _column_cache as cache
from imagesearch.stores.local import _columns as columns
from imagesearch.testing import strategies
from imagesearch.types import EmbeddingSpec, IndexMeta

META = IndexMeta(EmbeddingSpec("columns", 2, True, "v1"))
_NEAR = [2**53 - 1, 2**53, 2**53 + 1, 2**63 - 1, -(2**63), -(2**53) - 1, 0, 1, -1]
_edges = st.one_of(
    st.sampled_from(_NEAR),
    st.sampled_from(_NEAR).map(float),
    st.sampled_from([0.5, -0.5, 1e300, -1e300, 5e-324, -0.0, 2.0**63, -(2.0**64)]),
    st.booleans(),
    st.sampled_from(["", "a", "a\0b", "a\0c", "é", "金", "\U0001f41f", "\uffff"]),
)
_values = st.one_of(_edges, st.none(), st.lists(_edges, max_size=3), st.just({"a": 1}))
_operators = st.sampled_from(list(Operator))
_leaves = st.one_of(
    st.builds(
        lambda operator, value: Compare(
            "x", Operator.EQ if isinstance(value, bool) else operator, value
        ),
        _operators,
        _edges,
    ),
    st.lists(_edges, max_size=6).map(lambda values: IsIn("x", tuple(values))),
    st.just(Field("x").exists()),
    _edges.filter(lambda value: isinstance(value, str)).map(Field("x").contains),
)


def batch(fields, first=0):
    numbers = range(first, first + len(fields))
    return RecordBatch(
        tuple(f"id-{number}" for number in numbers),
        tuple(f"/{number}.jpg" for number in numbers),
        ("",) * len(fields),
        tuple(fields),
        np.tile(np.array([[1, 0]], np.float32), (len(fields), 1)),
    )


def opened(path, **options):
    store = LocalStore(path, engine="exact", **options)
    store.open(META)
    return store


def ids(store, where):
    return {id for part in store.scan(where=where) for id in part.ids}


def expected_ids(fields, where, first=0):
    return {
        f"id-{number}"
        for number, metadata in enumerate(fields, first)
        if matches(where, metadata, id=f"id-{number}", uri=f"/{number}.jpg")
    }


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.one_of(strategies.metadata(), st.fixed_dictionaries({"x": _values})), max_size=8),
    st.lists(st.one_of(strategies.filters(identity=True), _leaves), min_size=1, max_size=6),
    st.integers(0, 8),
)
def test_columns_select_what_the_evaluator_selects(tmp_path_factory, fields, filters, cut):
    store = opened(tmp_path_factory.mktemp("columns") / "a.idx")
    # Columns are read after the first part and extended by the second.
    for start, end in ((0, cut), (cut, len(fields))):
        store.upsert(batch(fields[start:end], start))
        present = fields[:end]
        for where in [*filters, Or(tuple(filters)), ~And(tuple(filters))]:
            assert ids(store, where) == expected_ids(present, where)
            assert store.count(where) == len(expected_ids(present, where))
    store.close()


def test_columns_follow_writes_of_this_process_and_of_others(tmp_path):
    writer = opened(tmp_path / "a.idx")
    writer.upsert(batch([{"x": number % 4, "tags": ["a"]} for number in range(40)]))
    reader = opened(tmp_path / "a.idx", read_only=True)
    even, two = Field("x").is_in([0, 2]), Field("x") == 2
    for store in (writer, reader):
        assert (store.count(even), store.count(two)) == (20, 10)
    writer.update_metadata({"x": 2, "tags": ["b"]}, ids=["id-0"])
    for store in (writer, reader):
        assert (store.count(two), store.count(Field("tags").contains("b"))) == (11, 1)
    writer.delete(["id-0", "id-2"])
    for store in (writer, reader):
        assert (store.count(even), store.count(two)) == (18, 9)
    writer.upsert(batch([{"x": 2.0}, {"x": "2"}, {}], first=39))
    for store in (writer, reader):
        assert store.count(two) == 10
        assert store.count(Field("x").exists()) == 39
    # Records that come and go between two looks of the reader.
    writer.upsert(batch([{"x": 2}] * 5, first=100))
    writer.delete(["id-101", "id-103"])
    writer.upsert(batch([{"x": 3}], first=100))
    for store in (writer, reader):
        assert store.count(two) == 12
        assert ids(store, two) >= {"id-102", "id-104"}
    reader.close()
    writer.close()


def test_edits_that_leave_the_checksum_of_a_field_as_it_is_are_noticed(tmp_path):
    store = opened(tmp_path / "a.idx")
    flags = [True, False, False, True]
    store.upsert(batch([{"flag": flag} for flag in flags]))
    assert ids(store, Field("flag") == True) == {"id-0", "id-3"}  # noqa: E712
    other = opened(tmp_path / "a.idx", read_only=True)
    assert other.count(Field("flag") == True) == 2  # noqa: E712
    store.update_metadata({"flag": False}, ids=["id-0", "id-3"])
    store.update_metadata({"flag": True}, ids=["id-1", "id-2"])
    for reader in (store, other):
        assert ids(reader, Field("flag") == True) == {"id-1", "id-2"}  # noqa: E712
    other.close()
    store.close()


def test_columns_follow_compaction(tmp_path):
    store = opened(tmp_path / "a.idx")
    fields = [{"x": number % 3} for number in range(4000)]
    store.upsert(batch(fields))
    assert store.count(Field("x") == 1) == 1333
    store.delete_where(Field("x") == 0)
    assert store.count(Field("x") == 1) == 1333
    assert ids(store, Field("x") == 2) == expected_ids(fields, Field("x") == 2)
    store.close()


def test_an_older_state_is_read_beside_a_newer_one(tmp_path):
    store = opened(tmp_path / "a.idx")
    store.upsert(batch([{"x": 1}] * 5))
    scanned = store.scan(where=Field("x") == 1, batch_size=2)
    first = next(scanned)
    store.upsert(batch([{"x": 1}] * 5, first=5))
    store.update_metadata({"x": 2}, ids=["id-4"])
    assert store.count(Field("x") == 1) == 9
    assert [*first.ids, *(id for part in scanned for id in part.ids)] == [
        f"id-{number}" for number in range(5)
    ]
    store.close()


def test_fields_that_are_too_large_are_filtered_on_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(columns, "MAX_COLUMN_BYTES", 5000)
    store = opened(tmp_path / "a.idx")
    fields = [{"text": f"{number:050}", "x": number % 2} for number in range(100)]
    store.upsert(batch(fields))
    where = (Field("text") > f"{90:050}") & (Field("x") == 1)
    assert ids(store, where) == expected_ids(fields, where)
    assert set(store._state.snapshots._columns._columns) == {"x"}
    assert ids(store, ~where) == expected_ids(fields, ~where)
    store.close()


def test_columns_that_are_not_used_are_dropped(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "MAX_BYTES", 5000)
    store = opened(tmp_path / "a.idx")
    fields = [{f"f{name}": number for name in range(8)} for number in range(30)]
    store.upsert(batch(fields))
    for name in range(8):
        assert store.count(Field(f"f{name}") < 10) == 10
        assert store.count(Field("f0") < 20) == 20
    kept = store._state.snapshots._columns._columns
    assert "f0" in kept
    assert len(kept) < 8
    assert sum(column.nbytes for column in kept.values()) <= 5000
    store.close()


def test_many_different_values_and_few_give_the_same(tmp_path):
    store = opened(tmp_path / "a.idx")
    fields = [
        {
            "price": number / 7,
            "name": f"n{number}",
            "mixed": [number, number / 2, f"m{number}"][number % 3],
        }
        for number in range(3000)
    ]
    store.upsert(batch(fields))
    for where in (
        Field("price") < 100,
        Field("price") == 300 / 7,
        Field("name") >= "n29",
        Field("mixed") <= 700,
        Field("mixed") > "m5",
        Field("name").is_in([f"n{number}" for number in range(0, 3000, 7)]),
        Field("price").is_in([number / 7 for number in range(0, 3000, 3)] + ["n1", True]),
        Field("mixed").is_in([*range(0, 3000, 6)]),
    ):
        assert ids(store, where) == expected_ids(fields, where)
    store.upsert(batch([{"name": "n15000"}, {"name": "a"}], first=3000))
    assert ids(store, Field("name") < "n1") == {"id-0", "id-3001"}
    assert "id-3000" in ids(store, Field("name") < "n16")
    store.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE fields SET value = 9 WHERE name = 'x' AND row = 1",
        "UPDATE fields SET row = 77 WHERE name = 'x' AND row = 1",
        "UPDATE fields SET row = 'one' WHERE name = 'x' AND row = 1",
        "UPDATE fields SET row = -1 WHERE name = 'x' AND row = 1",
        "UPDATE fields SET kind = 'z' WHERE name = 'x' AND row = 1",
        "UPDATE fields SET value = 'text' WHERE name = 'x' AND row = 1",
        "DELETE FROM fields WHERE name = 'x' AND row = 1",
    ],
)
def test_damaged_entries_are_noticed_when_the_column_is_read(tmp_path, statement):
    from imagesearch.errors import StoreCorruptError

    store = opened(tmp_path / "a.idx")
    store.upsert(batch([{"x": number} for number in range(10)]))
    store.close()
    connection = sqlite3.connect(tmp_path / "a.idx" / "index.sqlite")
    connection.execute(statement)
    connection.commit()
    connection.close()
    store = opened(tmp_path / "a.idx", read_only=True)
    with pytest.raises(StoreCorruptError, match="'x'"):
        store.count(Field("x") == 3)
    store.close()


def test_texts_added_later_do_not_disturb_a_filter_of_a_field_with_numbers(tmp_path):
    # 0.5 is a big integer when its bits are read as the code of a text.
    first, later = [{"x": "b"}, {"x": 0.5}, {"x": 7}, {"x": -1}], [{"x": "a"}, {"x": "c"}]
    store = opened(tmp_path / "photos.idx")
    store.upsert(batch(first))
    assert ids(store, Field("x") >= "b") == {"id-0"}
    store.upsert(batch(later, len(first)))
    for operator in Operator:
        where = Compare("x", operator, "b")
        assert store.count(where) == len(expected_ids(first + later, where))
    store.close()
