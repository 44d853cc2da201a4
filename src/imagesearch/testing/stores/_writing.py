"""Rules about writing records and reading them back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from imagesearch.protocols import VectorStore
from imagesearch.testing.stores._fixtures import StoreFixtures, ids_of, make_batch, same_value
from imagesearch.types import Metric, RecordBatch

__all__ = ["BatchRules", "RoundTripRules"]


_METADATA: dict[str, dict[str, Any]] = {
    "empty": {},
    "unicode": {"标签": "金鱼", "emoji": "🐟", "combining": "e\u0301", "rtl": "שלום"},
    "nested": {"box": {"x": [1, 2.5, {"deep": [None, True]}]}, "empty": [[], {}, ""]},
    "nothing": {"a": None},
    "bool is not a number": {"yes": True, "one": 1, "no": False, "zero": 0, "float": 1.0},
    "floats": {"tenth": 0.1, "sum": 0.1 + 0.2, "tiny": 5e-324, "huge": 1.7976931348623157e308},
    "64 bits": {"most": 2**63 - 1, "least": -(2**63), "beyond floats": 2**53 + 1},
    "text like values": {"a": "true", "b": "1", "c": "null", "d": "[1]", "e": '{"a": 1}'},
    "hostile text": {"a": "'; DROP TABLE records; --", "b": '"', "c": "\\", "d": "a\nb\t\0c"},
    "names with marks": {"a b": 1, "it's": 2, 'say "x"': 3, "a.b": 4, "$": 5, "a\\b": 6, "[0]": 7},
    "names stores use": {
        "vector": [1.0],
        "score": 2,
        "path": "/a",
        "digest": "d",
        "metadata": {"id": 1},
        "rowid": 3,
        "row": 4,
        "__fields": 5,
        "_id": 6,
    },
    "long": {"text": "x" * 20_000, "list": list(range(500))},
    "many": {f"field{number}": number for number in range(100)},
}
_IDS = [
    "a",
    "A",
    "0",
    "sku 1",
    "it's",
    'say "x"',
    "a\\b",
    "50%_*?",
    "/photos/a.jpg",
    "https://example.org/a?b=c&d=#e",
    "鱼" * 42,
    "🐟",
    "é",
    "e\u0301",
    "x" * 128,
    " padded ",
    "null",
    "') OR 1=1 --",
]


class RoundTripRules(StoreFixtures):
    """Stored records are returned unchanged."""

    def test_unit_vectors_come_back_exactly(self, store: VectorStore) -> None:
        """Unit vectors are returned bit for bit, as float32 (dim,).

        A store with a lower precision sets `vector_tolerance`. If this fails, check conversions to
        text or half precision, and needless normalising.
        """
        vectors = self.vectors(50)
        self.write(store, make_batch(vectors))
        records = store.get([f"id-{row:05d}" for row in range(50)], vectors=True)
        for row in range(50):
            vector = records[f"id-{row:05d}"].vector
            assert vector is not None
            assert vector.shape == (self.dim,)
            assert vector.dtype == np.float32
            np.testing.assert_allclose(vector, vectors[row], rtol=0, atol=self.vector_tolerance)

    def test_long_vectors_keep_their_direction_under_cosine(self, store: VectorStore) -> None:
        """Under cosine a vector may be returned scaled, with the same direction.

        If this fails, check how vectors are normalised, in particular huge and tiny ones.
        """
        units = self.vectors(4)
        lengths = np.array([[1e-12], [0.5], [300.0], [1e15]], np.float32)
        self.write(store, make_batch(units * lengths))
        for id, record in store.get([f"id-{row:05d}" for row in range(4)], vectors=True).items():
            assert record.vector is not None
            wide = record.vector.astype(np.float64)
            cosine = wide @ units[int(id[-1])] / np.linalg.norm(wide)
            assert cosine == pytest.approx(1, abs=max(1e-5, self.vector_tolerance))

    @pytest.mark.parametrize("metric", ["dot", "l2"])
    def test_vectors_come_back_as_they_are_under_dot_and_l2(
        self, open_store: Any, metric: Metric
    ) -> None:
        """Lengths are kept under dot and l2. If this fails, check where vectors are normalised."""
        store = open_store(metric=metric)
        vectors = self.vectors(3) * np.array([[0.25], [3.0], [0.0]], np.float32)
        self.write(store, make_batch(vectors))
        records = store.get(["id-00000", "id-00001", "id-00002"], vectors=True)
        for row in range(3):
            vector = records[f"id-{row:05d}"].vector
            assert vector is not None
            np.testing.assert_allclose(vector, vectors[row], rtol=max(1e-6, self.vector_tolerance))

    def test_uri_and_digest_come_back(self, store: VectorStore) -> None:
        """Uri and digest are kept apart from metadata. If this fails, check get and scan."""
        uris = ("/photos/金 鱼's.jpg", "https://example.org/a?b=c#d", "sha256:" + "0" * 64, "")
        digests = ("0" * 64, "f" * 64, "", "1" * 64)
        batch = RecordBatch(("a", "b", "c", "d"), uris, digests, ({},) * 4, self.vectors(4))
        self.write(store, batch)
        for record in (*store.get(batch.ids).values(), *next(iter(store.scan()))):
            row = batch.ids.index(record.id)
            assert (record.uri, record.digest) == (uris[row], digests[row])
        for hit in store.search(self.vectors(1), k=4)[0]:
            assert hit.uri == uris[batch.ids.index(hit.id)]

    @pytest.mark.parametrize("case", list(_METADATA))
    def test_metadata_come_back_as_they_were(self, store: VectorStore, case: str) -> None:
        """Any JSON value under any name keeps its type, however it is read.

        If this fails, check the encoding of metadata, and collisions with the store's own names.
        """
        metadata = _METADATA[case]
        vector = self.vectors(1)
        self.write(store, RecordBatch(("a",), ("/a.jpg",), ("0a",), (metadata,), vector))
        ways = {
            "get": store.get(["a"])["a"].metadata,
            "search": store.search(vector, k=1)[0][0].metadata,
            "scan": next(iter(store.scan())).metadata[0],
        }
        for way, came_back in ways.items():
            assert same_value(dict(came_back), metadata), way
        assert store.get(["a"])["a"].uri == "/a.jpg"

    def test_numpy_values_and_tuples_become_plain_python(self, store: VectorStore) -> None:
        """NumPy scalars and tuples are accepted. If this fails, check check_metadata on upsert."""
        metadata = {"n": np.int64(3), "x": np.float64(0.5), "yes": np.bool_(True), "t": ("a", "b")}
        self.write(store, make_batch(self.vectors(1), [metadata]))
        came_back = dict(store.get(["id-00000"])["id-00000"].metadata)
        assert same_value(came_back, {"n": 3, "x": 0.5, "yes": True, "t": ["a", "b"]})

    def test_any_id_up_to_128_bytes_works_everywhere(self, store: VectorStore) -> None:
        """Ids are opaque strings: found, returned and deleted exactly.

        If this fails, check quoting, case folding, trimming and Unicode normalisation of ids.
        """
        vectors = self.vectors(len(_IDS))
        self.write(store, make_batch(vectors, ids=_IDS))
        assert store.count() == len(_IDS)
        assert set(store.get(_IDS)) == set(_IDS)
        assert [hits[0].id for hits in store.search(vectors, k=1)] == _IDS
        for gone, id in enumerate(_IDS, 1):
            assert self.remove(store, [id]) == 1, id
            assert store.count() == len(_IDS) - gone
        assert ids_of(store.search(vectors[:1], k=5)[0]) == []


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
        """An empty batch is accepted. If this fails, check what is sent for an empty list."""
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
        """A replaced record keeps nothing of the old one: no field, digest or URI.

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
        """A batch may mix new and existing ids. If this fails, check how existing ids are found."""
        self.write(store, self.batch(6))
        self.write(store, self.batch(9, seed=1))
        assert store.count() == 9

    def test_changing_what_was_handed_in_changes_nothing(self, store: VectorStore) -> None:
        """Input is copied. If this fails, check that neither arrays nor dicts are kept."""
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
        """Results are copies. If this fails, check what get, search and scan return."""
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
