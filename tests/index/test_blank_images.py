"""Images that show nothing are added, and the report names them."""

from __future__ import annotations

from PIL import Image, ImageDraw

from imagesearch import ImageIndex, Item, MemoryStore
from imagesearch.embedders.descriptors import DescriptorEmbedder
from imagesearch.images import is_blank


def logo(colour):
    image = Image.new("RGBA", (64, 64))
    ImageDraw.Draw(image).ellipse((10, 10, 50, 40), fill=colour)
    return image


def test_images_of_one_colour_and_transparent_ones_are_listed_once(tmp_path):
    noisy = Image.new("RGB", (64, 64), (200, 200, 200))
    noisy.paste((202, 201, 200), (5, 5, 9, 9))
    faint = Image.new("RGB", (64, 64), (200, 200, 200))
    faint.putpixel((40, 41), (203, 200, 200))
    Image.new("RGB", (640, 480), "teal").save(tmp_path / "sheet.jpg")
    items = [
        Item(Image.new("RGBA", (64, 64), (9, 9, 9, 0)), id="transparent"),
        Item(Image.new("L", (64, 64), 255), id="white"),
        Item(noisy, id="noisy"),
        Item(faint, id="faint"),
        Item(logo("white"), id="white logo"),
        Item(logo("black"), id="black logo"),
        Item(tmp_path / "sheet.jpg", id="sheet"),
    ]
    with ImageIndex(embedder=DescriptorEmbedder(), store=MemoryStore()) as index:
        report = index.add(items)
        again = index.add(items)
    assert report.ok
    assert len(report.added) == 7
    assert report.blank == ["transparent", "white", "noisy", "sheet"]
    assert str(report) == "7 added, 0 updated, 0 unchanged, 0 failed; 4 of one colour only"
    assert again.blank == []


def test_white_logos_are_told_apart_by_a_search():
    square = Image.new("RGBA", (64, 64))
    square.paste((255, 255, 255, 255), (14, 14, 46, 46))
    with ImageIndex(embedder=DescriptorEmbedder(), store=MemoryStore()) as index:
        index.add([Item(logo("white"), id="ellipse"), Item(square, id="square")])
        first, second = index.search(square, k=2)
    assert first.id == "square"
    assert second.score < 0.99


def test_one_pixel_is_enough_to_be_no_blank_sheet():
    image = Image.new("RGB", (500, 400), "white")
    assert is_blank(image)
    image.putpixel((333, 222), (0, 0, 0))
    assert not is_blank(image)
