"""The two towers of a CLIP model, each as one function from inputs to vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from typing_extensions import override

from imagesearch.embedders.clip_tokenizers import Tokenizer
from imagesearch.errors import EmbeddingError

__all__ = ["ImageTower", "TextTower"]

_TEXT_BATCH = 32


class ImageTower(nn.Module):
    """The image half of a model, called like any network.

    Args:
        model: An open_clip model; it stays whole, so that moving this moves both towers.
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
    """The text half of a model, with its tokenizer.

    Args:
        model: An open_clip model in eval mode, where it shall run.
        tokenizer: The model's own.
        device: Where the model is.
        batch_size: Texts that go through the model together; None for 32.
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
            EmbeddingError: The texts are none, or the model failed.
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
