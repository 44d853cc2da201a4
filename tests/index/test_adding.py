"""Adding images: incremental, accounted for, and never lost."""

from __future__ import annotations

import csv
import enum
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from imagesearch import Field, ImageIndex, Item, LocalStore, MemoryStore
from imagesearch.errors import (
    ConfigError,
    DecodeError,
    EmbeddingError,
    SourceError,
    SourceNotFoundError,
    StoreRequestError,
)
from tests.bad_files import make_bad_files
from tests.small_embedder import SmallEmbedder


def everything(index):
    return {
        record.id: (record.uri, record.digest, dict(record.metadata), record.vector.tobytes())
        for batch in index.scan(vectors=True)
        for record in batch
    }


def test_adding_a_folder_twice_embeds_nothing_the_second_time_and_changes_nothing(
    index, embedder, photos
):
    first = index.add(photos)
    assert (len(first.added), first.embedded, embedder.embedded) == (12, 12, 12)
    before = everything(index)
    second = index.add(photos)
    assert (len(second.unchanged), second.embedded, embedder.embedded) == (12, 0, 12)
    assert everything(index) == before


def test_a_changed_file_is_embedded_again_and_nothing_else(index, embedder, photos):
    index.add(photos)
    Image.new("RGB", (40, 30), "white").save(photos / "03.png")
    report = index.add(photos)
    assert (len(report.updated), len(report.unchanged), report.embedded) == (1, 11, 1)
    assert embedder.embedded == 13
    assert index.count() == 12
    assert index.search(photos / "03.png", k=1)[0].uri == str(photos / "03.png")


def test_a_file_whose_time_stamp_alone_changed_is_unchanged(index, photos):
    index.add(photos)
    os.utime(photos / "03.png", (1, 1))
    assert len(index.add(photos).unchanged) == 12


def test_a_manifest_brings_ids_and_metadata(index, photos):
    manifest = photos / "photos.csv"
    with manifest.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "path", "label", "price"])
        writer.writerows(
            [f"p{n}", f"{n:02}.png", "even" if n % 2 == 0 else "odd", n] for n in range(10)
        )
    report = index.add(manifest)
    assert report.added == [f"p{n}" for n in range(10)]
    assert index.get("p3")["p3"].metadata == {"label": "odd", "price": 3}
    assert index.count(Field("label") == "even") == 5


def test_changed_metadata_are_written_without_embedding(index, embedder, photos):
    items = [Item(photos / "00.png", id="a", metadata={"price": 1})]
    index.add(items)
    report = index.add([Item(photos / "00.png", id="a", metadata={"price": 2})])
    assert (report.updated, report.embedded, embedder.embedded) == (["a"], 0, 1)
    assert index.get("a")["a"].metadata == {"price": 2}


def test_one_is_not_true_in_changed_metadata(index, photos):
    index.add([Item(photos / "00.png", id="a", metadata={"n": 1})])
    assert index.add([Item(photos / "00.png", id="a", metadata={"n": True})]).updated == ["a"]
    assert index.get("a")["a"].metadata["n"] is True


def test_an_input_without_metadata_keeps_what_the_record_has(index, photos):
    index.add(photos / "00.png", metadata={"label": "green"})
    [id] = index.search(photos / "00.png", k=1).ids
    assert index.add(photos / "00.png").unchanged == [id]
    assert index.get(id)[id].metadata == {"label": "green"}


def test_metadata_that_are_given_as_empty_take_away_what_the_record_has(index, embedder, photos):
    index.add(Item(photos / "00.png", id="a", metadata={"label": "green"}))
    assert index.add(Item(photos / "00.png", id="a", metadata={})).updated == ["a"]
    assert index.get("a")["a"].metadata == {}
    assert embedder.embedded == 1


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("a.csv", "path,label\n00.png,fish\n01.png,dog\n", "path,label\n00.png,\n01.png,dog\n"),
        (
            "a.jsonl",
            '{"path": "00.png", "label": "fish"}\n{"path": "01.png", "label": "dog"}',
            '{"path": "00.png"}\n{"path": "01.png", "label": "dog"}',
        ),
    ],
)
def test_the_only_field_of_a_row_can_be_cleared(index, photos, name, before, after):
    manifest = photos / name
    manifest.write_text(before)
    first = index.add(manifest).added[0]
    manifest.write_text(after)
    report = index.add(manifest)
    assert (report.updated, len(report.unchanged)) == ([first], 1)
    assert index.get(first)[first].metadata == {}


def test_a_manifest_without_metadata_keeps_what_the_records_have(index, photos):
    manifest = photos / "a.csv"
    manifest.write_text("path,label\n00.png,fish\n")
    [id] = index.add(manifest).added
    manifest.write_text("path\n00.png\n")
    assert index.add(manifest).unchanged == [id]
    assert index.get(id)[id].metadata == {"label": "fish"}


def test_metadata_for_all_gives_way_to_an_inputs_own(index, photos):
    items = [Item(photos / "00.png", id="a"), Item(photos / "01.png", id="b", metadata={"n": 2})]
    index.add(items, metadata={"n": 1, "set": "x"})
    assert index.get(["a", "b"])["a"].metadata == {"n": 1, "set": "x"}
    assert index.get(["a", "b"])["b"].metadata == {"n": 2, "set": "x"}


def test_bytes_pictures_and_arrays_have_ids_from_their_content(index, photos):
    data = (photos / "00.png").read_bytes()
    with Image.open(photos / "01.png") as picture:
        picture.load()
    array = np.full((20, 20, 3), 7, np.uint8)
    first = index.add([data, picture, array])
    assert len(set(first.added)) == 3
    assert index.add([data, picture, array]).unchanged == first.added


def test_every_input_is_in_the_report_and_every_good_one_is_found(index, tmp_path, photos):
    folder = tmp_path / "mixed"
    shutil.copytree(photos, folder)
    bad = make_bad_files(folder)
    assert len(bad) >= 20
    report = index.add(folder)
    assert len(report.added) == 12
    assert report.total == 12 + len(report.failed)
    assert not report.ok
    for failure in report.failed:
        assert str(failure.error), failure.source
        assert isinstance(failure.error, SourceError), failure
    for number in range(10):
        assert index.search(folder / f"{number:02}.png", k=1)[0].uri == str(
            folder / f"{number:02}.png"
        )


def test_on_error_raise_raises_the_first_failure_and_keeps_what_was_stored(index, photos):
    (photos / "05.png").write_bytes(b"not an image")
    index = ImageIndex(store=index.store, embedder=index.embedder, batch_size=2)
    with pytest.raises(DecodeError, match=r"05\.png"):
        index.add(photos, on_error="raise")
    assert index.count() >= 2


def test_a_duplicate_id_is_reported_and_the_first_one_is_kept(index, photos):
    items = [
        Item(photos / "00.png", id="same"),
        Item(photos / "01.png", id="same"),
        Item(photos / "00.png", id="same"),
    ]
    report = index.add(items)
    assert (report.added, report.unchanged) == (["same"], ["same"])
    assert "'same'" in str(report.failed[0].error)
    assert index.get("same")["same"].uri == str(photos / "00.png")


def test_a_missing_source_is_an_error_not_an_empty_success(index, photos):
    with pytest.raises(SourceNotFoundError, match="fotos"):
        index.add(photos.parent / "fotos")
    with pytest.raises(SourceError):
        index.add(None)


def test_impossible_metadata_and_ids_are_failures_of_their_own_input(index, photos):
    report = index.add(
        [
            Item(photos / "00.png", metadata={"x": float("nan")}),
            Item(photos / "01.png", id="x" * 200),
            Item(photos / "02.png", id="good"),
            Item(photos / "03.png", metadata={"x": 10**5000}),
        ]
    )
    assert report.added == ["good"]
    assert len(report.failed) == 3
    with pytest.raises(StoreRequestError):
        index.add(photos, metadata={"id": 3})


class Moody(SmallEmbedder):
    """Fails on dark images, with a given error."""

    def __init__(self, mood):
        super().__init__()
        self.mood = mood

    def embed(self, batch):
        vectors = super().embed(batch)
        dark = np.array([array.mean() < 20 for array in batch])
        if self.mood == "raises" and dark.any():
            raise RuntimeError("too dark")
        if self.mood == "nan":
            vectors[dark] = np.nan
        if self.mood == "zero":
            vectors[dark] = 0
        return vectors


@pytest.mark.parametrize("mood", ["raises", "nan", "zero"])
def test_an_image_that_the_model_fails_on_spoils_no_other(mood, photos):
    Image.new("RGB", (40, 30), "black").save(photos / "04.png")
    with ImageIndex(embedder=Moody(mood), store=MemoryStore()) as index:
        report = index.add(photos)
        assert len(report.added) == 11
        [failure] = report.failed
        assert failure.source == str(photos / "04.png")
        assert isinstance(failure.error, EmbeddingError)


def test_a_model_that_fails_on_everything_stops_the_work(photos):
    class Broken(SmallEmbedder):
        def embed(self, batch):
            raise RuntimeError("out of order")

    with (
        ImageIndex(embedder=Broken(), store=MemoryStore()) as index,
        pytest.raises(EmbeddingError, match="out of order"),
    ):
        index.add(photos)


def test_a_model_that_returns_the_wrong_shape_is_found_out(photos):
    class Wide(SmallEmbedder):
        def embed(self, batch):
            return np.ones((len(batch), 50), np.float32)

    with (
        ImageIndex(embedder=Wide(), store=MemoryStore()) as index,
        pytest.raises(EmbeddingError, match="shape"),
    ):
        index.add(photos)


def test_order_is_kept_and_memory_bounded_with_small_batches(photos, embedder):
    taken = 0

    def endless():
        nonlocal taken
        for number in range(500):
            taken += 1
            yield Item(
                Image.new("RGB", (8, 8), (number % 256, number // 256, 0)), id=f"{number:03}"
            )

    class Watching(MemoryStore):
        ahead = 0

        def upsert(self, batch):
            self.ahead = max(self.ahead, taken - int(batch.ids[-1]))
            super().upsert(batch)

    store = Watching()
    with ImageIndex(embedder=embedder, store=store, batch_size=4) as index:
        report = index.add(endless())
    assert report.added == [f"{number:03}" for number in range(500)]
    assert store.ahead < 100


def test_large_pictures_in_memory_are_taken_few_at_a_time(embedder):
    taken = 0

    def pictures():
        nonlocal taken
        for number in range(24):
            taken += 1
            yield Item(Image.new("RGB", (4000, 2000), (number, 0, 0)), id=f"{number:02}")

    class Watching(MemoryStore):
        ahead = 0

        def upsert(self, batch):
            self.ahead = max(self.ahead, taken - int(batch.ids[0]))
            super().upsert(batch)

    store = Watching()
    with ImageIndex(embedder=embedder, store=store) as index:
        assert len(index.add(pictures()).added) == 24
    # 24 MB each: four groups of 64 MiB, and as much that is read ahead.
    assert store.ahead <= 5 * 3


def test_a_progress_bar_can_be_turned_on_and_off(index, photos, capsys):
    index.add(photos, progress=False)
    assert capsys.readouterr().err == ""
    index.add(photos, progress=True)
    assert "12/12" in capsys.readouterr().err


def test_bad_arguments_are_named(photos, embedder, tmp_path):
    with pytest.raises(ConfigError, match="either a path"):
        ImageIndex()
    with pytest.raises(ConfigError, match="either a path"):
        ImageIndex(tmp_path / "x", store=MemoryStore())
    with pytest.raises(ConfigError, match="batch_size"):
        ImageIndex(embedder=embedder, store=MemoryStore(), batch_size=0)
    with (
        ImageIndex(embedder=embedder, store=LocalStore(tmp_path / "y")) as index,
        pytest.raises(ConfigError, match="on_error"),
    ):
        index.add(photos, on_error="ignore")


class Label(str, enum.Enum):  # noqa: UP042  # its str() is 'Label.CAT', unlike a StrEnum's
    CAT = "cat"
    KIND = "kind"


def test_an_enumeration_of_texts_is_kept_and_asked_for_by_what_it_says(index):
    red = Image.new("RGB", (9, 9), "red")
    index.add(Item(red, id=Label.CAT, metadata={Label.KIND: Label.CAT, "tags": [Label.CAT]}))
    assert dict(index.get("cat")["cat"].metadata) == {"kind": "cat", "tags": ["cat"]}
    assert index.count(Field("kind") == "cat") == 1
    assert index.count(Field(Label.KIND) == Label.CAT) == 1
    assert index.count(Field("tags").contains(Label.CAT)) == 1
    assert list(index.get(Label.CAT)) == ["cat"]
    assert index.search(id=Label.CAT).ids == []
    assert index.delete(Label.CAT) == 1


@pytest.mark.parametrize("metadata", [[("a", 1)], "x", 3, [], False], ids=repr)
def test_fields_that_are_no_mapping_are_refused(index, metadata):
    red = Image.new("RGB", (9, 9), "red")
    index.add(Item(red, id="a"))
    with pytest.raises(StoreRequestError, match="dict of fields"):
        index.add(red, metadata=metadata)
    with pytest.raises(StoreRequestError, match="dict of fields"):
        index.update_metadata(metadata, ids="a")
