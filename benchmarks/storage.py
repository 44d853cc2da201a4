"""What float16 and int8 cost in quality: 50 classes of ImageNet in local indexes of every size.

    python benchmarks/storage.py

reads images and weights from the folder that IMAGESEARCH_SHARED names (default: ../shared beside
this project). The gallery has ten images of each class, a query is one further image of a class;
images are embedded once, the other indexes are copies. "Score off" compares with the float32 index
of the same length, over all pairs of gallery images; "same ten" is the share of each image's ten
nearest that both find. No time is measured.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imagesearch import ImageIndex
from imagesearch.copying import copy_records
from imagesearch.embedders import Preprocess
from imagesearch.embedders.timm import TimmEmbedder
from imagesearch.evaluation import System, compare
from imagesearch.stores.local import LocalStore
from imagesearch.types import Hit

SHARED = Path(os.environ.get("IMAGESEARCH_SHARED", Path(__file__).parents[2] / "shared"))
IMAGES = "data/imagenet50"
WEIGHTS = "weights/mobilenetv2_100.tf_in1k.safetensors"
DTYPES = ("float32", "float16", "int8")
DIM = 128
METRICS = ("mHR@10", "P@1", "mAP@10")


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    if not (SHARED / IMAGES).exists() or not (SHARED / WEIGHTS).exists():
        sys.exit(f"no images or weights in {SHARED}: set IMAGESEARCH_SHARED")
    print(f"command: python {' '.join(sys.argv)}")
    print(
        f"machine: {platform.machine()}, {os.cpu_count()} CPUs, {platform.system()}, Python "
        f"{platform.python_version()}; "
        + ", ".join(f"{name} {version(name)}" for name in ("numpy", "pillow", "torch", "timm"))
    )
    embedder = TimmEmbedder(
        "mobilenetv2_100",
        weights=SHARED / WEIGHTS,
        model_args={"pad_type": "same"},
        preprocess=Preprocess(
            mean=(0.5,) * 3, std=(0.5,) * 3, crop_pct=0.875, interpolation="bicubic"
        ),
    )
    with tempfile.TemporaryDirectory() as folder:
        measure(embedder, Path(folder))


def measure(embedder: TimmEmbedder, folder: Path) -> None:
    paths = {
        (dim, dtype): folder / f"{dim}-{dtype}.idx"
        for dim in (embedder.spec.dim, DIM)
        for dtype in DTYPES
    }
    full = ImageIndex(store=stored(paths, embedder.spec.dim, "float32"), embedder=embedder)
    full.add(SHARED / IMAGES / "train", on_error="raise", progress=False)
    indexes = {(embedder.spec.dim, "float32"): full}
    for dim, dtype in list(paths)[1:]:
        store = stored(paths, dim, dtype)
        if dim == DIM:
            indexes[dim, dtype] = full.fit_projection(store, dim=dim, progress=False)
            continue
        store.open(full.meta)
        source = stored(paths, dim, "float32", read_only=True)
        source.open(full.meta)
        copy_records(source, store)
        source.close()
        store.close()
        indexes[dim, dtype] = ImageIndex(store=stored(paths, dim, dtype), embedder=embedder)
    systems = [System(index, f"{dim} {dtype}") for (dim, dtype), index in indexes.items()]
    comparison = compare(systems, str(SHARED / IMAGES / "test"), progress=False)
    gains = comparison.differences()
    print(f"{full.count()} records, {len(comparison.evaluations[0].queries)} queries\n")
    print("| dim | dtype | bytes | " + " | ".join(METRICS) + " | score off: mean, max | same ten |")
    print("|" + "---|" * (5 + len(METRICS)))
    for (dim, dtype), evaluation in zip(indexes, comparison.evaluations, strict=True):
        file = max(paths[dim, dtype].glob("vectors-*"))
        print(
            f"| {dim} | {dtype} | {file.stat().st_size // full.count()} | "
            + " | ".join(f"{evaluation[name]:.4f}" for name in METRICS)
            + f" | {deviation(paths[dim, 'float32'], paths[dim, dtype])} |"
        )
    print("\ngain over the first in mHR@10, with its 95 % interval:")
    for name, gain in gains.items():
        print(f"{name}: {gain['mHR@10']}")
    for index in indexes.values():
        index.close()


def stored(
    paths: dict[tuple[int, str], Path], dim: int, dtype: str, *, read_only: bool = False
) -> LocalStore:
    return LocalStore(paths[dim, dtype], dtype=dtype, read_only=read_only)  # type: ignore[arg-type]  # one of DTYPES


def deviation(truth: Path, other: Path) -> str:
    """How far the scores of all pairs are off, and how many of the nearest are the same."""
    exact, small = (LocalStore(path, read_only=True, engine="exact") for path in (truth, other))
    for store in (exact, small):
        meta = store.describe()
        assert meta is not None
        store.open(meta)
    batches = list(exact.scan(vectors=True))
    ids = [id for batch in batches for id in batch.ids]
    vectors = np.concatenate([batch.vectors for batch in batches if batch.vectors is not None])
    answers = [store.search(vectors, k=len(ids)) for store in (exact, small)]
    off = np.abs(table(answers[0], ids) - table(answers[1], ids))
    same = [
        len({hit.id for hit in ours[:10]} & {hit.id for hit in theirs[:10]}) / 10
        for ours, theirs in zip(*answers, strict=True)
    ]
    exact.close()
    small.close()
    return f"{off.mean():.5f}, {off.max():.5f} | {100 * np.mean(same):.1f} %"


def table(answers: list[list[Hit]], ids: list[str]) -> NDArray[np.float64]:
    return np.array(
        [[scores[id] for id in ids] for scores in ({h.id: h.score for h in one} for one in answers)]
    )


if __name__ == "__main__":
    main()
