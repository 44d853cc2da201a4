"""What a calibrated threshold is worth on classes that it has not seen.

    python benchmarks/calibration.py

Reads images and weights from the folder that IMAGESEARCH_SHARED names (default: ../shared beside
this project). The 50 classes of ImageNet are split into halves, twenty times. The gallery of one
half (ten images a class) calibrates itself by its labels; then the test images of both halves, one
a class, ask both galleries.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np

from imagesearch import (
    Field,
    Hits,
    ImageIndex,
    Item,
    MemoryStore,
    Query,
    RecordBatch,
    TimmEmbedder,
)
from imagesearch.embedders import Preprocess
from imagesearch.errors import QueryError

SHARED = Path(os.environ.get("IMAGESEARCH_SHARED", Path(__file__).parents[2] / "shared"))
SPLITS = 20


def main() -> None:
    print(f"command: python {' '.join(sys.argv)}")
    print(
        f"machine: {platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}; "
        + ", ".join(f"{name} {version(name)}" for name in ("numpy", "torch", "timm"))
    )
    images = SHARED / "data" / "imagenet50"
    embedder = TimmEmbedder(
        "mobilenetv2_100",
        weights=str(SHARED / "weights" / "mobilenetv2_100.tf_in1k.safetensors"),
        preprocess=Preprocess(
            mean=(0.5,) * 3, std=(0.5,) * 3, crop_pct=0.875, interpolation="bicubic"
        ),
        model_args={"pad_type": "same"},
    )
    with ImageIndex(embedder=embedder, store=MemoryStore()) as plain:
        for part in ("train", "test"):
            plain.add(
                [
                    Item(path, metadata={"label": path.parent.name, "part": part})
                    for path in sorted((images / part).glob("*/*"))
                ],
                on_error="raise",
            )
        # As in use: fitted on what is searched, not on the queries.
        with (
            selected(plain, plain.scan(where="part = 'train'", vectors=True)) as gallery,
            gallery.fit_projection(MemoryStore()) as projected,
        ):
            report("1280 dimensions", plain, plain)
            report("projected to 128", plain, projected)


def report(name: str, everything: ImageIndex, like: ImageIndex) -> None:
    """Measure over many splits and print one table."""
    classes = sorted({record.metadata["label"] for batch in everything.scan() for record in batch})
    print(
        f"\n{name}\n| precision | assured | threshold | right, other half (worst split) | recall | "
        "no match: silent | match: answered |\n|---|---|---|---|---|---|---|"
    )
    for precision in (0.8, 0.9, 0.95):
        rows, best = [], []
        for seed in range(SPLITS):
            order = np.random.default_rng(seed).permutation(len(classes))
            halves = [[classes[i] for i in part] for part in np.split(order, 2)]
            try:
                rows.append(measure(everything, like, halves, precision))
            except QueryError as error:
                best.append(float(str(error).split("precision=")[2].split()[0]))
        reachable = f"; else {min(best):.2f} to {max(best):.2f} can be" if best else ""
        assured = f"{len(rows)} of {SPLITS}{reachable}"
        if not rows:
            print(f"| {precision} | {assured} | | | | | |")
            continue
        table = np.array(rows)
        threshold, right, hits, kept, possible, silent, asked, spoke, own = table.sum(axis=0)
        print(
            f"| {precision} | {assured} | {threshold / len(rows):.2f} | {right / hits:.3f} "
            f"({(table[:, 1] / table[:, 2]).min():.3f}) | {kept / possible:.2f} | "
            f"{silent / asked:.2f} | {spoke / own:.2f} |"
        )


def measure(
    everything: ImageIndex, like: ImageIndex, halves: Sequence[Sequence[str]], precision: float
) -> list[float]:
    """Calibrate on the first half; ask both with test images."""
    seen, unseen = (selected(like, batches(everything, like, "train", half)) for half in halves)
    asked, others = (
        [record for batch in batches(everything, like, "test", half) for record in batch]
        for half in halves
    )
    with seen, unseen:
        threshold = seen.calibrate(precision=precision).threshold
        unseen.store.note("calibration", seen.store.notes()["calibration"])
        own = answers(seen, asked)
        strangers = answers(seen, others)
        found = answers(unseen, others)
        right, hits = judged(others, found)
        possible, _ = judged(others, answers(unseen, others, None))
        return [
            threshold,
            right,
            hits,
            right,
            possible,
            sum(not one for one in strangers),
            len(others),
            sum(bool(one) for one in own),
            len(asked),
        ]


def batches(
    everything: ImageIndex, like: ImageIndex, part: str, labels: Sequence[str]
) -> Iterable[RecordBatch]:
    where = (Field("part") == part) & Field("label").is_in(list(labels))
    for batch in everything.scan(where=where, vectors=True):
        projection = like.meta.projection
        vectors = batch.vectors if projection is None else projection.apply(batch.vectors)
        yield RecordBatch(batch.ids, batch.uris, batch.digests, batch.metadata, vectors)


def selected(like: ImageIndex, some: Iterable[RecordBatch]) -> ImageIndex:
    """Return an index of its own with these records."""
    store = MemoryStore()
    store.open(like.meta)
    for batch in some:
        store.upsert(batch)
    return ImageIndex(store=store, embedder=like.embedder)


def answers(index: ImageIndex, records, least="calibrated") -> list[Hits]:
    return index.search_many(
        [Query.vector(record.vector) for record in records], k=10, min_score=least
    )


def judged(records, found: Sequence[Hits]) -> tuple[int, int]:
    """Count right hits, and hits."""
    right = [
        hit.metadata["label"] == record.metadata["label"]
        for record, hits in zip(records, found, strict=True)
        for hit in hits
    ]
    return sum(right), len(right)


if __name__ == "__main__":
    main()
