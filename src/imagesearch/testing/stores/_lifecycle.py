"""Rules about opening, closing, notes, threads and other processes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from imagesearch.errors import (
    IncompatibleIndexError,
    StoreCorruptError,
    StoreError,
    StoreRequestError,
)
from imagesearch.protocols import (
    Capability,
    SupportsCheck,
    SupportsNotes,
    SupportsWriterRelease,
    VectorStore,
    supports,
)
from imagesearch.testing.stores._fixtures import (
    StoreFixtures,
    ids_of,
    make_batch,
    make_meta,
    require,
    same_value,
)

__all__ = ["CheckingRules", "NotingRules", "OpeningRules", "SharingRules", "ThreadRules"]


class OpeningRules(StoreFixtures):
    """A collection is created once, records its embedder, and refuses others."""

    def test_a_store_satisfies_the_protocol(self, unopened: VectorStore) -> None:
        """A store has every member of VectorStore. If this fails, check names and properties."""
        assert supports(unopened, VectorStore)
        assert isinstance(unopened.capabilities, frozenset)
        assert all(isinstance(capability, Capability) for capability in unopened.capabilities)

    def test_describe_is_none_before_anything_exists(self, unopened: VectorStore) -> None:
        """Describe returns None and creates nothing. If this fails, check that it only reads."""
        assert unopened.describe() is None
        assert unopened.describe() is None

    def test_describe_returns_the_meta_it_was_opened_with(self, unopened: VectorStore) -> None:
        """Describe returns the complete meta. If this fails, check how meta are stored."""
        meta = make_meta(self.dim)
        unopened.open(meta)
        assert unopened.describe() == meta

    def test_a_new_store_is_empty(self, store: VectorStore) -> None:
        """A new collection is empty. If this fails, check that make_store returns a new store."""
        assert store.count() == 0
        assert list(store.scan()) == []

    def test_opening_an_open_store_with_the_same_meta_is_allowed(self, store: VectorStore) -> None:
        """A second open verifies only. If this fails, check that open does not create again."""
        self.write(store, self.batch(2))
        store.open(make_meta(self.dim))
        assert store.count() == 2

    def test_opening_an_open_store_with_another_embedder_is_refused(
        self, store: VectorStore
    ) -> None:
        """Open always verifies the meta. If this fails, check require_compatible on open."""
        with pytest.raises(IncompatibleIndexError):
            store.open(make_meta(self.dim, fingerprint="second"))

    @pytest.mark.parametrize("different", ["fingerprint", "dim", "metric"])
    def test_reopening_with_another_embedder_dim_or_metric_is_refused_naming_both(
        self, place: Path, different: str
    ) -> None:
        """A mismatch is IncompatibleIndexError with both sides in its message.

        If this fails, check that open reads the stored meta and calls require_compatible.
        """
        store = self.make_store(place)
        require(store, Capability.PERSISTENT)
        store.open(make_meta(self.dim, name="maker"))
        self.write(store, self.batch(2))
        store.close()
        if different == "metric" and len(self.metrics) < 2:
            pytest.skip("the store supports only one metric")
        other = {
            "fingerprint": make_meta(self.dim, name="guest", fingerprint="second"),
            "dim": make_meta(self.dim + 1, name="guest"),
            "metric": make_meta(self.dim, "dot", name="guest"),
        }[different]
        again = self.reopen_store(place)
        with pytest.raises(IncompatibleIndexError) as caught:
            again.open(other)
        assert "maker" in str(caught.value)
        assert "guest" in str(caught.value)
        again.close()
        unharmed = self.reopen_store(place)
        unharmed.open(make_meta(self.dim, name="maker"))
        assert unharmed.count() == 2
        unharmed.close()

    def test_describe_tells_a_newcomer_what_exists(self, place: Path) -> None:
        """Describe reads the stored meta before open, with the embedder's options.

        If this fails, check that kind, options and decode_size are kept too.
        """
        first = self.make_store(place)
        require(first, Capability.PERSISTENT)
        meta = make_meta(self.dim)
        first.open(meta)
        first.close()
        second = self.reopen_store(place)
        described = second.describe()
        assert described is not None
        assert described.to_dict() == meta.to_dict()
        second.close()

    def test_what_was_written_is_there_after_reopening(self, place: Path) -> None:
        """PERSISTENT: records, vectors and deletions survive close.

        If this fails, check that upsert and delete write through, and what close flushes.
        """
        store = self.make_store(place)
        require(store, Capability.PERSISTENT)
        store.open(make_meta(self.dim))
        vectors = self.vectors(20)
        self.write(store, make_batch(vectors, [{"number": row} for row in range(20)]))
        self.write(store, make_batch(vectors[:1], [{"number": 100}]))
        self.remove(store, ["id-00001"])
        store.close()
        again = self.reopen_store(place)
        again.open(make_meta(self.dim))
        assert again.count() == 19
        records = again.get(["id-00000", "id-00001", "id-00002"], vectors=True)
        assert sorted(records) == ["id-00000", "id-00002"]
        assert same_value(dict(records["id-00000"].metadata), {"number": 100})
        vector = records["id-00002"].vector
        assert vector is not None
        np.testing.assert_allclose(vector, vectors[2], atol=max(1e-6, self.vector_tolerance))
        assert ids_of(again.search(vectors[2:3], k=1)[0]) == ["id-00002"]
        self.write(again, self.batch(3, prefix="late"))
        assert again.count() == 22
        again.close()

    def test_closing_twice_is_allowed(self, store: VectorStore) -> None:
        """Close may be called twice. If this fails, check what close assumes."""
        store.close()
        store.close()

    @pytest.mark.parametrize("when", ["before open", "after close"])
    @pytest.mark.parametrize("method", ["upsert", "search", "get", "delete", "scan", "count"])
    def test_methods_refuse_a_store_that_is_not_open(
        self, unopened: VectorStore, when: str, method: str
    ) -> None:
        """Use before open and after close is StoreError. If this fails, check each method."""
        if when == "after close":
            unopened.open(make_meta(self.dim))
            unopened.close()
        calls: dict[str, Callable[[], object]] = {
            "upsert": lambda: unopened.upsert(self.batch(1)),
            "search": lambda: unopened.search(self.vectors(1), k=1),
            "get": lambda: unopened.get(["a"]),
            "delete": lambda: unopened.delete(["a"]),
            "scan": lambda: list(unopened.scan()),
            "count": unopened.count,
        }
        with pytest.raises(StoreError):
            calls[method]()


_NOTE = {"threshold": 0.5, "pairs": 3, "sure": True, "of": ["a", None], "名": {"深": -1.0}}


class NotingRules(StoreFixtures):
    """Notes are stored by name beside the records, and survive the handle that wrote them."""

    def test_a_store_with_notes_has_both_methods(self, unopened: VectorStore) -> None:
        """A store has both `notes` and `note`, or neither. If this fails, add the missing one."""
        assert hasattr(unopened, "notes") == hasattr(unopened, "note")

    def test_a_new_store_has_no_notes(self, store: VectorStore) -> None:
        """A new store has no notes. If this fails, keep the store's own data apart from notes."""
        assert _noting(store).notes() == {}

    def test_a_note_comes_back_as_it_was(self, store: VectorStore) -> None:
        """JSON values keep their types. If this fails, check how values are written as text."""
        noting = _noting(store)
        noting.note("calibration", _NOTE)
        noting.note("other", 1.0)
        assert same_value(noting.notes(), {"calibration": _NOTE, "other": 1.0})

    def test_a_second_note_of_a_name_replaces_the_first(self, store: VectorStore) -> None:
        """A note is replaced as a whole. If this fails, check that values are not merged."""
        noting = _noting(store)
        noting.note("calibration", {"threshold": 0.5, "pairs": 3})
        noting.note("calibration", {"threshold": 0.6})
        assert noting.notes() == {"calibration": {"threshold": 0.6}}

    def test_none_removes_a_note(self, store: VectorStore) -> None:
        """None removes a note, if it exists. If this fails, check how None is handled."""
        noting = _noting(store)
        noting.note("calibration", 1)
        noting.note("other", 2)
        noting.note("calibration", None)
        noting.note("missing", None)
        assert noting.notes() == {"other": 2}

    def test_notes_are_no_records(self, store: VectorStore) -> None:
        """Notes and records are independent. If this fails, check where notes are stored."""
        noting = _noting(store)
        self.write(store, self.batch(3))
        noting.note("calibration", _NOTE)
        assert store.count() == 3
        assert sum(map(len, store.scan())) == 3
        self.remove(store, ["id-00000", "id-00001", "id-00002"])
        assert same_value(noting.notes(), {"calibration": _NOTE})

    def test_changing_a_note_that_came_back_changes_nothing(self, store: VectorStore) -> None:
        """Values are copied on the way in and out. If this fails, check references to values."""
        noting = _noting(store)
        given = {"of": ["a"]}
        noting.note("calibration", given)
        given["of"].append("b")
        noting.notes()["calibration"]["of"].append("c")
        assert noting.notes() == {"calibration": {"of": ["a"]}}

    @pytest.mark.parametrize(
        ("name", "value"),
        [("", 1), ("a", float("nan")), ("a", {1, 2}), ("a", (1, 2)), ("a", {1: 2})],
        ids=["no name", "NaN", "set", "tuple", "number as key"],
    )
    def test_what_is_no_json_value_is_refused(
        self, store: VectorStore, name: str, value: object
    ) -> None:
        """A value that cannot be returned unchanged is refused, and nothing is written.

        If this fails, compare the value with the result of a JSON round trip.
        """
        noting = _noting(store)
        noting.note("a", "before")
        with pytest.raises(StoreRequestError):
            noting.note(name, value)
        assert noting.notes() == {"a": "before"}

    def test_notes_need_an_open_store(self, unopened: VectorStore) -> None:
        """Before open and after close notes raise StoreError. If this fails, check both."""
        unopened = _noting(unopened)
        with pytest.raises(StoreError):
            unopened.notes()
        with pytest.raises(StoreError):
            unopened.note("a", 1)

    def test_notes_are_there_after_reopening(self, place: Path) -> None:
        """PERSISTENT: notes survive close. If this fails, check that `note` writes through."""
        store = self.make_store(place)
        require(store, Capability.PERSISTENT)
        _noting(store)
        store.open(make_meta(self.dim))
        _noting(store).note("calibration", _NOTE)
        store.close()
        again = self.reopen_store(place)
        again.open(make_meta(self.dim))
        assert same_value(_noting(again).notes(), {"calibration": _NOTE})
        again.close()


def _noting(store: VectorStore) -> SupportsNotes:
    if not supports(store, SupportsNotes):
        pytest.skip("the store does not support notes")
    return store


class SharingRules(StoreFixtures):
    """A released handle stays open, and others may write until it writes again."""

    def test_handles_write_in_turn_once_they_are_released(
        self, place: Path, unopened: VectorStore
    ) -> None:
        """Both handles see all writes. If this fails, reread state that another handle may change."""
        if not supports(unopened, SupportsWriterRelease):
            pytest.skip("the store has no release_writer_lock()")
        vectors = self.vectors(4)
        first, second = unopened, self.reopen_store(place)
        if not supports(second, SupportsWriterRelease):
            pytest.fail("reopen_store returned another kind of store")
        try:
            for store in (first, second):
                store.open(make_meta(self.dim))
                store.release_writer_lock()
            for turn, store in enumerate((first, second, first, second)):
                self.write(store, make_batch(vectors[turn : turn + 1], ids=[f"turn-{turn}"]))
                store.release_writer_lock()
                assert first.count() == second.count() == turn + 1
            assert self.remove(first, ["turn-1"]) == 1
            assert second.get(["turn-1"]) == {}
            assert second.search(vectors[:1], k=1)[0][0].id == "turn-0"
        finally:
            second.close()


_WRITERS = 3
_READERS = 3
_ROUNDS = 8
_ROWS = 5


class ThreadRules(StoreFixtures):
    """Threads, as of a web server, share one store and read while others write."""

    def test_threads_may_read_while_others_write(self, store: VectorStore) -> None:
        """No call fails and no write is lost. If this fails, put a lock around shared state.

        An earlier record remains available throughout. A record that all threads write exists once
        in the end.
        """
        rows = self.vectors(_WRITERS * _ROUNDS * _ROWS)
        self.write(store, make_batch(rows[:1], [{"stock": 7}], ids=["before"]))

        def write(writer: int) -> None:
            for turn in range(_ROUNDS):
                start = (writer * _ROUNDS + turn) * _ROWS
                ids = [f"w{row:05d}" for row in range(start, start + _ROWS)]
                store.upsert(make_batch(rows[start : start + _ROWS], ids=ids))
                store.upsert(make_batch(rows[start : start + 1], ids=["shared"]))

        def read(_: int) -> None:
            for _turn in range(_ROUNDS):
                assert store.search(rows[:1], k=1)[0]
                assert store.get(["before"])["before"].metadata == {"stock": 7}
                assert [id for part in store.scan() for id in part.ids].count("before") == 1

        with ThreadPoolExecutor(_WRITERS + _READERS) as threads:
            work = [threads.submit(write, writer) for writer in range(_WRITERS)]
            work += [threads.submit(read, reader) for reader in range(_READERS)]
            for future in work:
                future.result()
        self.settle(store)
        assert store.count() == 2 + len(rows)
        records = store.get([f"w{row:05d}" for row in range(len(rows))], vectors=True)
        assert len(records) == len(rows)
        for row, given in enumerate(rows):
            vector = records[f"w{row:05d}"].vector
            assert vector is not None
            np.testing.assert_allclose(vector, given, atol=max(1e-6, self.vector_tolerance))


class CheckingRules(StoreFixtures):
    """Damaged records are reported, and never returned as hits."""

    def test_a_sound_store_has_no_problems(self, place: Path, unopened: VectorStore) -> None:
        """A sound store has no problems. If this fails, check that every write updates checksums."""
        checking = self._checking(unopened)
        self._filled(checking)
        before = {record.id for batch in checking.scan() for record in batch}
        for store in (checking, self._checking(self.reopen_store(place))):
            assert [result for result in store.check() if result.status == "problem"] == []
        checking.repair(remove=True)
        assert {record.id for batch in checking.scan() for record in batch} == before
        assert [result for result in checking.check() if result.status == "problem"] == []

    def test_a_damaged_vector_is_named_and_not_searched(
        self, place: Path, unopened: VectorStore
    ) -> None:
        """A damaged vector is never a hit. If this fails, verify checksums when vectors are read."""
        self._filled(self._checking(unopened))
        unopened.close()
        if not self.damage(place, "id-00003"):
            pytest.skip("damage() is not overridden")
        damaged = self._checking(self.reopen_store(place))
        try:
            problems = [result for result in damaged.check() if result.status == "problem"]
            assert [result.ids for result in problems] == [("id-00003",)]
            damaged.open(make_meta(self.dim))
            with pytest.raises(StoreCorruptError) as caught:
                damaged.search(self.vectors(1), k=20)
            assert caught.value.ids == ("id-00003",)
            with pytest.raises(StoreCorruptError):
                damaged.get(["id-00003"], vectors=True)
            self.write(damaged, make_batch(self.vectors(1), ids=["id-00003"]))
            assert len(damaged.search(self.vectors(1), k=20)[0]) == 11
            assert [result for result in damaged.check() if result.status == "problem"] == []
        finally:
            damaged.close()

    def _checking(self, store: VectorStore) -> SupportsCheck:
        if not supports(store, SupportsCheck):
            pytest.skip("the store has no check()")
        return store

    def _filled(self, store: VectorStore) -> None:
        store.open(make_meta(self.dim))
        vectors = self.vectors(12)
        self.write(store, make_batch(vectors, [{"stock": row} for row in range(12)]))
        self.write(store, make_batch(vectors[:2], [{"stock": 9.0}, {}]))
        self.remove(store, ["id-00011"])
