"""The fast embedder against a plain one: torch, timm, Pillow and numpy, one image at a time."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from imagesearch.embedders import Preprocess
from imagesearch.embedders._torchvision import import_torchvision
from imagesearch.embedders.timm import TimmEmbedder

pytestmark = pytest.mark.weights

K = 10
# Of this model on these images, measured with a program that shares no code with this project.
REFERENCE = {"mHR@10": 0.6100, "mAP@10": 0.5585, "P@1": 0.82}

_results = {}


def once(name, make):
    """Embedding 550 images takes seconds: each set is embedded once, whatever the tests' order."""
    if name not in _results:
        _results[name] = make()
    return _results[name]


@pytest.fixture
def files(shared):
    folder = shared / "data" / "imagenet50"
    gallery, queries = (sorted((folder / part).glob("*/*")) for part in ("train", "test"))
    assert (len(gallery), len(queries)) == (500, 50)
    return gallery, queries


@pytest.fixture
def weights(shared):
    return shared / "weights" / "mobilenetv2_100.tf_in1k.safetensors"


def plain(files, weights):
    import_torchvision()
    import timm
    import torch

    model = timm.create_model(
        "mobilenetv2_100",
        pretrained=True,
        pretrained_cfg_overlay={"file": str(weights)},
        pad_type="same",
        num_classes=0,
    ).eval()
    config = timm.data.resolve_model_data_config(model)
    transform = timm.data.create_transform(**{**config, "mean": (0.5,) * 3, "std": (0.5,) * 3})
    rows = []
    with torch.no_grad():
        for file in files:
            row = model(transform(Image.open(file).convert("RGB"))[None])[0].numpy()
            rows.append(row / np.linalg.norm(row))
    return np.stack(rows)


def ours(files, weights, resize):
    embedder = TimmEmbedder(
        "mobilenetv2_100",
        weights=weights,
        model_args={"pad_type": "same"},
        preprocess=Preprocess(mean=(0.5,) * 3, std=(0.5,) * 3),
        resize=resize,
        device="cpu",
        precision="fp32",
    )

    def read(file):
        image = Image.open(file)
        if embedder.spec.decode_size is not None:
            image.draft("RGB", (embedder.spec.decode_size,) * 2)
        return image.convert("RGB")

    return embedder.embed([embedder.preprocess(read(file)) for file in files])


def neighbours(queries, gallery):
    return np.argsort(-(queries @ gallery.T), axis=1, kind="stable")[:, :K]


def quality(queries, gallery, files):
    labels = [np.array([file.parent.name for file in part]) for part in files]
    found = labels[0][neighbours(queries, gallery)] == labels[1][:, None]
    precision = np.cumsum(found, axis=1) / np.arange(1, K + 1)
    return {
        "mHR@10": found.mean(),
        "mAP@10": ((found * precision).sum(axis=1) / K).mean(),
        "P@1": found[:, 0].mean(),
    }


@pytest.fixture
def reference(files, weights):
    return once("reference", lambda: [plain(part, weights) for part in files])


@pytest.fixture
def exact(files, weights):
    return once("exact", lambda: [ours(part, weights, "exact") for part in files])


@pytest.fixture
def fast(files, weights):
    return once("fast", lambda: [ours(part, weights, "fast") for part in files])


def test_the_reference_itself_has_the_known_quality(reference, files):
    gallery, queries = reference
    assert quality(queries, gallery, files) == pytest.approx(REFERENCE, abs=1e-4)


def test_exact_vectors_agree_with_the_reference(exact, reference):
    for mine, theirs in zip(exact, reference, strict=True):
        assert np.abs(mine - theirs).max() <= 1e-5


def test_exact_neighbours_are_the_reference_neighbours_in_the_same_order(exact, reference):
    mine, theirs = neighbours(exact[1], exact[0]), neighbours(reference[1], reference[0])
    assert np.array_equal(mine, theirs)


def test_fast_has_the_quality_of_the_reference(fast, files):
    gallery, queries = fast
    assert quality(queries, gallery, files) == pytest.approx(REFERENCE, abs=0.01)


def test_fast_vectors_stay_close_to_the_exact_ones(fast, exact):
    cosine = np.concatenate(
        [(mine * theirs).sum(axis=1) for mine, theirs in zip(fast, exact, strict=True)]
    )
    assert cosine.min() > 0.998
    assert cosine.mean() > 0.9999
