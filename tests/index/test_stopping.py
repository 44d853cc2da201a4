"""When adding stops in the middle, what came before is stored."""

from __future__ import annotations

import threading

import pytest

from imagesearch import ImageIndex, MemoryStore
from imagesearch.errors import SourceNotFoundError
from tests.small_embedder import SmallEmbedder


@pytest.fixture
def paths(photos):
    return [photos / f"{number:02}.png" for number in range(10)]


def stored(index):
    return sorted(record.uri[-6:-4] for batch in index.scan() for record in batch)


@pytest.fixture(params=[2, 4, 32], ids="batch_size={}".format)
def memory(request):
    with ImageIndex(
        embedder=SmallEmbedder(), store=MemoryStore(), batch_size=request.param
    ) as index:
        yield index


def test_what_came_before_an_input_that_is_missing_is_stored(memory, paths):
    with pytest.raises(SourceNotFoundError, match="gone"):
        memory.add([*paths[:7], "gone.png", *paths[7:]], on_error="raise")
    assert stored(memory)[:7] == [f"{number:02}" for number in range(7)]


def test_what_came_before_a_generator_that_raises_is_stored(memory, paths):
    def from_database():
        yield from paths[:7]
        raise LookupError("the cursor is lost")

    with pytest.raises(LookupError, match="the cursor is lost"):
        memory.add(from_database())
    assert stored(memory) == [f"{number:02}" for number in range(7)]


def test_the_first_failure_is_raised_and_not_one_that_was_only_read_ahead(memory, paths):
    def from_database():
        yield from paths[:3]
        yield "gone.png"
        raise LookupError("the cursor is lost")

    with pytest.raises(SourceNotFoundError, match="gone"):
        memory.add(from_database(), on_error="raise")
    assert stored(memory) == ["00", "01", "02"]


def test_a_sync_that_stops_removes_nothing(memory, paths):
    memory.add(paths)

    def from_database():
        yield from paths[:7]
        raise LookupError("the cursor is lost")

    with pytest.raises(LookupError):
        memory.sync(from_database())
    assert memory.count() == 10


def test_an_interrupt_stores_what_is_embedded_and_waits_for_nothing_else(paths):
    """Ctrl-C while inputs are awaited: groups in the model are stored, a half one is not begun."""
    embedded = threading.Semaphore(0)

    class Interrupted(SmallEmbedder):
        def embed(self, batch):
            vectors = super().embed(batch)
            embedded.release()
            return vectors

    embedder = Interrupted()

    def from_database():
        yield from paths[:9]
        # What is read ahead moves on only as more comes.
        yield from (paths[0] for _ in range(1000))
        for _ in range(2):
            assert embedded.acquire(timeout=60)
        raise KeyboardInterrupt

    with ImageIndex(embedder=embedder, store=MemoryStore(), batch_size=4) as index:
        with pytest.raises(KeyboardInterrupt):
            index.add(from_database())
        assert stored(index) == [f"{number:02}" for number in range(8)]
