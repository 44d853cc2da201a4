"""Changing the metadata of an index, from several threads and in stores of other packages."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from imagesearch import Field, ImageIndex, Item, MemoryStore


class StoreOfAnotherPackage(MemoryStore):
    """Has what every store must have, and nothing else."""

    update_metadata = None
    delete_where = None


@pytest.fixture(params=["local", "memory"])
def any_index(request, index, embedder):
    if request.param == "local":
        yield index
    else:
        with ImageIndex(embedder=embedder, store=MemoryStore()) as memory:
            yield memory


def test_eight_threads_that_set_fields_of_their_own_lose_none(any_index, photos):
    ids = any_index.add(photos).added
    with ThreadPoolExecutor(8) as threads:
        work = [threads.submit(any_index.update_metadata, {f"f{n}": n}, ids=ids) for n in range(8)]
        assert [future.result() for future in work] == [12] * 8
    expected = {f"f{number}": number for number in range(8)}
    assert all(record.metadata == expected for record in any_index.get(ids).values())


def test_a_record_that_is_deleted_beside_updates_does_not_come_back(any_index, photos):
    ids = any_index.add(photos).added
    with ThreadPoolExecutor(2) as threads:
        updates = [threads.submit(any_index.update_metadata, {"n": n}, ids=ids) for n in range(20)]
        gone = [any_index.delete(id) for id in ids]
        for future in updates:
            future.result()
    assert (gone, any_index.count(), any_index.get(ids)) == ([1] * 12, 0, {})


def test_a_filtered_search_sees_an_update_at_once(any_index, photos):
    first, *others = any_index.add(photos, metadata={"album": "old"}).added
    query = photos / "00.png"
    assert len(any_index.search(query, k=20, where=Field("album") == "old")) == 12
    any_index.update_metadata({"album": "new"}, ids=first)
    assert any_index.search(query, k=20, where=Field("album") == "new").ids == [first]
    assert sorted(any_index.search(query, k=20, where=Field("album") == "old").ids) == sorted(
        others
    )


def test_a_store_that_cannot_update_in_one_step_is_read_and_written(embedder, photos):
    with ImageIndex(embedder=embedder, store=StoreOfAnotherPackage()) as index:
        ids = index.add(photos, metadata={"album": "old"}).added
        assert index.update_metadata({"n": 1}, ids=[ids[0], "missing"]) == 1
        assert index.get(ids[0])[ids[0]].metadata == {"album": "old", "n": 1}
        assert index.update_metadata({"m": 2}, where="n = 1", replace=True) == 1
        assert index.get(ids[0])[ids[0]].metadata == {"m": 2}
        assert index.search(photos / "00.png", k=1).ids == [ids[0]]
        assert (index.delete(where="m = 2"), index.count()) == (1, 11)


def test_ids_before_the_metadata_still_work_with_a_warning(any_index):
    [*ids] = any_index.add([Item(np.zeros((4, 4, 3), np.uint8), id="old")]).added
    with pytest.warns(DeprecationWarning, match="ids=ids"):
        assert any_index.update_metadata(ids, {"n": 1}) == 1
    with pytest.warns(DeprecationWarning, match="ids=ids"):
        assert any_index.update_metadata(None, {"m": 2}, where="n = 1") == 1
    assert any_index.get("old")["old"].metadata == {"n": 1, "m": 2}
