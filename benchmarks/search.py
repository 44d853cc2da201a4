"""How fast and how right is the local store, beside what it is made of?

    python benchmarks/search.py --n 100000 --dim 2048 --queries 200 --json search.json

Clustered random unit vectors, ready query vectors, k = 10. In one run, query by query in turn, so
that a busy machine slows all of them alike: the local store with its graph, the local store
scanning exactly, bare usearch with the same codes, bare hnswlib, faiss if it is installed
(``pip install faiss-cpu``), and bare NumPy. The graphs get the same M, ef_construction and ef.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

import numpy as np

from imagesearch.filters import Field
from imagesearch.stores.local import LocalStore
from imagesearch.stores.local._engines import UsearchEngine
from imagesearch.types import EmbeddingSpec, IndexMeta, RecordBatch

K = 10
M, EF_CONSTRUCTION = 16, 200
BATCH = 256
TOGETHER = 200


def clustered(rows, dim, queries, seed):
    random = np.random.default_rng(seed)
    centres = random.standard_normal((max(2, rows // 50), dim), np.float32)
    points = centres[random.integers(len(centres), size=rows + queries)]
    for first in range(0, len(points), 4096):
        part = points[first : first + 4096]
        part += 0.7 * random.standard_normal(part.shape, np.float32)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return points[:rows], points[rows:]


def meta_of(dim):
    return IndexMeta(EmbeddingSpec("benchmark", dim, True, "v1"))


def fill(store, vectors):
    """Write the vectors as an indexer would; returns the rows per second."""
    store.open(meta_of(vectors.shape[1]))
    started = time.perf_counter()
    for first in range(0, len(vectors), BATCH):
        rows = vectors[first : first + BATCH]
        numbers = range(first, first + len(rows))
        store.upsert(
            RecordBatch(
                tuple(f"id-{row}" for row in numbers),
                tuple(f"/photos/{row}.jpg" for row in numbers),
                tuple("0" * 64 for _ in numbers),
                tuple({"tenant": row % 50, "decile": row % 10} for row in numbers),
                rows,
            )
        )
    return len(vectors) / (time.perf_counter() - started)


def first_search(path, dim):
    """Open an index and search once, in this process; prints seconds and resident bytes."""
    query = np.eye(1, dim, dtype=np.float32)
    # Importing is not what is measured.
    UsearchEngine(8, "cosine", M, EF_CONSTRUCTION)
    before = peak_memory()
    store = LocalStore(path, read_only=True, exact_below=0)
    started = time.perf_counter()
    store.open(meta_of(dim))
    opened = time.perf_counter() - started
    store.search(query, k=K)
    took = time.perf_counter() - started
    after = peak_memory()
    store.close()
    print(json.dumps({"open_s": opened, "first_s": took, "resident": after, "before": before}))


def opened_elsewhere(path, dim):
    """Open the index and search once in another process."""
    done = subprocess.run(
        [sys.executable, __file__, "--first-search", path, "--dim", str(dim)],
        check=True,
        capture_output=True,
        text=True,
    )
    first = json.loads(done.stdout)
    return {
        "open, s": first["open_s"],
        "first search after opening, s": first["first_s"],
        "resident after it, MB": first["resident"],
        "resident before it, MB": first["before"],
    }


def peak_memory():
    """Return the most megabytes that this process had in memory; 0 where Linux is not there to say."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def contenders(options, vectors, store, exact, ef):
    """Return functions from queries to the rows of their ten nearest."""

    def by_store(some):
        return [[int(hit.id[3:]) for hit in hits] for hits in store.search(some, k=K)]

    def by_exact(some):
        return [[int(hit.id[3:]) for hit in hits] for hits in exact.search(some, k=K)]

    def by_numpy(some):
        table = some @ vectors.T
        best = np.argpartition(-table, K, axis=1)[:, :K]
        order = np.argsort(-np.take_along_axis(table, best, 1), axis=1)
        return np.take_along_axis(best, order, 1)

    ways = {"local store, graph": by_store, "local store, exact": by_exact, "NumPy": by_numpy}
    built = {}
    started = time.perf_counter()
    codes = UsearchEngine(options.dim, "cosine", M, EF_CONSTRUCTION)
    for first in range(0, len(vectors), 4096):
        part = vectors[first : first + 4096]
        codes.add(codes.encode(part), np.arange(first, first + len(part)), threads=options.threads)
    built["usearch, int8"] = time.perf_counter() - started
    ways["usearch, int8"] = lambda some: codes.search(codes.encode(some), ef)[:, :K]
    try:
        import hnswlib
    except ImportError:
        pass
    else:
        started = time.perf_counter()
        bare = hnswlib.Index("ip", options.dim)
        bare.init_index(max_elements=len(vectors), ef_construction=EF_CONSTRUCTION, M=M)
        bare.add_items(vectors, num_threads=options.threads)
        bare.set_ef(max(ef, K))
        built["hnswlib"] = time.perf_counter() - started
        ways["hnswlib"] = lambda some: bare.knn_query(
            some, K, num_threads=1 if len(some) == 1 else options.threads
        )[0]
    try:
        import faiss
    except ImportError:
        pass
    else:
        faiss.omp_set_num_threads(options.threads)
        started = time.perf_counter()
        flat = faiss.IndexHNSWFlat(options.dim, M, faiss.METRIC_INNER_PRODUCT)
        flat.hnsw.efConstruction = EF_CONSTRUCTION
        flat.add(vectors)
        flat.hnsw.efSearch = ef
        built["faiss HNSW"] = time.perf_counter() - started
        ways["faiss HNSW"] = lambda some: flat.search(some, K)[1]
    return ways, built


def measure(ways, queries, truth):
    """Return times and recall of all ways, query by query in turn, and of a batch."""
    times = {name: [] for name in ways}
    right = dict.fromkeys(ways, 0)
    for query in queries[:10]:
        for search in ways.values():
            search(query[None])
    for number, query in enumerate(queries):
        for name, search in ways.items():
            started = time.perf_counter()
            best = search(query[None])[0]
            times[name].append(1000 * (time.perf_counter() - started))
            right[name] += len(set(map(int, best)) & set(truth[number].tolist()))
    table = {}
    for name, search in ways.items():
        together = []
        for _ in range(3):
            started = time.perf_counter()
            search(queries[:TOGETHER])
            together.append(1000 * (time.perf_counter() - started) / len(queries[:TOGETHER]))
        p50, p95 = np.percentile(times[name], [50, 95])
        table[name] = {
            "p50_ms": float(p50),
            "p95_ms": float(p95),
            "batch_ms": min(together),
            "recall": right[name] / (K * len(queries)),
        }
    return table


def filters(store, query):
    """Return milliseconds of filters: the first use of a field, a new value, a tenth of all."""

    def took(where):
        started = time.perf_counter()
        store.search(query, k=K, where=where)
        return 1000 * (time.perf_counter() - started)

    return {
        "filter, first use": took(Field("tenant") == 0),
        "filter, new values (median)": float(
            np.median([took(Field("tenant") == value) for value in range(1, 20)])
        ),
        "filter that leaves 10 % (median)": float(
            np.median([took(Field("decile") == 3) for _ in range(20)])
        ),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=10_000, help="vectors in the index")
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--dtype", default="float32", choices=["float32", "float16", "int8"])
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    parser.add_argument("--first-search", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.first_search:
        first_search(options.first_search, options.dim)
        return

    vectors, queries = clustered(options.n, options.dim, options.queries, options.seed)
    truth = np.argsort(-(queries @ vectors.T), axis=1)[:, :K]
    facts = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "benchmark.idx"
        store = LocalStore(
            path, dtype=options.dtype, M=M, ef_construction=EF_CONSTRUCTION, exact_below=0
        )
        facts["written, rows a second"] = fill(store, vectors)
        started = time.perf_counter()
        store.close()
        facts["close after adding, s"] = time.perf_counter() - started
        store.open(meta_of(options.dim))
        started = time.perf_counter()
        store.optimize()
        facts["optimize, s"] = time.perf_counter() - started
        ef = int(repr(store).partition("ef=")[2].rstrip(">") or 40)
        store.close()
        facts["vectors file, MB"] = size_of(path, "vectors-*")
        facts["graph file, MB"] = size_of(path, "graph-*")
        facts |= opened_elsewhere(path, options.dim)
        store.open(meta_of(options.dim))
        exact = LocalStore(path, engine="exact", read_only=True)
        exact.open(meta_of(options.dim))
        ways, built = contenders(options, vectors, store, exact, ef)
        facts |= {f"{name} built, s": seconds for name, seconds in built.items()}
        table = measure(ways, queries, truth)
        facts |= filters(store, queries[:1])
        exact.close()
        store.close()

    about = {
        "command": " ".join([Path(sys.executable).name, *sys.argv]),
        "machine": f"{processor()}, {os.cpu_count()} cores, {platform.system()}",
        "load": os.getloadavg()[0],
        "versions": {
            "Python": platform.python_version(),
            "SQLite": sqlite3.sqlite_version,
            **{name: installed(name) for name in ("numpy", "usearch", "hnswlib", "faiss-cpu")},
        },
        "data": f"{options.n} × {options.dim} {options.dtype}, clustered, seed {options.seed}",
        "graph": {"M": M, "ef_construction": EF_CONSTRUCTION, "ef": ef},
    }
    for name, value in about.items():
        print(f"{name:10}{value}")
    for name, value in facts.items():
        print(f"{name:36}{value:12.3f}")
    print_table(table)
    if options.json:
        results = {"about": about, "facts": facts, "searches": table}
        options.json.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")


def print_table(table):
    print(f"\n{'':22}{'p50 ms':>9}{'p95 ms':>9}{'batch ms':>10}{'recall@10':>11}")
    for name, row in table.items():
        print(
            f"{name:22}{row['p50_ms']:9.3f}{row['p95_ms']:9.3f}{row['batch_ms']:10.3f}{row['recall']:11.4f}"
        )


def size_of(path, pattern):
    return sum(file.stat().st_size for file in path.glob(pattern)) / 1e6


def installed(name):
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


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
