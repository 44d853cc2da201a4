"""TimmEmbedder: images to vectors by a pretrained network of timm."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imagesearch._deprecation import deprecated_options
from imagesearch._printable import shorten
from imagesearch.embedders import choose_device, fingerprint
from imagesearch.embedders._preprocess import ImageTransform, Preprocess
from imagesearch.errors import ConfigError, EmbeddingError
from imagesearch.types import CheckResult, EmbeddingSpec

if TYPE_CHECKING:
    import torch

    from imagesearch.embedders._inference import Runner

__all__ = ["TimmEmbedder"]

# Options of 0.1, with the fields of `Preprocess` that took their place.
_MOVED = {
    "mean": "mean",
    "std": "std",
    "input_size": "size",
    "crop_pct": "crop_pct",
    "crop_mode": "crop_mode",
    "interpolation": "interpolation",
}


def _upgrade(options: Mapping[str, Any]) -> dict[str, Any]:
    upgraded = {name: value for name, value in options.items() if name not in _MOVED}
    if "preprocessing" in upgraded:
        upgraded["resize"] = upgraded.pop("preprocessing")
    moved = {_MOVED[name]: options[name] for name in options if name in _MOVED}
    if moved:
        fields = asdict(Preprocess.of(options.get("preprocess")))
        upgraded["preprocess"] = {**fields, **moved}
    return upgraded


class TimmEmbedder:
    """Images to vectors by a pretrained network of timm, without its classifier.

    The default is ResNet50 with the weights tagged ``a1_in1k``: 2048 pooled features, scaled to
    unit length. The weights are loaded by the constructor, so that a wrong name or a missing file
    is reported at once. Weights from the hub are downloaded once and then read from its cache
    without a request.

    The fingerprint covers the architecture, the weights (the pinned tag for weights from the hub,
    the SHA-256 of the bytes for a file), `model_args`, all preprocessing and `normalise`. It does
    not cover `device`, `batch_size`, `runtime` and `precision`, so that an index made on one machine
    is opened on another. A file has another fingerprint than the tag that it was downloaded from:
    an index made with the file must be opened with the file.

    Args:
        model: ``architecture.tag``, such as ``vit_small_patch14_dinov2.lvd142m``; an architecture
            alone takes its default tag; ``local-dir:FOLDER`` with config.json and
            model.safetensors; or ``hf-hub:owner/name[@revision]``.
        weights: A .safetensors file, a torch checkpoint (.pth, .pt, .bin; only tensors are read
            from it, no code runs) or a folder as above; None for the model's own, from the hub.
        model_args: Arguments for ``timm.create_model``, JSON values only.
        preprocess: Settings that differ from those that the weights were trained with: a
            `Preprocess`, or a table of its fields; None for none.
        resize: ``fast`` resizes only what the crop keeps, and lets a decoder shrink large JPEGs;
            ``exact`` gives exactly the pixels of timm's evaluation transform.
        device: ``cpu``, ``cuda``, ``cuda:N``, ``mps``, or ``auto`` for the best available one.
        batch_size: Images that go through the model together, ≥ 1; None for 8 on a CPU and 64 on
            a GPU.
        precision: ``fp32``; ``bf16`` for about twice the speed on hardware that computes in it; or
            ``auto`` for bf16 on such hardware and fp32 elsewhere. Vectors of both have a cosine of
            about 0.996 and may be mixed in one index: with mobilenetv2_100, no combination of
            queries and gallery changed R-precision by more than 0.11 points (95 % intervals within
            ± 0.5 points; ``benchmarks/precision.py``).
        runtime: ``torch``, or ``openvino`` for more speed on a CPU (extra ``openvino``). Vectors in
            fp32 are equal up to rounding; in bf16 their cosine is 0.9998.
        normalise: Whether to scale vectors to unit length.

    Raises:
        ConfigError: An option is invalid, the model is unknown (close names are listed), or
            OpenVINO cannot run it.
        MissingDependencyError: PyTorch or timm is missing, or ``runtime="openvino"`` without the
            package openvino.
        WeightsUnavailableError: The weights cannot be downloaded, are damaged or belong to another
            model; the message lists the options.

    Example:
        >>> import imagesearch.errors
        >>> try:
        ...     TimmEmbedder("resnet5O")
        ... except imagesearch.errors.ConfigError as error:
        ...     print(str(error)[:56])
        timm has no model 'resnet5O'; did you mean 'resnet50', '
    """

    @deprecated_options(_upgrade)
    def __init__(
        self,
        model: str = "resnet50.a1_in1k",
        *,
        weights: str | Path | None = None,
        model_args: Mapping[str, Any] | None = None,
        preprocess: Preprocess | Mapping[str, Any] | None = None,
        resize: Literal["fast", "exact"] = "fast",
        device: str = "auto",
        batch_size: int | None = None,
        precision: Literal["auto", "fp32", "bf16"] = "auto",
        runtime: Literal["torch", "openvino"] = "torch",
        normalise: bool = True,
    ) -> None:
        # Imported here, so that the class can be imported without PyTorch.
        from imagesearch.embedders._inference import check_running, checked, choose_precision, unit

        check_running(batch_size, precision, choices=("auto", "fp32", "bf16"))
        arguments = _json_values(model_args or {})
        changes = Preprocess.of(preprocess)
        size = _height_and_width(
            arguments.get("img_size") if changes.size is None else changes.size
        )
        location = _device(runtime, device)

        from imagesearch.embedders._timm_models import (
            find_model,
            fold_for_inference,
            load_model,
            resolve_model_data_config,
        )

        source = find_model(model, weights)
        network = load_model(source, arguments, input_size=size)
        self._transform = _transform(resolve_model_data_config(network), changes, size, resize)
        fold_for_inference(network, self._transform.size, source.architecture)
        self._inference = _runner(
            runtime,
            network,
            source.architecture,
            self._transform,
            device=location,
            precision=choose_precision(precision, location),
            batch_size=batch_size,
        )
        self._finish = unit if normalise else checked
        settings: dict[str, Any] = {"model_args": arguments, "normalise": normalise}
        pixels = self._transform.to_dict()
        # The keys are those of the first release, because they decide the fingerprint.
        identity = {
            "kind": "timm",
            "model": source.architecture,
            "weights": source.identity,
            **settings,
            **{old: pixels[new] for old, new in _MOVED.items()},
            "preprocessing": resize,
            "precision": "fp32",
        }
        # Earlier releases had bf16 and its runtime in the fingerprint.
        half = identity | {"precision": "bf16"}
        aliases = (fingerprint(half), fingerprint(half | {"runtime": "openvino"}))
        settings["precision"] = precision
        options = {"model": source.model, "weights": source.weights, **settings}
        self._spec = EmbeddingSpec(
            name=source.label,
            dim=self._dim(),
            normalised=normalise,
            fingerprint=fingerprint(identity),
            aliases=aliases,
            decode_size=self._transform.decode_size,
            kind="timm",
            options={**options, "preprocess": pixels, "resize": resize},
        )

    @staticmethod
    def upgrade_options(options: Mapping[str, Any]) -> dict[str, Any]:
        """Return options that 0.1 stored in an index or read from a config file, in today's form.

        Example:
            >>> TimmEmbedder.upgrade_options({"model": "resnet50", "preprocessing": "exact"})
            {'model': 'resnet50', 'resize': 'exact'}
        """
        return _upgrade(options)

    @classmethod
    def diagnose(cls, options: Mapping[str, Any]) -> Iterator[CheckResult]:
        """Check the device and find the weights, without loading them; see `SupportsDiagnosis`.

        Raises:
            ImageSearchError: The device, the model or its weights are not available.
        """
        from imagesearch.embedders._timm_models import find_model
        from imagesearch.embedders._weights import check_weights

        _device(options["runtime"], options["device"])
        yield check_weights(find_model(options["model"], options["weights"]).file)

    @property
    def spec(self) -> EmbeddingSpec:
        """Identity and shape of the vectors."""
        return self._spec

    @property
    def preferred_batch_size(self) -> int:
        """Images in one call of `embed`: `batch_size`, on a CPU for every processor."""
        return self._inference.group_size

    def preprocess(self, image: Image.Image) -> NDArray[np.uint8]:
        """Return the uint8 pixels (height, width, 3) that the model will see of an RGB image."""
        return self._transform(image)

    def embed(self, batch: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """Turn results of `preprocess` into float32 vectors of shape (n, dim).

        Raises:
            EmbeddingError: The model failed, ran out of memory, or gave NaN, infinity or, with
                `normalise`, a zero vector.
        """
        if len(batch) == 0:
            return np.empty((0, self._spec.dim), np.float32)
        return self._finish(self._inference.run(batch), name=self._spec.name, what="images")

    def __repr__(self) -> str:
        if not hasattr(self, "_spec"):
            return "<TimmEmbedder: construction failed>"
        return f"TimmEmbedder({self._spec.options['model']!r}, dim={self._spec.dim})"

    def _dim(self) -> int:
        height, width = self._transform.size
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


def _transform(
    trained: Mapping[str, Any],
    changes: Preprocess,
    size: tuple[int, int] | None,
    method: Literal["fast", "exact"],
) -> ImageTransform:
    """Return the transform of a network's images.

    Args:
        trained: What the weights were trained with, as timm resolves it.
        changes: The user's settings; None for what the weights were trained with.
        size: (height, width) in pixels; None for that of the weights.
        method: As for `ImageTransform`.

    Raises:
        ConfigError: The network does not take RGB, or a setting is invalid.
    """
    settings = {
        name: trained[name] if value is None else value
        for name, value in asdict(changes).items()
        if name != "size"
    }
    channels, height, width = trained["input_size"]
    if channels != 3:
        raise ConfigError(f"the model takes {channels} channels; only RGB models are supported")
    return ImageTransform(
        size=size or (int(height), int(width)),
        crop_pct=float(settings["crop_pct"]),
        crop_mode=str(settings["crop_mode"]),
        interpolation=str(settings["interpolation"]),
        mean=_channels("mean", settings["mean"]),
        std=_channels("std", settings["std"]),
        method=method,
    )


def _channels(name: str, values: Any) -> tuple[float, ...]:
    try:
        return tuple(float(value) for value in values)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name} must be three numbers, got {shorten(values)}") from error


def _height_and_width(size: Any) -> tuple[int, int] | None:
    match size:
        case None:
            return None
        case bool():
            pass
        case int(side):
            return side, side
        case [int(height), int(width)] | [3, int(height), int(width)]:
            return height, width
    raise ConfigError(f"size must be a side or (height, width) in pixels, got {shorten(size)}")


def _json_values(model_args: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return dict(json.loads(json.dumps(dict(model_args), allow_nan=False)))
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"model_args must consist of JSON values, because an index stores them, got "
            f"{shorten(model_args)} ({error})"
        ) from error


def _device(runtime: str, device: str) -> torch.device:
    match runtime:
        case "torch":
            return choose_device(device)
        case "openvino":
            if device not in {"auto", "cpu"}:
                raise ConfigError(
                    f"runtime='openvino' runs on the CPU only, got device={device!r}: use "
                    "runtime='torch', or leave device out"
                )
            # A missing package is reported before the weights load.
            importlib.import_module("imagesearch.embedders._openvino")
            return choose_device("cpu")
    raise ConfigError(f"runtime must be 'torch' or 'openvino', got {shorten(runtime)}")


def _runner(
    runtime: str,
    network: torch.nn.Module,
    architecture: str,
    transform: ImageTransform,
    *,
    device: torch.device,
    precision: str,
    batch_size: int | None,
) -> Runner:
    mean, std = transform.mean, transform.std
    if runtime == "torch":
        from imagesearch.embedders._inference import Inference

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
        input_size=transform.size,
        batch_size=batch_size,
    )
