"""Opening: create, verify, adopt."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tcvectordb
from tcvectordb.model.document import SearchParams
from tcvectordb.model.enum import FieldType, IndexType, MetricType, ReadConsistency
from tcvectordb.model.index import FilterIndex, HNSWParams, Index, VectorIndex

from imagesearch.errors import (
    IncompatibleIndexError,
    StoreCorruptError,
    StoreError,
    StoreRequestError,
    StoreUnavailableError,
    UnsupportedFilterError,
    UnsupportedOperationError,
)
from imagesearch.filters import Field
from imagesearch.stores.tencent import FLAT, HNSW, IVF
from imagesearch.testing.tencent_server import Behaviour, Fault, TencentServer
from imagesearch.types import IndexMeta, Projection, RecordBatch
from tests.tencent.examples import DIM, batch, meta, vectors


@pytest.fixture
def sdk(server):
    client = tcvectordb.VectorDBClient(
        url=server.url,
        username=server.username,
        key=server.key,
        read_consistency=ReadConsistency.STRONG_CONSISTENCY,
    )
    yield client
    client.close()


@pytest.fixture
def tutorial(sdk):
    """The tutorial's collection: random ids, path, vector, and an index on path."""
    sdk.create_database("photos")
    sdk.create_collection(
        "photos",
        "all",
        shard=3,
        replicas=0,
        description="reverse image search",
        index=Index(
            FilterIndex("id", FieldType.String, IndexType.PRIMARY_KEY),
            VectorIndex(
                "vector",
                DIM,
                IndexType.HNSW,
                MetricType.COSINE,
                HNSWParams(m=16, efconstruction=200),
            ),
            FilterIndex("path", FieldType.String, IndexType.FILTER),
            FilterIndex("page", FieldType.Uint64, IndexType.FILTER),
        ),
    )
    sdk.upsert(
        "photos",
        "all",
        [
            {
                "id": f"uuid-{row}",
                "vector": vector.tolist(),
                "path": f"./train/{row}.jpg",
                "page": row,
            }
            for row, vector in enumerate(vectors(30))
        ],
    )
    return sdk


def test_a_new_collection_has_the_configured_schema(server, make_store):
    store = make_store(
        shards=3,
        replicas=1,
        index=HNSW(M=32, ef_construction=100),
        fields={"label": "string", "sold": "bool", "score": "int64"},
    )
    store.open(meta(metric="dot"))
    info = server.operations.call(
        "/collection/describe", {"database": "photos", "collection": "all"}
    )["collection"]
    indexes = {index["fieldName"]: index for index in info["indexes"]}
    assert (info["shardNum"], info["replicaNum"]) == (3, 1)
    assert indexes["vector"]["params"] == {"M": 32, "efConstruction": 100}
    assert indexes["vector"]["metricType"] == "IP"
    assert {name: index["fieldType"] for name, index in indexes.items()} == {
        "id": "string",
        "vector": "vector",
        "path": "string",
        "label": "string",
        "sold": "string",
        "x_73636f7265": "int64",
        "imagesearch_key": "uint64",
        "imagesearch_terms": "array",
        "imagesearch_revision": "string",
    }


def test_opening_waits_for_a_new_database(make_store):
    with TencentServer(behaviour=Behaviour(database_delay=0.6)) as server:
        store = make_store(url=server.url)
        store.open(meta())
        assert store.count() == 0
        store.close()


def test_every_opener_waits_for_a_database_that_another_has_just_created(make_store):
    # What a new database responds is not documented: here, a refusal that is otherwise final.
    behaviour = Behaviour(database_delay=0.8, database_refusal=14100)
    with TencentServer(behaviour=behaviour) as server, ThreadPoolExecutor(3) as threads:
        stores = [make_store(url=server.url) for _ in range(3)]
        first = threads.submit(stores[0].open, meta())
        while "/database/create" not in [request.path for request in server.requests]:
            time.sleep(0.01)
        others = [threads.submit(store.open, meta()) for store in stores[1:]]
        for opened in (first, *others):
            opened.result()
        stores[0].upsert(batch(3))
        assert [store.count() for store in stores] == [3] * 3
        for store in stores:
            store.close()


@pytest.mark.slow
def test_three_processes_that_start_together_on_an_absent_database_all_succeed(make_store):
    code = (
        "import sys\n"
        "from imagesearch.stores.tencent import TencentStore\n"
        "from tests.tencent.examples import batch, meta\n"
        "url, key, number = sys.argv[1:]\n"
        "store = TencentStore(url=url, key=key, database='photos', collection='all')\n"
        "store.open(meta())\n"
        "store.upsert(batch(3, prefix=number))\n"
    )
    behaviour = Behaviour(database_delay=3.0, database_refusal=14100)
    with TencentServer(behaviour=behaviour) as server:
        processes = [
            subprocess.Popen([sys.executable, "-c", code, server.url, server.key, str(number)])
            for number in range(3)
        ]
        assert [process.wait(timeout=60) for process in processes] == [0] * 3
        store = make_store(url=server.url)
        store.open(meta())
        assert store.count() == 9
        store.close()


@pytest.mark.parametrize("described", [True, False])
def test_an_alias_opens_the_collection_with_its_notes_and_projection(make_store, described):
    with TencentServer(behaviour=Behaviour(describe_aliases=described)) as server:
        first = make_store(url=server.url)
        first.open(projected())
        first.note("kept", 1)
        first.upsert(batch(3, dim=4))
        names = {"database": "photos", "collection": "all"}
        server.operations.call("/alias/set", {**names, "alias": "current"})
        before = server.operations.call("/collection/list", {"database": "photos"})["collections"]
        store = make_store(url=server.url, collection="current")
        assert store.describe() == projected()
        store.open(projected())
        store.note("new", 2)
        assert first.notes() == store.notes() == {"kept": 1, "new": 2}
        store.upsert(batch(5, dim=4))
        assert (store.count(), len(store.search(vectors(1, dim=4), k=9)[0])) == (5, 5)
        after = server.operations.call("/collection/list", {"database": "photos"})["collections"]
        assert len(after) == len(before) == 3
        store.close()
        first.close()


def test_auxiliary_collections_have_the_shards_and_replicas_of_the_collection(server, make_store):
    make_store(shards=2, replicas=1).open(projected())
    store = make_store()  # the options only apply when a collection is created
    store.open(projected())
    store.note("n", 1)
    for name in ("all-projection", "all-notes"):
        names = {"database": "photos", "collection": name}
        info = server.operations.call("/collection/describe", names)["collection"]
        assert (info["shardNum"], info["replicaNum"]) == (2, 1)


def test_notes_of_an_adopted_collection_have_its_shards(tutorial, server, make_store):
    store = make_store(adopt="mine")
    store.open(meta())
    store.note("n", 1)
    names = {"database": "photos", "collection": "all-notes"}
    assert server.operations.call("/collection/describe", names)["collection"]["shardNum"] == 3


def test_a_collection_whose_index_type_was_changed_on_the_service_opens(server, make_store):
    make_store(index=HNSW(M=8)).open(meta())
    names = {"database": "photos", "collection": "all"}
    info = server.operations.call("/collection/describe", names)["collection"]
    for service_type in ("FLAT", "IVF_PQ", "IVF_RABITQ", "HNSW"):
        vector = next(index for index in info["indexes"] if index["fieldName"] == "vector")
        vector["indexType"] = service_type
        store = make_store()
        store.open(meta())
        store.upsert(batch(5))
        assert store.count() == 5


def test_several_stores_can_create_the_same_collection_at_once(make_store):
    with TencentServer(behaviour=Behaviour(latency=0.01)) as server:
        stores = [make_store(url=server.url) for _ in range(6)]
        failures = []

        def open_it(store):
            try:
                store.open(meta())
            except StoreError as error:
                failures.append(error)

        threads = [threading.Thread(target=open_it, args=(store,)) for store in stores]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        stores[0].upsert(batch(3))
        assert [store.count() for store in stores] == [3] * 6
        for store in stores:
            store.close()


def test_a_name_that_another_database_has_taken_is_explained(make_store, monkeypatch):
    monkeypatch.setattr("imagesearch.stores.tencent._collection._RACE_PATIENCE", 0.1)
    first, second = make_store(), make_store(database="others")
    first.open(meta())
    with pytest.raises(StoreError, match="another database of the instance"):
        second.open(meta())


def test_the_meta_outlive_truncation_and_other_clients(make_store, sdk):
    store = make_store()
    store.open(meta())
    store.upsert(batch(3))
    sdk.delete("photos", "all", document_ids=["id-00001"])
    sdk.truncate_collection("photos", "all")
    assert store.count() == 0
    assert make_store().describe() == meta()


def test_no_client_sees_the_meta_as_a_document(store, sdk):
    store.upsert(batch(3))
    assert sdk.count("photos", "all") == 3
    assert len(sdk.search("photos", "all", vectors(1).tolist(), limit=10)[0]) == 3


def projected(dim=4, input_dim=600):
    random = np.random.default_rng(3)
    components, _ = np.linalg.qr(random.normal(size=(input_dim, dim)))
    projection = Projection(np.zeros(input_dim, np.float32), components.astype(np.float32), 99)
    return IndexMeta(meta(input_dim).embedding, "cosine", projection)


def test_a_projection_is_kept_beside_the_collection(server, make_store):
    store = make_store()
    store.open(projected())
    store.upsert(batch(3, dim=4))
    assert store.count() == 3
    again = make_store()
    assert again.describe() == projected()
    np.testing.assert_array_equal(
        again.describe().projection.components, projected().projection.components
    )
    again.open(projected())
    assert len(again.search(vectors(1, dim=4), k=5)[0]) == 3
    with pytest.raises(IncompatibleIndexError, match="projected to 4"):
        make_store().open(meta(600))
    described = server.operations.call(
        "/collection/describe", {"database": "photos", "collection": "all"}
    )["collection"]["description"]
    assert len(described) < 500


def test_a_missing_projection_is_reported(server, make_store):
    make_store().open(projected())
    server.operations.call(
        "/collection/drop", {"database": "photos", "collection": "all-projection"}
    )
    with pytest.raises(StoreCorruptError, match="'all-projection'"):
        make_store().open(projected())


def test_fields_and_uri_field_are_remembered(make_store):
    make_store(fields={"label": "string"}, uri_field="url").open(meta())
    again = make_store()
    again.open(meta())
    again.upsert(batch(2, metadata=[{"label": "a"}, {"label": "b"}]))
    assert again.count(Field("label") == "a") == 1
    assert again.get(["id-00000"])["id-00000"].uri == "/photos/id-00000.jpg"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"fields": {"label": "array"}}, "'label': 'string'.*'label': 'array'"),
        ({"uri_field": "url"}, "'path'.*'url'"),
        ({"index": FLAT()}, "'HNSW'.*'FLAT'"),
        ({"metric": "l2"}, "'l2'.*'cosine'"),
    ],
)
def test_another_schema_is_refused_naming_both_sides(make_store, options, words):
    make_store(fields={"label": "string"}).open(meta())
    with pytest.raises(IncompatibleIndexError, match=words):
        make_store(**options).open(meta())


@pytest.mark.parametrize("index", [FLAT(), FLAT(disk=True), IVF("sq8", nlist=4), HNSW(M=8)])
def test_a_collection_of_any_index_type_opens_without_naming_it(make_store, index):
    make_store(index=index).open(meta())
    store = make_store()
    store.open(meta())
    store.upsert(batch(5))
    store.rebuild_index()
    assert len(store.search(vectors(1), k=3)[0]) == 3


def test_a_collection_of_0_1_opens_and_keeps_values_of_other_types(server, make_store):
    make_store(fields={"label": "string", "price": "double"}).open(meta())
    names = {"database": "photos", "collection": "all"}
    info = server.operations.call("/collection/describe", names)["collection"]
    info["description"] = info["description"].replace("imagesearch/2 ", "imagesearch/1 ", 1)
    document = {
        "id": "old",
        "vector": vectors(1)[0].tolist(),
        "path": "/old.jpg",
        "price": 2.0,
        "imagesearch_metadata": '{"label":["a"],"price":2}',
        "imagesearch_key": 7,
        "imagesearch_terms": ["*", "any:label", "label:ca978112ca1bbdcafac231b39a23dc4da", "has:price"],
    }  # fmt: skip
    server.operations.call("/document/upsert", {**names, "documents": [document]})
    store = make_store()
    store.open(meta())
    store.upsert(batch(1, metadata=[{"label": "cat", "price": 1}]))
    assert store.get(["old"])["old"].metadata == {"label": ["a"], "price": 2}
    assert [hit.id for hit in store.search(vectors(1), k=5, where=Field("price") > 1)[0]] == ["old"]
    assert store.count(Field("label").exists()) == 2
    assert store.count(Field("label") == "cat") == store.count(Field("label") != "cat") == 1
    for where in (Field("label").contains("a"), Field("label") == 1, Field("label") > 3):
        with pytest.raises(UnsupportedFilterError, match="new collection"):
            store.count(where)
    with pytest.raises(StoreRequestError, match="'label'"):
        store.upsert(batch(1, metadata=[{"label": ["a"]}]))
    assert store.update_metadata({"price": 3}, ids=["old"]) == 1
    assert store.get(["old"])["old"].metadata == {"label": ["a"], "price": 3}
    assert store.count(Field("label").exists() & (Field("price") == 3)) == 1
    assert store.update_metadata({"label": "dog"}, ids=["old"]) == 1
    assert store.count(Field("label") == "dog") == 1


def test_an_index_that_another_client_dropped_is_noticed(server, make_store):
    make_store(fields={"label": "string"}).open(meta())
    info = server.operations.call(
        "/collection/describe", {"database": "photos", "collection": "all"}
    )["collection"]
    info["indexes"] = [index for index in info["indexes"] if index["fieldName"] != "label"]
    with pytest.raises(IncompatibleIndexError, match="index on label"):
        make_store().open(meta())


def test_a_damaged_description_is_refused(server, make_store):
    make_store().open(meta())
    info = server.operations.call(
        "/collection/describe", {"database": "photos", "collection": "all"}
    )["collection"]
    info["description"] = info["description"][:40]
    with pytest.raises(IncompatibleIndexError, match="damaged"):
        make_store().open(meta())
    info["description"] = "imagesearch/9 {}"
    with pytest.raises(IncompatibleIndexError, match="newer version"):
        make_store().describe()


def test_a_dimension_above_the_services_limit_creates_nothing(server, make_store):
    with pytest.raises(StoreRequestError, match="at most 4096"):
        make_store().open(meta(5000))
    assert make_store().describe() is None


def test_read_only_creates_and_writes_nothing(make_store):
    with pytest.raises(StoreError, match="does not exist"):
        make_store(read_only=True).open(meta())
    make_store().open(meta())
    reader = make_store(read_only=True)
    reader.open(meta())
    for write in (
        lambda: reader.upsert(batch(1)),
        lambda: reader.delete(["a"]),
        lambda: reader.delete_where(Field("label") == "a"),
        lambda: reader.update_metadata({"n": 1}, ids=["a"]),
    ):
        with pytest.raises(UnsupportedOperationError, match="read_only"):
            write()


def test_the_tutorials_collection_opens_read_only(tutorial, make_store, caplog):
    store = make_store()
    assert store.describe() is None
    store.open(meta(name="timm/resnet50"))
    assert "opened read-only, assuming" in caplog.text
    hits = store.search(vectors(30)[4:5], k=3)[0]
    assert (hits[0].id, hits[0].uri, hits[0].metadata) == ("uuid-4", "./train/4.jpg", {"page": 4})
    assert store.count() == 30
    assert store.count(Field("page") < 5) == 5
    assert {id for part in store.scan(batch_size=7) for id in part.ids} == {
        f"uuid-{row}" for row in range(30)
    }
    record = store.get(["uuid-7"], vectors=True)["uuid-7"]
    np.testing.assert_array_equal(record.vector, vectors(30)[7])
    with pytest.raises(UnsupportedOperationError, match="adopt="):
        store.upsert(batch(1))
    with pytest.raises(UnsupportedOperationError, match="adopt="):
        store.delete(["uuid-1"])


def test_the_tutorials_collection_is_adopted_by_naming_its_embedder(tutorial, make_store):
    with pytest.raises(IncompatibleIndexError, match=r"'timm/resnet50'.*'mine'"):
        make_store(adopt="timm/resnet50").open(meta())
    store = make_store(adopt="mine", uri_field="path")
    store.open(meta())
    record = RecordBatch(("new",), ("/new.jpg",), ("ab",), ({"page": 77, "x": [1]},), vectors(1))
    store.upsert(record)
    assert store.get(["new"])["new"].metadata == {"page": 77, "x": [1]}
    assert store.get(["new"])["new"].digest == "ab"
    assert store.count(Field("page") > 20) == 10
    assert store.update_metadata({"page": 78, "y": 2}, ids=["new", "uuid-9", "missing"]) == 2
    assert store.get(["new"])["new"].metadata == {"page": 78, "x": [1], "y": 2}
    assert store.get(["uuid-9"])["uuid-9"].metadata == {"page": 78, "y": 2}
    assert store.delete_where(Field("page") == 78) == 2
    assert store.delete(["uuid-1"]) == 1
    store.upsert(record)
    assert store.delete(["new"]) == 1
    assert sum(map(len, store.scan())) == store.count() == 28
    with pytest.raises(StoreRequestError, match=r"'page' is declared as 'uint64'"):
        store.upsert(batch(1, metadata=[{"page": "seven"}]))


def test_a_scan_of_another_programs_collection_is_unaffected_by_writes_between_batches(
    tutorial, make_store
):
    store = make_store(adopt="mine")
    store.open(meta())
    seen = []
    for number, part in enumerate(store.scan(batch_size=5)):
        seen += part.ids
        if number == 0:
            store.delete(["uuid-0", "uuid-1", "uuid-2"])
            store.upsert(batch(4))
    untouched = {f"uuid-{row}" for row in range(3, 30)}
    assert sorted(id for id in seen if id in untouched) == sorted(untouched)


@pytest.mark.parametrize(
    ("options", "given", "words"),
    [
        ({}, meta(DIM + 1), "dimension 8.*dimension 9"),
        ({}, meta(metric="l2"), r"COSINE.*L2 \(l2\)"),
        ({"fields": {"label": "string"}}, meta(), "label"),
    ],
)
def test_another_programs_collection_with_other_vectors_is_refused(
    tutorial, make_store, options, given, words
):
    with pytest.raises(IncompatibleIndexError, match=words):
        make_store(**options).open(given)


def test_the_tutorials_own_search_code_reads_what_we_write(store, sdk):
    store.upsert(batch(20))
    found = sdk.search(
        "photos",
        "all",
        vectors=[vectors(20)[3].tolist()],
        params=SearchParams(ef=200),
        limit=10,
        output_fields=["path"],
    )
    assert found[0][0]["id"] == "id-00003"
    assert [hit["path"] for hit in found[0]] == [f"/photos/{hit['id']}.jpg" for hit in found[0]]
    by_path = sdk.query("photos", "all", filter='path = "/photos/id-00005.jpg"', limit=5)
    assert [document["id"] for document in by_path] == ["id-00005"]


def test_documents_that_another_client_wrote_are_records_too(store, sdk):
    store.upsert(batch(3))
    sdk.upsert(
        "photos", "all", [{"id": "theirs", "vector": vectors(1)[0].tolist(), "path": "/t.jpg",
                           "label": "dog", "uri": "x"}]
    )  # fmt: skip
    assert store.count() == 4
    theirs = store.get(["theirs"])["theirs"]
    assert (theirs.uri, dict(theirs.metadata)) == ("/t.jpg", {"label": "dog"})
    ids = sorted(id for part in store.scan() for id in part.ids)
    assert ids == ["id-00000", "id-00001", "id-00002", "theirs"]
    where = Field("label") == "dog"
    assert [id for part in store.scan(where=where) for id in part.ids] == ["theirs"]


def test_records_missing_from_an_ivf_index_are_found_after_a_rebuild(make_store, caplog):
    store = make_store(index=IVF(nlist=4))
    store.open(meta())
    store.upsert(batch(20))
    assert store.search(vectors(1), k=3) == [[]]
    assert "rebuild_index" in caplog.text
    store.rebuild_index()
    assert len(store.search(vectors(1), k=3)[0]) == 3


def test_records_written_after_an_ivf_index_was_built_are_found(make_store):
    first = make_store(index=IVF(nlist=4))
    first.open(meta())
    first.upsert(batch(20))
    first.rebuild_index()
    store = make_store()
    store.open(meta())
    store.upsert(batch(3, prefix="new"))
    store.upsert(batch(2))  # replaced
    ids = {hit.id for hit in store.search(vectors(1), k=30)[0]}
    assert len(ids) == 23
    assert {"new-00000", "id-00000"} <= ids


def test_an_ivf_index_that_is_not_built_is_an_error_with_the_remedy(server, make_store):
    store = make_store(index=IVF(nlist=4))
    store.open(meta())
    server.forget_requests()
    server.faults.add(Fault("api_error", code=13100, path="/document/search"))
    with pytest.raises(StoreUnavailableError) as caught:
        store.search(vectors(1), k=3)
    assert "rebuild_index" in caught.value.remedy
    assert len(server.requests) == 1


def test_a_search_examines_no_more_cells_than_an_ivf_index_has(server, make_store):
    make_store(index=IVF(nlist=4)).open(meta())
    for options in ({}, {"index": IVF(nprobe=500)}):
        store = make_store(**options)
        store.open(meta())
        store.search(vectors(1), k=3)
        assert server.requests[-1].path == "/document/count"
        searches = [r.body["search"] for r in server.requests if r.path == "/document/search"]
        assert searches[-1]["params"] == {"nprobe": 4}


def test_another_programs_collection_is_filtered_by_the_path_of_its_images(tutorial, make_store):
    store = make_store()
    store.open(meta())
    assert store.count(Field("uri") == "./train/7.jpg") == 1
    assert store.count(Field("uri").is_in(["./train/7.jpg", "./train/8.jpg", "absent"])) == 2
    assert store.count((Field("uri") == "./train/7.jpg") & (Field("page") == 7)) == 1


def test_a_collection_with_only_sparse_vectors_is_refused_by_that_name(server, make_store):
    make_store().open(meta())
    names = {"database": "photos", "collection": "all"}
    info = server.operations.call("/collection/describe", names)["collection"]
    info["indexes"] = [index for index in info["indexes"] if index["fieldName"] != "vector"]
    sparse = {"fieldName": "sparse_vector", "fieldType": "sparseVector", "indexType": "inverted"}
    info["indexes"].append({**sparse, "metricType": "IP"})
    with pytest.raises(IncompatibleIndexError, match="only sparse vectors"):
        make_store().open(meta())


def test_opening_retries_after_failures(server, make_store):
    server.faults.add(Fault("reset_after", every=2))
    store = make_store()
    store.open(meta())
    assert store.count() == 0
