"""Our own embedders keep the rules that others are asked to keep."""

from __future__ import annotations

import pytest

from imagesearch.embedders import Preprocess
from imagesearch.embedders.descriptors import DescriptorEmbedder
from imagesearch.embedders.timm import TimmEmbedder
from imagesearch.testing.embedders import EmbedderConformance
from tests.embedders.tiny import save_folder, save_safetensors


class TestDescriptorEmbedder(EmbedderConformance):
    def make_embedder(self):
        return DescriptorEmbedder()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    for architecture in ("test_resnet", "test_vit"):
        save_safetensors(folder / f"{architecture}.safetensors", architecture)
    save_folder(folder / "repository")
    return folder


class TestTimmEmbedderWithAConvolutionalNetwork(EmbedderConformance):
    @pytest.fixture(autouse=True)
    def _files(self, files):
        type(self).files = files

    def make_embedder(self):
        return TimmEmbedder(
            "test_resnet",
            weights=self.files / "test_resnet.safetensors",
            preprocess=Preprocess(size=64),
            batch_size=4,
            device="cpu",
        )


class TestTimmEmbedderWithATransformer(EmbedderConformance):
    @pytest.fixture(autouse=True)
    def _files(self, files):
        type(self).files = files

    def make_embedder(self):
        return TimmEmbedder(
            "test_vit",
            weights=str(self.files / "test_vit.safetensors"),
            resize="exact",
            normalise=False,
            device="cpu",
        )


class TestTimmEmbedderFromAFolder(EmbedderConformance):
    @pytest.fixture(autouse=True)
    def _files(self, files):
        type(self).files = files

    def make_embedder(self):
        return TimmEmbedder(f"local-dir:{self.files / 'repository'}", device="cpu")


@pytest.mark.weights
class TestTimmEmbedderWithPretrainedWeights(EmbedderConformance):
    @pytest.fixture(autouse=True)
    def _files(self, shared):
        type(self).files = shared / "weights"

    def make_embedder(self):
        return TimmEmbedder(
            "mobilenetv2_100",
            weights=self.files / "mobilenetv2_100.tf_in1k.safetensors",
            model_args={"pad_type": "same"},
            preprocess=Preprocess(mean=(0.5,) * 3, std=(0.5,) * 3),
        )
