"""Notes: stored in an auxiliary collection."""

from __future__ import annotations

import pytest

from imagesearch import ImageIndex
from imagesearch.errors import StoreError, StoreRequestError, UnsupportedOperationError
from imagesearch.types import IndexMeta
from tests.calibration.axes import Axes, fill
from tests.tencent.examples import batch, meta


def collections(server):
    answer = server.operations.call("/collection/list", {"database": "photos"})
    return {info["collection"]: info["description"] for info in answer["collections"]}


def test_the_first_note_creates_the_collection_of_notes(server, store, make_store):
    assert store.notes() == {}
    store.note("missing", None)
    assert set(collections(server)) == {"all"}
    store.note("calibration", {"threshold": 0.5})
    store.upsert(batch(3))
    assert store.count() == 3
    made = collections(server)
    assert set(made) == {"all", "all-notes"}
    assert made["all-notes"] == "notes of the imagesearch index all"
    reader = make_store(read_only=True)
    reader.open(meta())
    assert reader.notes() == {"calibration": {"threshold": 0.5}}


def test_reading_notes_takes_one_request(server, store):
    server.forget_requests()
    store.notes()
    assert [request.path for request in server.requests] == ["/document/query"]
    store.note("a", 1)
    server.forget_requests()
    assert store.notes() == {"a": 1}
    assert [request.path for request in server.requests] == ["/document/query"]


def test_a_new_collection_does_not_inherit_the_notes_of_one_that_was_dropped(
    server, store, make_store
):
    for number in range(30):
        store.note(f"note {number}", number)
    server.operations.call("/collection/drop", {"database": "photos", "collection": "all"})
    again = make_store()
    again.open(meta())
    assert again.notes() == {}


def test_a_note_that_is_too_long_is_refused_and_the_earlier_one_stays(store):
    store.note("a", "金" * 10_000)
    with pytest.raises(StoreRequestError, match=r"'a' has 33002 bytes.*32768"):
        store.note("a", "金" * 11_000)
    assert store.notes() == {"a": "金" * 10_000}


def test_a_read_only_store_refuses_notes(store, make_store):
    reader = make_store(read_only=True)
    reader.open(meta())
    for value in (1, None):
        with pytest.raises(UnsupportedOperationError, match="read_only"):
            reader.note("a", value)


def test_another_programs_collection_of_that_name_is_left_alone(server, store):
    made = {
        "database": "photos",
        "collection": "all-notes",
        "shardNum": 1,
        "replicaNum": 0,
        "description": "shopping list",
        "indexes": [
            {"fieldName": "id", "fieldType": "string", "indexType": "primaryKey"},
            {
                "fieldName": "vector",
                "fieldType": "vector",
                "indexType": "FLAT",
                "metricType": "IP",
                "dimension": 1,
            },
        ],
    }
    server.operations.call("/collection/create", made)
    document = {"id": "milk", "vector": [1.0], "text": "two bottles"}
    body = {"database": "photos", "collection": "all-notes", "documents": [document]}
    server.operations.call("/document/upsert", body)
    assert store.notes() == {}
    with pytest.raises(StoreError, match=r"'all-notes'.*another program"):
        store.note("a", 1)


def test_a_name_that_another_database_has_taken_is_explained(make_store, monkeypatch):
    monkeypatch.setattr("imagesearch.stores.tencent._collection._RACE_PATIENCE", 0.1)
    taken, store = make_store(database="others", collection="all-notes"), make_store()
    taken.open(meta())
    store.open(meta())
    with pytest.raises(StoreError, match="another database of the instance"):
        store.note("a", 1)


def test_a_calibration_is_saved_on_the_service(make_store):
    axes = Axes()
    with ImageIndex(embedder=axes, store=make_store(fields={"label": "string"})) as index:
        fill(index)
        calibration = index.calibrate(precision=0.9, k=50)
    again = make_store()
    assert again.describe() == IndexMeta(axes.spec)
    with ImageIndex(embedder=axes, store=again) as index:
        assert index.calibration == calibration
        found = index.search(id="0-000", k=60, min_score="calibrated")
        assert 0 < len(found) < 60
        assert min(hit.score for hit in found) >= calibration.threshold
