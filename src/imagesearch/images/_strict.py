"""Strict: Pillow's switch for truncated files is off inside the decoder, thread by thread.

``PIL.ImageFile.LOAD_TRUNCATED_IMAGES`` belongs to the whole process. A program that sets it, for a
reason of its own, would have damaged files come back half grey from here as well. Where it is set,
it is replaced by a stand-in that is as true as before, except inside `strict`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from PIL import ImageFile

__all__ = ["strict"]

_is_strict: ContextVar[bool] = ContextVar("imagesearch_strict", default=False)


class _Switch:
    """``True`` as Pillow's modules see it outside `strict`, ``False`` inside."""

    def __bool__(self) -> bool:
        return not _is_strict.get()

    def __eq__(self, other: object) -> bool:
        return bool(self) == other

    def __hash__(self) -> int:
        return hash(bool(self))

    def __repr__(self) -> str:
        return repr(bool(self))


@contextmanager
def strict() -> Iterator[None]:
    """Have Pillow raise for truncated files in this thread, whatever the program has set."""
    if ImageFile.LOAD_TRUNCATED_IMAGES and not isinstance(ImageFile.LOAD_TRUNCATED_IMAGES, _Switch):
        ImageFile.LOAD_TRUNCATED_IMAGES = _Switch()  # type: ignore[assignment]  # Pillow asks for its truth
    token = _is_strict.set(True)
    try:
        yield
    finally:
        _is_strict.reset(token)
