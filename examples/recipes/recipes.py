"""Find a recipe by a photo of the dish: its title and link, or "no match" if it shows no dish.

python recipes.py                            the sample recipes, with an embedder without weights
python recipes.py recipes.csv photo.jpg …    your own, with ResNet50, downloaded once
"""

import sys
from pathlib import Path

from imagesearch import DescriptorEmbedder, Embedder, Field, Hits, ImageIndex

HERE = Path(__file__).parent


def main(
    manifest: str | Path,
    *photos: str | Path,
    path: str = "recipes.idx",
    embedder: Embedder | None = None,  # None: ResNet50
) -> None:
    with ImageIndex(path, embedder=embedder) as index:
        # Columns: path,title,link,cuisine,minutes. A recipe has a row for each of its photos.
        print(index.add(manifest))

        # Which score makes a hit trustworthy? The titles show which hits are right. This takes
        # about fifty photos; with fewer, choose a min_score by looking at the scores.
        trusted = index.calibrate(label="title", precision=0.9, k=3)
        print(f"scores from {trusted.threshold:.2f} on are right in 90 % or more")

        for photo in photos:
            dishes = index.search(photo, k=3, group_by="title", min_score="calibrated")
            show(f"What is on {Path(photo).name}?", dishes)

        quick = (Field("minutes") <= 30) & Field("cuisine").is_in(["Chinese", "Italian"])
        dishes = index.search(photos[0], k=3, group_by="title", where=quick)
        show("The like, Chinese or Italian, in half an hour", dishes)


def show(title: str, hits: Hits) -> None:
    print(f"\n{title}")
    for hit in hits:
        dish = hit.metadata
        print(f"{hit.score:.2f}  {dish['title']}, {dish['minutes']} minutes, {dish['link']}")
    if not hits:
        print("no match")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(*sys.argv[1:])
    else:
        photos = HERE / "lunch.jpg", HERE / "harbour.jpg"
        main(
            HERE / "recipes.csv", *photos, path="sample-recipes.idx", embedder=DescriptorEmbedder()
        )

# The first time it prints:
#
# 64 added, 0 updated, 0 unchanged, 0 failed
# scores from 0.94 on are right in 90 % or more
#
# What is on lunch.jpg?
# 0.98  Greek salad, 15 minutes, https://recipes.example/greek-salad
#
# What is on harbour.jpg?
# no match
#
# The like, Chinese or Italian, in half an hour
# 0.92  Pizza Margherita, 30 minutes, https://recipes.example/pizza-margherita
# 0.91  Mapo tofu, 25 minutes, https://recipes.example/mapo-tofu
