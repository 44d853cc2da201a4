"""Rules about describe, open, close, and what outlives them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from imagesearch.errors import IncompatibleIndexError, StoreError
from imagesearch.protocols import Capability, VectorStore, supports
from imagesearch.testing.stores.fixtures import (
    StoreFixtures,
    ids_of,
    make_batch,
    make_meta,
    require,
    same_value,
)

__all__ = ["OpeningRules"]


class OpeningRules(StoreFixtures):
    """A collection is made once, knows its embedder, and refuses another."""

    def test_a_store_satisfies_the_protocol(self, unopened: VectorStore) -> None:
        """A store has every member of VectorStore. If this fails, check names and properties."""
        assert supports(unopened, VectorStore)
        assert isinstance(unopened.capabilities, frozenset)
        assert all(isinstance(one, Capability) for one in unopened.capabilities)

    def test_describe_is_none_before_anything_exists(self, unopened: VectorStore) -> None:
        """Describe gives None and creates nothing. If this fails, check that it only looks."""
        assert unopened.describe() is None
        assert unopened.describe() is None

    def test_describe_returns_the_meta_it_was_opened_with(self, unopened: VectorStore) -> None:
        """Describe gives back all of the meta. If this fails, check how meta are kept."""
        meta = make_meta(self.dim)
        unopened.open(meta)
        assert unopened.describe() == meta

    def test_a_new_store_is_empty(self, store: VectorStore) -> None:
        """A new collection holds nothing. If this fails, check that make_store gives a new one."""
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
            pytest.skip("the store knows one metric only")
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
        """Describe reads the stored meta before open, with the embedder's recipe.

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
        """PERSISTENT: records, vectors and deletions outlive close.

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
        """Close may be called again, and before open. If this fails, check what close assumes."""
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
