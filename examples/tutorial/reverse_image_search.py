"""The tutorial of reverse image search on Tencent Cloud VectorDB, end to end.

    export TCVDB_URL=http://10.0.1.5:80 TCVDB_KEY=…
    python reverse_image_search.py reverse_image_search.csv 'test/goldfish/*'

Without TCVDB_URL it does the same in a local index.
"""

import glob
import os
import sys

from imagesearch import Field, ImageIndex, LocalStore, TencentStore, TimmEmbedder


def open_store():
    if "TCVDB_URL" not in os.environ:
        return LocalStore("reverse_image_search.idx")
    return TencentStore(
        url=os.environ["TCVDB_URL"],
        key="env:TCVDB_KEY",
        database="image-search",
        collection="reverse_image_search",
        shards=3,
        index="HNSW",
        m=16,
        ef_construction=200,
        fields={"label": "string", "path": "string"},
    )


def main(manifest, pattern, embedder=None):
    with ImageIndex(embedder=embedder or TimmEmbedder("resnet50"), store=open_store()) as index:
        print(index.add(manifest))
        for hits in index.search_many(sorted(glob.glob(pattern)), k=10):
            print(hits.query, hits, sep="\n")
        print(index.count(Field("label") == "goldfish"), "goldfish in the index")


if __name__ == "__main__":
    main(*sys.argv[1:])
