"""The device that a model runs on: a name, or the first that is there."""

from __future__ import annotations

import torch

from imagesearch.errors import ConfigError

__all__ = ["choose_device"]


def choose_device(name: str = "auto") -> torch.device:
    """Turn a device's name into a device that is there.

    Args:
        name: ``cpu``, ``cuda``, ``cuda:N``, ``mps``, or ``auto`` for the first that is there of
            cuda, mps and cpu.

    Raises:
        ConfigError: The name is unknown, or this machine has no such device.

    Example:
        >>> choose_device("cpu")
        device(type='cpu')
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise ConfigError(
            f"device {name!r} is unknown; use 'auto', 'cpu', 'cuda', 'cuda:N' or 'mps'"
        ) from error
    match device.type:
        case "cpu":
            return torch.device("cpu")
        case "cuda":
            count = torch.cuda.device_count() if torch.cuda.is_available() else 0
            if (device.index or 0) < count:
                return device
            found = f"this torch ({torch.__version__}) sees {count} CUDA devices"
        case "mps":
            if torch.backends.mps.is_available():
                return device
            found = f"this torch ({torch.__version__}) sees no Apple GPU"
        case _:
            found = "only cpu, cuda and mps are supported"
    raise ConfigError(f"device {name!r} is not there: {found}; use 'auto' or 'cpu'")
