"""What a store refuses for its own sake is reported; a store that refuses everything is an error."""

from __future__ import annotations

import json

import numpy as np
import pytest

from imagesearch import ImageIndex, Item, LocalStore, MemoryStore, TencentStore
from imagesearch.errors import StoreRequestError
from imagesearch.testing.tencent_server import Fault, TencentServer
from tests.small_embedder import SmallEmbedder


@pytest.fixture
def make_index():
    """Make indexes on a stand-in for Tencent Cloud VectorDB, with a field of whole numbers."""
    pytest.importorskip("tcvectordb")
    with TencentServer() as server:
        store = TencentStore(
            url=server.url,
            key=server.key,
            database="photos",
            collection="all",
            fields={"stock": "int64"},
        )

        def make(**options):
            index = ImageIndex(embedder=SmallEmbedder(), store=store, **options)
            index.server = server
            return index

        yield make
        store.close()


def manifest(folder, stock):
    rows = [
        {"path": f"{number:02}.png", "id": f"s{number}", "stock": value}
        for number, value in enumerate(stock)
    ]
    file = folder / "stock.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    return file


@pytest.mark.parametrize("batch_size", [1, 4, 32])
def test_a_record_that_the_store_cannot_hold_spoils_no_other(make_index, photos, batch_size):
    index = make_index(batch_size=batch_size)
    report = index.add(manifest(photos, [0, 1, 2, 3, 4, 5.5, 6, 7, 8, 9]))
    assert report.added == [f"s{number}" for number in range(10) if number != 5]
    [failure] = report.failed
    assert (failure.id, failure.source) == ("s5", str(photos / "05.png"))
    assert "int64" in str(failure.error)
    assert index.count() == 9
    assert report.embedded == 10


def test_records_that_are_all_refused_each_for_itself_are_all_reported(make_index, photos):
    index = make_index()
    report = index.add(manifest(photos, [0.5, 1.5, 2.5]))
    assert [failure.id for failure in report.failed] == ["s0", "s1", "s2"]
    assert (report.added, index.count()) == ([], 0)
    # All others are unchanged now, and still the bad ones stop nothing.
    file = manifest(photos, [0.5, 1.5, 2, 3])
    assert index.add(file).added == ["s2", "s3"]
    again = index.add(file)
    assert (again.unchanged, len(again.failed)) == (["s2", "s3"], 2)


def test_with_on_error_raise_the_first_refusal_is_raised_and_the_others_are_stored(
    make_index, photos
):
    index = make_index()
    with pytest.raises(StoreRequestError) as caught:
        index.add(manifest(photos, [0, 1.5, 2, 3]), on_error="raise")
    assert caught.value.ids == ("s1",)
    assert set(index.get(["s0", "s1", "s2", "s3"])) == {"s0", "s2", "s3"}


def test_a_record_whose_replacement_is_refused_stays_as_it_was(make_index, photos):
    index = make_index()
    index.add(manifest(photos, [1, 2, 3]))
    report = index.sync(manifest(photos, [1, 2.5, 4]))
    assert (report.unchanged, report.updated, report.removed) == (["s0"], ["s2"], [])
    assert [failure.id for failure in report.failed] == ["s1"]
    assert index.get("s1")["s1"].metadata == {"stock": 2}


@pytest.mark.parametrize("number", [1, None], ids=["one", "all"])
def test_a_store_that_refuses_everything_is_an_error_and_not_a_thousand_failures(
    make_index, photos, number
):
    index = make_index()
    index.server.faults.add(
        Fault("api_error", code=14100, message="no such thing", path="/document/upsert")
    )
    with pytest.raises(StoreRequestError, match="no such thing"):
        index.add(sorted(photos.glob("*.png"))[:number])


def test_a_vector_too_large_for_half_floats_spoils_no_other(tmp_path, photos):
    class Large(SmallEmbedder):
        def embed(self, batch):
            vectors = super().embed(batch)
            dark = np.array([array.mean() < 100 for array in batch])
            vectors[dark] *= 1e6
            return vectors

    pictures = [Item(np.full((9, 9, 3), grey, np.uint8), id=f"{grey}") for grey in (200, 20, 220)]
    store = LocalStore(tmp_path / "half.idx", dtype="float16")
    with ImageIndex(embedder=Large(), store=store, metric="dot") as index:
        report = index.add(pictures)
        assert report.added == ["200", "220"]
        assert "65504" in str(report.failed[0].error)


class Picky(MemoryStore):
    """Refuses records by their number, and says what it is made to say."""

    def __init__(self, *, refuses, names):
        super().__init__()
        self.refuses, self.names = refuses, names

    def upsert(self, batch):
        refused = [id for id in batch.ids if id in self.refuses]
        if refused:
            raise StoreRequestError("no", ids=self.names(refused))
        super().upsert(batch)


def numbered(count):
    return [Item(np.full((9, 9, 3), 9 * n, np.uint8), id=str(n)) for n in range(count)]


@pytest.mark.parametrize("batch_size", [1, 3, 32])
@pytest.mark.parametrize(
    "names",
    [lambda refused: refused, lambda refused: refused[:1], lambda refused: [*refused, "other"]],
    ids=["all", "one at a time", "others too"],
)
def test_the_records_that_a_refusal_names_fail_and_the_others_are_stored(names, batch_size):
    store = Picky(refuses={"2", "5", "6"}, names=names)
    with ImageIndex(embedder=SmallEmbedder(), store=store, batch_size=batch_size) as index:
        report = index.add(numbered(8))
        assert [failure.id for failure in report.failed] == ["2", "5", "6"]
        assert report.added == ["0", "1", "3", "4", "7"]
        assert index.count() == 5


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("names", [(), ("other",)], ids=["no ids", "ids of other records"])
def test_a_refusal_that_names_none_of_the_records_is_raised_whatever_their_number(names, count):
    store = Picky(refuses={"0"}, names=lambda refused: names)
    with (
        ImageIndex(embedder=SmallEmbedder(), store=store) as index,
        pytest.raises(StoreRequestError, match="no"),
    ):
        index.add(numbered(count))
