"""open_clip networks: built, and filled with their weights."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from imagesearch._printable import printable
from imagesearch.embedders.clip_library import open_clip
from imagesearch.embedders.clip_models import ClipSource
from imagesearch.embedders.clip_tags import PREPROCESSING
from imagesearch.embedders.clip_tokenizers import require_transformers
from imagesearch.embedders.hub import fetch_from_hub
from imagesearch.embedders.weights import WeightsFile
from imagesearch.errors import ConfigError, WeightsUnavailableError

__all__ = ["load_model"]

_logger = logging.getLogger("imagesearch")


def load_model(source: ClipSource) -> nn.Module:
    """Build both towers and load their weights, every tensor of them.

    Raises:
        ConfigError: open_clip cannot build a network from the configuration.
        MissingDependencyError: The text tower is one of transformers, which is not installed.
        WeightsUnavailableError: The weights are damaged, or belong to another network.
    """
    overrides = _overrides(source.config)
    forced = {name: source.settings[name] for name in PREPROCESSING if name in source.settings}
    # Random starts are drawn before the weights are read; the program's own dice stay as they are.
    with _apart_from_the_root_logger(), torch.random.fork_rng(devices=[]):
        try:
            model: Any = open_clip.create_model(
                source.create_name,
                load_weights=False,
                pretrained_text=False,
                force_quick_gelu=bool(source.settings.get("quick_gelu")),
                force_preprocess_cfg=forced,
                **overrides,
            )
        # open_clip takes configurations as they are, and fails wherever they first make no sense.
        except Exception as error:
            raise ConfigError(
                f"open_clip cannot build {source.label}: its configuration is wrong, or needs "
                f"another version of open_clip ({_reason(error)})"
            ) from error
        try:
            open_clip.load_checkpoint(model, str(source.file.path), weights_only=True)
        # Damaged files, other networks and half a checkpoint are all told apart by class alone.
        except Exception as error:
            _require_readable(source.file)
            raise WeightsUnavailableError(
                f"the weights {source.file.path} do not fit {source.label}: they belong to another "
                f"model ({_reason(error)})"
            ) from error
    network: nn.Module = model.eval().float()
    return network.requires_grad_(requires_grad=False)


def _overrides(config: Mapping[str, Any]) -> dict[str, Any]:
    """Give a text tower of transformers its description as a folder, so that nothing is asked."""
    text = dict(config["text_cfg"])
    name = text.get("hf_model_name")
    if not name:
        return {}
    require_transformers(f"the text tower {name!r}")
    if not Path(name).is_dir():
        what = "description of the text tower"
        text["hf_model_name"] = str(
            fetch_from_hub(name, ("config.json",), what=what, ways_out=()).parent
        )
    return {"text_cfg": {**text, "hf_model_pretrained": False}}


def _require_readable(file: WeightsFile) -> None:
    if file.is_safetensors:
        file.shapes()
    else:
        file.read_pickle()


@contextlib.contextmanager
def _apart_from_the_root_logger() -> Iterator[None]:
    """Send what open_clip tells the root logger to ours.

    ``logging.info`` gives a root logger without handlers one that prints, for the rest of the
    program; and it would warn of a random start that is about to be overwritten.
    """
    root, silent, thread = logging.getLogger(), logging.NullHandler(), threading.get_ident()

    def redirect(record: logging.LogRecord) -> bool:
        ours = record.thread == thread and "open_clip" in record.pathname
        if ours:
            _logger.debug("open_clip: %s", printable(record.getMessage(), lines=True))
        return not ours

    root.addHandler(silent)
    root.addFilter(redirect)
    try:
        yield
    finally:
        root.removeFilter(redirect)
        root.removeHandler(silent)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
