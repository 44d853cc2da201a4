"""The tutorial of reverse image search on Tencent Cloud VectorDB, end to end.

Set TCVDB_URL and TCVDB_KEY; without them a local index does the same.
python reverse_image_search.py reverse_image_search.csv 'test/goldfish/*'
"""

import csv
import glob
import os
import sys
from pathlib import Path

from imagesearch import Embedder, Field, ImageIndex, Item, LocalStore, TencentStore, VectorStore
from imagesearch.stores.tencent import HNSW


def open_store() -> VectorStore:
    if "TCVDB_URL" not in os.environ:
        return LocalStore("reverse_image_search.idx")
    return TencentStore(
        url=os.environ["TCVDB_URL"], key="env:TCVDB_KEY", shards=3,
        database="image-search", collection="reverse_image_search", uri_field="uri",
        fields={"path": "string", "label": "string"}, index=HNSW(M=16, ef_construction=200),
    )  # fmt: skip


def main(manifest: str | Path, pattern: str, embedder: Embedder | None = None) -> None:
    rows = list(csv.DictReader(Path(manifest).read_text().splitlines()))
    images = [Item(Path(manifest).parent / row["path"], row.pop("id"), row) for row in rows]
    with ImageIndex(store=open_store(), embedder=embedder) as index:
        print(index.add(images))
        for hits in index.search_many(sorted(glob.glob(pattern)), k=10):
            print(hits.query, [f"{hit.metadata['label']} {hit.score:.2f}" for hit in hits])
        for batch in index.scan(where=Field("path") == rows[0]["path"]):  # the query by path
            print(rows[0]["path"], "has id", batch.ids[0])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
