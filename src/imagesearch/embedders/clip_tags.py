"""open_clip's catalogue: models by name, and the weights that were trained for them by tag."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imagesearch.embedders.clip_library import open_clip
from imagesearch.embedders.hub import fetch_from_hub
from imagesearch.errors import ConfigError, WeightsUnavailableError

__all__ = [
    "DEFAULT_MODEL",
    "HUB_FILES",
    "PREPROCESSING",
    "WAYS_OUT",
    "fetch_tag",
    "known_model",
    "trained_tag",
]

HUB_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
"""Names of weights in a repository of the hub, the best first."""

PREPROCESSING = ("mean", "std", "interpolation", "resize_mode")
"""What a tag says of the images that it was trained on."""

WAYS_OUT = (
    "a file: weights='open_clip_model.safetensors' (or .bin, .pt), downloaded by any means",
    (
        "a folder with open_clip_config.json, open_clip_model.safetensors and, where the model has "
        "one of its own, the tokenizer's files: model='local-dir:FOLDER'"
    ),
)

DEFAULT_MODEL = "ViT-B-32"
_DEFAULT_TAG = "laion2b_s34b_b79k"


def known_model(model: str) -> tuple[str, dict[str, Any]]:
    """Return a model's own name and configuration.

    Raises:
        ConfigError: open_clip has no such model.
    """
    # open_clip itself takes ViT-B/32 for ViT-B-32.
    name = model.replace("/", "-")
    config = open_clip.get_model_config(name)
    if config is None:
        known = {each.lower(): each for each in open_clip.list_models()}
        close = difflib.get_close_matches(name.lower(), known, 3, cutoff=0.4) or ["vit-b-32"]
        raise ConfigError(
            f"open_clip has no model {model!r}; did you mean "
            f"{', '.join(repr(known[each]) for each in close)}? open_clip.list_models() lists all; "
            "a folder is 'local-dir:FOLDER', a repository of the hub 'hf-hub:owner/name'"
        )
    return name, dict(config)


def trained_tag(
    name: str, pretrained: str | None, *, needed: bool
) -> tuple[str | None, dict[str, Any]]:
    """Return the tag under its own name, and the settings that its weights were trained with.

    Args:
        name: Of the model.
        pretrained: The tag; None where it can be told without.
        needed: Whether weights have to be fetched, and not only preprocessing to be known.

    Raises:
        ConfigError: The model has no such tag, or several that it may be.
    """
    tags: list[str] = open_clip.list_pretrained_tags_by_model(name)
    if pretrained is not None:
        tag = pretrained.lower().replace("-", "_")
        if tag not in tags:
            close = difflib.get_close_matches(tag, tags, 1, cutoff=0.4)
            raise ConfigError(
                f"open_clip's {name!r} has no weights tagged {pretrained!r}"
                f"{f'; did you mean {close[0]!r}?' if close else '.'} It has "
                f"{', '.join(tags) or 'none at all: give weights=FILE'}"
            )
        return tag, dict(open_clip.get_pretrained_cfg(name, tag))
    if name == DEFAULT_MODEL:
        tag = _DEFAULT_TAG
        return (tag if needed else None), dict(open_clip.get_pretrained_cfg(name, tag))
    if needed and len(tags) != 1:
        raise ConfigError(
            f"open_clip's {name!r} has "
            + (f"several weights: give pretrained= one of {', '.join(tags)}" if tags else "")
            + ("" if tags else "no weights of its own: give weights=FILE")
        )
    if needed:
        return tags[0], dict(open_clip.get_pretrained_cfg(name, tags[0]))
    alternatives = [open_clip.get_pretrained_cfg(name, tag) for tag in tags]
    kinds = [{key: cfg.get(key) for key in (*PREPROCESSING, "quick_gelu")} for cfg in alternatives]
    if any(kind != kinds[0] for kind in kinds):
        raise ConfigError(
            f"weights of {name!r} come with different preprocessing or activations, and the file "
            "does not say which: give pretrained= the tag that it follows, one of "
            f"{', '.join(tags)}"
        )
    return None, dict(alternatives[0]) if alternatives else {}


def fetch_tag(name: str, tag: str | None, settings: Mapping[str, Any]) -> Path:
    """Return the weights of a tag, from the hub or its cache.

    Raises:
        WeightsUnavailableError: They cannot be had, or are not on the hub.
    """
    repo, _, filename = str(settings.get("hf_hub") or "").rpartition("/")
    if not repo:
        raise WeightsUnavailableError(
            f"the weights {tag!r} of {name!r} are not on the hub, but at "
            f"{settings.get('url') or 'a place that open_clip does not name'}: download them and "
            f"give weights=FILE beside pretrained={tag!r}"
        )
    if not filename:
        return fetch_from_hub(repo, HUB_FILES, ways_out=WAYS_OUT)
    safe = str(Path(filename).with_suffix(".safetensors"))
    return fetch_from_hub(repo, tuple(dict.fromkeys((safe, filename))), ways_out=WAYS_OUT)
