"""timm models: resolve names, load networks, and verify that all their weights were loaded."""

from __future__ import annotations

import dataclasses
import difflib
import json
import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from imagesearch.embedders._hub import fetch_from_hub
from imagesearch.embedders._torchvision import import_torchvision
from imagesearch.embedders._weights import WeightsFile, find_weights
from imagesearch.errors import ConfigError, MissingDependencyError, WeightsUnavailableError

try:
    import_torchvision()
    import timm
    from timm.data import resolve_model_data_config
    from timm.layers import BatchNormAct2d, Conv2dSame
    from timm.models import get_pretrained_cfg
except ImportError as error:
    raise MissingDependencyError(
        f"the embedder 'timm' needs the package timm ({error})", remedy="pip install timm"
    ) from error

__all__ = [
    "ModelSource",
    "find_model",
    "fold_batch_norms",
    "fold_for_inference",
    "load_model",
    "resolve_model_data_config",
]

_logger = logging.getLogger("imagesearch")

_HUB_FILES = ("model.safetensors", "pytorch_model.bin")
# Set here, or meaningless for an embedder.
_RESERVED_ARGUMENTS = {
    *("cache_dir", "checkpoint_path", "exportable", "features_only", "in_chans", "no_jit"),
    *("num_classes", "out_indices", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay"),
    "scriptable",
}


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A resolved model: its names and weights.

    Attributes:
        architecture: timm's name without a tag.
        identity: The weights' part of the fingerprint: the pinned name or ``sha256:…``.
        label: The display name.
        create_name: The argument of ``timm.create_model``.
        model: The embedder's option `model` that resolves to this source.
        weights: The embedder's option `weights` that resolves to this source.
        file: The weights, or None if only timm itself can download them.
    """

    architecture: str
    identity: str
    label: str
    create_name: str
    model: str
    weights: str | None
    file: WeightsFile | None


def find_model(model: str, weights: str | Path | None) -> ModelSource:
    """Resolve a model's name, and download its weights if needed.

    Args:
        model: ``architecture.tag``, an architecture alone (its default tag is pinned),
            ``local-dir:FOLDER``, or ``hf-hub:owner/name[@revision]``.
        weights: A file, a folder (also as ``local-dir:FOLDER``), or None for the model's own.

    Raises:
        ConfigError: The model does not exist; close names are listed.
        WeightsUnavailableError: The weights are missing or damaged, or the download failed.
    """
    prefix, _, location = model.partition(":")
    if prefix in {"local-dir", "hf-hub"} and location:
        if weights is not None:
            raise ConfigError(
                f"model={model!r} includes its weights; remove weights={str(weights)!r}, or set "
                "model to the architecture"
            )
        if prefix == "local-dir":
            return _from_folder(Path(location))
        return _from_hub_repository(location)
    name, architecture = _pinned(model)
    if weights is not None:
        path = Path(str(weights).removeprefix("local-dir:")).expanduser().absolute()
        if path.is_dir():
            return _from_folder(path, architecture=architecture, model=name)
        file = WeightsFile.local(find_weights(path))
        label = f"timm/{architecture}@{file.short_identity}"
        return ModelSource(architecture, file.identity, label, name, name, str(path), file)
    config = get_pretrained_cfg(name)
    if config is None or not config.has_weights:
        raise WeightsUnavailableError(
            f"timm has no pretrained weights for {name!r}: give weights='FILE.safetensors', or "
            f"choose another model, such as {_suggestions(architecture, pretrained=True)}"
        )
    identity = f"timm:{name}"
    if not config.hf_hub_id:
        return ModelSource(architecture, identity, f"timm/{name}", name, name, None, None)
    repo, _, revision = str(config.hf_hub_id).partition("@")
    filenames = (config.hf_hub_filename,) if config.hf_hub_filename else _HUB_FILES
    file = WeightsFile(fetch_from_hub(repo, filenames, revision=revision or None), identity)
    return ModelSource(architecture, identity, f"timm/{name}", name, name, None, file)


def load_model(
    source: ModelSource,
    model_args: Mapping[str, Any],
    *,
    input_size: tuple[int, int] | None = None,
) -> nn.Module:
    """Build a network without its classifier and load its weights.

    Args:
        source: The result of `find_model`.
        model_args: Further arguments of ``timm.create_model``.
        input_size: Height and width, for models that are built for a fixed size.

    Returns:
        The network in eval mode, on the CPU, in float32.

    Raises:
        ConfigError: The model refuses an argument.
        WeightsUnavailableError: The weights are damaged, or belong to another network.
    """
    if reserved := sorted(_RESERVED_ARGUMENTS & set(model_args)):
        raise ConfigError(
            f"model_args must not contain {', '.join(reserved)}: the embedder sets it"
        )
    arguments = dict(model_args)
    if input_size is not None and "img_size" not in arguments and _has_fixed_size(source):
        arguments["img_size"] = input_size
    if source.file is None:
        return _created(source, arguments, {})
    if source.file.is_safetensors:
        shapes = source.file.shapes()
        overlay: dict[str, Any] = {"source": "", "file": str(source.file.path)}
    else:
        tensors = source.file.read_pickle()
        shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        overlay = {"source": "", "state_dict": tensors}
    model = _created(source, arguments, overlay)
    _require_all_loaded(model, shapes, source, arguments, overlay)
    # timm keeps the tensors there.
    config: Any = model.pretrained_cfg
    config.pop("state_dict", None)
    return model


def _created(
    source: ModelSource, arguments: Mapping[str, Any], overlay: Mapping[str, Any]
) -> nn.Module:
    try:
        model = timm.create_model(
            source.create_name,
            pretrained=True,
            pretrained_cfg_overlay=dict(overlay),
            num_classes=0,
            **arguments,
        )
    except TypeError as error:
        raise ConfigError(
            f"{source.architecture} does not accept the model_args {dict(arguments)}: {error}"
        ) from error
    # The errors of timm and torch for mismatches, failed downloads and bad values have many classes.
    except Exception as error:
        reason = " ".join(str(error).split())[:400]
        raise WeightsUnavailableError(
            f"{_described(source)} do not fit {source.architecture}: they belong to another "
            f"architecture or need other model_args ({type(error).__name__}: {reason})"
            if source.file is not None
            else f"could not download {_described(source)} ({type(error).__name__}: {reason}): "
            "download them by other means and give weights='FILE'"
        ) from error
    network: nn.Module = model.eval()
    return network.float().requires_grad_(requires_grad=False)


def _require_all_loaded(
    model: nn.Module,
    shapes: Mapping[str, tuple[int, ...]],
    source: ModelSource,
    arguments: Mapping[str, Any],
    overlay: Mapping[str, Any],
) -> None:
    """Require that no tensor has kept its random initialisation.

    Without a classifier timm loads the tensors that fit, and only logs the others. A file with
    timm's own names is compared by name. Other files are renamed while loading; tensors that differ
    between two networks with different random initialisations did not come from the file.
    """
    state = model.state_dict()
    missing = [
        name
        for name, tensor in state.items()
        if shapes.get(name) != tuple(tensor.shape) and not name.endswith("num_batches_tracked")
    ]
    if not missing:
        return
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch.initial_seed() ^ 0x5EED)
        other = _created(source, arguments, overlay).state_dict()
    random = [name for name, tensor in state.items() if not torch.equal(tensor, other[name])]
    if random:
        raise WeightsUnavailableError(
            f"{_described(source)} do not fit {source.architecture}: {len(random)} of {len(state)} "
            f"tensors are missing, such as {', '.join(random[:3])}. The file belongs to another "
            "architecture, or the model needs other model_args"
        )


def _from_folder(
    folder: Path, *, architecture: str | None = None, model: str | None = None
) -> ModelSource:
    path = folder.expanduser().absolute()
    configured = _architecture_of(path)
    if architecture is not None and configured != architecture:
        raise ConfigError(
            f"{path / 'config.json'} describes {configured!r}, but the model is {architecture!r}: "
            f"give model={configured!r}, or model='local-dir:{path}'"
        )
    file = WeightsFile.local(find_weights(path))
    return ModelSource(
        configured,
        file.identity,
        f"timm/{configured}@{file.short_identity}",
        f"local-dir:{path}",
        model or f"local-dir:{path}",
        str(path) if model else None,
        file,
    )


def _from_hub_repository(location: str) -> ModelSource:
    repo, _, revision = location.partition("@")
    config = fetch_from_hub(repo, ("config.json",), revision=revision or None)
    path = fetch_from_hub(repo, _HUB_FILES, revision=revision or None)
    identity = f"hf-hub:{location}"
    return ModelSource(
        _architecture_of(config.parent),
        identity,
        f"timm/{identity}",
        f"local-dir:{config.parent}",
        identity,
        None,
        WeightsFile(path, identity),
    )


def _architecture_of(folder: Path) -> str:
    config = folder / "config.json"
    if not folder.is_dir() or not config.is_file():
        raise WeightsUnavailableError(
            f"{folder} is not a folder with config.json and model.safetensors: check the path, and "
            "download the whole repository"
        )
    try:
        architecture = json.loads(config.read_text(encoding="utf-8"))["architecture"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsUnavailableError(
            f"{config} is not the configuration of a timm model ({type(error).__name__}: {error}): "
            "it needs the key 'architecture'"
        ) from error
    return _pinned(str(architecture))[1]


def _pinned(model: str) -> tuple[str, str]:
    """Return ``architecture.tag``, with the default tag if none is given, and the architecture."""
    architecture, _, tag = model.partition(".")
    if not timm.is_model(architecture) or any(mark in model for mark in "/\\:"):
        raise ConfigError(
            f"timm has no model {model!r}; did you mean {_suggestions(architecture)}? "
            "timm.list_models() lists all; a folder is 'local-dir:FOLDER', a hub repository "
            "'hf-hub:owner/name'"
        )
    # For an unknown tag timm raises; for a model without tags it returns None.
    try:
        config = get_pretrained_cfg(model)
    except RuntimeError as error:
        tags = [name.partition(".")[2] for name in timm.list_pretrained(f"{architecture}.*")]
        raise ConfigError(
            f"timm's {architecture!r} has no weights tagged {tag!r}; it has "
            f"{', '.join(tags) or 'none'}"
        ) from error
    if tag or config is None or not config.has_weights or not config.tag:
        return model, architecture
    return f"{architecture}.{config.tag}", architecture


def _suggestions(architecture: str, *, pretrained: bool = False) -> str:
    names = {name.partition(".")[0] for name in timm.list_models(pretrained=pretrained)}
    close = difflib.get_close_matches(architecture, sorted(names - {architecture}), 3, cutoff=0.4)
    return ", ".join(repr(name) for name in close or ["resnet50.a1_in1k"])


def _has_fixed_size(source: ModelSource) -> bool:
    if source.create_name.startswith("local-dir:"):
        folder = Path(source.create_name.removeprefix("local-dir:"))
        content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return bool((content.get("pretrained_cfg") or content).get("fixed_input_size", False))
    config = get_pretrained_cfg(source.create_name)
    return config is not None and bool(dataclasses.asdict(config).get("fixed_input_size", False))


def _described(source: ModelSource) -> str:
    if source.file is None:
        return f"the weights of {source.create_name}"
    return f"the weights {source.file.path}"


# Exactly these types: subclasses may transform their weights first (weight standardisation).
_CONVOLUTIONS = (nn.Conv2d, Conv2dSame)
_NORMS = (nn.BatchNorm2d, BatchNormAct2d)
# The largest change of an element of a unit vector that is taken for rounding.
_TOLERANCE = 1e-5


def fold_batch_norms(model: nn.Module, probe: torch.Tensor) -> int:
    """Fold batch normalisations into the convolutions before them, in place.

    The pairs are found by running the probe through the model: the input of the normalisation is
    the tensor object that the convolution returned. If the model's output changes by more than
    rounding, all modules are restored.

    Args:
        model: A model in eval mode, float32, on the probe's device.
        probe: One input, shape (1, 3, height, width).

    Returns:
        The number of folded pairs.
    """
    # Not inference_mode, because the folded weights are used outside of it.
    with torch.no_grad():
        pairs, before = _observe(model, probe)
        if not pairs:
            return 0
        for (conv_name, conv), (norm_name, norm) in pairs:
            model.set_submodule(conv_name, fuse_conv_bn_eval(conv, norm))
            model.set_submodule(norm_name, _without_norm(norm))
        if _agree(before, _attempt(model, probe)):
            return len(pairs)
        for (conv_name, conv), (norm_name, norm) in pairs:
            model.set_submodule(conv_name, conv)
            model.set_submodule(norm_name, norm)
    _logger.debug("batch norms not folded: folding changes this model's vectors")
    return 0


def fold_for_inference(model: nn.Module, size: tuple[int, int], architecture: str) -> None:
    """Fold a model's batch normalisations, as `fold_batch_norms` does.

    Args:
        model: A model in eval mode, float32, on the CPU.
        size: (height, width) of its input in pixels.
        architecture: The model's name, for messages.

    Raises:
        ConfigError: The model does not accept images of this size.
    """
    generator = torch.Generator().manual_seed(0)
    probe = torch.rand((1, 3, *size), generator=generator) * 4 - 2
    try:
        count = fold_batch_norms(model, probe)
    except (RuntimeError, ValueError, AssertionError) as error:
        raise ConfigError(
            f"{architecture} does not accept images of {size[0]} × {size[1]} pixels: "
            f"{' '.join(str(error).split())[:300]}"
        ) from error
    _logger.debug("%s: %d batch norms folded", architecture, count)


_Named = tuple[str, Any]


def _observe(
    model: nn.Module, probe: torch.Tensor
) -> tuple[list[tuple[_Named, _Named]], torch.Tensor]:
    names = {module: name for name, module in model.named_modules()}
    calls: Counter[nn.Module] = Counter()
    # Keeps the tensors alive, so that each id is used once.
    outputs: dict[int, tuple[torch.Tensor, nn.Module]] = {}
    inputs: list[tuple[nn.Module, nn.Module]] = []

    def after_convolution(module: nn.Module, _: Any, output: torch.Tensor) -> None:
        calls[module] += 1
        outputs[id(output)] = (output, module)

    def before_norm(module: nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
        calls[module] += 1
        if id(arguments[0]) in outputs:
            inputs.append((outputs[id(arguments[0])][1], module))

    hooks = [
        module.register_forward_hook(after_convolution)
        if type(module) in _CONVOLUTIONS
        else module.register_forward_pre_hook(before_norm)
        for module in model.modules()
        if type(module) in _CONVOLUTIONS or (type(module) in _NORMS and _has_statistics(module))
    ]
    try:
        output = model(probe)
    finally:
        for hook in hooks:
            hook.remove()
    once = [pair for pair in inputs if calls[pair[0]] == 1 and calls[pair[1]] == 1]
    return [((names[conv], conv), (names[norm], norm)) for conv, norm in once], output


def _has_statistics(norm: Any) -> bool:
    return norm.running_mean is not None and norm.running_var is not None


def _without_norm(norm: nn.Module) -> nn.Module:
    if isinstance(norm, BatchNormAct2d):
        return nn.Sequential(norm.drop, norm.act)
    return nn.Identity()


def _attempt(model: nn.Module, probe: torch.Tensor) -> torch.Tensor | None:
    try:
        output: torch.Tensor = model(probe)
    # Some models access their normalisation layers' attributes; they are not folded.
    except (AttributeError, RuntimeError, TypeError):
        return None
    return output


def _agree(before: torch.Tensor, after: torch.Tensor | None) -> bool:
    if after is None or before.shape != after.shape:
        return False
    length = before.norm().clamp_min(1e-12)
    return bool((before - after).abs().max() / length <= _TOLERANCE)
