"""Options of `TimmEmbedder`: what a user may write, and the preprocessing that comes of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

import torch
from timm.data import resolve_model_data_config

from imagesearch.embedders.preprocessing import Preprocessing
from imagesearch.errors import ConfigError

__all__ = ["height_and_width", "json_values", "preprocessing_of"]


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
        raise ConfigError(f"{name}={values!r}; give three numbers") from error


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
    raise ConfigError(f"input_size={wanted!r}; give a side or [height, width] in pixels")


def json_values(model_args: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a model as an index will store them.

    Raises:
        ConfigError: They are not made of JSON values.
    """
    try:
        return dict(json.loads(json.dumps(dict(model_args), allow_nan=False)))
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"model_args={model_args!r} is not made of JSON values ({error}); an index must be "
            "able to store it"
        ) from error
