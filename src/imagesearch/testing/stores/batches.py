"""Rules about upsert: batches of any size, replacing as a whole, no aliasing."""

from __future__ import annotations

import numpy as np
import pytest

from imagesearch.protocols import VectorStore
from imagesearch.testing.stores.fixtures import StoreFixtures, ids_of, make_batch, same_value
from imagesearch.types import RecordBatch

__all__ = ["BatchRules"]


class BatchRules(StoreFixtures):
    """Upsert inserts, or replaces as a whole."""

    @pytest.mark.parametrize("size", [1, 7])
    def test_a_small_batch_is_stored(self, store: VectorStore, size: int) -> None:
        """Any batch size works. If this fails, check loops over partial batches."""
        self.write(store, self.batch(size))
        assert store.count() == size
        assert len(store.get([f"id-{row:05d}" for row in range(size)])) == size

    def test_a_batch_of_thousands_is_stored(self, store: VectorStore) -> None:
        """A batch may be larger than a server's limit. If this fails, check how it is split."""
        batch = self.batch(self.large_batch)
        self.write(store, batch)
        assert store.count() == self.large_batch
        assert set(store.get(batch.ids)) == set(batch.ids)
        last = self.vectors(self.large_batch)[-1:]
        assert ids_of(store.search(last, k=1)[0]) == [batch.ids[-1]]

    def test_an_empty_batch_changes_nothing(self, store: VectorStore) -> None:
        """No records are nothing to do. If this fails, check what is sent for an empty list."""
        self.write(store, self.batch(2))
        self.write(store, make_batch(np.empty((0, self.dim), np.float32)))
        assert store.count() == 2

    def test_the_same_batch_twice_changes_nothing(self, store: VectorStore) -> None:
        """Upsert is idempotent. If this fails, check that ids are the key."""
        self.write(store, self.batch(5))
        self.write(store, self.batch(5))
        assert store.count() == 5
        assert len(store.search(self.vectors(1), k=10)[0]) == 5

    def test_an_existing_record_is_replaced_as_a_whole(self, store: VectorStore) -> None:
        """Nothing of the old record stays: no field, no digest, no uri.

        If this fails, check that upsert replaces metadata rather than merging them.
        """
        vector = self.vectors(1)
        old = {"label": "cat", "price": 1.0, "tags": ["a"]}
        self.write(store, RecordBatch(("a",), ("/old.jpg",), ("0a",), (old,), vector))
        self.write(store, RecordBatch(("a",), ("/new.jpg",), ("",), ({"label": "dog"},), vector))
        record = store.get(["a"])["a"]
        assert (record.uri, record.digest) == ("/new.jpg", "")
        assert same_value(dict(record.metadata), {"label": "dog"})
        assert store.count() == 1

    def test_a_replaced_vector_is_found_where_it_is_now(self, store: VectorStore) -> None:
        """Search sees only the new vector. If this fails, check that the old one is removed."""
        axes = np.eye(self.dim, dtype=np.float32)
        self.write(store, make_batch(axes[:3], ids=["a", "b", "c"]))
        self.write(store, make_batch(axes[3:4], ids=["a"]))
        hits = store.search(axes[3:4], k=3)[0]
        assert ids_of(hits) == ["a", "b", "c"]
        assert hits[0].score == pytest.approx(1, abs=self.tolerance)
        assert store.search(axes[:1], k=1)[0][0].score == pytest.approx(0, abs=self.tolerance)

    def test_a_batch_may_replace_some_and_insert_others(self, store: VectorStore) -> None:
        """Old and new ids mix freely. If this fails, check how existing ids are found."""
        self.write(store, self.batch(6))
        self.write(store, self.batch(9, seed=1))
        assert store.count() == 9

    def test_changing_what_was_handed_in_changes_nothing(self, store: VectorStore) -> None:
        """A store copies. If this fails, check that neither arrays nor dicts are kept as given."""
        vectors = self.vectors(2)
        kept = vectors.copy()
        fields = {"tags": ["red"], "box": {"x": 1}}
        self.write(store, make_batch(vectors, [fields, {}]))
        vectors[:] = 7
        fields["tags"].append("green")  # type: ignore[attr-defined]  # a list, by its key
        fields["box"]["x"] = 2  # type: ignore[index]  # a dict, by its key
        record = store.get(["id-00000"], vectors=True)["id-00000"]
        assert same_value(dict(record.metadata), {"tags": ["red"], "box": {"x": 1}})
        assert record.vector is not None
        np.testing.assert_allclose(record.vector, kept[0], atol=max(1e-6, self.vector_tolerance))

    def test_changing_what_came_back_changes_nothing(self, store: VectorStore) -> None:
        """A reader gets copies. If this fails, check what get, search and scan hand out."""
        vectors = self.vectors(1)
        self.write(store, make_batch(vectors, [{"tags": ["red"]}]))
        record = store.get(["id-00000"], vectors=True)["id-00000"]
        assert record.vector is not None
        if record.vector.flags.writeable:
            record.vector[:] = 7
        for metadata in (
            record.metadata,
            store.search(vectors, k=1)[0][0].metadata,
            next(iter(store.scan())).metadata[0],
        ):
            metadata["tags"].append("green")
        again = store.get(["id-00000"], vectors=True)["id-00000"]
        assert same_value(dict(again.metadata), {"tags": ["red"]})
        assert again.vector is not None
        np.testing.assert_allclose(again.vector, vectors[0], atol=max(1e-6, self.vector_tolerance))

    def test_vectors_in_any_memory_layout_are_stored(self, store: VectorStore) -> None:
        """Strided and Fortran-ordered arrays are fine. If this fails, check raw buffer access."""
        wide = np.repeat(self.vectors(6), 2, axis=0)
        self.write(store, make_batch(wide[::2], prefix="strided"))
        self.write(store, make_batch(np.asfortranarray(self.vectors(6)), prefix="fortran"))
        for prefix in ("strided", "fortran"):
            vector = store.get([f"{prefix}-00003"], vectors=True)[f"{prefix}-00003"].vector
            assert vector is not None
            np.testing.assert_allclose(
                vector, self.vectors(6)[3], atol=max(1e-6, self.vector_tolerance)
            )
