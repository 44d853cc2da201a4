"""Folding: a convolution followed by a batch normalisation becomes one convolution."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from imagesearch.embedders.torchvision_repair import import_torchvision

import_torchvision()

from timm.layers import BatchNormAct2d, Conv2dSame  # noqa: E402  # needs the line above

__all__ = ["fold_batch_norms"]

_logger = logging.getLogger("imagesearch")

# Subclasses may compute on their weights first (weight standardisation), so these types exactly.
_CONVOLUTIONS = (nn.Conv2d, Conv2dSame)
_NORMS = (nn.BatchNorm2d, BatchNormAct2d)
# The largest change of an element of a unit vector that rounding may explain.
_TOLERANCE = 1e-5


def fold_batch_norms(model: nn.Module, probe: torch.Tensor) -> int:
    """Fold batch normalisations into the convolutions before them, in place.

    Which belong together is seen, not guessed: the probe runs through the model, and a pair is a
    normalisation whose input is the very tensor that a convolution gave. If the model's output
    changes by more than rounding, everything is put back.

    Args:
        model: In eval mode, float32, on the probe's device.
        probe: One input, shape (1, 3, height, width).

    Returns:
        How many pairs were folded.
    """
    # Not inference_mode: the folded weights are made here, and must serve outside of it.
    with torch.no_grad():
        pairs, before = _observe(model, probe)
        if not pairs:
            return 0
        for (conv_name, conv), (norm_name, norm) in pairs:
            model.set_submodule(conv_name, fuse_conv_bn_eval(conv, norm))
            model.set_submodule(norm_name, _what_remains(norm))
        if _agree(before, _attempt(model, probe)):
            return len(pairs)
        for (conv_name, conv), (norm_name, norm) in pairs:
            model.set_submodule(conv_name, conv)
            model.set_submodule(norm_name, norm)
    _logger.debug("folding batch norms changes this model's vectors; left as it is")
    return 0


_Named = tuple[str, Any]


def _observe(
    model: nn.Module, probe: torch.Tensor
) -> tuple[list[tuple[_Named, _Named]], torch.Tensor]:
    names = {module: name for name, module in model.named_modules()}
    calls: Counter[nn.Module] = Counter()
    # The tensors are held, so that no address is used twice.
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


def _what_remains(norm: nn.Module) -> nn.Module:
    if isinstance(norm, BatchNormAct2d):
        return nn.Sequential(norm.drop, norm.act)
    return nn.Identity()


def _attempt(model: nn.Module, probe: torch.Tensor) -> torch.Tensor | None:
    try:
        output: torch.Tensor = model(probe)
    # Some models reach into their normalisation layers; those are left alone.
    except (AttributeError, RuntimeError, TypeError):
        return None
    return output


def _agree(before: torch.Tensor, after: torch.Tensor | None) -> bool:
    if after is None or before.shape != after.shape:
        return False
    length = before.norm().clamp_min(1e-12)
    return bool((before - after).abs().max() / length <= _TOLERANCE)
