"""What checksums cost a local index: the same store with and without them, in turn.

    python benchmarks/integrity.py
    python benchmarks/integrity.py --n 100000 --dim 128 --json docs/figures/integrity-128.json

Two indexes take the same batches in turn, one by one and in changing order, so that a busy machine
slows both alike; "without" is the same code with the functions that compute, compare and write
checksums and the marker replaced by ones that do nothing. Given are ratios of sums of times, and
the range of the ratio over ten parts of the run. "Store" is `LocalStore.upsert` alone, "add" is
`ImageIndex.add` of images of 256 × 192 pixels with the cheapest embedder, `DescriptorEmbedder`; a
neural network takes longer for an image, so that the share is smaller. The share is the median of
what a write takes more with checksums, of the median of a whole `add`. "First search" is the first
of a newly opened index, which compares every vector; "warm" are later ones.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from imagesearch import DescriptorEmbedder, ImageIndex, Item
from imagesearch.stores.local import LocalStore
from imagesearch.testing.stores._fixtures import make_batch, make_meta, unit

LOCAL = "imagesearch.stores.local"
PARTS = 10
SIDES = ("with", "without")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=20_000, help="records")
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--batch", type=int, default=32, help="records in one write")
    parser.add_argument("--images", type=int, default=320, help="images of the end-to-end add")
    parser.add_argument("--repeats", type=int, default=50, help="openings and first searches")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    options = parser.parse_args()
    figures: dict[str, object] = {
        "command": f"python {' '.join(sys.argv)}",
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, {platform.system()}, Python "
        f"{platform.python_version()}, numpy {version('numpy')}, SQLite {sqlite3.sqlite_version}",
        "seed": 0,
        "n": options.n,
        "dim": options.dim,
        "batch": options.batch,
    }
    print(f"command: {figures['command']}\nmachine: {figures['machine']}")
    with tempfile.TemporaryDirectory() as folder:
        paths = {side: Path(folder) / f"{side}.idx" for side in SIDES}
        stored = written(paths, options.n, options.dim, options.batch)
        figures["store"] = show("store", stored)
        whole = added(Path(folder), options.images)
        figures["add"] = show("add", whole)
        spent = np.median(np.subtract(stored["with"], stored["without"]))
        share = 100 * float(spent / np.median(whole["without"])) * 32 / options.batch
        figures["share_of_add"] = round(share, 2)
        opened, first, warm = searched(paths, options.dim, options.repeats)
        figures["open"] = show("open", opened)
        figures["open_ms"] = round(1000 * float(np.median(opened["with"])), 2)
        figures["first search"] = show("first search", first)
        figures["warm search"] = show("warm search", warm)
        started = time.perf_counter()
        problems = [one for one in LocalStore(paths["with"]).check() if one.status == "problem"]
        assert not problems, problems
        figures["check_us_per_record"] = round(1e6 * (time.perf_counter() - started) / options.n, 1)
        sizes = {side: size_of(paths[side]) for side in SIDES}
        figures["bytes_per_record"] = round((sizes["with"] - sizes["without"]) / options.n, 1)
    print(
        f"checksums are {figures['share_of_add']} % of add; "
        f"check: {figures['check_us_per_record']} µs a record; on the disk "
        f"{figures['bytes_per_record']} bytes a record more"
    )
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


@contextmanager
def side(name: str) -> Iterator[None]:
    """Run what is inside with checksums, or without."""
    with ExitStack() as stack:
        for target, instead in REPLACED.items() if name == "without" else ():
            stack.enter_context(mock.patch(f"{LOCAL}.{target}", instead))
        yield


def nothing(*_: object) -> None:
    pass


REPLACED: dict[str, Callable[..., object]] = {
    "schema.values_checksum": lambda *_: 0,
    "writer.record_checksum": lambda *_: 0,
    "rows.record_checksum": lambda *_: 0,
    "writer.vector_checksums": lambda rows: np.zeros(len(rows), np.uint32),
    "writer.append_vector_checksums": nothing,
    "writer.change_field_sums": nothing,
    "database.write_marker": nothing,
    "_verification.VerifiedRows.require": nothing,
}

Times = dict[str, list[float]]


def timed(name: str, work: Callable[[], object], times: Times) -> None:
    with side(name):
        started = time.perf_counter()
        work()
        times[name].append(time.perf_counter() - started)


def in_turn(number: int) -> tuple[str, ...]:
    return SIDES if number % 2 else SIDES[::-1]


def stores(paths: dict[str, Path], dim: int) -> dict[str, LocalStore]:
    made = {}
    for name, path in paths.items():
        with side(name):
            made[name] = LocalStore(path, engine="exact")
            made[name].open(make_meta(dim))
    return made


def written(paths: dict[str, Path], n: int, dim: int, batch: int) -> Times:
    dice = np.random.default_rng(0)
    made = stores(paths, dim)
    times: Times = {name: [] for name in SIDES}
    for number, first in enumerate(range(0, n, batch)):
        rows = min(batch, n - first)
        fields = [
            {"label": f"class {row % 50}", "stock": row} for row in range(first, first + rows)
        ]
        records = make_batch(unit(dice.normal(size=(rows, dim))), fields, prefix=f"photo-{first}")
        for name in in_turn(number):
            timed(name, lambda name=name, records=records: made[name].upsert(records), times)
    for name in SIDES:
        with side(name):
            made[name].close()
    return times


def added(folder: Path, images: int) -> Times:
    dice = np.random.default_rng(0)
    times: Times = {name: [] for name in SIDES}
    indexes = {}
    for name in SIDES:
        with side(name):
            path = folder / f"images-{name}.idx"
            indexes[name] = ImageIndex(path, embedder=DescriptorEmbedder())
    for number in range(images // 32):
        pixels = dice.integers(0, 256, (32, 192, 256, 3), np.uint8)
        for name in in_turn(number):
            items = [Item(image, f"{number}-{row}") for row, image in enumerate(pixels)]
            timed(name, lambda name=name, items=items: indexes[name].add(items), times)
    for name in SIDES:
        with side(name):
            indexes[name].close()
    return times


def searched(paths: dict[str, Path], dim: int, repeats: int) -> tuple[Times, Times, Times]:
    queries = unit(np.random.default_rng(1).normal(size=(200, dim)))
    opened, first, warm = ({name: [] for name in SIDES} for _ in range(3))
    for number in range(repeats):
        for name in in_turn(number):
            store = LocalStore(paths[name], engine="exact", read_only=True)
            timed(name, lambda store=store: store.open(make_meta(dim)), opened)
            timed(name, lambda store=store: ask(store, queries[:1]), first)
            with side(name):
                store.close()
    reading = {name: LocalStore(paths[name], engine="exact", read_only=True) for name in SIDES}
    for name, store in reading.items():
        with side(name):
            store.open(make_meta(dim))
            ask(store, queries[:1])
    for number, query in enumerate(queries):
        for name in in_turn(number):
            timed(name, lambda name=name, query=query: ask(reading[name], query[None]), warm)
    for name, store in reading.items():
        with side(name):
            store.close()
    return opened, first, warm


def ask(store: LocalStore, queries: NDArray[np.float32]) -> None:
    store.search(queries, k=10)


def show(what: str, times: Times) -> dict[str, float]:
    sums = {name: np.array_split(np.array(times[name]), PARTS) for name in SIDES}
    parts = [
        float(one.sum() / other.sum())
        for one, other in zip(sums["with"], sums["without"], strict=True)
        if len(one)
    ]
    ratio = sum(times["with"]) / sum(times["without"])
    middle = float(np.median(parts))
    print(
        f"{what}: {ratio:.3f} times the time without (median of {len(parts)} parts {middle:.3f}, "
        f"{min(parts):.3f} to {max(parts):.3f}; without: "
        f"{1000 * np.median(times['without']):.2f} ms)"
    )
    return {
        "ratio": round(ratio, 3),
        "median": round(middle, 3),
        "lowest": round(min(parts), 3),
        "highest": round(max(parts), 3),
    }


def size_of(path: Path) -> int:
    return sum(file.stat().st_size for file in path.iterdir())


if __name__ == "__main__":
    main()
