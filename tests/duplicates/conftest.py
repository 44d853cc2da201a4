"""A folder of drawn images with planted copies."""

from __future__ import annotations

import functools
import shutil

import pytest
from PIL import Image, ImageDraw, ImageFilter

from imagesearch import DescriptorEmbedder, ImageIndex, Item, MemoryStore
from imagesearch._demo_images import draw_scene


@functools.cache
def texture(seed: int) -> Image.Image:
    """Draw an image unlike those of other seeds: a blend of two rotated scenes."""
    kinds = ("fish", "boat", "flower", "balloon", "mountains", "trees", "city", "house")
    one = draw_scene(kinds[seed % 8], seed).rotate(90 * (seed % 4)).resize((320, 240))
    other = draw_scene(kinds[(seed * 3 + 1) % 8], seed + 100).rotate(90 * (seed // 4 % 4))
    return Image.blend(one, other.resize((320, 240)), 0.5).filter(ImageFilter.GaussianBlur(1))


def watermarked(image: Image.Image) -> Image.Image:
    marked = image.copy()
    ImageDraw.Draw(marked).text((15, 205), "sample", (255, 255, 255), font_size=20)
    return marked


def cropped(image: Image.Image) -> Image.Image:
    return image.crop((6, 4, 314, 236))


COPIES = {
    "encoded": lambda image: image,
    "half": lambda image: image.resize((160, 120)),
    "squashed": lambda image: image.resize((250, 240)),
    "cropped": cropped,
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "watermarked": watermarked,
}


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    for number in range(12):
        texture(number).save(folder / f"{number:02}.png")
    for number, (kind, change) in enumerate(COPIES.items()):
        change(texture(number)).save(folder / f"{number:02}-{kind}.jpg", quality=70)
    shutil.copy(folder / "06.png", folder / "06-same.png")
    return folder


@pytest.fixture(scope="session")
def copied(drawn):
    """An index of all of them; tests must not change it."""
    with ImageIndex(embedder=DescriptorEmbedder(), store=MemoryStore()) as index:
        paths = sorted(drawn.iterdir())
        index.add([Item(path, id=path.name) for path in paths], on_error="raise")
        yield index


@pytest.fixture
def images(tmp_path, drawn):
    """Twelve images as PNG, the first seven with one copy each, named after their kind."""
    return shutil.copytree(drawn, tmp_path / "images")


@pytest.fixture
def index():
    with ImageIndex(embedder=DescriptorEmbedder(), store=MemoryStore()) as index:
        yield index
