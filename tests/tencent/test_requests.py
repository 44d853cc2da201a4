"""Requests: within the limits, and no more than necessary."""

from __future__ import annotations

from collections import Counter

import pytest

from imagesearch.filters import Field
from imagesearch.stores.tencent import HNSW
from imagesearch.testing.tencent_server import Behaviour, Limits, TencentServer
from tests.tencent.examples import batch, meta, vectors


def test_adding_5000_and_searching_500_stays_within_limits_without_extra_requests(
    server, make_store
):
    store = make_store(fields={"label": "string"})
    store.open(meta())
    server.forget_requests()
    records = batch(5000, metadata=[{"label": f"label {row % 50}"} for row in range(5000)])
    assert store.get(records.ids) == {}
    store.upsert(records)
    hits = store.search(vectors(500, seed=1), k=10)
    assert all(len(found) == 10 for found in hits)
    assert store.delete([]) == 0
    log = server.requests
    assert all(request.code == 0 for request in log)
    assert Counter(request.path for request in log) == {
        "/document/query": 5000 // 20,
        "/document/upsert": 5000 // 1000,
        "/document/search": 500 // 20,
    }
    for request in log:
        assert request.size <= 8_000_000
        match request.path:
            case "/document/upsert":
                assert len(request.body["documents"]) == 1000
            case "/document/query":
                assert len(request.body["query"]["documentIds"]) == 20
                assert request.body["readConsistency"] == "strongConsistency"
            case "/document/search":
                search = request.body["search"]
                assert len(search["vectors"]) == 20
                assert search["params"]["ef"] >= search["limit"] == 10
                assert request.body["readConsistency"] == "strongConsistency"


def test_bodies_stay_under_eight_megabytes_with_long_vectors_and_long_metadata(server, make_store):
    dim = 2048
    store = make_store()
    store.open(meta(dim))
    server.forget_requests()
    store.upsert(batch(400, dim, metadata=[{"text": '"金\\' * 2000}] * 400))
    sizes = [request.size for request in server.requests]
    assert store.count() == 400
    assert len(sizes) > 1
    assert max(sizes) <= 8_000_000


def test_a_record_above_the_body_size_is_sent_alone(make_store):
    server = TencentServer(limits=Limits(body_bytes=50 * 2**20))
    with server:
        store = make_store(url=server.url)
        store.open(meta())
        store.upsert(batch(3, metadata=[{}, {"text": "x" * 9_000_000}, {}]))
        assert store.count() == 3
        upserts = [r for r in server.requests if r.path == "/document/upsert"]
        assert [len(request.body["documents"]) for request in upserts] == [1, 1, 1]
        store.close()


def test_an_upsert_that_replaces_reads_nothing_first(server, store):
    store.upsert(batch(10))
    server.forget_requests()
    store.upsert(batch(10))
    assert [request.path for request in server.requests] == ["/document/upsert"]


def test_a_filter_that_can_match_nothing_sends_no_request(server, store):
    store.upsert(batch(3))
    server.forget_requests()
    nothing = Field("label").is_in([])
    assert store.search(vectors(2), k=3, where=nothing) == [[], []]
    assert store.count(nothing) == 0
    assert list(store.scan(where=nothing)) == []
    assert server.requests == []


def test_empty_calls_send_no_request(server, store):
    server.forget_requests()
    assert store.get([]) == {}
    assert store.delete([]) == 0
    assert store.search(vectors(0), k=3) == []
    store.upsert(batch(0))
    assert server.requests == []


def test_deletions_always_name_ids_and_never_more_than_twenty(server, store):
    store.upsert(batch(50))
    server.forget_requests()
    assert store.delete([f"id-{row:05d}" for row in range(45)] + ["missing"] * 3) == 45
    deletions = [r.body["query"] for r in server.requests if r.path == "/document/delete"]
    assert sum(len(query["documentIds"]) for query in deletions) == 45
    assert all(set(query) == {"documentIds"} for query in deletions)
    assert all(1 <= len(query["documentIds"]) <= 20 for query in deletions)
    assert store.count() == 5


def test_deleting_only_missing_ids_sends_no_deletion(server, store):
    store.upsert(batch(2))
    server.forget_requests()
    assert store.delete(["missing"]) == 0
    assert [request.path for request in server.requests] == ["/document/query"]


@pytest.mark.slow
def test_a_scan_returns_more_records_than_one_response_can_have(make_store):
    with TencentServer() as server:
        store = make_store(url=server.url)
        store.open(meta())
        store.upsert(batch(20_000))
        server.forget_requests()
        seen = [id for part in store.scan(batch_size=5000) for id in part.ids]
        assert len(seen) == len(set(seen)) == 20_000
        queries = [r.body["query"] for r in server.requests if r.path == "/document/query"]
        assert all(query["limit"] <= 16_384 for query in queries)
        assert all(not query.get("offset") for query in queries)
        assert len(queries) < 2 * 20_000 / 4096 + 2
        store.close()


def test_eventual_searches_may_lag_but_other_reads_do_not(make_store):
    with TencentServer(behaviour=Behaviour(visibility_delay=60)) as server:
        store = make_store(url=server.url, read_consistency="eventual")
        store.open(meta())
        store.upsert(batch(5))
        assert store.search(vectors(1), k=3) == [[]]
        assert store.count() == len(store.get(batch(5).ids)) == 5
        assert sum(map(len, store.scan())) == 5
        assert store.delete(["id-00001"]) == 1
        store.close()


def test_a_search_never_requests_fewer_candidates_than_hits(server, make_store):
    store = make_store(index=HNSW(ef=20))
    store.open(meta())
    store.upsert(batch(300))
    server.forget_requests()
    store.search(vectors(1), k=10)
    store.search(vectors(1), k=300)
    searches = [r.body["search"] for r in server.requests if r.path == "/document/search"]
    assert [(search["limit"], search["params"]["ef"]) for search in searches] == [
        (10, 20),
        (300, 300),
    ]
