"""The tutorial of reverse image search on Tencent Cloud VectorDB, end to end.

Set TCVDB_URL and TCVDB_KEY; without them a local index does the same.
python reverse_image_search.py reverse_image_search.csv 'test/goldfish/*'
"""

import csv
import glob
import os
import sys
from pathlib import Path

from imagesearch import Field, ImageIndex, Item, LocalStore, TencentStore
from imagesearch.stores.tencent import HNSW

PLACE = {"database": "image-search", "collection": "reverse_image_search", "uri_field": "uri"}
SHAPE = {"shards": 3, "index": HNSW(M=16, ef_construction=200)}


def open_store():
    if "TCVDB_URL" not in os.environ:
        return LocalStore("reverse_image_search.idx")
    fields = {"path": "string", "label": "string"}
    url = os.environ["TCVDB_URL"]
    return TencentStore(url=url, key="env:TCVDB_KEY", fields=fields, **PLACE, **SHAPE)


def main(manifest, pattern, embedder=None):
    rows = list(csv.DictReader(Path(manifest).read_text().splitlines()))
    images = [Item(Path(manifest).parent / row["path"], row.pop("id"), row) for row in rows]
    with ImageIndex(store=open_store(), embedder=embedder) as index:
        print(index.add(images))
        for hits in index.search_many(sorted(glob.glob(pattern)), k=10):
            print(hits.query, [f"{hit.metadata['label']} {hit.score:.2f}" for hit in hits])
        for batch in index.scan(where=Field("path") == rows[0]["path"]):  # the query by path
            print(rows[0]["path"], "has id", batch.ids[0])


if __name__ == "__main__":
    main(*sys.argv[1:])
