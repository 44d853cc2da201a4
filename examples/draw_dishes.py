"""Draw the photos of the recipes, dishes from above. No example needs this script.

python draw_dishes.py recipes
"""

import math
import random
import sys
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter

Colour = tuple[int, int, int]
Dish = Callable[[ImageDraw.ImageDraw, random.Random], None]

SIZE, SIDE = (160, 120), 600  # of a photo; of a dish, which is drawn large and scaled down
TABLES = [(150, 105, 70), (96, 70, 54), (205, 190, 165), (84, 90, 98), (170, 140, 110)]
LEAF = (58, 125, 48)


def pizza(paint: ImageDraw.ImageDraw, dice: random.Random) -> None:
    disc(paint, 0, 0, 270, (208, 152, 86))
    disc(paint, 0, 0, 232, (196, 62, 36))
    for x, y in scatter(dice, 11, 190, apart=70):
        disc(paint, x, y, dice.uniform(34, 48), (250, 234, 196))
    for x, y in scatter(dice, 8, 190, apart=60):
        disc(paint, x, y, 22, LEAF, flat=0.6)


def soup(paint: ImageDraw.ImageDraw, dice: random.Random) -> None:
    bowl(paint, (244, 244, 240), (232, 132, 36))
    for step in range(150):
        angle, radius = step / 13 + dice.uniform(0, 0.05), 25 + step * 0.8
        disc(paint, radius * math.cos(angle), radius * math.sin(angle), 9, (252, 236, 208))
    for x, y in scatter(dice, 10, 80, apart=20):
        disc(paint, x, y, 13, (86, 98, 44), flat=0.5)


def salad(paint: ImageDraw.ImageDraw, dice: random.Random) -> None:
    bowl(paint, (226, 232, 240), (112, 160, 62))
    for x, y in scatter(dice, 34, 195, apart=30):
        disc(paint, x, y, 36, (dice.randint(70, 130), dice.randint(150, 185), 60), flat=0.7)
    for x, y in scatter(dice, 9, 180, apart=75):
        disc(paint, x, y, 44, (212, 50, 40))
        disc(paint, x, y, 30, (232, 98, 78))
    for x, y in scatter(dice, 9, 180, apart=70):
        box(paint, x, y, (30, 30), (250, 248, 240))
    for x, y in scatter(dice, 9, 185, apart=60):
        disc(paint, x, y, 20, (52, 40, 58))


def sushi(paint: ImageDraw.ImageDraw, dice: random.Random) -> None:
    box(paint, 0, 0, (285, 200), (52, 54, 60))
    topping = dice.choice([(244, 128, 84), (240, 112, 92)])
    for column in range(4):
        for row in (-1, 1):
            x, y = -195 + 130 * column + dice.uniform(-8, 8), row * 92
            box(paint, x, y, (44, 78), (246, 244, 236), round=34)
            box(paint, x, y, (38, 68), topping, round=30)
            for stripe in (-40, -10, 20, 50):
                box(paint, x, y + stripe, (34, 4), (252, 196, 160))
    disc(paint, 262, 0, 22, (150, 180, 80))


def spaghetti(paint: ImageDraw.ImageDraw, dice: random.Random) -> None:
    disc(paint, 0, 0, 280, (248, 248, 246))
    disc(paint, 0, 0, 228, (234, 234, 230))
    for _ in range(170):
        x, y, size = dice.uniform(-95, 95), dice.uniform(-95, 95), dice.uniform(50, 115)
        yellow = (dice.randint(232, 250), dice.randint(190, 212), 104)
        start = dice.uniform(0, 360)
        corners = (x - size, y - size, x + size, y + size)
        place = [corner + SIDE // 2 for corner in corners]
        paint.arc(place, start, start + dice.uniform(80, 200), yellow, 9)
    for x, y in scatter(dice, 26, 95, apart=18):
        disc(paint, x, y, dice.uniform(18, 34), (dice.randint(120, 150), 48, 28))
    for x, y in scatter(dice, 3, 50, apart=30):
        disc(paint, x, y, 24, LEAF, flat=0.6)


def mapo_tofu(paint: ImageDraw.ImageDraw, dice: random.Random) -> None:
    bowl(paint, (44, 70, 128), (150, 34, 20))
    for x, y in scatter(dice, 17, 180, apart=72):
        box(paint, x, y, (33, 33), (248, 238, 214))
    for x, y in scatter(dice, 24, 195, apart=30):
        disc(paint, x, y, 11, (96, 158, 58))
        disc(paint, x, y, 5, (190, 220, 140))


def pancakes(paint: ImageDraw.ImageDraw, dice: random.Random) -> None:
    disc(paint, 0, 0, 280, (250, 250, 250))
    for shift in (24, 8, -8):
        x, y = shift + dice.uniform(-8, 8), float(shift)
        disc(paint, x, y, 205, (168, 106, 48))
        disc(paint, x, y, 190, (214, 156, 84))
    disc(paint, dice.uniform(-40, 40), 30, 120, (160, 84, 24))
    box(paint, -8, -12, (44, 44), (250, 224, 120))
    for x, y in scatter(dice, 16, 190, apart=48):
        disc(paint, x, y, 25, (52, 56, 116))
        disc(paint, x - 6, y - 6, 8, (120, 126, 180))


def shakshuka(paint: ImageDraw.ImageDraw, dice: random.Random) -> None:
    box(paint, 330, 0, (90, 30), (34, 34, 36))
    bowl(paint, (34, 34, 36), (186, 56, 26))
    for x, y in scatter(dice, 30, 205, apart=30):
        disc(paint, x, y, 20, (dice.randint(200, 226), dice.randint(70, 100), 40))
    turn = dice.uniform(0, 6)
    for egg in range(4):
        x, y = 115 * math.cos(turn + egg * 1.57), 115 * math.sin(turn + egg * 1.57)
        disc(paint, x, y, 70, (252, 250, 244), flat=dice.uniform(0.85, 1))
        disc(paint, x, y, 30, (248, 180, 30))
    for x, y in scatter(dice, 14, 200, apart=50):
        disc(paint, x, y, 12, LEAF)


def bowl(paint: ImageDraw.ImageDraw, rim: Colour, content: Colour) -> None:
    disc(paint, 0, 0, 280, rim)
    disc(paint, 0, 0, 238, content)


def disc(
    paint: ImageDraw.ImageDraw,
    x: float,
    y: float,
    radius: float,
    colour: Colour,
    *,
    flat: float = 1.0,
) -> None:
    corners = (x - radius, y - radius * flat, x + radius, y + radius * flat)
    paint.ellipse([corner + SIDE // 2 for corner in corners], colour)


def box(
    paint: ImageDraw.ImageDraw,
    x: float,
    y: float,
    reach: tuple[float, float],
    colour: Colour,
    *,
    round: float = 8,
) -> None:
    corners = (x - reach[0], y - reach[1], x + reach[0], y + reach[1])
    paint.rounded_rectangle(
        [corner + SIDE // 2 for corner in corners], min(round, reach[1]), colour
    )


def scatter(
    dice: random.Random, count: int, radius: float, apart: float
) -> list[tuple[float, float]]:
    """Return points in a disc that keep their distance from each other."""
    points: list[tuple[float, float]] = []
    for _ in range(50 * count):
        x, y = dice.uniform(-radius, radius), dice.uniform(-radius, radius)
        if math.hypot(x, y) <= radius and all(math.dist((x, y), p) >= apart for p in points):
            points.append((x, y))
            if len(points) == count:
                break
    return points


def photo(dish: Dish, number: int) -> Image.Image:
    """Draw a dish as in a casual photo: on some table, turned, near or far."""
    dice = random.Random(f"{dish.__name__} {number}")
    width, height = (5 * side for side in SIZE)
    wood = dice.choice(TABLES)
    scene = Image.new("RGB", (width, height), wood)
    paint = ImageDraw.Draw(scene)
    for plank in range(dice.randint(0, 60), height, 120):
        paint.line((0, plank, width, plank), tuple(value * 4 // 5 for value in wood), 5)
    plate = Image.new("RGBA", (SIDE, SIDE))
    dish(ImageDraw.Draw(plate), dice)
    plate = plate.rotate(dice.uniform(-180, 180), Image.Resampling.BICUBIC, expand=True)
    scale = dice.uniform(1.2, 1.45)
    plate = plate.resize((round(plate.width * scale), round(plate.height * scale)))
    x = (width - plate.width) // 2 + dice.randint(-30, 30)
    y = (height - plate.height) // 2 + dice.randint(-15, 15)
    shadow = Image.new("L", scene.size)
    shadow.paste(
        plate.getchannel("A").point([alpha // 2 for alpha in range(256)]), (x + 14, y + 18)
    )
    scene.paste((20, 14, 10), (0, 0), shadow.filter(ImageFilter.GaussianBlur(12)))
    scene.paste(plate, (x, y), plate)
    light = dice.uniform(0.88, 1.08)
    brightness = [min(255, round(value * light)) for value in range(256)]
    return scene.resize(SIZE, Image.Resampling.LANCZOS).point(brightness * 3)


DISHES = [pizza, soup, salad, sushi, spaghetti, mapo_tofu, pancakes, shakshuka]


def main(folder: str) -> None:
    photos = Path(folder) / "photos"
    photos.mkdir(parents=True, exist_ok=True)
    for dish in DISHES:
        for number in range(8):
            photo(dish, number).save(photos / f"{dish.__name__}-{number}.jpg", quality=75)
    photo(salad, 8).save(Path(folder) / "lunch.jpg", quality=75)


if __name__ == "__main__":
    main(*sys.argv[1:])
