"""The batch size of an embedder reaches its model from `add`."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from PIL import Image

from imagesearch import EmbeddingSpec, ImageIndex, Item, MemoryStore, TimmEmbedder
from imagesearch.cli import main
from imagesearch.errors import ConfigError, EmbeddingError
from tests.embedders.tiny import save_safetensors


class Recording:
    """An embedder that notes the size of each call."""

    spec = EmbeddingSpec("recording", dim=2, normalised=False, fingerprint="1")

    def __init__(self):
        self.sizes = []

    def preprocess(self, image):
        return np.asarray(image.getpixel((0, 0)), np.float32)[:2] + 1

    def embed(self, batch):
        self.sizes.append(len(batch))
        return np.stack(batch)


class Stating(Recording):
    def __init__(self, preferred):
        super().__init__()
        self.preferred_batch_size = preferred


def images(count):
    return [Item(np.full((8, 8, 3), n, np.uint8), id=str(n)) for n in range(count)]


def added(embedder, count, **options):
    with ImageIndex(embedder=embedder, store=MemoryStore(), metric="l2", **options) as index:
        report = index.add(images(count))
        assert (len(report.added), index.count()) == (count, count)
        vectors = index.get([str(n) for n in range(count)], vectors=True)
    return [vectors[str(n)].vector for n in range(count)]


@pytest.mark.parametrize(
    ("preferred", "count", "expected"),
    [(64, 150, [22, 64, 64]), (5, 11, [1, 5, 5]), (100, 7, [7]), (1, 3, [1, 1, 1])],
)
def test_an_embedder_gets_as_many_images_as_it_asks_for(preferred, count, expected):
    embedder = Stating(preferred)
    vectors = added(embedder, count)
    assert sorted(embedder.sizes) == expected
    assert [vector[0] for vector in vectors] == [n + 1 for n in range(count)]


class NotingStore(MemoryStore):
    """A store that notes how many records each write has."""

    def __init__(self):
        super().__init__()
        self.writes = []

    def upsert(self, batch):
        super().upsert(batch)
        self.writes.append(len(batch))


@pytest.mark.parametrize(
    ("preferred", "options", "expected"),
    [(5, {}, [35, 5]), (64, {}, [40]), (64, {"batch_size": 8}, [8] * 5)],
)
def test_records_of_small_batches_are_stored_together(preferred, options, expected):
    store = NotingStore()
    with ImageIndex(embedder=Stating(preferred), store=store, **options) as index:
        index.add(images(40))
        assert store.writes == expected


def test_what_was_embedded_before_a_failure_of_the_model_is_stored():
    class Failing(Stating):
        def embed(self, batch):
            if max(array[0] for array in batch) > 12:
                raise RuntimeError("broken")
            return super().embed(batch)

    with ImageIndex(embedder=Failing(4), store=MemoryStore()) as index:
        with pytest.raises(EmbeddingError, match="broken"):
            index.add(images(40))
        assert index.count() == 12


def test_an_embedder_that_states_no_size_gets_32_images():
    embedder = Recording()
    added(embedder, 70)
    assert sorted(embedder.sizes) == [6, 32, 32]


def test_the_batch_size_of_the_index_takes_precedence():
    embedder = Stating(64)
    added(embedder, 10, batch_size=4)
    assert sorted(embedder.sizes) == [2, 4, 4]


@pytest.mark.parametrize("preferred", [0, -1, 2.5, "64"])
def test_an_invalid_preferred_size_is_refused(preferred):
    with pytest.raises(ConfigError, match="preferred_batch_size"):
        added(Stating(preferred), 2)


@pytest.mark.parametrize("batch_size", [3, 64])
def test_the_network_gets_the_batch_size_of_its_embedder(tmp_path, batch_size):
    weights = save_safetensors(tmp_path / "tiny.safetensors")
    embedder = TimmEmbedder(
        "test_resnet", weights=weights, preprocess={"size": 32}, device="cpu", batch_size=batch_size
    )
    sizes, lock = [], threading.Lock()

    def note(_module, arguments):
        with lock:
            sizes.append(len(arguments[0]))

    group = embedder.preferred_batch_size
    assert group % batch_size == 0
    network = embedder._inference._model  # batches are not visible from outside
    with network.register_forward_pre_hook(note):
        added(embedder, group + 1)
    assert sorted(sizes) == [1, *[batch_size] * (group // batch_size)]


@pytest.mark.parametrize("command", ["add", "sync"])
def test_the_command_line_replaces_batch_size_and_device_of_the_config(tmp_path, capsys, command):
    save_safetensors(tmp_path / "tiny.safetensors")
    Image.new("RGB", (40, 40), "red").save(tmp_path / "red.png")
    config = tmp_path / "imagesearch.toml"
    config.write_text(
        '[embedder]\nkind = "timm"\nmodel = "test_resnet"\nweights = "tiny.safetensors"\n'
        'device = "nowhere"\n[store]\nkind = "local"\npath = "i.idx"\n'
    )
    source = str(tmp_path / "*.png")
    with pytest.raises(SystemExit) as refused:
        main([command, source, "--config", str(config)])
    assert refused.value.code != 0
    options = ["--config", str(config), "--batch-size", "5", "--device", "cpu"]
    with pytest.raises(SystemExit) as done:
        main([command, source, *options])
    assert done.value.code == 0
    assert "1 added" in capsys.readouterr().out
