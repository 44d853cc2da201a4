"""Draw the photos of the products, each from three sides. No example needs this script.

python draw_products.py products
"""

import random
import sys
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter, ImageOps

Colour = tuple[int, int, int]
Shape = Callable[[ImageDraw.ImageDraw, Colour], None]

SIZE, SIDE = (160, 120), 600  # of a photo; of a product, which is drawn large and scaled down
COLOURS = {
    "red": (200, 36, 40),
    "blue": (38, 84, 190),
    "green": (44, 140, 70),
    "black": (44, 44, 48),
    "yellow": (240, 196, 40),
}


def sneaker(paint: ImageDraw.ImageDraw, colour: Colour) -> None:
    upper = [(60, 355), (66, 190), (150, 170), (215, 235), (330, 262), (450, 300), (530, 320)]
    paint.polygon([*upper, (556, 355)], colour)
    paint.polygon([(60, 355), (66, 190), (112, 180), (124, 355)], darker(colour))
    paint.polygon([(470, 355), (480, 308), (530, 320), (556, 355)], darker(colour))
    paint.rounded_rectangle((46, 345, 570, 404), 28, (248, 248, 245))
    paint.line((52, 386, 564, 386), (196, 196, 192), 6)
    for x, y in ((222, 244), (264, 254), (306, 264), (348, 274)):
        paint.line((x, y, x + 30, y + 40), (250, 250, 250), 11)
    paint.polygon([(150, 335), (290, 300), (330, 318), (230, 342)], (250, 250, 250))


def boot(paint: ImageDraw.ImageDraw, colour: Colour) -> None:
    paint.rounded_rectangle((120, 90, 310, 430), 26, colour)
    paint.rounded_rectangle((120, 300, 520, 440), 66, colour)
    paint.rectangle((120, 90, 310, 135), darker(colour))
    paint.rounded_rectangle((110, 425, 530, 470), 14, (58, 42, 34))
    paint.rectangle((110, 440, 220, 500), (58, 42, 34))
    for y in range(170, 320, 44):
        paint.line((240, y, 312, y + 16), (235, 220, 180), 9)


def bag(paint: ImageDraw.ImageDraw, colour: Colour) -> None:
    paint.arc((190, 70, 410, 370), 180, 360, darker(colour), 26)
    paint.polygon([(110, 220), (490, 220), (540, 500), (60, 500)], colour)
    paint.polygon([(110, 220), (490, 220), (500, 290), (100, 290)], darker(colour))
    paint.rounded_rectangle((272, 262, 328, 322), 10, (226, 190, 96))


def mug(paint: ImageDraw.ImageDraw, colour: Colour) -> None:
    paint.ellipse((370, 190, 530, 400), darker(colour))
    paint.ellipse((405, 230, 490, 360), (0, 0, 0, 0))
    paint.rounded_rectangle((120, 140, 420, 480), 34, colour)
    paint.ellipse((120, 105, 420, 185), darker(colour))
    paint.ellipse((138, 118, 402, 172), (92, 58, 36))
    paint.rounded_rectangle((150, 210, 176, 420), 13, (250, 250, 250))


def darker(colour: Colour) -> Colour:
    red, green, blue = (value * 7 // 10 for value in colour)
    return red, green, blue


def photo(shape: Shape, colour: str, view: int) -> Image.Image:
    """Draw a product: 0 in front of white, 1 from the other side, 2 close up, 3 at home."""
    dice = random.Random(f"{shape.__name__} {colour} {view}")
    product = Image.new("RGBA", (SIDE, SIDE))
    shape(ImageDraw.Draw(product), COLOURS[colour])
    if view % 2:
        product = ImageOps.mirror(product)
    product = product.rotate((0, 0, 8, -5)[view], Image.Resampling.BICUBIC)
    side = round(SIDE * (0.95, 0.9, 1.25, 0.85)[view])
    product = product.resize((side, side))
    wall = [(250, 250, 250), (226, 228, 232), (244, 238, 228), (206, 196, 178)][view]
    scene = Image.new("RGB", [5 * length for length in SIZE], wall)
    if view:
        floor = tuple(value * 9 // 10 for value in wall)
        ImageDraw.Draw(scene).rectangle((0, 430, 5 * SIZE[0], 5 * SIZE[1]), floor)
    x = (scene.width - side) // 2 + dice.randint(-20, 20)
    y = (scene.height - side) // 2 + dice.randint(-10, 10)
    shadow = Image.new("L", scene.size)
    shadow.paste(
        product.getchannel("A").point([alpha // 3 for alpha in range(256)]), (x + 10, y + 14)
    )
    scene.paste((30, 26, 24), (0, 0), shadow.filter(ImageFilter.GaussianBlur(10)))
    scene.paste(product, (x, y), product)
    return scene.resize(SIZE, Image.Resampling.LANCZOS)


PRODUCTS = [
    (sneaker, "red"),
    (sneaker, "blue"),
    (sneaker, "green"),
    (boot, "black"),
    (boot, "red"),
    (bag, "red"),
    (bag, "blue"),
    (bag, "yellow"),
    (mug, "blue"),
    (mug, "green"),
    (mug, "yellow"),
]


def main(folder: str) -> None:
    photos = Path(folder) / "photos"
    photos.mkdir(parents=True, exist_ok=True)
    for shape, colour in PRODUCTS:
        for view in range(3):
            path = photos / f"{colour}-{shape.__name__}-{view + 1}.jpg"
            photo(shape, colour, view).save(path, quality=75)
    photo(sneaker, "blue", 3).save(Path(folder) / "photo.jpg", quality=75)


if __name__ == "__main__":
    main(*sys.argv[1:])
