"""Weights files: find, identify and read them."""

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
from imagesearch.types import CheckResult

__all__ = ["WeightsFile", "check_weights", "find_weights"]


_PICKLES = (".pth", ".pt", ".bin", ".ckpt", ".tar")
# The keys under which a training checkpoint keeps the weights, the averaged ones first.
_NESTED = ("state_dict_ema", "model_ema", "state_dict", "model")
# Prefixes that DistributedDataParallel and torch.compile add to names.
_WRAPPERS = ("_orig_mod.", "module.")
_IN_A_FOLDER = ("model.safetensors", "pytorch_model.bin", "pytorch_model.pth", "model.pth")


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """A file of weights and its identity in a fingerprint.

    Attributes:
        path: The absolute path.
        identity: ``sha256:…`` of a local file's bytes, or the pinned name of a file of the hub.
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
            raise WeightsUnavailableError(f"could not read the weights {path}: {error}") from error

    @property
    def short_identity(self) -> str:
        """The first eight characters, for display names."""
        return self.identity.removeprefix("sha256:")[:8]

    @property
    def is_safetensors(self) -> bool:
        """Whether the format contains only tensors."""
        return self.path.suffix.lower() == ".safetensors"

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of every tensor in a safetensors file, without reading the tensors.

        Raises:
            WeightsUnavailableError: The file is damaged, or not a safetensors file.
        """
        try:
            with safe_open(self.path, framework="pt") as file:
                return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118  # not a dict
        except (SafetensorError, OSError) as error:
            raise WeightsUnavailableError(
                f"{self.path} is not a complete safetensors file ({error})",
                remedy="download it again",
            ) from error

    def read_pickle(self) -> dict[str, torch.Tensor]:
        """Return the tensors of a torch checkpoint; only tensors are unpickled.

        Raises:
            WeightsUnavailableError: The file is damaged, contains no weights, or needs to run code.
        """
        try:
            # timm's own training checkpoints contain their arguments as a Namespace.
            allowed = getattr(torch.serialization, "safe_globals", None)
            with allowed([argparse.Namespace]) if allowed else contextlib.nullcontext():
                content: Any = torch.load(self.path, map_location="cpu", weights_only=True)
        # For a truncated file torch raises anything from EOFError to KeyError.
        except Exception as error:
            raise WeightsUnavailableError(
                f"could not read {self.path} as a torch checkpoint of plain tensors "
                f"({type(error).__name__}: {_first_line(error)}): it is damaged, or contains "
                "objects that would run code",
                remedy="use a .safetensors file",
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
                f"{self.path} contains no weights (got {type(content).__name__})",
                remedy="save the model's state_dict()",
            )
        return tensors


def check_weights(file: WeightsFile | None) -> CheckResult:
    """Return a diagnosis of the weights; `file` is None if a package loads them itself."""
    if file is None:
        return CheckResult("weights", "info", "the package loads the weights itself; not checked")
    size = file.path.stat().st_size / 1e6
    return CheckResult("weights", "ok", f"{size:.0f} MB in {file.path}")


def find_weights(path: Path) -> Path:
    """Return the file of weights at a path.

    Args:
        path: The file, or a folder that contains ``model.safetensors`` (or ``pytorch_model.bin``).

    Raises:
        WeightsUnavailableError: The file is missing, or its format is unsupported.
    """
    if not path.exists():
        raise WeightsUnavailableError(f"weights not found: {path}", remedy="check the path")
    if not path.is_dir():
        if path.suffix.lower() not in {".safetensors", *_PICKLES}:
            raise WeightsUnavailableError(
                f"the weights {path} have the unsupported format {path.suffix!r}",
                remedy="give a .safetensors file, or a torch checkpoint (.pth, .pt, .bin)",
            )
        return path
    for name in _IN_A_FOLDER:
        if (path / name).is_file():
            return path / name
    files = sorted(path.glob("*.safetensors"))
    if len(files) == 1:
        return files[0]
    raise WeightsUnavailableError(
        f"the folder {path} contains "
        f"{f'{len(files)} .safetensors files' if files else 'no weights'}",
        remedy="give a folder with config.json and model.safetensors",
    )


def _unwrapped(name: str) -> str:
    while name.startswith(_WRAPPERS):
        name = name.removeprefix("_orig_mod.").removeprefix("module.")
    return name


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:200]
