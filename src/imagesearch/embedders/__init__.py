"""Embedders: one module a kind, imported only when it is chosen.

For authors of embedders: fingerprints and the choice of a device. For users of `TimmEmbedder`:
`Preprocess`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagesearch.embedders._preprocess import Preprocess
from imagesearch.errors import ConfigError

if TYPE_CHECKING:
    import torch

__all__ = ["Preprocess", "choose_device", "file_sha256", "fingerprint"]


def fingerprint(identity: Mapping[str, Any]) -> str:
    """Return the SHA-256 of JSON values; the order of keys does not matter.

    Args:
        identity: Everything that determines an embedder's vectors. JSON values only.

    Example:
        >>> fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
        True
    """
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, as 64 hexadecimal digits.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def choose_device(name: str = "auto") -> torch.device:
    """Return an available device of PyTorch by name.

    Args:
        name: ``cpu``, ``cuda``, ``cuda:N``, ``mps``, or ``auto`` for the first available one of
            cuda, mps and cpu.

    Raises:
        ConfigError: The name is unknown, or this machine has no such device.

    Example:
        >>> choose_device("cpu")
        device(type='cpu')
    """
    # Imported here: other parts of this package are used without torch.
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise ConfigError(
            f"unknown device {name!r}; use 'auto', 'cpu', 'cuda', 'cuda:N' or 'mps'"
        ) from error
    match device.type:
        case "cpu":
            return torch.device("cpu")
        case "cuda":
            count = torch.cuda.device_count() if torch.cuda.is_available() else 0
            if (device.index or 0) < count:
                return device
            reason = f"torch {torch.__version__} finds {count} CUDA devices"
        case "mps":
            if torch.backends.mps.is_available():
                return device
            reason = f"torch {torch.__version__} finds no Apple GPU"
        case _:
            reason = "only cpu, cuda and mps are supported"
    raise ConfigError(f"device {name!r} is not available: {reason}; use 'auto' or 'cpu'")
