"""How a model is run changes neither its vectors nor the program around it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import numpy as np
import pytest
import torch
from torch import nn

from imagesearch.embedders._inference import Inference, one_behind
from imagesearch.embedders._timm_models import fold_batch_norms
from tests.embedders.tiny import make_network

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)


def images(count=11):
    rng = np.random.default_rng(1)
    return [rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(count)]


def inference(network, **options):
    settings = {"precision": "fp32", "mean": MEAN, "std": STD, "batch_size": None, **options}
    return Inference(network, device=torch.device("cpu"), **settings)


def plainly(network, batch):
    with torch.no_grad():
        pixels = torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2).contiguous() / 255
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
        return network((pixels - mean) / std).numpy()


@pytest.mark.parametrize("batch_size", [None, 1, 3, 100])
def test_workers_give_what_the_model_gives(batch_size):
    network = make_network(num_classes=0)
    expected = plainly(network, images())
    runner = inference(network, batch_size=batch_size)
    assert np.allclose(runner.run(images()), expected, rtol=1e-4, atol=1e-5)
    assert np.allclose(runner.run(images()[:1]), expected[:1], rtol=1e-4, atol=1e-5)


def test_the_thread_settings_of_the_program_stay_as_they_are():
    def of_a_new_thread():
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(torch.get_num_threads).result()

    before = torch.get_num_threads()
    try:
        for threads in (3, 1, 2):
            torch.set_num_threads(threads)
            inference(make_network(num_classes=0)).run(images())
            assert torch.get_num_threads() == threads
            assert of_a_new_thread() == threads
    finally:
        torch.set_num_threads(before)


def test_workers_compute_with_one_thread_each():
    seen = set()

    class Notes(nn.Module):
        def forward(self, pixels):
            seen.add((threading.current_thread().name, torch.get_num_threads()))
            return pixels.flatten(1)

    inference(Notes(), batch_size=1).run(images(40))
    assert {threads for _, threads in seen} == {1}
    assert all(name.startswith("imagesearch-model") for name, _ in seen)


def test_a_failure_in_a_worker_does_not_spoil_the_next_batch():
    class Touchy(nn.Module):
        def forward(self, pixels):
            if pixels.max() > 2.5:
                raise RuntimeError("too bright\nand more")
            return pixels.flatten(1)

    runner = inference(Touchy(), batch_size=1)
    dark = [image // 4 for image in images(3)]
    with pytest.raises(Exception, match=r"the model failed on cpu: too bright$"):
        runner.run([*dark, np.full((64, 64, 3), 255, np.uint8)])
    assert runner.run(dark).shape == (3, 64 * 64 * 3)


@pytest.mark.parametrize(
    "architecture", ["test_resnet", "test_efficientnet", "test_byobnet", "test_vit", "test_nfnet"]
)
def test_folding_leaves_the_vectors_as_they_are(architecture):
    network = make_network(architecture, num_classes=0)
    probe = torch.randn(1, 3, 160, 160, generator=torch.Generator().manual_seed(3))
    other = torch.randn(2, 3, 160, 160, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        before = network(other)
        norms = sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())
        folded = fold_batch_norms(network, probe)
        after = network(other)
    left = sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    assert left == norms - folded
    assert folded > 0 or norms == 0
    length = before.norm(dim=1, keepdim=True)
    assert ((before - after) / length).abs().max() <= 1e-5


def test_a_convolution_whose_output_is_used_twice_is_not_folded():
    class Forked(nn.Module):
        def __init__(self):
            super().__init__()
            self.convolution, self.norm = nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5)
            nn.init.uniform_(self.norm.running_var, 2.0, 3.0)

        def forward(self, pixels):
            features = self.convolution(pixels)
            return (self.norm(features) + features).mean((2, 3))

    network = Forked().eval().requires_grad_(requires_grad=False)
    probe = torch.randn(1, 3, 16, 16)
    before = network(probe)
    assert fold_batch_norms(network, probe) == 0
    assert torch.equal(network(probe), before)


def test_a_batch_is_started_before_the_one_before_it_is_waited_for():
    events = []

    def start(batch):
        events.append(f"start {batch}")

        def wait():
            events.append(f"wait {batch}")
            return 10 * batch

        return wait

    assert list(one_behind(start, [1, 2, 3])) == [10, 20, 30]
    assert events == ["start 1", "start 2", "wait 1", "start 3", "wait 2", "wait 3"]
    assert list(one_behind(start, [])) == []


@pytest.mark.parametrize(("at", "expected"), [("start", 1), ("wait", 2)])
def test_the_results_before_a_failing_batch_are_given_in_order(at, expected):
    def fail(batch):
        raise RuntimeError(f"batch {batch}")

    def start(batch):
        if batch == 3 and at == "start":
            fail(batch)
        return (lambda: fail(batch)) if batch == 3 else (lambda: batch)

    results = one_behind(start, [1, 2, 3, 4])
    assert list(islice(results, expected)) == [1, 2][:expected]
    with pytest.raises(RuntimeError, match="batch 3"):
        next(results)
