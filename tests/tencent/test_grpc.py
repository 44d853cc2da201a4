"""The gRPC transport, against the SDK's own messages."""

from __future__ import annotations

import pytest

from imagesearch.errors import StoreAuthError, StoreRequestError, StoreUnavailableError
from imagesearch.filters import Field
from imagesearch.testing.tencent_server import Fault
from tests.tencent.examples import batch, meta, vectors
from tests.tencent.rpc_server import TencentRpcServer


@pytest.fixture
def server():
    with TencentRpcServer() as server:
        yield server


@pytest.fixture
def store(server, make_store):
    fields = {"label": "string", "n": "int64", "price": "double", "sold": "bool", "tags": "array"}
    store = make_store(transport="grpc", fields=fields)
    store.open(meta())
    return store


def test_everything_works_over_grpc(server, store):
    metadata = [
        {
            "label": '金 "x"',
            "n": row - 2,
            "price": row / 2,
            "sold": row > 2,
            "tags": ["a", f"t{row}"],
        }
        for row in range(5)
    ]
    store.upsert(batch(5, metadata=metadata))
    hits = store.search(vectors(5)[2:3], k=5)[0]
    assert (hits[0].id, hits[0].score) == ("id-00002", pytest.approx(1, abs=1e-5))
    assert hits[0].metadata == metadata[2]
    assert store.count(Field("n") < 0) == 2
    assert store.count((Field("label") == '金 "x"') & Field("tags").contains("t3")) == 1
    assert store.count(Field("sold") == True) == 2  # noqa: E712  # builds a filter
    record = store.get(["id-00001"], vectors=True)["id-00001"]
    assert (record.vector == vectors(5)[1]).all()
    assert sum(map(len, store.scan(vectors=True))) == 5
    assert store.delete(["id-00000", "missing"]) == 1
    assert store.describe() == meta()


def test_a_wrong_key_is_an_auth_error_over_grpc(make_store):
    with pytest.raises(StoreAuthError, match="username and key"):
        make_store(transport="grpc", key="wrong").describe()


def test_temporary_failures_are_retried_over_grpc(server, store):
    server.faults.add(Fault("status", times=2))
    store.upsert(batch(3))
    server.faults.add(Fault("reset_after", times=1))
    assert store.delete(["id-00000"]) == 1


def test_permanent_failures_are_reported_over_grpc(server, make_store):
    store = make_store(transport="grpc", retries=1)
    store.open(meta())
    server.faults.add(Fault("status"))
    with pytest.raises(StoreUnavailableError, match="UNAVAILABLE"):
        store.count()
    server.faults.clear()
    server.faults.add(Fault("api_error", code=14100))
    with pytest.raises(StoreRequestError, match="14100"):
        store.count()


def test_a_stopped_server_is_unavailable_over_grpc(server, make_store):
    store = make_store(transport="grpc", retries=0, timeout=2)
    store.open(meta())
    server.stop()
    with pytest.raises(StoreUnavailableError):
        store.count()
