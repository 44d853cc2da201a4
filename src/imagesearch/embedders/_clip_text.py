"""OpenCLIP's tokenizers, and the two towers of a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub import constants, snapshot_download
from numpy.typing import NDArray
from torch import nn
from typing_extensions import override

from imagesearch._forks import ForkSafeLock
from imagesearch.embedders import file_sha256
from imagesearch.embedders._clip_models import open_clip, require_transformers
from imagesearch.embedders._hub import fetch_from_hub
from imagesearch.errors import (
    ConfigError,
    EmbeddingError,
    MissingDependencyError,
    WeightsUnavailableError,
)

__all__ = ["ImageTower", "TextTower", "Tokenizer", "make_tokenizer"]


# The vocabularies of the fast tokenizers and their slow predecessors; one of them is enough.
_VOCABULARIES = (
    "tokenizer.json",
    "sentencepiece.bpe.model",
    "spiece.model",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
)
_DETAILS = (
    *("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("merges.txt", "config.json"),
)
_OPTIONS = (
    (
        "a folder with open_clip_config.json, open_clip_model.safetensors and the tokenizer's "
        "files: model='local-dir:FOLDER'"
    ),
    "a model whose tokenizer is included in open_clip, such as 'ViT-B-32'",
)

# A token of CLIP's vocabulary has at most 32 bytes, one of SigLIP's 64. Longer texts are truncated
# in any case, but tokenizing a single word of 10,000 letters would take five seconds.
_CHARACTERS_OF_A_TOKEN = 64


class Tokenizer:
    """Converts texts to token ids.

    Args:
        tokenize: open_clip's tokenizer.
        identity: All that determines the ids, for the fingerprint. JSON values.
        context_length: Maximum number of tokens of a text.
    """

    def __init__(
        self,
        tokenize: Callable[[list[str]], torch.Tensor],
        identity: Mapping[str, Any],
        context_length: int,
    ) -> None:
        self.identity = identity
        self._tokenize = tokenize
        self._characters = _CHARACTERS_OF_A_TOKEN * context_length
        # The fast tokenizers of transformers are not thread-safe.
        self._lock = ForkSafeLock()

    def __call__(self, texts: Sequence[str]) -> torch.Tensor:
        """Return int64 token ids of shape (n, context length); longer texts are truncated.

        Raises:
            EmbeddingError: A text is not a string, or the tokenizer refuses it.
        """
        for text in texts:
            if not isinstance(text, str):
                raise EmbeddingError(f"a text must be str, got {type(text).__name__} {text!r}")
        # All of open_clip's tokenizers collapse white space too.
        short = [" ".join(text.split())[: self._characters] for text in texts]
        try:
            with self._lock.lock:
                return self._tokenize(short)
        # For example lone surrogates: CLIP's own tokenizer replaces them, those of transformers raise.
        except Exception as error:
            raise EmbeddingError(
                f"could not tokenize the texts: {type(error).__name__}: {str(error)[:200]}"
            ) from error


def make_tokenizer(name: str, config: Mapping[str, Any], folder: Path | None) -> Tokenizer:
    """Make the tokenizer that a model was trained with.

    Args:
        name: The argument of ``open_clip.create_model``.
        config: The model's configuration.
        folder: The folder with the files of a tokenizer of transformers; None for the hub.

    Raises:
        ConfigError: open_clip cannot make it.
        MissingDependencyError: It needs transformers, which is not installed.
        WeightsUnavailableError: Its files could not be downloaded.
    """
    text = dict(config["text_cfg"])
    length = int(text.get("context_length") or open_clip.tokenizer.DEFAULT_CONTEXT_LENGTH)
    options = dict(text.get("tokenizer_kwargs") or {})
    if options.get("reduction_mask"):
        raise ConfigError(
            f"the tokenizer of {name!r} drops tokens at random (reduction_mask="
            f"{options['reduction_mask']!r}), so the vector of a text would vary: remove it from "
            "tokenizer_kwargs"
        )
    repo = text.get("hf_tokenizer_name")
    identity = {"context_length": length, "options": options, "mode": text.get("tokenizer_mode")}
    try:
        if not repo:
            return Tokenizer(open_clip.get_tokenizer(name), {**identity, "name": "clip"}, length)
        require_transformers(f"the tokenizer of {name!r}, {repo},")
        files = _fetch(repo) if folder is None else folder
        tokenize = open_clip.tokenizer.HFTokenizer(
            str(files),
            context_length=length,
            tokenizer_mode=text.get("tokenizer_mode"),
            **options,
        )
    except (MissingDependencyError, WeightsUnavailableError):
        raise
    # The errors of transformers for damaged and missing files have many classes.
    except Exception as error:
        raise ConfigError(
            f"could not load the tokenizer of {name!r}: {type(error).__name__}: "
            f"{' '.join(str(error).split())[:300]}"
        ) from error
    source: object = repo if folder is None else _digests(folder)
    return Tokenizer(tokenize, {**identity, "name": source}, length)


def _fetch(repo: str) -> Path:
    """Return a folder with a tokenizer's files, from the hub's cache or the network."""
    vocabulary = fetch_from_hub(repo, _VOCABULARIES, what="tokenizer", options=_OPTIONS)
    folder = vocabulary.parent
    if (folder / _DETAILS[0]).is_file() or constants.HF_HUB_OFFLINE:
        return folder
    try:
        return Path(snapshot_download(repo, allow_patterns=[*_VOCABULARIES, *_DETAILS]))
    # The HTTP library and its errors differ between versions of huggingface_hub.
    except Exception as error:
        raise WeightsUnavailableError(
            f"the download of the tokenizer {repo} is incomplete ({type(error).__name__}: "
            f"{' '.join(str(error).split())[:200]}): try again"
        ) from error


def _digests(folder: Path) -> dict[str, str]:
    names = (*_VOCABULARIES, *_DETAILS[:-1])
    return {name: file_sha256(folder / name) for name in names if (folder / name).is_file()}


_TEXT_BATCH = 32


class ImageTower(nn.Module):
    """The image tower of a model.

    Args:
        model: An open_clip model; all of it is kept, so that moving this moves both towers.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    @override
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return (n, dim) for pixels (n, 3, height, width)."""
        model: Any = self.model
        vectors: torch.Tensor = model.encode_image(images)
        return vectors


class TextTower:
    """The text tower of a model, with its tokenizer.

    Args:
        model: An open_clip model in eval mode, on `device`.
        tokenizer: The model's tokenizer.
        device: The model's device.
        batch_size: Texts in a batch; None for 32.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Tokenizer,
        *,
        device: torch.device,
        batch_size: int | None,
    ) -> None:
        self._model: Any = model
        self._tokenizer = tokenizer
        self._device = device
        self._batch_size = batch_size or _TEXT_BATCH

    def run(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 of shape (n, dim) for n ≥ 1 texts.

        Raises:
            EmbeddingError: A text is invalid, or the model failed.
        """
        tokens = self._tokenizer(texts)
        parts = []
        try:
            with torch.inference_mode():
                for chunk in torch.split(tokens, self._batch_size):
                    output = self._model.encode_text(chunk.to(self._device))
                    parts.append(output.to(torch.float32).cpu().numpy())
        # A token beyond the vocabulary is an IndexError on a CPU.
        except (RuntimeError, IndexError) as error:
            text = (str(error).splitlines() or [""])[0]
            raise EmbeddingError(
                f"the text tower failed on {self._device} with batch_size={self._batch_size}: "
                f"{text}"
            ) from error
        vectors: NDArray[np.float32] = np.concatenate(parts)
        return vectors
