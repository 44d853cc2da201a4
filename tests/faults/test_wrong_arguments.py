"""Arguments of a wrong type end in an error of this library that names them."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from imagesearch import (
    EmbeddingSpec,
    Field,
    ImageIndex,
    IndexMeta,
    Item,
    LocalStore,
    MemoryStore,
    Query,
    RecordBatch,
    compare,
)
from imagesearch.errors import ConfigError, ImageSearchError, QueryError, StoreRequestError
from imagesearch.evaluation import PerLabel
from imagesearch.filters import And, IsIn, Or, parse_filter

HUGE = -(10**5000)  # Python refuses to write it out


class Unprintable:
    def __repr__(self):
        raise RuntimeError("no repr")


@pytest.fixture
def index(embedder):
    with ImageIndex(embedder=embedder, store=MemoryStore()) as index:
        index.add(Item(Image.new("RGB", (9, 9), "red"), id="red", metadata={"a": 1}))
        yield index


@pytest.mark.parametrize(
    "value",
    ["no", 1, None, np.array([1, 2]), HUGE, Unprintable()],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda index, value: index.update_metadata({"b": 1}, ids="red", replace=value), "replace"),
        (lambda index, value: index.get("red", vectors=value), "vectors"),
        (lambda index, value: index.scan(vectors=value), "vectors"),
        (lambda index, value: index.sync([b"x"], allow_removing=value), "allow_removing"),
        (lambda index, value: index.search(id="red", exclude_self=value), "exclude_self"),
        (lambda index, value: index.check(repair=value), "repair"),
        (lambda index, value: index.check(repair=True, remove=value), "remove"),
    ],
)
def test_an_option_that_is_true_or_false_takes_nothing_else(index, call, name, value):
    with pytest.raises(ConfigError, match=f"{name} must be True or False"):
        call(index, value)
    assert index.get("red")["red"].metadata == {"a": 1}


@pytest.mark.parametrize(
    "value",
    [HUGE, Unprintable(), np.array([1, 2]), [HUGE], {"a": HUGE}],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize(
    "call",
    [
        lambda index, value: index.search(id=value),
        lambda index, value: index.search(text=value),
        lambda index, value: index.search(id="red", k=value),
        lambda index, value: index.search(id="red", where=value),
        lambda index, value: index.search(id="red", min_score=value),
        lambda index, value: index.search(id="red", group_by=value),
        lambda index, value: index.search(id="red", expand=value),
        lambda index, value: index.search_many(value),
        lambda index, value: index.add(b"x", on_error=value),
        lambda index, value: index.add(Item(b"x", id=value), on_error="raise"),
        lambda index, value: index.add([b"x", value], on_error="raise"),
        lambda index, value: index.add(value, on_error="raise"),
        lambda index, value: index.delete([value]),
        lambda index, value: index.update_metadata(value, ids="red"),
        lambda index, value: index.update_metadata({"b": {3: value}}, ids="red"),
        lambda index, value: index.calibrate(precision=value),
        lambda index, value: index.calibrate(label=value),
        lambda index, value: index.duplicates(tiers=value),
        lambda index, value: index.duplicates(against=value),
        lambda index, value: list(index.scan(batch_size=value)),
        lambda index, value: index.store.note(value, 1),
        lambda _, value: Query.image(b"x", focus=value),
        lambda _, value: Query.image(b"x", box=value),
        lambda _, value: Query.vector(value) * value,
        lambda _, value: Field(value),
        lambda _, value: Field("a") < value,
        lambda _, value: EmbeddingSpec("mine", value, True, "v1"),
        lambda _, value: IndexMeta(EmbeddingSpec("mine", 4, True, "v1"), metric=value),
        lambda _, value: LocalStore("photos.idx", dtype=value),
        lambda _, value: LocalStore("photos.idx", engine=value),
        lambda _, value: LocalStore("photos.idx", M=value),
        lambda _, value: PerLabel(value, 3),
        lambda _, value: ImageIndex("photos.idx", batch_size=value),
    ],
)
def test_values_that_python_cannot_write_out_are_refused_by_name(
    index, call, value, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ImageSearchError) as caught:
        call(index, value)
    assert str(caught.value)


def test_a_note_has_a_name_that_can_be_written(tmp_path, embedder):
    with ImageIndex(embedder=embedder, store=LocalStore(tmp_path / "x.idx")) as index:
        index.add(Image.new("RGB", (9, 9)))
        with pytest.raises(StoreRequestError, match="lone surrogate"):
            index.store.note("\ud800", 1)


def test_a_batch_takes_tuples_and_lists_alone():
    with pytest.raises(StoreRequestError, match="ids must be a tuple or list"):
        RecordBatch("a", ("/a.jpg",), ("",), ({},))


def test_compare_takes_a_list_of_indexes(index):
    with pytest.raises(ConfigError, match="systems must be a list"):
        compare(3, [Query.id("red")])


def test_an_array_of_no_dimensions_is_no_list_of_queries(index):
    with pytest.raises(QueryError):
        index.search_many(np.array(3))


NOT_ITERABLE = [np.array(3), memoryview(np.zeros((2, 2))), 1.5, object()]


@pytest.mark.parametrize("value", NOT_ITERABLE, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize(
    "call",
    [
        lambda index, value: index.delete(value),
        lambda index, value: index.get(value),
        lambda index, value: index.update_metadata({"b": 1}, ids=value),
        lambda index, value: index.search_many(value),
        lambda index, value: index.duplicates(mirrored=value),
        lambda _, value: Field("a").is_in(value),
        lambda _, value: IsIn("a", value),
        lambda _, value: And(value),
        lambda _, value: Or(value),
        lambda _, value: parse_filter(value),
    ],
)
def test_what_cannot_be_iterated_is_refused(index, call, value):
    with pytest.raises(ImageSearchError):
        call(index, value)
