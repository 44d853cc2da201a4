"""A tiny network with random weights in a file: all of timm's ways, in a moment and without a net."""

from __future__ import annotations

import json
from pathlib import Path

from imagesearch.embedders._torchvision import import_torchvision

ARCHITECTURE = "test_resnet"


def make_network(architecture: str = ARCHITECTURE, *, seed: int = 0, num_classes: int = 10):
    import_torchvision()
    import timm
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = timm.create_model(architecture, pretrained=False, num_classes=num_classes).eval()
        # Fresh batch norms change nothing; used ones show whether they are applied and folded.
        for name, tensor in network.state_dict().items():
            if name.endswith("running_mean"):
                tensor.normal_(0, 0.2)
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2.0)
    return network


def save_safetensors(path: Path, architecture: str = ARCHITECTURE, **settings) -> Path:
    from safetensors.torch import save_file

    save_file(make_network(architecture, **settings).state_dict(), path)
    return path


def save_folder(folder: Path, architecture: str = ARCHITECTURE, **settings) -> Path:
    """The layout of a hub repository: config.json and model.safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    save_safetensors(folder / "model.safetensors", architecture, **settings)
    network = make_network(architecture, **settings)
    config = {
        "architecture": architecture,
        "num_classes": 10,
        "num_features": network.num_features,
        "pretrained_cfg": {
            "tag": "mine",
            "input_size": [3, 96, 96],
            "interpolation": "bilinear",
            "crop_pct": 0.9,
            "crop_mode": "center",
            "mean": [0.1, 0.2, 0.3],
            "std": [0.4, 0.5, 0.6],
            "num_classes": 10,
            "first_conv": "conv1.0",
            "classifier": "fc",
        },
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder
