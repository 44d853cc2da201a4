"""The stand-in: it serves the real SDK and refuses what the service refuses."""

from __future__ import annotations

import pytest
import tcvectordb
from tcvectordb.exceptions import ServerInternalError
from tcvectordb.model.document import Filter, SearchParams
from tcvectordb.model.enum import FieldType, IndexType, MetricType
from tcvectordb.model.index import FilterIndex, HNSWParams, Index, VectorIndex

from imagesearch.testing.tencent_server import Behaviour, Limits, TencentServer
from imagesearch.testing.tencent_server._collection import ApiError
from imagesearch.testing.tencent_server._filters import read_condition

NAMES = ("photos", "all")


@pytest.fixture
def sdk(server):
    client = tcvectordb.VectorDBClient(url=server.url, username=server.username, key=server.key)
    client.create_database("photos")
    client.create_collection(
        *NAMES,
        shard=1,
        replicas=0,
        index=Index(
            FilterIndex("id", FieldType.String, IndexType.PRIMARY_KEY),
            VectorIndex("vector", 2, IndexType.HNSW, MetricType.L2, HNSWParams(16, 200)),
            FilterIndex("tag", FieldType.String, IndexType.FILTER),
            FilterIndex("page", FieldType.Uint64, IndexType.FILTER),
        ),
    )
    yield client
    client.close()


def document(id="a", **fields):
    return {"id": id, "vector": [1.0, 0.0], **fields}


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda sdk: sdk.upsert(*NAMES, [document()] * 1001), 14120),
        (lambda sdk: sdk.upsert(*NAMES, []), 14120),
        (lambda sdk: sdk.upsert(*NAMES, [document("x" * 129)]), 14131),
        (lambda sdk: sdk.upsert(*NAMES, [document("")]), 14100),
        (lambda sdk: sdk.upsert(*NAMES, [{"id": "a", "vector": [1.0]}]), 14100),
        (lambda sdk: sdk.upsert(*NAMES, [{"id": "a"}]), 14100),
        (lambda sdk: sdk.upsert(*NAMES, [document(tag=1)]), 14121),
        (lambda sdk: sdk.upsert(*NAMES, [document(page=-1)]), 14121),
        (lambda sdk: sdk.upsert(*NAMES, [document(other=True)]), 14121),
        (lambda sdk: sdk.upsert(*NAMES, [document(other=None)]), 14121),
        (lambda sdk: sdk.upsert(*NAMES, [document(tag="")]), 14132),
        (lambda sdk: sdk.query(*NAMES, document_ids=["a"] * 21, limit=21), 14120),
        (lambda sdk: sdk.query(*NAMES, limit=16_385), 14120),
        (lambda sdk: sdk.query(*NAMES, limit=10, offset=5), 14100),
        (lambda sdk: sdk.query(*NAMES, limit=5, filter='id = "a"'), 14100),
        (lambda sdk: sdk.query(*NAMES, limit=5, filter="tag in ()"), 15000),
        (lambda sdk: sdk.query(*NAMES, limit=5, filter='tag IN ("a")'), 15000),
        (lambda sdk: sdk.query(*NAMES, limit=5, sort={"fieldName": "tag"}), 15143),
        (lambda sdk: sdk.search(*NAMES, [[1.0, 0.0]] * 21), 14120),
        (lambda sdk: sdk.search(*NAMES, [[1.0, 0.0]], params=SearchParams(ef=40_000)), 14120),
        (lambda sdk: sdk.create_database("photos"), 15201),
        (lambda sdk: sdk.create_database("1"), 14110),
        (lambda sdk: sdk.describe_collection("photos", "none"), 15302),
        (lambda sdk: sdk.describe_collection("none", "all"), 15301),
    ],
)
def test_what_the_service_refuses_is_refused(sdk, call, code):
    with pytest.raises(ServerInternalError) as caught:
        call(sdk)
    assert caught.value.code == code


def test_a_body_over_the_limit_is_refused(server, sdk):
    with pytest.raises(ServerInternalError) as caught:
        sdk.upsert(*NAMES, [document(other="x" * server.limits.body_bytes)])
    assert caught.value.code == 413


def test_limits_can_be_set():
    limits = Limits(ids_per_query=2, offset_is_multiple_of_limit=False)
    with TencentServer(limits=limits) as server:
        client = tcvectordb.VectorDBClient(url=server.url, username="root", key=server.key)
        client.create_database("photos")
        with pytest.raises(ServerInternalError):
            client.query(*NAMES, document_ids=["a", "b", "c"], limit=3)
        client.close()


def test_a_deletion_without_conditions_wipes_the_collection_as_the_service_does(sdk):
    sdk.upsert(*NAMES, [document("a"), document("b")])
    assert sdk.delete(*NAMES, document_ids=[])["affectedCount"] == 2
    assert sdk.count(*NAMES) == 0


def test_distances_come_smallest_first(sdk):
    sdk.upsert(*NAMES, [{"id": "far", "vector": [4.0, 4.0]}, document("near")])
    found = sdk.search(*NAMES, [[1.0, 0.0]], limit=2)[0]
    assert [(hit["id"], hit["score"]) for hit in found] == [("near", 0.0), ("far", 5.0)]


def test_update_merges_fields(sdk):
    sdk.upsert(*NAMES, [document("a", tag="x", page=1)])
    sdk.update(*NAMES, data={"page": 2}, filter=Filter('tag = "x"'))
    assert sdk.query(*NAMES, document_ids=["a"], limit=1) == [{"id": "a", "tag": "x", "page": 2}]


TYPES = {"tag": "string", "page": "uint64", "price": "double", "tags": "array"}
DOCUMENT = {"tag": 'say "x" \\', "page": 3, "price": 0.5, "tags": ["a", "b"]}


@pytest.mark.parametrize(
    "text",
    [
        r'tag = "say \"x\" \\"',
        'tag != "x"',
        'tag in ("x", "say \\"x\\" \\\\")',
        'tag not in ("x")',
        "page >= 3 and price < 1",
        'tag = "x" or page = 3 and price = 0.5',
        'not (tag = "x" and page = 3)',
        'page = 3 and not tag = "x"',
        'tags include ("b", "z")',
        'tags include all ("a", "b")',
        'tags exclude ("z")',
        "tag is not null",
    ],
)
def test_the_filter_language_is_evaluated(text):
    assert read_condition(text, TYPES, Behaviour())(DOCUMENT) is True


@pytest.mark.parametrize(
    "text",
    [
        "tag = 'x'",
        'tag == "x"',
        'tag = "x',
        r'tag = "\n"',
        'tag = "two\nlines"',
        'tag > "x"',
        "tag = 1",
        'page = "1"',
        "page = -1",
        "page = 1.5",
        "price = 1e5",
        'page include ("a")',
        'tags in ("a")',
        'tag = "x" and',
        '(tag = "x"',
        "unknown = 1",
        'tag = "x" tag = "y"',
        "",
    ],
)
def test_an_invalid_filter_is_refused(text):
    with pytest.raises(ApiError):
        read_condition(text, TYPES, Behaviour())
