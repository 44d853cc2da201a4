"""Keep an index in sync with a folder: photos added, removed, moved or changed, and copies.

python photo_folder.py             sample photos in a folder of their own, which is changed in between
python photo_folder.py photos/     your own folder, which is only read; downloads ResNet50 once
"""

import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image

from imagesearch import DescriptorEmbedder, Embedder, ImageIndex

SAMPLES = Path(__file__).parents[1] / "photos"


def main(
    folder: str | Path,
    path: str | Path = "photos.idx",
    embedder: Embedder | None = None,  # None: ResNet50
) -> None:
    with ImageIndex(path, embedder=embedder) as index:
        report = index.sync(folder)
        print(f"{report}; {report.embedded} went through the model")
        for failure in report.failed:
            print("  failed", Path(failure.source).name, type(failure.error).__name__)

        # Same bytes or nearly the same image. Nothing is deleted; the photo to keep is a suggestion.
        copies = index.duplicates(tiers=["exact", "near"])
        for group in sorted(copies, key=lambda group: group.keep.uri):
            print("  keep", Path(group.keep.uri).name, group.keep.dimensions)
            for copy in group.copies:
                print(f"  copy {Path(copy.uri).name} {copy.image.dimensions}, {copy.tier}")


def change(photos: Path) -> None:
    shutil.copy(SAMPLES / "house" / "3.jpg", photos / "new.jpg")  # added
    (photos / "flower.jpg").rename(photos / "moved.jpg")  # added and removed, keeps its vector
    (photos / "trees.jpg").unlink()  # removed
    shutil.copy(SAMPLES / "city" / "2.jpg", photos / "city.jpg")  # updated: now another photo
    shutil.copy(photos / "fish.jpg", photos / "fish (copy).jpg")  # added, with the same vector
    Image.open(photos / "fish.jpg").resize((120, 90)).save(photos / "fish-small.jpg")  # added
    (photos / "broken.jpg").write_bytes((photos / "boat.jpg").read_bytes()[:999])  # failed


def sample() -> None:
    with tempfile.TemporaryDirectory() as place:
        photos = Path(place, "photos")
        photos.mkdir()
        for kind in SAMPLES.iterdir():
            shutil.copy(kind / "1.jpg", photos / f"{kind.name}.jpg")
        main(photos, Path(place, "photos.idx"), DescriptorEmbedder())
        change(photos)
        print()
        main(photos, Path(place, "photos.idx"))


if __name__ == "__main__":
    main(sys.argv[1]) if len(sys.argv) > 1 else sample()

# It prints:
#
# 8 added, 0 updated, 0 unchanged, 0 failed; 8 went through the model
#
# 4 added, 1 updated, 5 unchanged, 1 failed, 2 removed; 3 went through the model
#   failed broken.jpg DecodeError
#   keep fish.jpg 160×120
#   copy fish (copy).jpg 160×120, exact
#   copy fish-small.jpg 120×90, near
