"""Opening an index: it knows its embedder, and refuses another."""

from __future__ import annotations

import pytest

from imagesearch import DescriptorEmbedder, ImageIndex, LocalStore, MemoryStore
from imagesearch.errors import ConfigError, IncompatibleIndexError
from tests.small_embedder import SmallEmbedder


def test_an_index_makes_its_own_embedder_again(tmp_path, photos):
    with ImageIndex(tmp_path / "photos.idx", embedder=DescriptorEmbedder()) as index:
        index.add(photos)
        expected = index.search(photos / "00.png").ids
    with ImageIndex(tmp_path / "photos.idx") as index:
        assert index.search(photos / "00.png").ids == expected


def test_another_embedder_is_refused_in_words_that_name_both(tmp_path):
    with ImageIndex(tmp_path / "photos.idx", embedder=SmallEmbedder("small-1")):
        pass
    with pytest.raises(IncompatibleIndexError) as caught:
        ImageIndex(tmp_path / "photos.idx", embedder=DescriptorEmbedder())
    assert "'small'" in str(caught.value)
    assert "'descriptors'" in str(caught.value)
    with pytest.raises(IncompatibleIndexError):
        ImageIndex(tmp_path / "photos.idx", embedder=SmallEmbedder("small-2"))


def test_another_metric_is_refused(tmp_path):
    with ImageIndex(tmp_path / "photos.idx", embedder=SmallEmbedder(), metric="l2"):
        pass
    with ImageIndex(tmp_path / "photos.idx", embedder=SmallEmbedder()) as index:
        assert index.meta.metric == "l2"
    with pytest.raises(IncompatibleIndexError, match="metric"):
        ImageIndex(tmp_path / "photos.idx", embedder=SmallEmbedder(), metric="dot")


def test_an_index_without_its_embedder_still_counts_gets_and_deletes(tmp_path, photos):
    with ImageIndex(tmp_path / "photos.idx", embedder=SmallEmbedder()) as index:
        ids = index.add(photos).added
    with ImageIndex(tmp_path / "photos.idx") as index:
        assert index.count() == 12
        assert set(index.get(ids)) == set(ids)
        assert len(index.search(id=ids[0], k=3)) == 3
        assert index.delete(ids[:2]) == 2
        with pytest.raises(ConfigError, match="pass it"):
            index.search(photos / "00.png")


@pytest.mark.parametrize("metric", ["dot", "l2"])
def test_other_metrics_find_the_picture_itself(metric, photos):
    with ImageIndex(embedder=SmallEmbedder(), store=MemoryStore(), metric=metric) as index:
        index.add(photos)
        hits = index.search(photos / "03.png", k=12)
        if metric == "l2":
            assert hits[0].uri == str(photos / "03.png")
            assert hits[0].score == pytest.approx(1.0, abs=1e-3)
        assert [hit.score for hit in hits] == sorted((h.score for h in hits), reverse=True)


def test_a_reader_searches_while_a_writer_adds(tmp_path, photos):
    path = tmp_path / "photos.idx"
    with (
        ImageIndex(path, embedder=SmallEmbedder()) as writer,
        ImageIndex(store=LocalStore(path), embedder=SmallEmbedder()) as reader,
    ):
        assert list(reader.search(photos / "00.png")) == []
        writer.add(photos)
        assert len(reader.search(photos / "00.png")) == 10


def test_a_source_without_any_change_loads_no_model(tmp_path, photos):
    path = tmp_path / "photos.idx"
    with ImageIndex(path, embedder=SmallEmbedder()) as index:
        index.add(photos)
    with ImageIndex(path) as index:
        assert len(index.add(photos).unchanged) == 12
        (photos / "03.png").unlink()
        assert len(index.sync(photos).removed) == 1


def test_a_store_in_the_place_of_the_path_is_refused_with_a_remedy():
    with pytest.raises(
        ConfigError, match=r"path must be str or PathLike, got <MemoryStore.*store="
    ):
        ImageIndex(MemoryStore(), embedder=SmallEmbedder())


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"store": "photos.idx"}, "store='photos.idx' cannot be used as store"),
        ({"store": LocalStore}, "cannot be used as store"),
        (
            {"store": MemoryStore(), "embedder": "clip"},
            "embedder='clip' cannot be used as embedder",
        ),
        ({"store": MemoryStore(), "embedder": DescriptorEmbedder}, "cannot be used as embedder"),
        ({"path": "", "embedder": DescriptorEmbedder()}, "is empty"),
        ({"path": "x", "batch_size": True}, "batch_size must .* True"),
        ({"path": "x", "batch_size": 1.5}, "batch_size must .* 1.5"),
        ({"path": "x", "batch_size": "32"}, "batch_size must .* '32'"),
        ({"store": MemoryStore(), "embedder": DescriptorEmbedder(), "metric": ""}, "metric"),
    ],
    ids=lambda value: None if isinstance(value, dict) else value,
)
def test_arguments_of_other_kinds_are_refused_in_words(tmp_path, monkeypatch, arguments, complaint):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=complaint):
        ImageIndex(**arguments)
    assert list(tmp_path.iterdir()) == []


def test_other_arguments_of_other_kinds_are_refused_in_words():
    with ImageIndex(store=MemoryStore(), embedder=SmallEmbedder()) as index:
        for ask in (
            lambda: index.duplicates(against="other.idx"),
            lambda: index.fit_projection(None),
            lambda: index.calibrate(pairs=[("a", "b")]),
            lambda: index.calibrate(label=["a"]),
            lambda: ImageIndex.from_config(None),
        ):
            with pytest.raises(ConfigError):
                ask()
