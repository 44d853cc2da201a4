from __future__ import annotations

import sqlite3

from hypothesis import given, settings
from hypothesis import strategies as st

from imagesearch.filters import matches
from imagesearch.stores.local import _schema as schema
from imagesearch.stores.local._sql import compile_filter, field_entries
from imagesearch.testing import strategies
from imagesearch.types import check_metadata

_URIS = st.sampled_from(["/a.jpg", "b", "", "金", "it's"])


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(strategies.metadata(), _URIS), min_size=1, max_size=6),
    strategies.filters(identity=True),
)
def test_sql_selects_what_the_evaluator_selects(records, where):
    connection = sqlite3.connect(":memory:")
    connection.executescript(schema.RECORDS + schema.FIELDS)
    expected = set()
    for row, (fields, uri) in enumerate(records):
        metadata = check_metadata(fields)
        id = "ab金'\"x"[row]
        connection.execute("INSERT INTO records VALUES (?, ?, ?, '', '', 0)", (row, id, uri))
        connection.executemany(
            "INSERT INTO fields VALUES (?, ?, ?, ?)",
            [(*entry, row) for entry in field_entries(metadata)],
        )
        if matches(where, metadata, id=id, uri=uri):
            expected.add(row)
    condition, bound = compile_filter(where)
    found = {
        row for (row,) in connection.execute(f"SELECT row FROM records WHERE {condition}", bound)
    }
    connection.close()
    assert found == expected


@settings(max_examples=60, deadline=None)
@given(st.lists(strategies.scalars(), min_size=101, max_size=140), strategies.scalars())
def test_a_long_list_of_values_selects_what_the_evaluator_selects(values, value):
    from imagesearch.filters import IsIn

    connection = sqlite3.connect(":memory:")
    connection.executescript(schema.RECORDS + schema.FIELDS)
    for row, kept in enumerate([value, values[0], values[-1]]):
        connection.execute("INSERT INTO records VALUES (?, ?, '', '', '', 0)", (row, str(row)))
        connection.executemany(
            "INSERT INTO fields VALUES (?, ?, ?, ?)",
            [(*entry, row) for entry in field_entries({"x": kept})],
        )
    where = IsIn("x", tuple(values))
    condition, bound = compile_filter(where)
    found = {
        row for (row,) in connection.execute(f"SELECT row FROM records WHERE {condition}", bound)
    }
    connection.close()
    everything = enumerate([value, values[0], values[-1]])
    assert found == {row for row, kept in everything if matches(where, {"x": kept})}
