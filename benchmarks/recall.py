"""What M and ef give and cost in the local store, on vectors of real pictures.

    OMP_NUM_THREADS=1 python benchmarks/recall.py --crops 20

Reads images and weights from the folder that IMAGESEARCH_SHARED names (default: ../shared beside
this project). Random crops of 550 photos are embedded with mobilenetv2_100: `--crops` of each make
the index, one more of each photo may ask. Recall@10 is the share of the ten nearest of an exact
scan that the store finds; time is the processor time of a search of one query, for other programs
may use the machine meanwhile. The same is measured for vectors projected to 128 numbers.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

from imagesearch import TimmEmbedder
from imagesearch.copying import copy_projected
from imagesearch.embedders import Preprocess
from imagesearch.sources import open_image
from imagesearch.stores.local import LocalStore
from imagesearch.types import IndexMeta, RecordBatch

SHARED = Path(os.environ.get("IMAGESEARCH_SHARED", Path(__file__).parents[2] / "shared"))
K = 10
LINKS = (8, 16, 32)
BREADTHS = (10, 20, 40, 80, 160, 320)
QUERIES = 300
BATCH = 256


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--crops", type=int, default=20, help="of each photo")
    options = parser.parse_args()
    embedder = TimmEmbedder(
        "mobilenetv2_100",
        weights=SHARED / "weights" / "mobilenetv2_100.tf_in1k.safetensors",
        model_args={"pad_type": "same"},
        preprocess=Preprocess(mean=(0.5,) * 3, std=(0.5,) * 3),
    )
    photos = sorted((SHARED / "data" / "imagenet50").rglob("*.JPEG"))
    stored, asked = embedded_crops(embedder, photos, options.crops)
    queries = asked[:: max(1, len(asked) // QUERIES)][:QUERIES]
    meta = IndexMeta(embedder.spec)
    print(f"command   {' '.join([Path(sys.executable).name, *sys.argv])}")
    print(
        f"versions  {platform.system()} {platform.machine()}, Python {platform.python_version()}, "
        f"numpy {np.__version__}, hnswlib {version('hnswlib')}, torch {version('torch')}"
    )
    print(f"data      {len(stored)} crops of {len(photos)} photos, {len(queries)} queries, k = {K}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "crops.idx"
        store = LocalStore(path, engine="exact")
        store.open(meta)
        fill(store, stored)
        measure(f"{meta.dim} numbers", path, queries, folder)
        small = LocalStore(Path(folder) / "small.idx", engine="exact")
        copy_projected(store, small, meta, 128)
        projected = small.describe().projection.apply(queries)
        store.close()
        small.close()
        measure("projected to 128 numbers", Path(folder) / "small.idx", projected, folder)


def embedded_crops(embedder, photos, each):
    dice = np.random.default_rng(0)
    vectors = []
    for photo in photos:
        image = open_image(photo)
        crops = []
        for _ in range(each + 1):
            share = dice.uniform(0.3, 0.7)
            width, height = (max(32, round(side * share)) for side in image.size)
            left, top = (
                int(dice.integers(0, max(1, whole - part)))
                for whole, part in zip(image.size, (width, height), strict=True)
            )
            crops.append(image.crop((left, top, left + width, top + height)))
        vectors.append(embedder.embed([embedder.preprocess(crop) for crop in crops]))
    stacked = np.stack(vectors)
    return stacked[:, :each].reshape(-1, stacked.shape[-1]), stacked[:, each]


def fill(store, vectors):
    for first in range(0, len(vectors), BATCH):
        rows = vectors[first : first + BATCH]
        names = tuple(f"{first + row:06}" for row in range(len(rows)))
        store.upsert(RecordBatch(names, names, names, ({},) * len(rows), rows))


def measure(title, path, queries, folder):
    exact = LocalStore(path, engine="exact", read_only=True)
    meta = exact.describe()
    exact.open(meta)
    truth, scan = searched(exact, queries)
    print(f"\n{title}: an exact scan takes {scan:.2f} ms of processor time a query")
    print("  M   ef  recall@10  time of a scan")
    for links in LINKS:
        graph = Path(folder) / f"{meta.dim}-{links}.idx"
        copy = LocalStore(graph, engine="hnswlib", exact_below=0, M=links)
        copy.open(meta)
        for batch in exact.scan(vectors=True, batch_size=BATCH):
            copy.upsert(batch)
        copy.search(queries[:1], k=K)
        chosen = repr(copy).partition("ef=")[2].rstrip(">")
        copy.close()
        for ef in BREADTHS:
            store = LocalStore(graph, engine="hnswlib", exact_below=0, M=links, ef=ef)
            store.open(meta)
            found, taken = searched(store, queries)
            recall = np.mean([len(a & b) / K for a, b in zip(found, truth, strict=True)])
            print(f"{links:3} {ef:4}  {recall:9.4f}  {taken / scan:14.3f}")
            store.close()
        print(f"      the store itself chose ef={chosen}")
    exact.close()


def searched(store, queries):
    store.search(queries[:1], k=K)
    found = []
    started = time.process_time()
    for query in queries:
        [hits] = store.search(query[None], k=K)
        found.append({hit.id for hit in hits})
    return found, 1000 * (time.process_time() - started) / len(queries)


if __name__ == "__main__":
    main()
