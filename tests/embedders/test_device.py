"""Devices and processors."""

from __future__ import annotations

import os

import pytest
import torch

from imagesearch._cpus import available_cpus
from imagesearch.embedders import choose_device
from imagesearch.errors import ConfigError


def test_auto_takes_the_best_that_is_there():
    if torch.cuda.is_available():
        expected = "cuda"
    else:
        expected = "mps" if torch.backends.mps.is_available() else "cpu"
    assert choose_device("auto").type == expected


@pytest.mark.parametrize("name", ["cuda:99", "tpu", "gpu", "cuda:x", "meta", ""])
def test_a_device_that_is_not_there_is_refused_by_name(name):
    with pytest.raises(ConfigError, match=f"device {name!r}"):
        choose_device(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_cuda_without_cuda_says_what_torch_sees():
    with pytest.raises(ConfigError, match="finds 0 CUDA devices; use 'auto' or 'cpu'"):
        choose_device("cuda")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_processors_that_the_process_may_not_use_do_not_count():
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert available_cpus() == 1
    finally:
        os.sched_setaffinity(0, allowed)
    assert 1 <= available_cpus() <= len(allowed)
