"""Quiet: Pillow's warnings about the picture at hand stay inside the decoder, thread by thread.

Pillow warns about odd metadata and large pictures through the ``warnings`` module, whose filters
belong to the whole process: to change them in one thread changes them in all, and where warnings
are errors a good picture would be refused for a damaged EXIF block. Pillow's modules therefore get
a stand-in for their module-level name ``warnings``. It does what the real module does, except
inside `quiet`, where what is said about one picture goes to the log.
"""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from imagesearch._printable import printable

__all__ = ["quiet"]

_logger = logging.getLogger(__name__)
_name: ContextVar[str | None] = ContextVar("imagesearch_quiet", default=None)
_lock = threading.Lock()
_modules = 0


class _Warnings:
    """The ``warnings`` module as Pillow sees it."""

    def __getattr__(self, name: str) -> Any:
        return getattr(warnings, name)

    @staticmethod
    def warn(
        message: str | Warning,
        category: type[Warning] | None = None,
        stacklevel: int = 1,
        source: object = None,
        **options: Any,
    ) -> None:
        name = _name.get()
        if name is None:
            # One frame more: the warning belongs to Pillow's caller, not to this stand-in.
            warnings.warn(message, category, stacklevel + 1, source, **options)
        else:
            _logger.debug("%s: %s", name, printable(str(message)))


_STAND_IN = _Warnings()


@contextmanager
def quiet(name: str) -> Iterator[None]:
    """Send what Pillow warns about in this thread to the debug log, as said of `name`."""
    _install()
    token = _name.set(name)
    try:
        yield
    finally:
        _name.reset(token)


def _install() -> None:
    # Pillow imports its plug-ins one by one, so later ones are met on later calls.
    global _modules  # noqa: PLW0603  # saves a look through every module for each picture
    if len(sys.modules) == _modules:
        return
    with _lock:
        _modules = len(sys.modules)
        for key, module in list(sys.modules.items()):
            if key.startswith("PIL.") and getattr(module, "warnings", None) is warnings:
                setattr(module, "warnings", _STAND_IN)  # noqa: B010  # mypy refuses the plain form
