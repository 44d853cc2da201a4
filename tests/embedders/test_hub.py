"""Weights from the hub: over real HTTP from a mirror, from the cache, and not at all."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from huggingface_hub import constants
from PIL import Image

from imagesearch.embedders.timm import TimmEmbedder
from tests.embedders.hub_server import HubServer
from tests.embedders.tiny import save_folder

NAME = "timm/test_resnet.r160_in1k"

FETCH = """
    from imagesearch.embedders._hub import fetch_from_hub
    from imagesearch.errors import WeightsUnavailableError
    try:
        path = fetch_from_hub("timm/tiny", ("model.safetensors", "pytorch_model.bin"))
        print(path.name, path.stat().st_size)
    except WeightsUnavailableError as error:
        print("unavailable:", error)
"""

UNCAUGHT = """
    import traceback
    from imagesearch.embedders._hub import fetch_from_hub
    try:
        fetch_from_hub("timm/tiny", ("model.safetensors",))
    except Exception as error:
        print(traceback.format_exc())
"""


def run(code, *arguments, **variables):
    """Run code in a new process: the hub's variables are read when huggingface_hub is imported."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("HF_") and not name.lower().endswith("_proxy")
    }
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        env={**environment, **{name: str(value) for name, value in variables.items()}},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    folder = save_folder(tmp_path_factory.mktemp("hub") / "tiny")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def vector(model):
    embedder = TimmEmbedder(model, device="cpu")
    prepared = embedder.preprocess(Image.new("RGB", (50, 40), "teal"))
    return embedder.spec, embedder.embed([prepared])[0]


def test_models_come_from_a_mirror_once_and_then_from_the_cache(monkeypatch, tmp_path, repository):
    models = ["test_resnet", "hf-hub:somebody/tiny"]
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with HubServer({NAME: repository, "somebody/tiny": repository}) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        template = f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        first = [vector(model) for model in models]
        assert f"GET /{NAME}/resolve/main/model.safetensors" in hub.requests
        asked = len(hub.requests)
        again = [vector(model) for model in models]
        assert len(hub.requests) == asked, hub.requests[asked:]
    for (spec, one), (same, other) in zip(first, again, strict=True):
        assert spec == same
        assert np.allclose(one, other, atol=1e-6)
    assert [spec.name for spec, _ in first] == [NAME, "timm/hf-hub:somebody/tiny"]
    # Both are the same bytes, but only a pinned name is the same on every machine.
    assert first[0][0].fingerprint != first[1][0].fingerprint
    made_again = TimmEmbedder(**first[0][0].options)
    assert made_again.spec == first[0][0]


@pytest.mark.slow
def test_the_fallback_is_taken_where_safetensors_are_missing_and_is_there_offline(tmp_path):
    with HubServer({"timm/tiny": {"pytorch_model.bin": b"12345"}}) as hub:
        said = run(FETCH, HF_ENDPOINT=hub.url, HF_HOME=tmp_path)
    assert said.strip() == "pytorch_model.bin 5"
    assert run(FETCH, HF_HOME=tmp_path, HF_HUB_OFFLINE=1) == said


@pytest.mark.slow
def test_a_slow_download_takes_the_time_it_takes(tmp_path):
    content = bytes(80_000)
    with HubServer({"timm/tiny": {"model.safetensors": content}}, seconds_per_download=1.6) as hub:
        said = run(FETCH, HF_ENDPOINT=hub.url, HF_HOME=tmp_path, HF_HUB_ETAG_TIMEOUT=1)
    assert said.strip() == "model.safetensors 80000"


def require_options(said):
    assert said.startswith("unavailable: could not download the weights timm/tiny from")
    for way in (
        "HF_ENDPOINT",
        "HF_HUB_OFFLINE=1",
        "HF_HOME",
        "weights='model.safetensors'",
        "local-dir:FOLDER",
        "modelscope download --model timm/tiny",
        "'descriptors'",
    ):
        assert way in said


@pytest.mark.slow
def test_a_hub_that_never_answers_is_given_up_in_good_time(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        said = run(FETCH, HF_ENDPOINT=url, HF_HOME=tmp_path, HF_HUB_ETAG_TIMEOUT=1)
    require_options(said)
    assert url in said
    assert re.search(r"no response within 1 s|Timeout", said)


@pytest.mark.slow
def test_a_hub_that_cannot_be_reached_is_reported_with_the_options(tmp_path):
    # Names below .invalid never exist (RFC 2606).
    said = run(FETCH, HF_ENDPOINT="http://hub.invalid", HF_HOME=tmp_path)
    require_options(said)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    require_options(run(FETCH, HF_ENDPOINT=url, HF_HOME=tmp_path))
    # What a program shows that does not catch it: the cause in one line, no tour of HTTP libraries.
    said = run(UNCAUGHT, HF_ENDPOINT=url, HF_HOME=tmp_path)
    assert said.count("Traceback (most recent call last)") == 1
    assert re.search(r"^\S*ConnectError: .*\n\nThe above exception", said)


def test_offline_without_a_cache_says_that_it_is_offline(tmp_path):
    said = run(FETCH, HF_HOME=tmp_path, HF_HUB_OFFLINE=1)
    require_options(said)
    assert "not in the cache, and HF_HUB_OFFLINE is set" in said


@pytest.mark.parametrize(
    ("repositories", "gated", "message"),
    [
        pytest.param({}, (), "has no repository 'timm/tiny'", id="unknown"),
        pytest.param(
            {"timm/tiny": {"README.md": b"hello"}},
            (),
            "none of the files model.safetensors",
            id="without weights",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {"timm/tiny": {}},
            ("timm/tiny",),
            "accept its terms on its page, then set HF_TOKEN",
            id="gated",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_hub_that_refuses_is_quoted_with_the_remedy(tmp_path, repositories, gated, message):
    with HubServer(repositories, gated=gated) as hub:
        assert message in run(FETCH, HF_ENDPOINT=hub.url, HF_HOME=tmp_path)
