"""OpenClipEmbedder: the vectors of plain open_clip, one space for images and texts."""

from __future__ import annotations

import json
import logging
import shutil

import numpy as np
import pytest
from PIL import Image

from imagesearch import ImageIndex, Item, MemoryStore, Query
from imagesearch.embedders._torchvision import import_torchvision
from imagesearch.errors import ConfigError, EmbeddingError
from imagesearch.testing.embedders import EmbedderConformance

import_torchvision()
open_clip = pytest.importorskip("open_clip")

import torch  # noqa: E402

from imagesearch.embedders.clip import OpenClipEmbedder  # noqa: E402
from tests.embedders.tiny_clip import (  # noqa: E402
    MODEL,
    NAME,
    describe,
    save_folder,
    save_safetensors,
    weights,
)

TEXTS = ["a red shoe", "", "一只白猫坐在椅子上", "an orange cat on a blue sofa", "word " * 500]
SIZES = [(120, 90), (64, 64), (33, 200), (300, 41), (1, 1), (500, 333)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_folder(tmp_path_factory.mktemp("clip") / "tiny")


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    """A model that open_clip knows by name, and a file of weights for it."""
    place = tmp_path_factory.mktemp("named")
    config = place / f"{NAME}.json"
    config.write_text(json.dumps(MODEL), encoding="utf-8")
    open_clip.add_model_config(config)
    return save_safetensors(place / "weights.safetensors")


@pytest.fixture(scope="module")
def embedder(folder):
    return OpenClipEmbedder(f"local-dir:{folder}", resize="exact", device="cpu")


def pictures(sizes=SIZES):
    rng = np.random.default_rng(5)
    for width, height in sizes:
        small = rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)
        yield Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def embed(embedder, images):
    return embedder.embed([embedder.preprocess(image) for image in images])


def reference(name, images=(), texts=(), **options):
    """Plain open_clip, one input at a time."""
    model, _, prepare = open_clip.create_model_and_transforms(name, **options)
    tokenize = open_clip.get_tokenizer(name)
    model.eval()
    with torch.no_grad():
        pixels = [model.encode_image(prepare(image)[None], normalize=True) for image in images]
        words = [model.encode_text(tokenize([text]), normalize=True) for text in texts]
    return tuple(np.concatenate(part) if part else None for part in (pixels, words))


# --- agreement with open_clip ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "config",
    [
        describe(),
        describe({"resize_mode": "squash", "interpolation": "bilinear"}),
        describe({"resize_mode": "longest", "fill_color": 90}),
        describe({"interpolation": "random"}),
        describe({"interpolation": "bilinear"}, vision={"image_size": [48, 80]}),
        describe({"resize_mode": "longest"}, vision={"image_size": [80, 48]}),
        describe(text={"context_length": 9}, quick_gelu=True),
        describe(custom_text=True, init_logit_bias=-10),
    ],
    ids=[
        *("shortest", "squash", "longest", "random", "oblong", "oblong longest"),
        *("quick gelu, short texts", "a text tower of its own"),
    ],
)
def test_vectors_are_those_of_open_clip_one_at_a_time(tmp_path, config):
    name = f"local-dir:{save_folder(tmp_path / 'model', config)}"
    embedder = OpenClipEmbedder(name, resize="exact", device="cpu")
    images = list(pictures())
    pixels, words = reference(name, images, TEXTS)
    assert np.abs(embed(embedder, images) - pixels).max() < 1e-5
    assert np.abs(embedder.embed_text(TEXTS) - words).max() < 1e-5
    # Otherwise agreeing would say nothing.
    assert (pixels @ pixels.T).min() < 0.99
    assert (words @ words.T).min() < 0.99


def test_a_file_for_a_model_known_by_name(named):
    embedder = OpenClipEmbedder(NAME, weights=named, resize="exact", device="cpu")
    images = list(pictures())
    pixels, words = reference(NAME, images, TEXTS, pretrained=str(named))
    assert np.abs(embed(embedder, images) - pixels).max() < 1e-5
    assert np.abs(embedder.embed_text(TEXTS) - words).max() < 1e-5


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin"])
def test_a_training_checkpoint_gives_the_vectors_of_its_weights(named, tmp_path, suffix):
    path = tmp_path / f"epoch{suffix}"
    state = {f"module.{name}": tensor for name, tensor in weights().items()}
    torch.save({"epoch": 3, "name": "run", "state_dict": state}, path)
    ours = OpenClipEmbedder(NAME, weights=path, device="cpu").embed_text(TEXTS)
    expected = OpenClipEmbedder(NAME, weights=named, device="cpu").embed_text(TEXTS)
    assert np.array_equal(ours, expected)


def test_a_tag_brings_its_own_preprocessing_and_activations_to_a_file(named, monkeypatch):
    tag = {"mean": (0.1, 0.2, 0.3), "std": (0.3, 0.2, 0.4), "resize_mode": "squash"}
    known = {"mine": {**tag, "interpolation": "bilinear", "quick_gelu": True, "hf_hub": "a/b/"}}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, NAME, known)
    images = list(pictures())
    pixels, words = reference(
        NAME,
        images,
        TEXTS,
        pretrained=str(named),
        force_quick_gelu=True,
        image_mean=tag["mean"],
        image_std=tag["std"],
        image_interpolation="bilinear",
        image_resize_mode="squash",
    )
    # Its only tag is what a file without a tag follows too.
    for pretrained in ("mine", "MINE", None):
        embedder = OpenClipEmbedder(
            NAME, pretrained=pretrained, weights=named, resize="exact", device="cpu"
        )
        assert np.abs(embed(embedder, images) - pixels).max() < 1e-5
        assert np.abs(embedder.embed_text(TEXTS) - words).max() < 1e-5


def test_the_fast_preprocessing_stays_near_the_exact_one(folder, embedder):
    fast = OpenClipEmbedder(f"local-dir:{folder}", device="cpu")
    images = list(pictures(SIZES[:4]))
    cosines = (embed(fast, images) * embed(embedder, images)).sum(axis=1)
    assert cosines.min() > 0.999
    assert fast.spec.decode_size == 128
    assert embedder.spec.decode_size is None


def test_bf16_is_near_fp32(folder, embedder):
    half = OpenClipEmbedder(f"local-dir:{folder}", precision="bf16", device="cpu")
    images = list(pictures(SIZES[:4]))
    assert (embed(half, images) * embed(embedder, images)).sum(axis=1).min() > 0.99
    assert (half.embed_text(TEXTS) * embedder.embed_text(TEXTS)).sum(axis=1).min() > 0.99


@pytest.mark.parametrize("batch_size", [1, 3])
def test_the_batch_size_changes_no_vector(folder, embedder, batch_size):
    other = OpenClipEmbedder(
        f"local-dir:{folder}", resize="exact", device="cpu", batch_size=batch_size
    )
    images = list(pictures()) * 2
    assert np.abs(embed(other, images) - embed(embedder, images)).max() < 1e-5
    texts = TEXTS * 2
    assert np.abs(other.embed_text(texts) - embedder.embed_text(texts)).max() < 1e-5
    assert other.spec == embedder.spec


class TestTheRulesForEmbedders(EmbedderConformance):
    @pytest.fixture(autouse=True)
    def _folder(self, folder):
        type(self).folder = folder

    def make_embedder(self):
        return OpenClipEmbedder(f"local-dir:{self.folder}", device="cpu", batch_size=4)


class TestTheRulesForEmbeddersWithANamedModel(EmbedderConformance):
    @pytest.fixture(autouse=True)
    def _file(self, named):
        type(self).file = named

    def make_embedder(self):
        return OpenClipEmbedder(NAME, weights=self.file, resize="exact", device="cpu", batch_size=4)


# --- texts ----------------------------------------------------------------------------------------


def test_a_long_text_is_cut_off_where_the_tokenizer_cuts(embedder):
    long = "one two three four five " * 100
    one, other = embedder.embed_text([long, long + "six seven"])
    assert np.array_equal(one, other)
    short = embedder.embed_text(["one two three four five"])[0]
    assert not np.allclose(one, short, atol=1e-3)


def test_an_endless_word_is_embedded_in_good_time(embedder):
    # Splitting all of it would take minutes.
    vectors = embedder.embed_text(["ab" * 1_000_000, "ab" * 2_000_000])
    assert np.array_equal(vectors[0], vectors[1])


def test_white_space_means_nothing(embedder):
    one, other = embedder.embed_text(["a red shoe", "\n a  red\t" + " " * 5000 + "shoe "])
    assert np.allclose(one, other, atol=1e-6)


def test_no_texts_give_no_vectors(embedder):
    assert embedder.embed_text([]).shape == (0, 32)
    assert embedder.embed([]).shape == (0, 32)


@pytest.mark.parametrize("texts", ["a red shoe", [b"a red shoe"], [None]])
def test_what_is_no_list_of_texts_is_refused(embedder, texts):
    with pytest.raises(EmbeddingError):
        embedder.embed_text(texts)


def test_a_text_with_broken_characters_has_a_vector(embedder):
    assert np.isfinite(embedder.embed_text(["half a pair: \ud800", "nothing: \0"])).all()


# --- identity -------------------------------------------------------------------------------------


def test_the_fingerprint_knows_the_weights_but_not_the_place(folder, embedder, tmp_path):
    moved = tmp_path / "elsewhere"
    shutil.copytree(folder, moved)
    assert OpenClipEmbedder(f"local-dir:{moved}", resize="exact").spec.fingerprint == (
        embedder.spec.fingerprint
    )
    save_folder(moved, seed=1)
    assert OpenClipEmbedder(f"local-dir:{moved}", resize="exact").spec.fingerprint != (
        embedder.spec.fingerprint
    )


@pytest.mark.parametrize(
    "config",
    [
        describe({"mean": [0.4, 0.5, 0.5]}),
        describe({"resize_mode": "squash"}),
        describe({"interpolation": "bilinear"}),
        describe(text={"tokenizer_kwargs": {"clean": "whitespace"}}),
        describe(quick_gelu=True),
    ],
    ids=["mean", "resize_mode", "interpolation", "tokenizer", "activation"],
)
def test_the_fingerprint_knows_the_settings(folder, embedder, tmp_path, config):
    shutil.copytree(folder, tmp_path / "other")
    (tmp_path / "other" / "open_clip_config.json").write_text(json.dumps(config))
    other = OpenClipEmbedder(f"local-dir:{tmp_path / 'other'}", resize="exact")
    assert other.spec.fingerprint != embedder.spec.fingerprint


def test_the_fingerprint_knows_the_options_that_change_vectors(folder, embedder):
    name = f"local-dir:{folder}"
    prints = {
        OpenClipEmbedder(name, **options).spec.fingerprint
        for options in ({}, {"resize": "exact"}, {"precision": "bf16"})
    }
    assert len(prints) == 3


def test_a_folder_may_be_given_as_weights(folder, embedder):
    for given in (folder, str(folder), f"local-dir:{folder}"):
        again = OpenClipEmbedder(weights=given, resize="exact")
        assert again.spec == embedder.spec


# --- the program around it ------------------------------------------------------------------------


def test_the_programs_logging_and_random_numbers_stay_as_they_were(folder):
    root = logging.getLogger()
    torch.manual_seed(11)
    handlers, filters, state = list(root.handlers), list(root.filters), torch.get_rng_state()
    OpenClipEmbedder(f"local-dir:{folder}", device="cpu")
    assert (root.handlers, root.filters) == (handlers, filters)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    "options",
    [{"batch_size": 0}, {"precision": "fp8"}, {"resize": "slow"}, {"device": "tpu"}],
    ids=str,
)
def test_a_wrong_option_is_named(folder, options):
    with pytest.raises(ConfigError, match=str(next(iter(options.values())))):
        OpenClipEmbedder(f"local-dir:{folder}", **options)


# --- an index -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def index(embedder):
    with ImageIndex(embedder=embedder, store=MemoryStore()) as index:
        names = [f"p{number}" for number in range(len(SIZES))]
        report = index.add(
            Item(image, id=name) for name, image in zip(names, pictures(), strict=True)
        )
        assert report.added == names
        yield index


def ranking(embedder, query):
    images = embed(embedder, list(pictures()))
    scores = images @ (query / np.linalg.norm(query))
    return [f"p{row}" for row in np.argsort(-scores)], np.sort(scores)[::-1]


def test_a_text_finds_the_images_nearest_to_it(index, embedder):
    expected, scores = ranking(embedder, embedder.embed_text(["a red shoe"])[0])
    hits = index.search(text="a red shoe", k=6)
    assert hits.ids == expected
    assert [hit.score for hit in hits] == pytest.approx(list(scores), abs=1e-5)


def test_an_image_and_a_text_combine(index, embedder):
    image = next(iter(pictures()))
    query = Query.image(image) + 0.5 * Query.text("in red") - 0.25 * Query.text("a sandal")
    one, red, sandal = (embed(embedder, [image])[0], *embedder.embed_text(["in red", "a sandal"]))
    expected, scores = ranking(embedder, one + 0.5 * red - 0.25 * sandal)
    hits = index.search(query, k=6, exclude_self=False)
    assert hits.ids == expected
    assert [hit.score for hit in hits] == pytest.approx(list(scores), abs=1e-5)


def test_many_texts_at_once_find_what_each_finds_alone(index):
    texts = [text for text in TEXTS if text] * 9
    together = index.search_many([Query.text(text) for text in texts], k=6)
    for text, hits in zip(texts, together, strict=True):
        alone = index.search(text=text, k=6)
        assert hits.ids == alone.ids
        assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in alone], abs=1e-5)


def test_an_index_makes_its_embedder_again(folder):
    store = MemoryStore()
    first = ImageIndex(embedder=OpenClipEmbedder(f"local-dir:{folder}"), store=store)
    first.add(Item(image, id=str(row)) for row, image in enumerate(pictures()))
    again = ImageIndex(store=store)
    assert isinstance(again.embedder, OpenClipEmbedder)
    assert again.search(text="a cat", k=6).ids == first.search(text="a cat", k=6).ids
