"""Weights of a model: where the file is, what identifies it, and how it is read."""

from __future__ import annotations

import argparse
import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from imagesearch.embedders import file_sha256
from imagesearch.errors import WeightsUnavailableError

__all__ = ["WeightsFile", "find_weights"]


_PICKLES = (".pth", ".pt", ".bin", ".ckpt", ".tar")
# Where a training checkpoint keeps the weights, the averaged ones first.
_NESTED = ("state_dict_ema", "model_ema", "state_dict", "model")
# Left in the names by DistributedDataParallel and torch.compile.
_WRAPPERS = ("_orig_mod.", "module.")
_IN_A_FOLDER = ("model.safetensors", "pytorch_model.bin", "pytorch_model.pth", "model.pth")


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """One file of weights, and its identity in a fingerprint.

    Attributes:
        path: Absolute.
        identity: ``sha256:…`` of the bytes for a local file, the pinned name for one of the hub.
    """

    path: Path
    identity: str

    @classmethod
    def local(cls, path: Path) -> WeightsFile:
        """Identify a local file by its bytes.

        Raises:
            WeightsUnavailableError: It cannot be read.
        """
        try:
            return cls(path, f"sha256:{file_sha256(path)}")
        except OSError as error:
            raise WeightsUnavailableError(f"the weights {path} cannot be read: {error}") from error

    @property
    def short_identity(self) -> str:
        """Eight characters, for names that people read."""
        return self.identity.removeprefix("sha256:")[:8]

    @property
    def is_safetensors(self) -> bool:
        """Whether the format holds tensors and nothing else."""
        return self.path.suffix.lower() == ".safetensors"

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of every tensor in a safetensors file, without reading the tensors.

        Raises:
            WeightsUnavailableError: The file is damaged, or is something else.
        """
        try:
            with safe_open(self.path, framework="pt") as file:
                return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118  # not a dict
        except (SafetensorError, OSError) as error:
            raise WeightsUnavailableError(
                f"{self.path} is no complete safetensors file ({error}): download it again"
            ) from error

    def read_pickle(self) -> dict[str, torch.Tensor]:
        """Return the tensors of a torch checkpoint; nothing but tensors is ever unpickled.

        Raises:
            WeightsUnavailableError: The file is damaged, holds no weights, or asks to run code.
        """
        try:
            # timm's own training checkpoints carry their arguments in a Namespace.
            allowed = getattr(torch.serialization, "safe_globals", None)
            with allowed([argparse.Namespace]) if allowed else contextlib.nullcontext():
                content: Any = torch.load(self.path, map_location="cpu", weights_only=True)
        # Depending on where a file breaks off, torch raises anything from EOFError to KeyError.
        except Exception as error:
            raise WeightsUnavailableError(
                f"{self.path} cannot be read as a torch checkpoint of plain tensors "
                f"({type(error).__name__}: {_first_line(error)}): it is damaged, or holds objects "
                "whose code would have to run; use a .safetensors file"
            ) from error
        for key in _NESTED:
            if isinstance(content, dict) and isinstance(content.get(key), dict):
                content = content[key]
                break
        tensors = (
            {_unwrapped(str(name)): value for name, value in content.items()}
            if isinstance(content, dict)
            else {}
        )
        tensors = {name: value for name, value in tensors.items() if torch.is_tensor(value)}
        if not tensors:
            raise WeightsUnavailableError(
                f"{self.path} holds no weights, but a {type(content).__name__}: save the model's "
                "state_dict()"
            )
        return tensors


def find_weights(place: Path) -> Path:
    """Return the file of weights that a path means.

    Args:
        place: The file, or a folder that holds ``model.safetensors`` (or ``pytorch_model.bin``).

    Raises:
        WeightsUnavailableError: There is nothing, or nothing of a known format.
    """
    if not place.exists():
        raise WeightsUnavailableError(f"the weights {place} do not exist: check the path")
    if not place.is_dir():
        if place.suffix.lower() not in {".safetensors", *_PICKLES}:
            raise WeightsUnavailableError(
                f"the weights {place} have an unknown format {place.suffix!r}: give a .safetensors "
                "file, or a torch checkpoint (.pth, .pt, .bin)"
            )
        return place
    for name in _IN_A_FOLDER:
        if (place / name).is_file():
            return place / name
    found = sorted(place.glob("*.safetensors"))
    if len(found) == 1:
        return found[0]
    raise WeightsUnavailableError(
        f"the folder {place} holds {f'{len(found)} .safetensors files' if found else 'no weights'}"
        ": it needs config.json and model.safetensors"
    )


def _unwrapped(name: str) -> str:
    while name.startswith(_WRAPPERS):
        name = name.removeprefix("_orig_mod.").removeprefix("module.")
    return name


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:200]
