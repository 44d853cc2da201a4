"""Draw the photos of scenes, those of `imagesearch demo` in small. No example needs this script.

python draw_scenes.py .
"""

import sys
from pathlib import Path

from PIL import Image

from imagesearch._demo_images import draw_scene, kinds

SIZE = (160, 120)


def draw(kind: str, number: int, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    scene = draw_scene(kind, number).resize(SIZE, Image.Resampling.LANCZOS)
    scene.save(path, quality=75)


def main(folder: str) -> None:
    for kind in kinds():
        for number in range(1, 7):
            draw(kind, number, Path(folder, "photos", kind, f"{number}.jpg"))
    draw("balloon", 9, Path(folder, "quickstart", "query.jpg"))
    draw("boat", 3, Path(folder, "recipes", "harbour.jpg"))


if __name__ == "__main__":
    main(*sys.argv[1:])
