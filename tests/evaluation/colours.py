"""Pictures of a few kinds that any embedder tells apart: reds, greens and blues."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

CHANNELS = {"red": 0, "green": 1, "blue": 2}


def picture(kind: str, number: int) -> Image.Image:
    """One of many pictures of a kind; no two are the same."""
    colour = [20, 20, 20]
    colour[CHANNELS[kind]] = 250 - 3 * number
    image = Image.new("RGB", (16, 16), tuple(colour))
    image.putpixel((number % 16, number // 16), (0, 0, 0))
    return image


def save_folders(folder: Path, *, each: int, first: int = 0, kinds=tuple(CHANNELS)) -> Path:
    """Class folders: one for each kind."""
    for kind in kinds:
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for number in range(first, first + each):
            picture(kind, number).save(folder / kind / f"{number:02}.png")
    return folder
