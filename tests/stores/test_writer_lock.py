"""One writer at a time, also when the lock file is removed or replaced."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest

from imagesearch.errors import StoreLockedError, StoreUnavailableError
from imagesearch.stores.local import LocalStore
from imagesearch.testing.stores._fixtures import make_batch, make_meta

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="an open file can be neither removed nor replaced there"
)

DIM = 8


def vectors(seed):
    return np.random.default_rng(seed).normal(size=(5, DIM)).astype(np.float32)


def remove(path):
    path.unlink()


def replace(path):
    other = path.with_name("restored")
    other.write_bytes(b"")
    other.replace(path)


@pytest.fixture
def opened(tmp_path):
    stores = []

    def open_store():
        store = LocalStore(tmp_path / "photos.idx")
        store.open(make_meta(DIM))
        stores.append(store)
        return store

    yield open_store
    for store in stores:
        store.close()


def ids_of(store):
    return {id for batch in store.scan() for id in batch.ids}


@pytest.mark.parametrize("lose", [remove, replace])
def test_a_writer_stops_when_its_lock_file_is_gone(opened, tmp_path, lose):
    first, second = opened(), opened()
    first.upsert(make_batch(vectors(1), prefix="first"))
    lose(tmp_path / "photos.idx" / "writer.lock")
    second.upsert(make_batch(vectors(2), prefix="second"))
    for write in (
        lambda: first.upsert(make_batch(vectors(3), prefix="lost")),
        lambda: first.delete(["second-00000"]),
        lambda: first.note("name", 1),
    ):
        with pytest.raises(StoreLockedError):
            write()
    assert first.count() == 10
    second.close()
    first.upsert(make_batch(vectors(4), prefix="later"))
    expected = {f"{name}-{row:05d}" for name in ("first", "second", "later") for row in range(5)}
    assert ids_of(first) == expected
    for seed, name in ((1, "first"), (2, "second"), (4, "later")):
        found = first.search(vectors(seed), k=1)
        assert [hits[0].id for hits in found] == [f"{name}-{row:05d}" for row in range(5)]


def test_the_message_says_what_happened_and_what_to_do(opened, tmp_path):
    store = opened()
    store.upsert(make_batch(vectors(1)))
    remove(tmp_path / "photos.idx" / "writer.lock")
    with pytest.raises(StoreLockedError) as caught:
        store.upsert(make_batch(vectors(2), prefix="lost"))
    message = str(caught.value)
    assert str(tmp_path / "photos.idx" / "writer.lock") in message
    assert "removed or replaced" in message
    assert "repeat the call" in message
    store.upsert(make_batch(vectors(2), prefix="again"))
    assert store.count() == 10


def test_a_lock_file_that_is_removed_while_it_is_being_locked_is_not_taken(
    opened, tmp_path, monkeypatch
):
    import fcntl

    path = tmp_path / "photos.idx" / "writer.lock"
    store, other = opened(), opened()
    store.release_writer_lock()
    lock = fcntl.flock
    removals = [1, 2, 3]

    def lock_and_lose(descriptor, operation):
        lock(descriptor, operation)
        if operation & fcntl.LOCK_EX and removals:
            removals.pop()
            path.unlink()

    monkeypatch.setattr(fcntl, "flock", lock_and_lose)
    store.upsert(make_batch(vectors(1)))
    assert not removals
    with pytest.raises(StoreLockedError, match=str(os.getpid())):
        other.upsert(make_batch(vectors(2), prefix="other"))


def test_a_lock_file_that_is_removed_all_the_time_is_reported(opened, tmp_path, monkeypatch):
    import fcntl

    path = tmp_path / "photos.idx" / "writer.lock"
    store = opened()
    store.release_writer_lock()
    monkeypatch.setattr(fcntl, "flock", lambda *_: path.unlink(missing_ok=True))
    with pytest.raises(StoreLockedError, match=r"removing writer\.lock"):
        store.upsert(make_batch(vectors(1)))


def test_a_file_system_without_locks_is_not_taken_for_another_writer(opened, monkeypatch):
    import errno
    import fcntl

    store = opened()
    store.release_writer_lock()

    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StoreUnavailableError, match="No locks available"):
        store.upsert(make_batch(vectors(1)))


def test_a_lock_is_not_released_by_closing_a_store_that_lost_it(opened, tmp_path):
    first, second, third = opened(), opened(), opened()
    first.upsert(make_batch(vectors(1), prefix="first"))
    remove(tmp_path / "photos.idx" / "writer.lock")
    second.upsert(make_batch(vectors(2), prefix="second"))
    first.close()
    with pytest.raises(StoreLockedError):
        third.upsert(make_batch(vectors(3), prefix="third"))
    second.upsert(make_batch(vectors(4), prefix="again"))
    assert third.count() == 15
