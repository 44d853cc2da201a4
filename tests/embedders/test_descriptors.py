"""The embedder without weights: light, deterministic, and able to find the same picture."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from imagesearch.embedders.descriptors import DescriptorEmbedder
from imagesearch.errors import EmbeddingError


def scene(seed):
    """Overlapping shapes on a gradient: enough to tell one scene from another."""
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 256, (3, 3, 3), dtype=np.uint8)
    image = Image.fromarray(corners).resize((320, 240), Image.Resampling.BICUBIC)
    for _ in range(6):
        width, height = rng.integers(30, 120, 2)
        left, top = rng.integers(0, 200, 2)
        ink = tuple(int(part) for part in rng.integers(0, 256, 3))
        image.paste(ink, (int(left), int(top), int(left + width), int(top + height)))
    return image


def embed(images):
    embedder = DescriptorEmbedder()
    return embedder.embed([embedder.preprocess(image) for image in images])


def recompressed(image):
    buffer = io.BytesIO()
    image.resize((160, 120)).save(buffer, "JPEG", quality=60)
    return Image.open(buffer).convert("RGB")


@pytest.mark.parametrize(
    "change",
    [
        recompressed,
        lambda image: image.crop((16, 12, 304, 228)),
        lambda image: ImageEnhance.Brightness(image).enhance(1.2),
        lambda image: image.resize((1000, 750)),
    ],
    ids=["half size, JPEG 60", "middle 90 %", "brighter", "enlarged"],
)
def test_a_changed_copy_finds_its_original_among_others(change):
    scenes = [scene(seed) for seed in range(40)]
    gallery, copies = embed(scenes), embed([change(image) for image in scenes])
    assert np.argmax(copies @ gallery.T, axis=1).tolist() == list(range(40))


def test_plain_images_of_different_colours_differ():
    vectors = embed([Image.new("RGB", (9, 9), ink) for ink in ("black", "white", "red", "blue")])
    scores = vectors @ vectors.T
    assert np.allclose(np.diag(scores), 1, atol=1e-5)
    assert scores[np.triu_indices(4, 1)].max() < 0.95


def test_the_same_colours_are_closer_than_other_colours():
    red, dark_red, green = embed(
        [Image.new("RGB", (60, 60), ink) for ink in ("#d01010", "#b00808", "#10d010")]
    )
    assert red @ dark_red > red @ green


def test_what_preprocess_did_not_make_is_refused():
    embedder = DescriptorEmbedder()
    with pytest.raises(EmbeddingError, match=r"preprocessed image 1 .* shape \(64, 64, 3\)"):
        embedder.embed([np.zeros((128, 128, 3), np.uint8), np.zeros((64, 64, 3), np.uint8)])
    with pytest.raises(EmbeddingError, match="float32"):
        embedder.embed([np.zeros((128, 128, 3), np.float32)])
    assert embedder.embed([]).shape == (0, embedder.spec.dim)


def test_it_needs_neither_torch_nor_timm():
    code = (
        "import sys\n"
        "from imagesearch.embedders.descriptors import DescriptorEmbedder\n"
        "DescriptorEmbedder()\n"
        "print(sorted({'torch', 'timm', 'torchvision', 'huggingface_hub'} & set(sys.modules)))\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert said.stdout.strip() == "[]"
