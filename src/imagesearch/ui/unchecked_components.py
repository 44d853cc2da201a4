"""Unchecked components: Gradio's, but what they receive is left to our own checks."""

from __future__ import annotations

from abc import ABCMeta
from typing import Any

__all__ = ["any_value"]


def any_value(base: Any) -> Any:
    """Return a kind of component that passes on whatever a program sends.

    Gradio would answer a text in a number's place with the words of Python's own ``TypeError``, and
    repeat a choice that it does not know, markup and all. The class is made past Gradio's metaclass,
    as in `uploads_only`.
    """

    def preprocess(self: Any, payload: Any) -> Any:  # noqa: ARG001  # Gradio calls it as a method
        return payload

    members = {"is_template": True, "preprocess": preprocess, "__module__": __name__}
    return ABCMeta.__new__(type(base), f"Unchecked{base.__name__}", (base,), members)
