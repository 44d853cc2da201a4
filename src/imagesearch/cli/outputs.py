"""Outputs: files that a command shall write, checked before it works for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

__all__ = ["OutputFile", "PictureFile"]


class OutputFile(click.Path):
    """A file to be written: in a folder that exists."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False, writable=True, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path, or fail."""
        path = Path(str(super().convert(value, param, ctx)))
        if not path.absolute().parent.is_dir():
            self.fail(f"the folder {path.parent} does not exist; make it first", param, ctx)
        return path


class PictureFile(OutputFile):
    """A picture to be written: its suffix names a format that can be."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path, or fail."""
        from PIL import Image

        path = super().convert(value, param, ctx)
        format = Image.registered_extensions().get(path.suffix.lower(), "")
        if format not in Image.SAVE:
            self.fail(
                f"{str(path)!r} does not end in the name of a picture format; use .png, .jpg or "
                ".webp",
                param,
                ctx,
            )
        return path
