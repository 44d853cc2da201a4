"""One program for every store: which one it uses is a line of config.

python search_photos.py local.toml FOLDER QUERY
python search_photos.py tencent.toml FOLDER QUERY
"""

import sys

from imagesearch import Field, ImageIndex


def main(config: str, folder: str, query: str) -> None:
    with ImageIndex.from_config(config) as index:
        print(index.add(folder, metadata={"label": "drawn"}))
        for hit in index.search(query, k=3, where=Field("label") == "drawn"):
            print(f"{hit.score:.3f} {hit.uri}")


if __name__ == "__main__":
    main(*sys.argv[1:])
