"""Options of `TimmEmbedder`: what a user may write, and the preprocessing that comes of it."""

from __future__ import annotations

import importlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from imagesearch._printable import shorten
from imagesearch.embedders import fingerprint
from imagesearch.embedders._inference import Inference, Runner, check_running, checked, unit
from imagesearch.embedders._preprocess import Preprocessing
from imagesearch.embedders._timm_models import (
    find_model,
    fold_batch_norms,
    load_model,
    resolve_model_data_config,
)
from imagesearch.embedders.device import choose_device
from imagesearch.errors import ConfigError, EmbeddingError
from imagesearch.types import EmbeddingSpec

__all__ = ["TimmEmbedder", "height_and_width", "json_values", "preprocessing_of"]


def preprocessing_of(
    network: torch.nn.Module,
    *,
    input_size: tuple[int, int] | None,
    method: Literal["fast", "exact"],
    overrides: Mapping[str, Any],
) -> Preprocessing:
    """Return what belongs to a network's weights, with what the user wants otherwise.

    Args:
        network: Of timm.
        input_size: (height, width) in pixels; None for the weights' own.
        method: How images are resized.
        overrides: Values in timm's names; None for the weights' own.

    Raises:
        ConfigError: The network does not take RGB, or a value is wrong.
    """
    resolved = resolve_model_data_config(network)
    for name, value in overrides.items():
        if value is not None:
            resolved[name] = value
    channels, height, width = resolved["input_size"]
    if channels != 3:
        raise ConfigError(f"the model wants {channels} channels; only RGB models are supported")
    return Preprocessing(
        input_size=input_size or (int(height), int(width)),
        crop_pct=float(resolved["crop_pct"]),
        crop_mode=str(resolved["crop_mode"]),
        interpolation=str(resolved["interpolation"]),
        mean=_channels("mean", resolved["mean"]),
        std=_channels("std", resolved["std"]),
        method=method,
    )


def _channels(name: str, values: Any) -> tuple[float, ...]:
    try:
        return tuple(float(value) for value in values)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name}={shorten(values)}; give three numbers") from error


def height_and_width(input_size: Any, img_size: Any) -> tuple[int, int] | None:
    """Return the size that the user wants, or None for the weights' own.

    Args:
        input_size: A side, or [height, width] in pixels; it wins.
        img_size: The same, among the arguments of the model.

    Raises:
        ConfigError: It is something else.

    Example:
        >>> height_and_width(None, 224), height_and_width([192, 256], None)
        ((224, 224), (192, 256))
    """
    wanted = img_size if input_size is None else input_size
    match wanted:
        case None:
            return None
        case bool():
            pass
        case int(side):
            return side, side
        case [int(height), int(width)] | [3, int(height), int(width)]:
            return height, width
    raise ConfigError(f"input_size={shorten(wanted)}; give a side or [height, width] in pixels")


def json_values(model_args: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a model as an index will store them.

    Raises:
        ConfigError: They are not made of JSON values.
    """
    try:
        return dict(json.loads(json.dumps(dict(model_args), allow_nan=False)))
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"model_args={shorten(model_args)} is not made of JSON values ({error}); an index must be "
            "able to store it"
        ) from error


_logger = logging.getLogger("imagesearch")


class TimmEmbedder:
    """Images to vectors by a pretrained network of timm, without its classifier.

    The default is ResNet50 with the weights tagged ``a1_in1k``: 2048 pooled features, scaled to
    unit length. The weights load on construction, so that a wrong name or a missing file is
    reported before anything else happens; weights from the hub are downloaded once and then taken
    from its cache without a request.

    The fingerprint covers the architecture, the weights (the pinned tag for those of the hub, the
    SHA-256 of the bytes for a file), `model_args`, all of the preprocessing, `precision` and
    `normalise`. It does not cover `device`, `batch_size` and, in fp32, `runtime`, which change
    vectors by no more than rounding. A file is not taken for the tag that it was downloaded from: an index made with one
    must be opened with it.

    Args:
        model: ``architecture.tag``, such as ``vit_small_patch14_dinov2.lvd142m``; an architecture
            alone takes its default tag; ``local-dir:FOLDER`` with config.json and
            model.safetensors; or ``hf-hub:owner/name[@revision]``.
        weights: A .safetensors file, a torch checkpoint (.pth, .pt, .bin; only tensors are read
            from it, no code runs) or a folder as above; None for the model's own, from the hub.
        model_args: Passed on to ``timm.create_model``, JSON values only.
        mean: Of each channel, in [0, 1]. This and the following: None for what belongs to the
            weights.
        std: Of each channel, in [0, 1], above 0.
        input_size: Side, or (height, width), in pixels.
        crop_pct: Share of the resized image's side that the crop keeps, above 0.
        crop_mode: ``center``, ``squash`` or ``border``.
        interpolation: ``bicubic``, ``bilinear``, ``lanczos``, ``nearest``, ``box`` or ``hamming``.
        preprocessing: ``fast`` resizes only what the crop keeps, and lets a decoder shrink large
            JPEGs; ``exact`` gives the very pixels of timm's evaluation transform.
        device: ``cpu``, ``cuda``, ``cuda:N``, ``mps``, or ``auto`` for the best that is there.
        batch_size: Images that go through the model together, ≥ 1; None for 8 on a CPU and 64 on
            a GPU.
        precision: ``fp32``, or ``bf16`` for about twice the speed on processors that have it, at
            cosine 0.996 to fp32; it is part of the fingerprint.
        runtime: ``torch``, or ``openvino`` for more speed on a CPU (extra ``openvino``). Vectors in
            fp32 are the same to rounding, and an index made with one may be opened with the other;
            in bf16 they differ by cosine 0.9998, and the runtime is part of the fingerprint.
        normalise: Whether to scale vectors to unit length.

    Raises:
        ConfigError: An option is wrong, there is no such model (close names are listed), or
            OpenVINO cannot run it.
        MissingDependencyError: ``runtime="openvino"`` without the package openvino.
        WeightsUnavailableError: The weights cannot be had, are damaged or belong to another
            model; the message lists the options.

    Example:
        >>> import imagesearch.errors
        >>> try:
        ...     TimmEmbedder("resnet5O")
        ... except imagesearch.errors.ConfigError as error:
        ...     print(str(error)[:56])
        timm has no model 'resnet5O'; did you mean 'resnet50', '
    """

    def __init__(
        self,
        model: str = "resnet50.a1_in1k",
        *,
        weights: str | Path | None = None,
        model_args: Mapping[str, Any] | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        input_size: int | Sequence[int] | None = None,
        crop_pct: float | None = None,
        crop_mode: Literal["center", "squash", "border"] | None = None,
        interpolation: str | None = None,
        preprocessing: Literal["fast", "exact"] = "fast",
        device: str = "auto",
        batch_size: int | None = None,
        precision: Literal["fp32", "bf16"] = "fp32",
        runtime: Literal["torch", "openvino"] = "torch",
        normalise: bool = True,
    ) -> None:
        check_running(batch_size, precision)
        arguments = json_values(model_args or {})
        size = height_and_width(input_size, arguments.get("img_size"))
        place = _place(runtime, device)

        source = find_model(model, weights)
        network = load_model(source, arguments, input_size=size)
        self._preprocessing = preprocessing_of(
            network,
            input_size=size,
            method=preprocessing,
            overrides={
                "crop_pct": crop_pct,
                "crop_mode": crop_mode,
                "interpolation": interpolation,
                "mean": mean,
                "std": std,
            },
        )
        _fold(network, self._preprocessing.input_size, source.architecture)
        self._inference = _runner(
            runtime,
            network,
            source.architecture,
            self._preprocessing,
            device=place,
            precision=precision,
            batch_size=batch_size,
        )
        self._normalise = normalise
        settings = {
            "model_args": arguments,
            **self._preprocessing.to_dict(),
            "precision": precision,
            "normalise": normalise,
        }
        if runtime != "torch" and precision != "fp32":
            # In fp32 the runtimes differ by rounding alone; in bf16 each rounds in places of its own.
            settings["runtime"] = runtime
        identity = {"kind": "timm", "model": source.architecture, "weights": source.identity}
        self._spec = EmbeddingSpec(
            name=source.label,
            dim=self._dim(),
            normalised=normalise,
            fingerprint=fingerprint(identity | settings),
            decode_size=self._preprocessing.decode_size,
            kind="timm",
            options={"model": source.model, "weights": source.weights, **settings},
        )

    @property
    def spec(self) -> EmbeddingSpec:
        """Identity and shape of the vectors."""
        return self._spec

    def preprocess(self, image: Image.Image) -> NDArray[np.uint8]:
        """Return the uint8 pixels (height, width, 3) that the model will see of an RGB image."""
        return self._preprocessing(image)

    def embed(self, batch: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """Turn results of `preprocess` into float32 vectors of shape (n, dim).

        Raises:
            EmbeddingError: The model failed, ran out of memory, gave NaN or infinity, or gave a
                zero vector that is to have unit length.
        """
        if len(batch) == 0:
            return np.empty((0, self._spec.dim), np.float32)
        finish = unit if self._normalise else checked
        return finish(self._inference.run(batch), name=self._spec.name, what="images")

    def __repr__(self) -> str:
        if not hasattr(self, "_spec"):
            return "<TimmEmbedder: construction failed>"
        return f"TimmEmbedder({self._spec.options['model']!r}, dim={self._spec.dim})"

    def _dim(self) -> int:
        height, width = self._preprocessing.input_size
        try:
            output = self._inference.run([np.zeros((height, width, 3), np.uint8)])
        except EmbeddingError as error:
            raise ConfigError(
                f"the model does not take images of {height} × {width} pixels: {error}"
            ) from error
        if output.ndim != 2:
            raise ConfigError(
                f"the model gives shape {output.shape[1:]} for an image, not one vector: leave "
                "global_pool in model_args as it is"
            )
        return int(output.shape[1])


def _place(runtime: str, device: str) -> torch.device:
    match runtime:
        case "torch":
            return choose_device(device)
        case "openvino":
            if device not in {"auto", "cpu"}:
                raise ConfigError(
                    f"runtime='openvino' runs on the CPU, and device={device!r} is none: use "
                    "runtime='torch', or leave device out"
                )
            # Where it is missing, that is said before the weights load.
            importlib.import_module("imagesearch.embedders._openvino")
            return torch.device("cpu")
    raise ConfigError(f"runtime={shorten(runtime)}; use 'torch' or 'openvino'")


def _runner(
    runtime: str,
    network: torch.nn.Module,
    architecture: str,
    preprocessing: Preprocessing,
    *,
    device: torch.device,
    precision: str,
    batch_size: int | None,
) -> Runner:
    mean, std = preprocessing.mean, preprocessing.std
    if runtime == "torch":
        return Inference(
            network, device=device, precision=precision, mean=mean, std=std, batch_size=batch_size
        )
    from imagesearch.embedders._openvino import OpenVinoInference

    return OpenVinoInference(
        network,
        name=architecture,
        precision=precision,
        mean=mean,
        std=std,
        input_size=preprocessing.input_size,
        batch_size=batch_size,
    )


def _fold(network: torch.nn.Module, size: tuple[int, int], architecture: str) -> None:
    generator = torch.Generator().manual_seed(0)
    probe = torch.rand((1, 3, *size), generator=generator) * 4 - 2
    try:
        count = fold_batch_norms(network, probe)
    except (RuntimeError, ValueError, AssertionError) as error:
        raise ConfigError(
            f"{architecture} does not take images of {size[0]} × {size[1]} pixels: "
            f"{' '.join(str(error).split())[:300]}"
        ) from error
    _logger.debug("%s: %d batch norms folded", architecture, count)
