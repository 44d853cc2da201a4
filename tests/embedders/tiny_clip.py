"""A tiny CLIP with random weights in a file: all of open_clip's ways, in a moment and offline."""

from __future__ import annotations

import copy
import functools
import json
from pathlib import Path

NAME = "imagesearch-tiny-clip"

MODEL = {
    "embed_dim": 32,
    "vision_cfg": {
        "image_size": 64,
        "layers": 2,
        "width": 64,
        "patch_size": 16,
        "head_width": 32,
    },
    "text_cfg": {"context_length": 20, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
PREPROCESSING = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.25], "interpolation": "bicubic"}


def describe(preprocessing=None, *, vision=None, text=None, **more):
    """The content of an open_clip_config.json."""
    model = copy.deepcopy(MODEL) | more
    model["vision_cfg"] |= vision or {}
    model["text_cfg"] |= text or {}
    return {"model_cfg": model, "preprocess_cfg": PREPROCESSING | (preprocessing or {})}


@functools.cache
def _weights(model, seed):
    import torch

    from imagesearch.embedders._clip_models import open_clip

    config = json.loads(model)
    kind = open_clip.CustomTextCLIP if config.pop("custom_text", False) else open_clip.CLIP
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = kind(**config)
        for name, tensor in network.state_dict().items():
            # As they start, towers are nearly constant; trained ones are not.
            if "embedding" in name or name.endswith("proj"):
                tensor.mul_(8)
    return {name: tensor.contiguous() for name, tensor in network.state_dict().items()}


def weights(config=None, *, seed=0):
    return dict(_weights(json.dumps((config or describe())["model_cfg"]), seed))


def save_safetensors(path: Path, config=None, *, seed=0) -> Path:
    from safetensors.torch import save_file

    save_file(weights(config, seed=seed), path)
    return path


def save_folder(folder: Path, config=None, *, seed=0) -> Path:
    """The layout of a hub repository: open_clip_config.json and open_clip_model.safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    config = config or describe()
    (folder / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
    save_safetensors(folder / "open_clip_model.safetensors", config, seed=seed)
    return folder
