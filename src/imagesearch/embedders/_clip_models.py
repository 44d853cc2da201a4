"""OpenCLIP models: names, pretrained tags, weights files and the library itself."""

from __future__ import annotations

import contextlib
import difflib
import importlib.util
import json
import logging
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from imagesearch._printable import printable
from imagesearch.embedders._hub import fetch_from_hub
from imagesearch.embedders._torchvision import import_torchvision
from imagesearch.embedders._weights import WeightsFile, find_weights
from imagesearch.errors import ConfigError, MissingDependencyError, WeightsUnavailableError

__all__ = [
    "DEFAULT_MODEL",
    "HUB_FILES",
    "OPTIONS",
    "PREPROCESSING",
    "ClipSource",
    "fetch_tag",
    "find_model",
    "known_model",
    "load_model",
    "open_clip",
    "preprocessing_settings",
    "require_transformers",
    "trained_tag",
]


try:
    import_torchvision()
    import open_clip
except ImportError as error:
    raise MissingDependencyError(
        f"the embedder 'clip' needs the package open_clip_torch ({error})",
        remedy='pip install "imagesearch-index[clip]"',
    ) from error

_logger = logging.getLogger("imagesearch")

HUB_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
"""Names of weights files in a hub repository, in order of preference."""

PREPROCESSING = ("mean", "std", "interpolation", "resize_mode")
"""Preprocessing settings in a tag's configuration."""

OPTIONS = (
    "a file: weights='open_clip_model.safetensors' (or .bin, .pt), downloaded by any means",
    (
        "a folder with open_clip_config.json, open_clip_model.safetensors and the files of the "
        "model's own tokenizer, if it has one: model='local-dir:FOLDER'"
    ),
)

DEFAULT_MODEL = "ViT-B-32"
_DEFAULT_TAG = "laion2b_s34b_b79k"


def known_model(model: str) -> tuple[str, dict[str, Any]]:
    """Return a model's canonical name and configuration.

    Raises:
        ConfigError: open_clip has no such model.
    """
    # open_clip also accepts ViT-B/32 for ViT-B-32.
    name = model.replace("/", "-")
    config = open_clip.get_model_config(name)
    if config is None:
        names = {listed.lower(): listed for listed in open_clip.list_models()}
        close = difflib.get_close_matches(name.lower(), names, 3, cutoff=0.4) or ["vit-b-32"]
        raise ConfigError(
            f"open_clip has no model {model!r}; did you mean "
            f"{', '.join(repr(names[match]) for match in close)}? open_clip.list_models() lists all; "
            "a folder is 'local-dir:FOLDER', a hub repository 'hf-hub:owner/name'"
        )
    return name, dict(config)


def trained_tag(
    name: str, pretrained: str | None, *, needed: bool
) -> tuple[str | None, dict[str, Any]]:
    """Return the canonical name of a tag, and the settings that its weights were trained with.

    Args:
        name: The model's name.
        pretrained: The tag; None to infer it.
        needed: Whether the weights are needed, not only their preprocessing.

    Raises:
        ConfigError: The model has no such tag, or the tag is ambiguous.
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
            + (f"several weights: set pretrained to one of {', '.join(tags)}" if tags else "")
            + ("" if tags else "no pretrained weights: give weights=FILE")
        )
    if needed:
        return tags[0], dict(open_clip.get_pretrained_cfg(name, tags[0]))
    alternatives = [open_clip.get_pretrained_cfg(name, tag) for tag in tags]
    kinds = [{key: cfg.get(key) for key in (*PREPROCESSING, "quick_gelu")} for cfg in alternatives]
    if any(kind != kinds[0] for kind in kinds):
        raise ConfigError(
            f"the preprocessing or activation of {name!r} depends on its weights: set pretrained to "
            f"the tag that the file is based on, one of {', '.join(tags)}"
        )
    return None, dict(alternatives[0]) if alternatives else {}


def fetch_tag(name: str, tag: str | None, settings: Mapping[str, Any]) -> Path:
    """Return the path of a tag's weights, from the hub or its cache.

    Raises:
        WeightsUnavailableError: The download failed, or they are not on the hub.
    """
    repo, _, filename = str(settings.get("hf_hub") or "").rpartition("/")
    if not repo:
        raise WeightsUnavailableError(
            f"the weights {tag!r} of {name!r} are not on the hub, but at "
            f"{settings.get('url') or 'an unspecified location'}: download them and give "
            f"weights=FILE with pretrained={tag!r}"
        )
    if not filename:
        return fetch_from_hub(repo, HUB_FILES, options=OPTIONS)
    safe = str(Path(filename).with_suffix(".safetensors"))
    return fetch_from_hub(repo, tuple(dict.fromkeys((safe, filename))), options=OPTIONS)


_CONFIG = "open_clip_config.json"
_IN_A_FOLDER = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pth",
)


@dataclass(frozen=True, slots=True)
class ClipSource:
    """A resolved model: its names, configuration and weights.

    Attributes:
        create_name: The argument of ``open_clip.create_model``: a name, or ``local-dir:FOLDER``.
        config: The model's configuration, with both towers.
        settings: The tag's other settings: mean, std, interpolation, resize_mode, quick_gelu.
        identity: The network's and weights' part of the fingerprint. JSON values.
        label: The display name.
        options: The embedder's options that resolve to this source.
        file: The weights.
        folder: The folder of the model's own tokenizer; None for the hub.
    """

    create_name: str
    config: Mapping[str, Any]
    settings: Mapping[str, Any]
    identity: Mapping[str, Any]
    label: str
    options: Mapping[str, Any]
    file: WeightsFile
    folder: Path | None = None


def find_model(model: str, pretrained: str | None, weights: str | Path | None) -> ClipSource:
    """Resolve a model's name, and download its weights if needed.

    Args:
        model: open_clip's name, ``local-dir:FOLDER``, or ``hf-hub:owner/name[@revision]``.
        pretrained: The tag; None for the default model's pinned tag, or for a model's only one.
        weights: A file or folder, or None for the tag's weights from the hub.

    Raises:
        ConfigError: The model or tag does not exist; close names are listed.
        WeightsUnavailableError: The weights are missing or damaged, or the download failed.
    """
    prefix, _, location = model.partition(":")
    if prefix in {"local-dir", "hf-hub"}:
        if not location:
            raise ConfigError(f"model={model!r} has no folder or repository after the colon")
        for name, value in (("weights", weights), ("pretrained", pretrained)):
            if value is not None:
                raise ConfigError(
                    f"model={model!r} includes its weights; remove {name}={str(value)!r}"
                )
        return _from_folder(Path(location)) if prefix == "local-dir" else _from_repository(location)
    path = None
    if weights is not None:
        path = Path(str(weights).removeprefix("local-dir:")).expanduser().absolute()
        if (path / _CONFIG).is_file():
            if model != DEFAULT_MODEL or pretrained is not None:
                raise ConfigError(
                    f"the folder {path} has its own {_CONFIG}: give only model='local-dir:{path}'"
                )
            return _from_folder(path)
    name, config = known_model(model)
    tag, settings = trained_tag(name, pretrained, needed=path is None)
    options = {"model": name, "pretrained": tag}
    if path is not None:
        file = WeightsFile.local(_weights_of(path))
        # A model without tags was registered by the program, and its configuration may change.
        network: object = name if open_clip.list_pretrained_tags_by_model(name) else config
        return ClipSource(
            name,
            config,
            settings,
            {"model": network, "weights": file.identity, "quick_gelu": _quick(config, settings)},
            f"open_clip/{name}@{file.short_identity}",
            {**options, "weights": str(path)},
            file,
        )
    identity = f"open_clip:{name}:{tag}"
    return ClipSource(
        name,
        config,
        settings,
        {"model": name, "weights": identity, "quick_gelu": _quick(config, settings)},
        f"open_clip/{name}:{tag}",
        options,
        WeightsFile(fetch_tag(name, tag, settings), identity),
    )


def _from_folder(location: Path) -> ClipSource:
    folder = location.expanduser().absolute()
    config, settings = _read_config(folder / _CONFIG)
    file = WeightsFile.local(_weights_of(folder))
    return ClipSource(
        f"local-dir:{folder}",
        config,
        settings,
        {"model": config, "weights": file.identity},
        f"open_clip/{folder.name}@{file.short_identity}",
        {"model": f"local-dir:{folder}"},
        file,
        folder,
    )


def _from_repository(location: str) -> ClipSource:
    repo, _, revision = location.partition("@")
    path = fetch_from_hub(repo, (_CONFIG,), revision=revision or None, options=OPTIONS)
    config, settings = _read_config(path)
    file = fetch_from_hub(repo, HUB_FILES, revision=revision or None, options=OPTIONS)
    identity = f"hf-hub:{location}"
    return ClipSource(
        f"local-dir:{path.parent}",
        config,
        settings,
        {"model": config, "weights": identity},
        f"open_clip/{identity}",
        {"model": identity},
        WeightsFile(file, identity),
    )


def _quick(config: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    return bool(config.get("quick_gelu") or settings.get("quick_gelu"))


def _read_config(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    if not path.is_file():
        raise WeightsUnavailableError(
            f"{path.parent} is not a folder with {_CONFIG} and {_IN_A_FOLDER[0]}: check the path, "
            "and download the whole repository"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        config = content["model_cfg"]
        missing = {"embed_dim", "vision_cfg", "text_cfg"} - set(config)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsUnavailableError(
            f"{path} is not the configuration of an open_clip model ({type(error).__name__}: "
            f"{error}): it needs the key 'model_cfg'"
        ) from error
    if missing:
        raise WeightsUnavailableError(
            f"{path} is not the configuration of an open_clip model: model_cfg lacks "
            f"{', '.join(sorted(missing))}"
        )
    return config, {
        key: value
        for key, value in (content.get("preprocess_cfg") or {}).items()
        if key in PREPROCESSING and value is not None
    }


def _weights_of(path: Path) -> Path:
    if path.is_dir():
        for name in _IN_A_FOLDER:
            if (path / name).is_file():
                return path / name
    return find_weights(path)


def load_model(source: ClipSource) -> nn.Module:
    """Build both towers and load all their weights.

    Raises:
        ConfigError: open_clip cannot build a network from the configuration.
        MissingDependencyError: The text tower needs transformers, which is not installed.
        WeightsUnavailableError: The weights are damaged, or belong to another network.
    """
    overrides = _overrides(source.config)
    forced = {name: source.settings[name] for name in PREPROCESSING if name in source.settings}
    # The random initialisation before the weights are loaded must not affect the program's generator.
    with _apart_from_the_root_logger(), torch.random.fork_rng(devices=[]):
        try:
            model: Any = open_clip.create_model(
                source.create_name,
                load_weights=False,
                pretrained_text=False,
                force_quick_gelu=bool(source.settings.get("quick_gelu")),
                force_preprocess_cfg=forced,
                **overrides,
            )
        # open_clip does not validate configurations: an invalid one fails anywhere.
        except Exception as error:
            raise ConfigError(
                f"open_clip cannot build {source.label}: its configuration is invalid, or needs "
                f"another version of open_clip ({_reason(error)})"
            ) from error
        try:
            open_clip.load_checkpoint(model, str(source.file.path), weights_only=True)
        # The errors of damaged files and of other networks have many classes.
        except Exception as error:
            _require_readable(source.file)
            raise WeightsUnavailableError(
                f"the weights {source.file.path} do not fit {source.label}: they belong to another "
                f"model ({_reason(error)})"
            ) from error
    network: nn.Module = model.eval().float()
    return network.requires_grad_(requires_grad=False)


def _overrides(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of a text tower with a local folder, so that no request is sent."""
    text = dict(config["text_cfg"])
    name = text.get("hf_model_name")
    if not name:
        return {}
    require_transformers(f"the text tower {name!r}")
    if not Path(name).is_dir():
        path = fetch_from_hub(
            name, ("config.json",), what="configuration of the text tower", options=()
        )
        text["hf_model_name"] = str(path.parent)
    return {"text_cfg": {**text, "hf_model_pretrained": False}}


def _require_readable(file: WeightsFile) -> None:
    if file.is_safetensors:
        file.shapes()
    else:
        file.read_pickle()


@contextlib.contextmanager
def _apart_from_the_root_logger() -> Iterator[None]:
    """Redirect the root logger's messages from open_clip to ours.

    ``logging.info`` adds a handler that prints to a root logger without handlers, permanently; and
    open_clip would warn of a random initialisation that is about to be overwritten.
    """
    root, silent, thread = logging.getLogger(), logging.NullHandler(), threading.get_ident()

    def redirect(record: logging.LogRecord) -> bool:
        ours = record.thread == thread and "open_clip" in record.pathname
        if ours:
            _logger.debug("open_clip: %s", printable(record.getMessage(), lines=True))
        return not ours

    root.addHandler(silent)
    root.addFilter(redirect)
    try:
        yield
    finally:
        root.removeFilter(redirect)
        root.removeHandler(silent)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def require_transformers(what: str) -> None:
    """Require the package transformers.

    Raises:
        MissingDependencyError: It is not installed.
    """
    if importlib.util.find_spec("transformers") is None:
        raise MissingDependencyError(
            f"{what} needs the package transformers, which the extra 'clip' does not install",
            remedy="pip install transformers",
        )


def preprocessing_settings(network: Any) -> dict[str, Any]:
    """Return a network's own preprocessing as JSON values."""
    own = open_clip.get_model_preprocess_cfg(network)
    size = own["size"]
    height, width = (size, size) if isinstance(size, int) else size
    return {
        "size": [int(height), int(width)],
        "mean": [float(value) for value in own["mean"]],
        "std": [float(value) for value in own["std"]],
        # For evaluation, open_clip treats any other value as bicubic.
        "interpolation": "bilinear" if own.get("interpolation") == "bilinear" else "bicubic",
        "resize_mode": own.get("resize_mode") or "shortest",
        "fill": int(own.get("fill_color") or 0),
    }
