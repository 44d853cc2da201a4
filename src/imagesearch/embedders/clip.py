"""open_clip networks: built, and filled with their weights."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from imagesearch._printable import printable, shorten
from imagesearch.embedders import fingerprint
from imagesearch.embedders._clip_models import PREPROCESSING, ClipSource, find_model, open_clip
from imagesearch.embedders._clip_text import (
    ImageTower,
    TextTower,
    make_tokenizer,
    require_transformers,
)
from imagesearch.embedders._hub import fetch_from_hub
from imagesearch.embedders._inference import Inference, check_running, unit
from imagesearch.embedders._preprocess import Preprocessing
from imagesearch.embedders._weights import WeightsFile
from imagesearch.embedders.device import choose_device
from imagesearch.errors import ConfigError, EmbeddingError, WeightsUnavailableError
from imagesearch.types import EmbeddingSpec

__all__ = ["OpenClipEmbedder", "load_model"]


_logger = logging.getLogger("imagesearch")


def load_model(source: ClipSource) -> nn.Module:
    """Build both towers and load their weights, every tensor of them.

    Raises:
        ConfigError: open_clip cannot build a network from the configuration.
        MissingDependencyError: The text tower is one of transformers, which is not installed.
        WeightsUnavailableError: The weights are damaged, or belong to another network.
    """
    overrides = _overrides(source.config)
    forced = {name: source.settings[name] for name in PREPROCESSING if name in source.settings}
    # Random starts are drawn before the weights are read; the program's own dice stay as they are.
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
        # open_clip takes configurations as they are, and fails wherever they first make no sense.
        except Exception as error:
            raise ConfigError(
                f"open_clip cannot build {source.label}: its configuration is wrong, or needs "
                f"another version of open_clip ({_reason(error)})"
            ) from error
        try:
            open_clip.load_checkpoint(model, str(source.file.path), weights_only=True)
        # Damaged files, other networks and half a checkpoint are all distinguished by class alone.
        except Exception as error:
            _require_readable(source.file)
            raise WeightsUnavailableError(
                f"the weights {source.file.path} do not fit {source.label}: they belong to another "
                f"model ({_reason(error)})"
            ) from error
    network: nn.Module = model.eval().float()
    return network.requires_grad_(requires_grad=False)


def _overrides(config: Mapping[str, Any]) -> dict[str, Any]:
    """Give a text tower of transformers its description as a folder, so that nothing is asked."""
    text = dict(config["text_cfg"])
    name = text.get("hf_model_name")
    if not name:
        return {}
    require_transformers(f"the text tower {name!r}")
    if not Path(name).is_dir():
        what = "description of the text tower"
        text["hf_model_name"] = str(
            fetch_from_hub(name, ("config.json",), what=what, ways_out=()).parent
        )
    return {"text_cfg": {**text, "hf_model_pretrained": False}}


def _require_readable(file: WeightsFile) -> None:
    if file.is_safetensors:
        file.shapes()
    else:
        file.read_pickle()


@contextlib.contextmanager
def _apart_from_the_root_logger() -> Iterator[None]:
    """Send what open_clip tells the root logger to ours.

    ``logging.info`` gives a root logger without handlers one that prints, for the rest of the
    program; and it would warn of a random start that is about to be overwritten.
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


# open_clip's own words for the three ways to make an image square.
_CROP_MODES = {"shortest": "center", "longest": "border", "squash": "squash"}


class OpenClipEmbedder:
    """Images and texts to vectors of one space, by an image and text model of open_clip.

    The default is ViT-B-32 with the weights tagged ``laion2b_s34b_b79k``: 512 numbers, English
    texts. For Chinese and other languages choose a multilingual model, such as
    ``ViT-B-16-SigLIP2`` with ``webli``. Preprocessing, activations and tokenizer are those that
    the weights were trained with, as open_clip states them. Vectors have unit length.

    The fingerprint covers the model, the weights (the pinned tag for those of the hub, the SHA-256
    of the bytes for a file), the preprocessing, the tokenizer and `precision`. It does not cover
    `device` and `batch_size`, which change vectors by no more than rounding.

    Args:
        model: A name of ``open_clip.list_models()``; ``local-dir:FOLDER`` with
            open_clip_config.json and open_clip_model.safetensors; or
            ``hf-hub:owner/name[@revision]``.
        pretrained: A tag of ``open_clip.list_pretrained()``; None for ``laion2b_s34b_b79k`` of
            the default model and for the only tag of another. Beside `weights`: the tag whose
            preprocessing and activations the file follows.
        weights: A .safetensors file, a torch checkpoint (.pt, .pth, .bin; only tensors are read
            from it, no code runs) or a folder as above; None for those of the tag, from the hub.
        preprocessing: ``fast`` resizes only what the crop keeps, and lets a decoder shrink large
            JPEGs; ``exact`` gives the very pixels of open_clip's evaluation transform.
        device: ``cpu``, ``cuda``, ``cuda:N``, ``mps``, or ``auto`` for the best that is there.
        batch_size: Images or texts that go through the model together, ≥ 1; None for 8 images on
            a CPU, 64 on a GPU, and 32 texts.
        precision: ``fp32``, or ``bf16``, which is faster on processors that have it; it is part
            of the fingerprint.

    Raises:
        ConfigError: An option is wrong, or there is no such model or tag (close names are listed).
        MissingDependencyError: The model's tokenizer needs transformers, which is not installed.
        WeightsUnavailableError: The weights or the tokenizer cannot be had, are damaged or belong
            to another model; the message lists the options.

    Example:
        >>> import imagesearch.errors
        >>> try:
        ...     OpenClipEmbedder("ViT-B-31")
        ... except imagesearch.errors.ConfigError as error:
        ...     print(str(error)[:59])
        open_clip has no model 'ViT-B-31'; did you mean 'ViT-B-32',
    """

    def __init__(
        self,
        model: str = "ViT-B-32",
        *,
        pretrained: str | None = None,
        weights: str | Path | None = None,
        preprocessing: Literal["fast", "exact"] = "fast",
        device: str = "auto",
        batch_size: int | None = None,
        precision: Literal["fp32", "bf16"] = "fp32",
    ) -> None:
        check_running(batch_size, precision)
        if preprocessing not in {"fast", "exact"}:
            raise ConfigError(f"preprocessing={shorten(preprocessing)}; use 'fast' or 'exact'")
        place = choose_device(device)

        source = find_model(model, pretrained, weights)
        tokenizer = make_tokenizer(source.create_name, source.config, source.folder)
        network = load_model(source)
        settings = _settings(network)
        self._preprocessing = _preprocessing_of(settings, preprocessing)
        self._images = Inference(
            ImageTower(network),
            device=place,
            precision=precision,
            mean=self._preprocessing.mean,
            std=self._preprocessing.std,
            batch_size=batch_size,
        )
        self._texts = TextTower(network, tokenizer, device=place, batch_size=batch_size)
        identity = {
            "kind": "clip",
            **source.identity,
            "image": settings,
            "preprocessing": preprocessing,
            "tokenizer": tokenizer.identity,
            "precision": precision,
        }
        self._spec = EmbeddingSpec(
            name=source.label,
            dim=self._dim(),
            normalised=True,
            fingerprint=fingerprint(identity),
            decode_size=self._preprocessing.decode_size,
            kind="clip",
            options={**source.options, "preprocessing": preprocessing, "precision": precision},
        )

    @property
    def spec(self) -> EmbeddingSpec:
        """Identity and shape of the vectors."""
        return self._spec

    def preprocess(self, image: Image.Image) -> NDArray[np.uint8]:
        """Return the uint8 pixels (height, width, 3) that the model will see of an RGB image."""
        return self._preprocessing(image)

    def embed(self, batch: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """Turn results of `preprocess` into float32 unit vectors of shape (n, dim).

        Raises:
            EmbeddingError: The model failed, ran out of memory, or gave NaN, infinity or zero.
        """
        if len(batch) == 0:
            return np.empty((0, self._spec.dim), np.float32)
        return unit(self._images.run(batch), name=self._spec.name, what="images")

    def embed_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Turn texts into float32 unit vectors of shape (n, dim), comparable with those of images.

        A text that is longer than the model's context (77 tokens for CLIP, 64 for SigLIP) is cut
        off by the tokenizer's own rule. An empty text has a vector too, that of no words.

        Raises:
            EmbeddingError: Something else than a list of texts, or the model failed.
        """
        if isinstance(texts, str):
            raise EmbeddingError(f"embed_text takes a list of texts: [{texts[:40]!r}]")
        if len(texts) == 0:
            return np.empty((0, self._spec.dim), np.float32)
        return unit(self._texts.run(texts), name=self._spec.name, what="texts")

    def __repr__(self) -> str:
        if not hasattr(self, "_spec"):
            return "<OpenClipEmbedder: construction failed>"
        return f"OpenClipEmbedder({self._spec.name!r}, dim={self._spec.dim})"

    def _dim(self) -> int:
        height, width = self._preprocessing.input_size
        try:
            image = self._images.run([np.zeros((height, width, 3), np.uint8)])
            text = self._texts.run(["a"])
        except EmbeddingError as error:
            raise ConfigError(
                f"the model does not take an image of {height} × {width} pixels, or the tokens of "
                f"its own tokenizer: its configuration is wrong ({error})"
            ) from error
        if image.ndim != 2 or image.shape != text.shape:
            raise ConfigError(
                f"the model gives shape {image.shape[1:]} for an image and {text.shape[1:]} for a "
                "text, not one vector each of one space: its configuration is wrong"
            )
        return int(image.shape[1])


def _settings(network: Any) -> dict[str, Any]:
    """Return the model's own preprocessing as JSON values."""
    own = open_clip.get_model_preprocess_cfg(network)
    size = own["size"]
    height, width = (size, size) if isinstance(size, int) else size
    return {
        "size": [int(height), int(width)],
        "mean": [float(value) for value in own["mean"]],
        "std": [float(value) for value in own["std"]],
        # Whatever else is said there, open_clip evaluates with one of these two.
        "interpolation": "bilinear" if own.get("interpolation") == "bilinear" else "bicubic",
        "resize_mode": own.get("resize_mode") or "shortest",
        "fill": int(own.get("fill_color") or 0),
    }


def _preprocessing_of(settings: dict[str, Any], method: Literal["fast", "exact"]) -> Preprocessing:
    mode = settings["resize_mode"]
    if mode not in _CROP_MODES:
        raise ConfigError(
            f"resize_mode={shorten(mode)} is unknown; use one of {', '.join(_CROP_MODES)}"
        )
    height, width = settings["size"]
    oblong = height != width and mode == "shortest"
    return Preprocessing(
        input_size=(height, width),
        crop_pct=1.0,
        crop_mode=_CROP_MODES[mode],
        # open_clip's transform for an oblong input does not pass the interpolation on.
        interpolation="bicubic" if oblong else settings["interpolation"],
        mean=tuple(settings["mean"]),
        std=tuple(settings["std"]),
        method=method,
        fill=(settings["fill"],) * 3,
    )
