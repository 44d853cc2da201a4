"""OpenClipEmbedder: images and texts to vectors of one space by a model of open_clip."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imagesearch._deprecation import deprecated_options
from imagesearch._printable import shorten
from imagesearch._validation import one_of
from imagesearch.embedders import choose_device, fingerprint
from imagesearch.embedders._preprocess import ImageTransform
from imagesearch.errors import ConfigError, EmbeddingError
from imagesearch.types import CheckResult, EmbeddingSpec

__all__ = ["OpenClipEmbedder"]

# open_clip's names of the three ways to make an image square.
_CROP_MODES = {"shortest": "center", "longest": "border", "squash": "squash"}


def _upgrade(options: Mapping[str, Any]) -> dict[str, Any]:
    return {"resize" if name == "preprocessing" else name: options[name] for name in options}


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
            the default model and for the only tag of another. With `weights`: the tag whose
            preprocessing and activations the file needs.
        weights: A .safetensors file, a torch checkpoint (.pt, .pth, .bin; only tensors are read
            from it, no code runs) or a folder as above; None for those of the tag, from the hub.
        resize: ``fast`` resizes only what the crop keeps, and lets a decoder shrink large JPEGs;
            ``exact`` gives exactly the pixels of open_clip's evaluation transform.
        device: ``cpu``, ``cuda``, ``cuda:N``, ``mps``, or ``auto`` for the best available one.
        batch_size: Images or texts that go through the model together, ≥ 1; None for 8 images on
            a CPU, 64 on a GPU, and 32 texts.
        precision: ``fp32``, or ``bf16``, which is faster on processors that support it; it is part
            of the fingerprint.

    Raises:
        ConfigError: An option is invalid, or the model or tag is unknown (close names are listed).
        MissingDependencyError: PyTorch, open_clip or, if the model's tokenizer needs it,
            transformers is missing.
        WeightsUnavailableError: The weights or the tokenizer cannot be downloaded, are damaged or
            belong to another model; the message lists the options.

    Example:
        >>> import imagesearch.errors
        >>> try:
        ...     OpenClipEmbedder("ViT-B-31")
        ... except imagesearch.errors.ConfigError as error:
        ...     print(str(error)[:59])
        open_clip has no model 'ViT-B-31'; did you mean 'ViT-B-32',
    """

    @deprecated_options(_upgrade)
    def __init__(
        self,
        model: str = "ViT-B-32",
        *,
        pretrained: str | None = None,
        weights: str | Path | None = None,
        resize: Literal["fast", "exact"] = "fast",
        device: str = "auto",
        batch_size: int | None = None,
        precision: Literal["fp32", "bf16"] = "fp32",
    ) -> None:
        # Imported here, so that the class can be imported without PyTorch and open_clip.
        from imagesearch.embedders._inference import Inference, check_running, unit

        check_running(batch_size, precision, choices=("fp32", "bf16"))
        one_of(resize, "resize", ("fast", "exact"))
        location = choose_device(device)

        from imagesearch.embedders._clip_models import (
            find_model,
            load_model,
            preprocessing_settings,
        )
        from imagesearch.embedders._clip_text import ImageTower, TextTower, make_tokenizer

        source = find_model(model, pretrained, weights)
        tokenizer = make_tokenizer(source.create_name, source.config, source.folder)
        network = load_model(source)
        settings = preprocessing_settings(network)
        self._transform = _transform(settings, resize)
        self._images = Inference(
            ImageTower(network),
            device=location,
            precision=precision,
            mean=self._transform.mean,
            std=self._transform.std,
            batch_size=batch_size,
        )
        self._texts = TextTower(network, tokenizer, device=location, batch_size=batch_size)
        self._unit = unit
        # The keys are those of the first release, because they decide the fingerprint.
        identity = {
            "kind": "clip",
            **source.identity,
            "image": settings,
            "preprocessing": resize,
            "tokenizer": tokenizer.identity,
            "precision": precision,
        }
        self._spec = EmbeddingSpec(
            name=source.label,
            dim=self._dim(),
            normalised=True,
            fingerprint=fingerprint(identity),
            decode_size=self._transform.decode_size,
            kind="clip",
            options={**source.options, "resize": resize, "precision": precision},
        )

    @staticmethod
    def upgrade_options(options: Mapping[str, Any]) -> dict[str, Any]:
        """Return options that 0.1 stored in an index or read from a config file, in today's form.

        Example:
            >>> OpenClipEmbedder.upgrade_options({"preprocessing": "exact"})
            {'resize': 'exact'}
        """
        return _upgrade(options)

    @classmethod
    def diagnose(cls, options: Mapping[str, Any]) -> Iterator[CheckResult]:
        """Check the device, find the weights and make the tokenizer; see `SupportsDiagnosis`.

        Raises:
            ImageSearchError: The device, the model, its weights or tokenizer are not available.
        """
        from imagesearch.embedders._clip_models import find_model
        from imagesearch.embedders._clip_text import make_tokenizer
        from imagesearch.embedders._weights import check_weights

        choose_device(options["device"])
        source = find_model(options["model"], options["pretrained"], options["weights"])
        make_tokenizer(source.create_name, source.config, source.folder)
        yield check_weights(source.file)

    @property
    def spec(self) -> EmbeddingSpec:
        """Identity and shape of the vectors."""
        return self._spec

    @property
    def preferred_batch_size(self) -> int:
        """Images in one call of `embed`: `batch_size`, on a CPU for every processor."""
        return self._images.group_size

    def preprocess(self, image: Image.Image) -> NDArray[np.uint8]:
        """Return the uint8 pixels (height, width, 3) that the model will see of an RGB image."""
        return self._transform(image)

    def embed(self, batch: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """Turn results of `preprocess` into float32 unit vectors of shape (n, dim).

        Raises:
            EmbeddingError: The model failed, ran out of memory, or gave NaN, infinity or zero.
        """
        if len(batch) == 0:
            return np.empty((0, self._spec.dim), np.float32)
        return self._unit(self._images.run(batch), name=self._spec.name, what="images")

    def embed_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Turn texts into float32 unit vectors of shape (n, dim), comparable with those of images.

        A text that exceeds the model's context (77 tokens for CLIP, 64 for SigLIP) is truncated by
        the tokenizer's own rule. An empty text has a vector, too.

        Raises:
            EmbeddingError: `texts` is not a list of texts, or the model failed.
        """
        if isinstance(texts, str):
            raise EmbeddingError(f"texts must be a list of texts, such as [{texts[:40]!r}]")
        if len(texts) == 0:
            return np.empty((0, self._spec.dim), np.float32)
        return self._unit(self._texts.run(texts), name=self._spec.name, what="texts")

    def __repr__(self) -> str:
        if not hasattr(self, "_spec"):
            return "<OpenClipEmbedder: construction failed>"
        return f"OpenClipEmbedder({self._spec.name!r}, dim={self._spec.dim})"

    def _dim(self) -> int:
        height, width = self._transform.size
        try:
            image = self._images.run([np.zeros((height, width, 3), np.uint8)])
            text = self._texts.run(["a"])
        except EmbeddingError as error:
            raise ConfigError(
                f"the model does not take images of {height} × {width} pixels, or the tokens of its "
                f"own tokenizer: its configuration is invalid ({error})"
            ) from error
        if image.ndim != 2 or image.shape != text.shape:
            raise ConfigError(
                f"the model must give vectors of one length, got shape {image.shape[1:]} for an "
                f"image and {text.shape[1:]} for a text: its configuration is invalid"
            )
        return int(image.shape[1])


def _transform(settings: dict[str, Any], method: Literal["fast", "exact"]) -> ImageTransform:
    mode = settings["resize_mode"]
    if mode not in _CROP_MODES:
        raise ConfigError(
            f"resize_mode must be one of {', '.join(_CROP_MODES)}, got {shorten(mode)}"
        )
    height, width = settings["size"]
    oblong = height != width and mode == "shortest"
    return ImageTransform(
        size=(height, width),
        crop_pct=1.0,
        crop_mode=_CROP_MODES[mode],
        # open_clip's transform for an oblong input ignores the interpolation.
        interpolation="bicubic" if oblong else settings["interpolation"],
        mean=tuple(settings["mean"]),
        std=tuple(settings["std"]),
        method=method,
        fill=(settings["fill"],) * 3,
    )
