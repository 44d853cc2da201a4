"""Rules about notes, for stores that declare `Capability.NOTES`."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagesearch.errors import StoreError, StoreRequestError
from imagesearch.protocols import Capability, NotingStore, VectorStore, supports
from imagesearch.testing.stores.fixtures import StoreFixtures, make_meta, require, same_value

__all__ = ["NotingRules"]

_NOTE = {"threshold": 0.5, "pairs": 3, "sure": True, "of": ["a", None], "名": {"深": -1.0}}


class NotingRules(StoreFixtures):
    """Small notes are kept by name beside the records, and outlive the handle that wrote them."""

    def test_a_store_with_notes_satisfies_their_protocol(self, unopened: VectorStore) -> None:
        """NOTES means `NotingStore`. If this fails, check the names of both methods."""
        require(unopened, Capability.NOTES)
        assert supports(unopened, NotingStore)

    def test_a_new_store_has_no_notes(self, store: VectorStore) -> None:
        """Nothing is noted by itself. If this fails, keep what is yours apart from notes."""
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
        """None removes one note, and none that is there is fine. If this fails, check None."""
        noting = _noting(store)
        noting.note("calibration", 1)
        noting.note("other", 2)
        noting.note("calibration", None)
        noting.note("missing", None)
        assert noting.notes() == {"other": 2}

    def test_notes_are_no_records(self, store: VectorStore) -> None:
        """Notes and records leave each other alone. If this fails, check where notes are kept."""
        noting = _noting(store)
        self.write(store, self.batch(3))
        noting.note("calibration", _NOTE)
        assert store.count() == 3
        assert sum(map(len, store.scan())) == 3
        self.remove(store, ["id-00000", "id-00001", "id-00002"])
        assert same_value(noting.notes(), {"calibration": _NOTE})

    def test_changing_a_note_that_came_back_changes_nothing(self, store: VectorStore) -> None:
        """Callers get and give copies. If this fails, copy values on the way in and out."""
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
        """A value that would not come back as it was is an error, and nothing is written.

        If this fails, compare the value with what its text gives when it is read.
        """
        noting = _noting(store)
        noting.note("a", "before")
        with pytest.raises(StoreRequestError):
            noting.note(name, value)
        assert noting.notes() == {"a": "before"}

    def test_notes_need_an_open_store(self, unopened: VectorStore) -> None:
        """Before open and after close notes raise StoreError. If this fails, check both."""
        require(unopened, Capability.NOTES)
        assert supports(unopened, NotingStore)
        with pytest.raises(StoreError):
            unopened.notes()
        with pytest.raises(StoreError):
            unopened.note("a", 1)

    def test_notes_are_there_after_reopening(self, place: Path) -> None:
        """PERSISTENT: notes outlive close. If this fails, check that `note` writes through."""
        store = self.make_store(place)
        require(store, Capability.PERSISTENT)
        require(store, Capability.NOTES)
        store.open(make_meta(self.dim))
        _noting(store).note("calibration", _NOTE)
        store.close()
        again = self.reopen_store(place)
        again.open(make_meta(self.dim))
        assert same_value(_noting(again).notes(), {"calibration": _NOTE})
        again.close()


def _noting(store: VectorStore) -> NotingStore:
    require(store, Capability.NOTES)
    assert supports(store, NotingStore)
    return store
