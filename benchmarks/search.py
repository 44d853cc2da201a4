"""How fast and how right is the local store, beside what it is made of?

    python benchmarks/search.py --n 10000 --dim 2048 --queries 200

Clustered random unit vectors, ready query vectors, k = 10. In one run, query by query in turn, so
that a busy machine slows all of them alike: the local store with its graph, the local store
scanning exactly, bare hnswlib with the same parameters and the same ef, and bare numpy.
"""

from __future__ import annotations

import argparse
import os
import platform
import sqlite3
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import hnswlib
import numpy as np

from imagesearch.stores.local import LocalStore
from imagesearch.types import EmbeddingSpec, IndexMeta, RecordBatch

K = 10
M, EF_CONSTRUCTION = 16, 200
BATCH = 256


def clustered(rows, dim, queries, seed):
    random = np.random.default_rng(seed)
    centres = random.standard_normal((max(2, rows // 50), dim), np.float32)
    points = centres[random.integers(len(centres), size=rows + queries)]
    points = points + 0.7 * random.standard_normal(points.shape, np.float32)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return points[:rows], points[rows:]


def fill(store, vectors):
    """Write the vectors as an indexer would, and return the rows per second."""
    store.open(IndexMeta(EmbeddingSpec("benchmark", vectors.shape[1], True, "v1")))
    started = time.perf_counter()
    for first in range(0, len(vectors), BATCH):
        rows = vectors[first : first + BATCH]
        numbers = range(first, first + len(rows))
        store.upsert(
            RecordBatch(
                tuple(f"id-{row}" for row in numbers),
                tuple(f"/photos/{row}.jpg" for row in numbers),
                tuple("0" * 64 for _ in numbers),
                tuple({"label": f"class {row % 50}", "price": row / 10} for row in numbers),
                rows,
            )
        )
    return len(vectors) / (time.perf_counter() - started)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=10_000, help="vectors in the index")
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--ef", type=int, help="breadth of the search; default: measured")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    vectors, queries = clustered(options.n, options.dim, options.queries, options.seed)
    truth = np.argsort(-(queries @ vectors.T), axis=1)[:, :K]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "benchmark.idx"
        store = LocalStore(
            path,
            engine="hnswlib",
            M=M,
            ef_construction=EF_CONSTRUCTION,
            ef=options.ef,
            exact_below=0,
        )
        written = fill(store, vectors)
        started = time.perf_counter()
        store.search(queries[:1], k=K)
        build = time.perf_counter() - started
        exact = LocalStore(path, engine="exact", read_only=True)
        exact.open(store.describe())
        ef = options.ef or int(repr(store).partition("ef=")[2].rstrip(">"))
        bare = hnswlib.Index("ip", options.dim)
        bare.init_index(max_elements=options.n, ef_construction=EF_CONSTRUCTION, M=M)
        bare.add_items(vectors)
        bare.set_ef(max(ef, K))

        def by_store(query):
            return [int(hit.id[3:]) for hit in store.search(query[None], k=K)[0]]

        def by_exact_store(query):
            return [int(hit.id[3:]) for hit in exact.search(query[None], k=K)[0]]

        def by_hnswlib(query):
            return bare.knn_query(query[None], k=K, num_threads=1)[0][0]

        def by_numpy(query):
            scores = vectors @ query
            best = np.argpartition(-scores, K)[:K]
            return best[np.argsort(-scores[best])]

        ways = {
            "local store (graph)": by_store,
            "bare hnswlib": by_hnswlib,
            "local store (exact)": by_exact_store,
            "bare numpy": by_numpy,
        }
        times = {name: [] for name in ways}
        found = dict.fromkeys(ways, 0)
        for query in queries[: min(10, len(queries))]:
            for search in ways.values():
                search(query)
        for number, query in enumerate(queries):
            for name, search in ways.items():
                started = time.perf_counter()
                best = search(query)
                times[name].append(1000 * (time.perf_counter() - started))
                found[name] += len(set(map(int, best)) & set(truth[number].tolist()))
        exact.close()
        store.close()

    print(f"command   {' '.join([Path(sys.executable).name, *sys.argv])}")
    print(f"machine   {processor()}, {os.cpu_count()} cores, {platform.system()}")
    print(f"load      {os.getloadavg()[0]:.2f} processes in the last minute")
    print(
        f"versions  Python {platform.python_version()}, numpy {np.__version__}, "
        f"hnswlib {version('hnswlib')}, SQLite {sqlite3.sqlite_version}"
    )
    print(f"data      {options.n} × {options.dim} float32, clustered, seed {options.seed}")
    print(f"graph     M={M}, ef_construction={EF_CONSTRUCTION}, ef={ef}; built in {build:.1f} s")
    print(f"writing   {written:.0f} rows a second, durable, {BATCH} at a time")
    print(f"\n{'':22}{'p50 ms':>9}{'p95 ms':>9}{'recall@10':>11}")
    for name in ways:
        p50, p95 = np.percentile(times[name], [50, 95])
        recall = found[name] / (K * len(queries))
        print(f"{name:22}{p50:9.3f}{p95:9.3f}{recall:11.4f}")


def processor():
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
