"""Index a folder of photos, find those most similar to a photo, filter, and save the hits.

python quickstart.py                       the sample photos, with an embedder that needs no weights
python quickstart.py photos/ query.jpg     your own, with ResNet50, downloaded once
"""

import sys
from pathlib import Path

from imagesearch import DescriptorEmbedder, Embedder, Field, Hits, ImageIndex

HERE = Path(__file__).parent


def main(
    photos: str | Path,
    query: str | Path,
    path: str = "photos.idx",
    embedder: Embedder | None = None,  # None: ResNet50
) -> None:
    with ImageIndex(path, embedder=embedder) as index:
        print(index.add(photos))

        # Add metadata to the photos; here, the sub-folder that each is in.
        for folder in Path(photos).glob("*/"):
            index.add(folder, metadata={"kind": folder.name})

        hits = index.search(query, k=4)
        show("most like the query", hits)
        print("side by side:", hits.save_contact_sheet("similar.png").name)

        others = Field("kind") != Path(hits[0].uri).parent.name
        show("most like it among other kinds", index.search(query, k=3, where=others))

        print("\nonce more:", index.add(photos))  # unchanged files are not even decoded


def show(title: str, hits: Hits) -> None:
    print(f"\n{title}")
    for hit in hits:
        print(f"{hit.score:.2f} {'/'.join(Path(hit.uri).parts[-2:])}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1], sys.argv[2])
    else:
        main(HERE.parent / "photos", HERE / "query.jpg", "sample-photos.idx", DescriptorEmbedder())

# The first time it prints:
#
# 48 added, 0 updated, 0 unchanged, 0 failed
#
# most like the query
# 0.93 balloon/5.jpg
# 0.91 balloon/4.jpg
# 0.89 balloon/3.jpg
# 0.89 balloon/6.jpg
# side by side: similar.png
#
# most like it among other kinds
# 0.78 fish/5.jpg
# 0.78 fish/1.jpg
# 0.77 boat/4.jpg
#
# once more: 0 added, 0 updated, 48 unchanged, 0 failed
