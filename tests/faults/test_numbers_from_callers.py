"""Numbers, arrays and texts that a caller gives wrongly end in errors of this library."""

import json
import random

import numpy as np
import pytest
import torch

from imagesearch import DescriptorEmbedder, Field, ImageIndex, Query
from imagesearch.config import check_options, load_config
from imagesearch.errors import (
    ConfigError,
    FilterError,
    ImageSearchError,
    IncompatibleIndexError,
    QueryError,
    StoreRequestError,
)
from imagesearch.filters import parse_filter
from imagesearch.stores.local import LocalStore
from imagesearch.stores.memory import MemoryStore
from imagesearch.stores.tencent import TencentStore
from imagesearch.types import EmbeddingSpec, IndexMeta, Projection, RecordBatch
from imagesearch.vectors import check_vectors

HUGE = 10**400
BAD_VECTORS = {
    "a whole number beyond floats": [HUGE, 1],
    "complex numbers": np.array([1 + 2j, 1]),
    "a complex number in a list": [1j, 1.0],
    "text": ["1", "2"],
    "bytes": b"12",
    "a tensor with gradients": torch.ones(2, requires_grad=True),
    "objects": [object(), object()],
    "dates": np.array(["2024-01-01", "2024-01-02"], "datetime64[D]"),
    "a ragged list": [[1], [1, 2]],
    "None": [None, 1],
}


@pytest.mark.parametrize("vector", BAD_VECTORS.values(), ids=BAD_VECTORS)
def test_what_is_not_a_vector_of_real_numbers_is_refused_everywhere(vector):
    with pytest.raises(QueryError):
        Query.vector(vector)
    with pytest.raises(StoreRequestError):
        check_vectors([vector], 2, "cosine")
    with pytest.raises(StoreRequestError):
        RecordBatch(("a",), ("/a",), ("",), ({},), [vector])


def test_tensors_without_gradients_and_whole_numbers_are_vectors():
    assert Query.vector(torch.tensor([1, 2])).terms[0].vector.tolist() == [1.0, 2.0]
    assert check_vectors([[1, 2]], 2, "dot").tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize("weight", [HUGE, float("nan"), float("inf"), None, "x", 1j])
def test_a_weight_must_be_a_finite_number(weight):
    with pytest.raises(QueryError, match="weight must be"):
        weight * Query.id("a")


@pytest.mark.parametrize("box", [(0, 0, HUGE, 5), np.array(3), 7, (0, 0, 1j, 5)])
def test_a_box_must_be_four_numbers(box):
    with pytest.raises(QueryError, match="box"):
        Query.image("a.jpg", box=box)


@pytest.mark.parametrize("score", [HUGE, float("nan"), True, np.True_, "best", [], 1j])
def test_a_least_score_must_be_a_number(score):
    embedder = DescriptorEmbedder()
    index = ImageIndex(store=MemoryStore(), embedder=embedder)
    with index, pytest.raises(QueryError, match="min_score"):
        index.search(Query.vector(np.ones(embedder.spec.dim)), min_score=score)


@pytest.mark.parametrize("values", [np.array(3), 3, None, "abc", b"abc", torch.tensor(3)])
def test_is_in_takes_a_list_of_values(values):
    with pytest.raises(FilterError, match="is_in takes a list"):
        Field("a").is_in(values)


@pytest.mark.parametrize("text", ["a = {}", "a < -{}", "a in (1, {})", "a = {}.5", "a = 1e{}"])
def test_a_number_of_thousands_of_digits_in_a_filter_is_refused(text):
    with pytest.raises(FilterError):
        parse_filter(text.format("9" * 5000))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.toml", "a = " + "1" * 5000),
        ("a.toml", "a = " + "[" * 1000 + "]" * 1000),
        ("a.toml", "a = " + "{a=" * 1000 + "1" + "}" * 1000),
        ("pyproject.toml", "[tool]\nimagesearch = 1"),
        ("pyproject.toml", "tool = 1"),
        ("pyproject.toml", "[tool]\nimagesearch = ['store']"),
        ("a\0b.toml", None),
        ("a\udc80b.toml", None),
    ],
)
def test_a_config_that_cannot_be_read_is_a_config_error(tmp_path, name, text):
    file = tmp_path / name if "\0" not in name else f"{tmp_path}/{name}"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigError):
        load_config(file)


def test_a_nul_in_the_path_of_a_config_is_refused(tmp_path):
    file = tmp_path / "a.toml"
    file.write_text('[store]\nkind = "local"\npath = "a\\u0000b"\n')
    with pytest.raises(ConfigError, match="NUL"):
        check_options(LocalStore, load_config(file).store)


@pytest.mark.parametrize("written", ['["hunter2"]', "123454321", "{ value = 'hunter2' }", "true"])
def test_a_secret_of_the_wrong_type_is_not_quoted(tmp_path, written):
    file = tmp_path / "a.toml"
    file.write_text(
        '[store]\nkind = "tencent"\nurl = "http://10.0.0.1"\ndatabase = "d"\ncollection = "c"\n'
        f"key = {written}\n"
    )
    with pytest.raises(ConfigError, match="'key' must be") as caught:
        check_options(TencentStore, load_config(file).store)
    assert "hunter2" not in str(caught.value)
    assert "12345" not in str(caught.value)


def test_whatever_failed_to_be_constructed_can_be_printed():
    from imagesearch.embedders.clip import OpenClipEmbedder
    from imagesearch.embedders.timm import TimmEmbedder

    for cls in (ImageIndex, LocalStore, MemoryStore, TencentStore, TimmEmbedder, OpenClipEmbedder):
        assert cls.__name__ in repr(cls.__new__(cls))


def test_damaged_index_meta_is_refused_and_never_ends_in_another_error():
    projection = Projection(np.zeros(3, np.float32), np.eye(3, 2, dtype=np.float32), 9)
    spec = EmbeddingSpec("mine", 3, True, "v1", 224, "timm", {"model": "resnet50", "size": 3})
    text = json.dumps(IndexMeta(spec, "cosine", projection).to_dict())
    rng = random.Random(7)
    alphabet = '0123456789-+.eE"\\{}[]:, abntrufls\ud800\0é'
    refused = 0
    for _ in range(3000):
        marks = list(text)
        for _ in range(rng.randint(1, 3)):
            place = rng.randrange(len(marks))
            marks[place : place + rng.randint(0, 3)] = rng.choice(alphabet) * rng.randint(0, 4)
        try:
            meta = IndexMeta.from_json("".join(marks))
        except IncompatibleIndexError:
            refused += 1
            continue
        # What is accepted can be used: its size, its words and its own text.
        assert meta.dim >= 1
        assert IndexMeta.from_json(json.dumps(meta.to_dict())) == meta
        with pytest.raises(IncompatibleIndexError):
            meta.require_compatible(
                IndexMeta(EmbeddingSpec("other", 3, True, "v2")), where="photos.idx"
            )
    assert refused > 1000


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dim", True),
        ("dim", 1e309),
        ("dim", "3"),
        ("dim", 2**70),
        ("normalised", 1),
        ("name", None),
        ("decode_size", "224"),
        ("decode_size", 0),
        ("kind", 5),
        ("options", [1]),
        ("fingerprint", 12),
    ],
)
def test_index_meta_of_the_wrong_types_is_refused(name, value):
    data = IndexMeta(EmbeddingSpec("mine", 3, True, "v1")).to_dict()
    data["embedding"][name] = value
    with pytest.raises(IncompatibleIndexError):
        IndexMeta.from_json(json.dumps(data))


def test_an_embedder_that_gives_complex_numbers_fails_its_images():
    class Complex:
        spec = EmbeddingSpec("complex", 2, False, "v1")

        def preprocess(self, image):
            return np.zeros(1)

        def embed(self, batch):
            return np.full((len(batch), 2), 1 + 1j)

    with ImageIndex(store=MemoryStore(), embedder=Complex()) as index:
        report = index.add([np.zeros((8, 8, 3), np.uint8)])
    assert len(report.failed) == 1
    assert isinstance(report.failed[0].error, ImageSearchError)
