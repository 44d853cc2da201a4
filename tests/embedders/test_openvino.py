"""OpenVINO gives what torch gives, and leaves the program around it alone."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from torch import nn

from imagesearch.embedders import Preprocess
from imagesearch.embedders._inference import Inference
from imagesearch.embedders.timm import TimmEmbedder
from imagesearch.errors import ConfigError, EmbeddingError
from imagesearch.testing.embedders import EmbedderConformance
from tests.embedders.tiny import make_network, save_safetensors

# Not importorskip: importing openvino by itself would report this to its makers.
if find_spec("openvino") is None:
    pytest.skip("openvino is not installed", allow_module_level=True)

from imagesearch.embedders._openvino import OpenVinoInference, openvino

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
HAS_BF16 = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
needs_bf16 = pytest.mark.skipif(not HAS_BF16, reason="this processor has no bf16")


def images(count=11, size=64):
    rng = np.random.default_rng(1)
    return [rng.integers(0, 256, (size, size, 3), dtype=np.uint8) for _ in range(count)]


def runner(network, size=64, **options):
    settings = {"precision": "fp32", "mean": MEAN, "std": STD, "batch_size": None, **options}
    return OpenVinoInference(network, name="mine", input_size=(size, size), **settings)


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return save_safetensors(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


def tiny(weights, **options):
    settings = {"preprocess": {"size": 64}, "runtime": "openvino", "device": "cpu"}
    settings |= {"precision": "fp32", **options}
    return TimmEmbedder("test_resnet", weights=weights, **settings)


class TestTimmEmbedderWithOpenVino(EmbedderConformance):
    @pytest.fixture(autouse=True)
    def _weights(self, weights):
        type(self).weights = weights

    def make_embedder(self):
        return tiny(self.weights, batch_size=4)


@pytest.mark.parametrize("architecture", ["test_resnet", "test_efficientnet", "test_vit"])
def test_vectors_are_those_of_torch_to_rounding(architecture):
    size = 160
    network = make_network(architecture, num_classes=0)
    settings = {"precision": "fp32", "mean": MEAN, "std": STD, "batch_size": None}
    expected = unit(Inference(network, device=torch.device("cpu"), **settings).run(images(5, size)))
    found = unit(runner(network, size).run(images(5, size)))
    assert np.abs(found - expected).max() <= 1e-5
    assert (found * expected).sum(axis=1).min() >= 0.9999


@pytest.mark.parametrize("batch_size", [None, 1, 3])
def test_a_vector_does_not_depend_on_the_batch_it_is_in(batch_size):
    network = make_network(num_classes=0)
    shared = runner(network, batch_size=batch_size)
    for image, vector in zip(images(), unit(shared.run(images())), strict=True):
        assert np.abs(unit(shared.run([image]))[0] - vector).max() <= 1e-5


def test_many_threads_may_embed_at_once():
    shared = runner(make_network(num_classes=0), batch_size=2)
    every = images(16)
    expected = shared.run(every)
    jobs = [every[start : start + count] for start in range(8) for count in (1, 2, 5, 8)] * 3
    wanted = [expected[start : start + count] for start in range(8) for count in (1, 2, 5, 8)] * 3
    with ThreadPoolExecutor(8) as threads:
        for found, right in zip(threads.map(shared.run, jobs), wanted, strict=True):
            assert np.allclose(found, right, rtol=1e-4, atol=1e-5)


def test_what_is_returned_is_not_overwritten_by_the_next_images():
    shared = runner(make_network(num_classes=0))
    for count in (1, 4):
        first = shared.run(images(count))
        kept = first.copy()
        shared.run([255 - image for image in images(count)])
        assert np.array_equal(first, kept)


def test_the_thread_settings_of_torch_stay_as_they_are():
    before = torch.get_num_threads()
    try:
        for threads in (3, 1):
            torch.set_num_threads(threads)
            shared = runner(make_network(num_classes=0))
            shared.run(images())
            shared.run(images(1))
            assert torch.get_num_threads() == threads
            with ThreadPoolExecutor(1) as thread:
                assert thread.submit(torch.get_num_threads).result() == threads
    finally:
        torch.set_num_threads(before)


def test_an_index_made_with_one_runtime_opens_with_the_other(weights):
    with_torch, with_openvino = tiny(weights, runtime="torch"), tiny(weights)
    assert with_openvino.spec == with_torch.spec
    assert np.abs(with_openvino.embed(images()) - with_torch.embed(images())).max() <= 1e-5


@needs_bf16
def test_bf16_stays_close_to_fp32(weights):
    cosine = (tiny(weights).embed(images()) * tiny(weights, precision="bf16").embed(images())).sum(
        1
    )
    assert 0.99 < cosine.min() < 1 - 1e-7


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"runtime": "onnx"}, "runtime must be 'torch' or 'openvino', got 'onnx'"),
        ({"device": "cuda"}, "runs on the CPU only, got device='cuda'"),
        ({"model_args": {"global_pool": ""}}, "not one vector"),
        ({"preprocess": {"size": 0}}, "0 × 0 pixels|size must be"),
    ],
    ids=str,
)
def test_a_wrong_option_is_named_with_the_remedy(weights, options, message):
    with pytest.raises(ConfigError, match=message):
        tiny(weights, **options)


class Unknown(nn.Module):
    """Uses an operation that OpenVINO has no rule for."""

    def forward(self, pixels):
        return torch.special.bessel_j0(pixels).mean((2, 3))


class Branching(nn.Module):
    """Decides by the pixels' values, which a trace does not see."""

    def forward(self, pixels):
        features = pixels.mean((2, 3))
        return features if len(pixels) == 2 else features.flip(1)


class Two(nn.Module):
    def forward(self, pixels):
        return pixels.mean((2, 3)), pixels.amax((2, 3))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Unknown(), r"mine cannot be converted by OpenVINO .*use runtime='torch'"),
        (Branching(), r"mine returns other vectors with OpenVINO .*use runtime='torch'"),
        (Two(), "mine must return one tensor of vectors, got tuple"),
    ],
    ids=["unknown operation", "other vectors", "two outputs"],
)
def test_a_model_that_does_not_fit_openvino_is_refused_in_clear_words(network, message):
    with pytest.raises(ConfigError, match=message):
        runner(network.eval())


def test_arrays_that_are_not_prepared_images_are_refused():
    shared = runner(make_network(num_classes=0))
    with pytest.raises(EmbeddingError, match="as preprocess returns them"):
        shared.run([np.zeros((64, 64, 3), np.float32)])
    with pytest.raises(EmbeddingError, match="differ in shape"):
        shared.run([np.zeros((64, 64, 3), np.uint8), np.zeros((64, 65, 3), np.uint8)])
    with pytest.raises(EmbeddingError, match="failed on cpu"):
        shared.run([np.zeros((32, 64, 3), np.uint8)])
    assert shared.run(images(2)).shape == (2, 96)


def run(code, *arguments, **variables):
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout.split()


# What OpenVINO does when it is imported and converts, seen from outside: in a process of its own.
WATCHED = """
    import logging, os, sys
    seen = []
    sys.addaudithook(
        lambda event, arguments: seen.append(event)
        if event in ("os.fork", "socket.connect", "socket.getaddrinfo", "urllib.Request") else None
    )
    sys.argv.append("--verbose")
    level = logging.getLogger().level
    from imagesearch.embedders.timm import TimmEmbedder
    import numpy as np
    embedder = TimmEmbedder("test_resnet", weights=sys.argv[1], preprocess={"size": 64}, runtime="openvino")
    embedder.embed(list(np.zeros((3, 64, 64, 3), np.uint8) + np.uint8(9)))
    assert logging.getLogger().level == level and not logging.getLogger().handlers
    import openvino_telemetry
    assert seen == [], seen
"""


@pytest.mark.slow
def test_nothing_is_reported_to_anybody_and_nothing_is_printed(tmp_path, weights):
    home = tmp_path / "home"
    home.mkdir()
    assert run(WATCHED, weights, HOME=str(home), CI="") == []
    assert list(home.rglob("*openvino*")) == []


FORKED = """
    import os, signal, sys
    import numpy as np
    from imagesearch.embedders.timm import TimmEmbedder
    embedder = TimmEmbedder("test_resnet", weights=sys.argv[1], preprocess={"size": 64}, runtime="openvino")
    images = list(np.random.default_rng(0).integers(0, 256, (9, 64, 64, 3), dtype=np.uint8))
    expected = embedder.embed(images)
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        same = np.allclose(embedder.embed(images), expected, atol=1e-5)
        same &= np.allclose(embedder.embed(images[:1]), expected[:1], atol=1e-5)
        os._exit(0 if same else 1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    assert np.allclose(embedder.embed(images), expected, atol=1e-5)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_embeds_with_threads_of_its_own(weights):
    assert run(FORKED, weights) == ["0"]


@pytest.mark.slow
def test_a_missing_package_is_named_with_the_line_to_install_it(weights):
    said = run(
        """
        import sys
        sys.modules["openvino"] = None
        from imagesearch.embedders.timm import TimmEmbedder
        from imagesearch.errors import MissingDependencyError
        TimmEmbedder("test_resnet", weights=sys.argv[1], preprocess={"size": 64})
        try:
            TimmEmbedder("test_resnet", weights="missing.safetensors", runtime="openvino")
        except MissingDependencyError as error:
            assert 'pip install "imagesearch-index[openvino]"' in str(error), error
            print("named")
        """,
        weights,
    )
    assert said == ["named"]


@pytest.mark.weights
@pytest.mark.parametrize("precision", ["fp32", pytest.param("bf16", marks=needs_bf16)])
def test_pretrained_weights_find_what_they_find_with_torch(shared, precision):
    from tests.embedders.test_agreement_with_the_reference import REFERENCE, quality

    files = [sorted((shared / "data/imagenet50" / part).glob("*/*")) for part in ("train", "test")]
    from PIL import Image

    embedder = TimmEmbedder(
        "mobilenetv2_100",
        weights=shared / "weights" / "mobilenetv2_100.tf_in1k.safetensors",
        model_args={"pad_type": "same"},
        preprocess=Preprocess(mean=(0.5,) * 3, std=(0.5,) * 3),
        resize="exact",
        precision=precision,
        runtime="openvino",
    )
    gallery, queries = (
        embedder.embed([embedder.preprocess(Image.open(file).convert("RGB")) for file in part])
        for part in files
    )
    # One query of 50 answered otherwise is 0.02 in P@1.
    found = quality(queries, gallery, files)
    assert found["mHR@10"] == pytest.approx(REFERENCE["mHR@10"], abs=0.01)
    assert found["mAP@10"] == pytest.approx(REFERENCE["mAP@10"], abs=0.01)
    assert found["P@1"] == pytest.approx(REFERENCE["P@1"], abs=0.021)
