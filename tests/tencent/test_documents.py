"""Documents: exact vectors in short bodies, size estimates, and typed fields."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from imagesearch.errors import StoreCorruptError, StoreRequestError
from imagesearch.stores.tencent._documents import (
    DocumentMapping,
    document_bytes,
    scan_key,
    short_floats,
    vector_bytes,
)
from imagesearch.stores.tencent._schema import declared_columns
from imagesearch.types import Record, check_metadata

COLUMNS = declared_columns({"label": "string", "tags": "array", "price": "double"}, "path")
MAPPING = DocumentMapping(COLUMNS, "path", ours=True)

any_float = st.floats(width=32, allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
values = st.one_of(texts, st.booleans(), st.none(), st.integers(-100, 100), st.lists(texts))


@given(arrays(np.float32, (2, 5), elements=any_float))
def test_short_floats_are_the_same_float32_numbers(matrix):
    short = short_floats(matrix)
    np.testing.assert_array_equal(np.array(short, np.float32), matrix)
    assert all(len(json.dumps(row)) <= vector_bytes(matrix) for row in short)


def test_usual_vectors_are_a_third_shorter_than_their_float32_digits():
    matrix = np.random.default_rng(0).normal(size=(4, 512)).astype(np.float32) / 20
    assert len(json.dumps(short_floats(matrix))) < 0.7 * len(json.dumps(matrix.tolist()))


@given(st.dictionaries(texts.filter(lambda name: name and name not in ("id", "uri")), values),
       arrays(np.float32, (1, 3), elements=any_float))  # fmt: skip
def test_the_estimate_is_never_below_the_real_size(metadata, matrix):
    metadata = check_metadata({**metadata, "label": 'é"\\', "tags": ["金", "a"], "price": 1})
    document = MAPPING.document(Record("鱼", "/ü.jpg", "0" * 64, metadata), [])
    estimate = document_bytes(document) + vector_bytes(matrix)
    document["vector"] = short_floats(matrix)[0]
    assert len(json.dumps(document)) <= estimate
    again = MAPPING.record(json.loads(json.dumps(document)), vectors=True)
    assert (again.id, again.uri, again.digest) == ("鱼", "/ü.jpg", "0" * 64)
    assert again.metadata == metadata
    np.testing.assert_array_equal(again.vector, matrix[0])


@pytest.mark.parametrize(
    ("type", "valid", "invalid"),
    [
        ("string", ["", "a", "two\nlines", "x" * 600], [1, True, ["a"], {"a": 1}]),
        ("bool", [True, False], ["true", 1, 0]),
        ("array", [[], ["a", ""]], ["a", [1], ["a", None], {"a": "b"}]),
        ("double", [1, 2.5, -0.0, 2**53], ["1", True, 2**53 + 1, [1.0]]),
        ("int64", [1, -1, 2.0, 2**63 - 1], ["1", True, 2.5]),
        ("uint64", [0, 2.0, 2**63 - 1], [-1, 0.5, False, "0"]),
    ],
)
def test_a_declared_field_takes_values_of_its_type_only(type, valid, invalid):
    mapping = DocumentMapping(declared_columns({"field": type}, "path"), "path", ours=True)
    for value in [*valid, None]:
        document = mapping.document(Record("a", "/a", "", {"field": value}), [])
        assert mapping.record(document).metadata == {"field": value}
    for value in invalid:
        with pytest.raises(StoreRequestError, match=rf"'field' is declared as '{type}'") as caught:
            mapping.document(Record("a", "/a", "", {"field": value}), [])
        assert caught.value.ids == ("a",)


@pytest.mark.parametrize("damaged", ["{", "[]", 3])
def test_damaged_metadata_name_the_record(damaged):
    with pytest.raises(StoreCorruptError, match="'a'"):
        MAPPING.record({"id": "a", "imagesearch_metadata": damaged})


def test_scan_keys_spread_evenly():
    keys = np.array([scan_key(f"id-{row}") for row in range(4000)])
    counts, _ = np.histogram(keys, bins=8, range=(0, 2**32))
    assert keys.max() < 2**32
    assert counts.min() > 400
