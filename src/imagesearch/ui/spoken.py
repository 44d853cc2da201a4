"""Spoken: messages of errors that can be said in the visitor's language."""

from __future__ import annotations

from typing import Any, Self

from imagesearch.ui.phrases import phrase

__all__ = ["Spoken", "in_language"]


class Spoken(str):
    """A message in English, as errors hold it, that knows itself in the other languages too.

    Args:
        key: Of the phrase.
        *values: What fills its gaps.

    Example:
        >>> message = Spoken("no_such_id", "sku-1")
        >>> str(message), in_language(message, "zh")
        ("id 'sku-1' is not in the index", "索引中没有 ID 为 'sku-1' 的图片")
    """

    __slots__ = ("key", "values")

    key: str
    values: tuple[Any, ...]

    def __new__(cls, key: str, *values: Any) -> Self:
        """Say it in English."""
        self = super().__new__(cls, phrase(key, "en").format(*values))
        self.key, self.values = key, values
        return self


def in_language(message: object, language: str) -> str:
    """Return a message in a language, or as it is where it is known in English only.

    Args:
        message: A text, or an error that holds one.
        language: ``"en"`` or ``"zh"``.
    """
    said = message.args[0] if isinstance(message, Exception) and message.args else message
    if isinstance(said, Spoken):
        return phrase(said.key, language).format(*said.values)
    return str(message)
