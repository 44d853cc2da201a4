"""Similar products: several photos of each but one hit for each, and a text to refine the query.

python products.py                           the sample products, with an embedder without weights
python products.py products.csv photo.jpg    your own, with CLIP, downloaded once; needs the extra:
                                             pip install "imagesearch-index[clip]"
"""

import sys
from pathlib import Path

from colour_words import ColourWords

from imagesearch import Embedder, Field, Hits, ImageIndex, Query

HERE = Path(__file__).parent


def main(
    manifest: str | Path, photo: str | Path, embedder: Embedder, path: str = "products.idx"
) -> None:
    with ImageIndex(path, embedder=embedder) as index:
        # Columns: path,product_id,name,price. A product has a row for each of its photos.
        print(index.add(manifest))

        # Three products, not three photos of one. A product scores as its best photo.
        show("best photo", index.search(photo, k=3, group_by="product_id"))

        cheap = Field("price") < 60
        show("less than 60.00", index.search(photo, k=3, group_by="product_id", where=cheap))

        red = Query.image(photo) + 0.5 * Query.text("in red")
        show("the same in red", index.search(red, k=3, group_by="product_id"))


def show(title: str, hits: Hits) -> None:
    print(f"\n{title}")
    for hit in hits:
        print(f"{hit.score:.2f}  {hit.metadata['name']:14}{hit.metadata['price']:7.2f}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        from imagesearch import OpenClipEmbedder

        main(sys.argv[1], sys.argv[2], OpenClipEmbedder())
    else:
        main(HERE / "products.csv", HERE / "photo.jpg", ColourWords(), "sample-products.idx")

# The first time it prints:
#
# 33 added, 0 updated, 0 unchanged, 0 failed
#
# best photo
# 0.97  Blue sneaker    79.00
# 0.86  Green sneaker   45.00
# 0.85  Red sneaker     59.00
#
# less than 60.00
# 0.86  Green sneaker   45.00
# 0.85  Red sneaker     59.00
# 0.85  Blue mug         9.50
#
# the same in red
# 0.91  Red sneaker     59.00
# 0.86  Blue sneaker    79.00
# 0.82  Red boot        95.00
