"""Changing metadata and deleting by filter on the service."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from imagesearch.errors import StoreRequestError, StoreUnavailableError, UnsupportedFilterError
from imagesearch.filters import Field
from imagesearch.stores.tencent._documents import DocumentMapping
from imagesearch.stores.tencent._schema import REVISION, declared_columns
from imagesearch.testing.tencent_server import Fault
from tests.tencent.examples import batch, meta, vectors
from tests.tencent.rpc_server import TencentRpcServer


def paths(server):
    return [request.path for request in server.requests]


def test_an_update_sends_neither_vector_nor_id(server, store):
    store.upsert(batch(3, metadata=[{"label": "cat", "extra": 1}] * 3))
    server.forget_requests()
    assert store.update_metadata({"price": 2}, ids=["id-00000", "id-00001", "missing"]) == 2
    assert paths(server) == ["/document/query", "/document/update"]
    body = server.requests[-1].body
    assert body["query"]["documentIds"] == ["id-00000", "id-00001"]
    assert REVISION in body["query"]["filter"]
    assert not body["update"].keys() & {"id", "vector", "path", "imagesearch_key"}
    assert store.get(["id-00001"])["id-00001"].metadata == {"label": "cat", "extra": 1, "price": 2}


def test_an_update_that_changes_nothing_writes_nothing(server, store):
    store.upsert(batch(2, metadata=[{"label": "cat"}] * 2))
    server.forget_requests()
    assert store.update_metadata({"label": "cat"}, where=Field("label") == "cat") == 2
    assert "/document/update" not in paths(server)


def test_an_invalid_value_is_refused_before_any_request(server, store):
    store.upsert(batch(2))
    server.forget_requests()
    with pytest.raises(StoreRequestError, match="price"):
        store.update_metadata({"price": 2**53 + 1}, ids=["id-00000"])
    with pytest.raises(UnsupportedFilterError):
        store.update_metadata({"price": 1}, where=Field("undeclared") == 1)
    assert paths(server) == []


@pytest.mark.parametrize("kind", ["reset_after", "truncate", "garbage"])
def test_an_update_whose_response_is_lost_is_made_and_counted_once(server, make_store, kind):
    store = make_store(fields={"label": "string"}, retries=8)
    store.open(meta())
    store.upsert(batch(30, metadata=[{"label": "cat", "n": n} for n in range(30)]))
    server.faults.add(Fault(kind, path="/document/update", every=2))
    assert store.update_metadata({"label": "dog"}, where=Field("label") == "cat") == 30
    assert store.count(Field("label") == "dog") == 30
    assert sorted(record.metadata["n"] for batch in store.scan() for record in batch) == list(
        range(30)
    )


def test_endless_changes_by_other_writers_are_an_error(server, store, monkeypatch):
    store.upsert(batch(1))
    other = {"n": 0}
    update = server.operations.call

    def interfere(path, body):
        if path == "/document/update":
            other["n"] += 1
            changed = batch(1, metadata=[{"n": other["n"]}])
            document = DocumentMapping(store_columns(), "path", ours=True, revisions=True).document(
                changed[0], vectors(1)[0].tolist()
            )
            place = {"database": "photos", "collection": "all"}
            update("/document/upsert", {**place, "documents": [document]})
        return update(path, body)

    monkeypatch.setattr(server.operations, "call", interfere)
    monkeypatch.setattr("time.sleep", lambda _: None)
    with pytest.raises(StoreUnavailableError, match="other writers"):
        store.update_metadata({"price": 1}, ids=["id-00000"])


def store_columns():
    return declared_columns({"label": "string", "price": "double"}, "path")


def test_a_collection_without_revisions_updates_existing_records_only(server, make_store):
    first = make_store(fields={"label": "string"})
    first.open(meta())
    first.close()
    collection = server.operations._collections["all"]  # as an older version made it
    collection.info["indexes"] = [
        index for index in collection.info["indexes"] if index["fieldName"] != REVISION
    ]
    del collection.types[REVISION]
    store = make_store()
    store.open(meta())
    store.upsert(batch(2, metadata=[{"label": "cat"}] * 2))
    assert store.update_metadata({"label": "dog"}, ids=["id-00000", "missing"]) == 1
    assert (store.count(), store.count(Field("label") == "dog")) == (2, 1)


@pytest.mark.parametrize("transport", ["http", "grpc"])
def test_a_deletion_by_filter_is_done_by_the_server(server, make_store, transport):
    def check(store, asked):
        store.open(meta())
        store.upsert(batch(50, metadata=[{"label": "cat" if n < 40 else "dog"} for n in range(50)]))
        asked.forget_requests()
        assert store.delete_where(Field("label") == "cat") == 40
        assert set(paths(asked)) == {"/document/count", "/document/delete"}
        assert store.count() == 10
        assert store.delete_where(Field("label").is_in([])) == 0
        assert store.delete_where(~Field("label").is_in([])) == 10
        assert store.count() == 0

    if transport == "http":
        check(make_store(fields={"label": "string"}), server)
        return
    with TencentRpcServer() as rpc:
        store = make_store(url=rpc.url, transport="grpc", fields={"label": "string"})
        check(store, rpc)
        store.close()


def test_a_deletion_by_filter_whose_response_is_lost_counts_what_matched(server, make_store):
    store = make_store(fields={"label": "string"}, retries=8)
    store.open(meta())
    store.upsert(batch(30, metadata=[{"label": "cat"}] * 30))
    server.faults.add(Fault("reset_after", path="/document/delete", every=1, times=1))
    assert store.delete_where(Field("label") == "cat") == 30
    assert store.count() == 0


def test_stores_over_http_that_set_different_fields_lose_none(make_store):
    stores = [make_store(fields={"label": "string"}) for _ in range(4)]
    for store in stores:
        store.open(meta())
    stores[0].upsert(batch(40, metadata=[{"n": n} for n in range(40)]))
    ids = batch(40).ids
    with ThreadPoolExecutor(4) as threads:
        work = [
            threads.submit(store.update_metadata, {f"field-{number}": number}, ids=ids)
            for number, store in enumerate(stores)
        ]
        assert [future.result() for future in work] == [40] * 4
    expected = {f"field-{number}": number for number in range(4)}
    for record in stores[0].get(ids).values():
        assert record.metadata == {"n": int(record.id[-5:]), **expected}


def test_records_that_are_deleted_during_an_update_do_not_come_back(make_store):
    updating, deleting = (make_store(fields={"label": "string"}) for _ in range(2))
    for store in (updating, deleting):
        store.open(meta())
    updating.upsert(batch(200, metadata=[{"label": str(n % 7)} for n in range(200)]))
    ids = batch(200).ids
    with ThreadPoolExecutor(2) as threads:
        updated = threads.submit(updating.update_metadata, {"label": "dog"}, ids=ids)
        deleted = threads.submit(deleting.delete, ids)
        assert (deleted.result(), 0 <= updated.result() <= 200) == (200, True)
    assert updating.count() == 0
