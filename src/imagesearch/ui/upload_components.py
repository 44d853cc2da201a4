"""Upload components: Gradio's, but what they receive is left to our own decoder."""

from __future__ import annotations

from abc import ABCMeta
from pathlib import Path
from typing import Any

import gradio as gr

from imagesearch.ui.phrases import LANGUAGES, phrase

__all__ = ["uploads_only"]


def uploads_only(base: Any) -> Any:
    """Return a kind of upload component whose files go to our own decoder, and which fetches nothing.

    Gradio would open pictures with Pillow as it stands, and fetch an address that a visitor sends
    in a file's place. The class is made past Gradio's metaclass, which writes a stub file beside
    the source of every class that it makes.
    """

    async def keep_local(self: Any, path: str | Path | None) -> str | None:
        if "://" in str(path):
            raise _refusal("error_url")
        moved: str | None = await base.async_move_resource_to_block_cache(self, path)
        return moved

    def preprocess(self: Any, payload: Any) -> Any:
        if payload is None:
            return None
        if hasattr(payload, "root"):
            return [_received(file, self.GRADIO_CACHE) for file in payload.root]
        return _received(payload, self.GRADIO_CACHE)

    members = {
        "is_template": True,
        "async_move_resource_to_block_cache": keep_local,
        "preprocess": preprocess,
        "__module__": __name__,
    }
    return ABCMeta.__new__(type(base), f"Uploaded{base.__name__}", (base,), members)


def _received(file: Any, folder: str) -> str:
    path = Path(file.path or "").resolve()
    if not path.is_relative_to(Path(folder).resolve()):
        raise _refusal("error_url")
    if not path.is_file():
        raise _refusal("error_no_file")
    return str(path)


def _refusal(key: str) -> Exception:
    """Return an error in all languages: the visitor's is not known here."""
    message = " ".join(phrase(key, language) for language in LANGUAGES)
    title = " · ".join(phrase("error_title", language) for language in LANGUAGES)
    error: Exception = gr.Error(message, title=title, print_exception=False)
    return error
