"""The embedder keeps every rule that the library's own embedders keep, and finds what it learned."""

from __future__ import annotations

import random

import pytest
import torch
from PIL import Image, ImageDraw
from shopsearch.embedder import TrainedEmbedder
from shopsearch.network import Network
from shopsearch.train import train

from imagesearch import ImageIndex, MemoryStore
from imagesearch.errors import WeightsUnavailableError
from imagesearch.testing import EmbedderConformance


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("models") / "shop.pt"
    torch.save(Network().state_dict(), path)
    return path


class TestTrainedEmbedder(EmbedderConformance):
    @pytest.fixture(autouse=True)
    def _model(self, model):
        type(self).model = model

    def make_embedder(self):
        return TrainedEmbedder(self.model, device="cpu")


def test_other_weights_are_another_embedder(model, tmp_path):
    torch.manual_seed(1)
    torch.save(Network().state_dict(), tmp_path / "shop.pt")
    other = TrainedEmbedder(tmp_path / "shop.pt").spec
    assert other.fingerprint != TrainedEmbedder(model).spec.fingerprint


@pytest.mark.parametrize("content", [None, b"", b"not weights"], ids=["none", "empty", "broken"])
def test_weights_that_cannot_be_loaded_are_named_with_the_way_out(tmp_path, content):
    if content is not None:
        (tmp_path / "shop.pt").write_bytes(content)
    with pytest.raises(WeightsUnavailableError, match=r"shop\.pt.*shopsearch\.train"):
        TrainedEmbedder(tmp_path / "shop.pt")


def draw(kind, number):
    """Draw a shape, dark on light or light on dark: only who has learned shapes tells them apart."""
    dice = random.Random(f"{kind} {number}")
    inks = dice.sample([dice.randint(0, 80), dice.randint(170, 255)], 2)
    ink, paper = ((level,) * 3 for level in inks)
    image = Image.new("RGB", (80, 80), paper)
    paint = ImageDraw.Draw(image)
    x, y, size = dice.randint(25, 55), dice.randint(25, 55), dice.randint(12, 24)
    match kind:
        case "disc":
            paint.ellipse((x - size, y - size, x + size, y + size), ink)
        case "cross":
            paint.line((x - size, y - size, x + size, y + size), ink, 7)
            paint.line((x - size, y + size, x + size, y - size), ink, 7)
        case "bars":
            for column in range(x - size, x + size, 12):
                paint.rectangle((column, y - size, column + 5, y + size), ink)
    return image


def test_a_trained_network_finds_what_it_has_learned(tmp_path):
    kinds = ("disc", "cross", "bars")
    for kind in kinds:
        folder = tmp_path / "photos" / kind
        folder.mkdir(parents=True)
        for number in range(24):
            draw(kind, number).save(folder / f"{number}.png")
    train(tmp_path / "photos", tmp_path / "shop.pt")
    embedder = TrainedEmbedder(tmp_path / "shop.pt", device="cpu")
    with ImageIndex(embedder=embedder, store=MemoryStore()) as index:
        index.add(tmp_path / "photos")
        right = [
            f"/{kind}/" in hit.uri
            for kind in kinds
            for number in range(100, 110)
            for hit in index.search(draw(kind, number), k=3)
        ]
    # Two thirds would be wrong by chance; of an untrained network 59 % are.
    assert sum(right) / len(right) > 0.8
