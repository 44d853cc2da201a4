"""Precision: what is lost when fp32 and bf16 vectors of one model are searched together?

    python benchmarks/precision.py --json docs/figures/precision.json

All images of data/imagenet50 are embedded with mobilenetv2_100 in both precisions. Every image is a
query once, against all others; R-precision counts images of its class among its R nearest, where R is
the number of such images. Differences to fp32 alone are paired by query, with 95 % intervals from
10,000 bootstrap samples of the classes. Overlap is the share of the ten nearest that both have.

Images and weights come from IMAGESEARCH_SHARED (default ../shared).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np

from imagesearch import TimmEmbedder
from imagesearch.sources import open_image

SHARED = Path(os.environ.get("IMAGESEARCH_SHARED", Path(__file__).parents[1] / ".." / "shared"))
WEIGHTS = SHARED / "weights" / "mobilenetv2_100.tf_in1k.safetensors"
SAMPLES = 10_000
K = 10


def embed(paths, precision):
    half = (0.5, 0.5, 0.5)
    embedder = TimmEmbedder(
        "mobilenetv2_100",
        weights=WEIGHTS,
        model_args={"pad_type": "same"},
        mean=half,
        std=half,
        precision=precision,
    )
    pixels = [
        embedder.preprocess(open_image(path, shrink_to=embedder.spec.decode_size)) for path in paths
    ]
    return embedder.embed(pixels)


def ranking(queries, gallery):
    scores = queries @ gallery.T
    np.fill_diagonal(scores, -np.inf)
    return np.argsort(-scores, axis=1, kind="stable")


def r_precisions(order, labels):
    relevant = labels[order] == labels[:, None]
    counts = np.array([(labels == label).sum() - 1 for label in labels])
    return np.array([row[:count].mean() for row, count in zip(relevant, counts, strict=True)])


def interval(differences, labels, random):
    classes = np.unique(labels)
    sums = np.array([differences[labels == label].sum() for label in classes])
    sizes = np.array([(labels == label).sum() for label in classes])
    drawn = random.integers(0, len(classes), (SAMPLES, len(classes)))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    return [float(bound) for bound in np.quantile(means, [0.025, 0.975])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    paths = sorted((SHARED / "data" / "imagenet50").rglob("*.JPEG"))
    if not paths or not WEIGHTS.exists():
        sys.exit(f"no images or weights in {SHARED}; set IMAGESEARCH_SHARED")
    labels = np.array([path.parent.name for path in paths])
    vectors = {precision: embed(paths, precision) for precision in ("fp32", "bf16")}
    random = np.random.default_rng(arguments.seed)
    cosines = (vectors["fp32"] * vectors["bf16"]).sum(axis=1)
    base = ranking(vectors["fp32"], vectors["fp32"])
    reference = r_precisions(base, labels)
    rows = []
    for queries in ("fp32", "bf16"):
        for gallery in ("fp32", "bf16"):
            order = ranking(vectors[queries], vectors[gallery])
            values = r_precisions(order, labels)
            shared = [
                len(np.intersect1d(ours, theirs)) / K
                for ours, theirs in zip(order[:, :K], base[:, :K], strict=True)
            ]
            rows.append(
                {
                    "queries": queries,
                    "gallery": gallery,
                    "r_precision": float(values.mean()),
                    "difference": float((values - reference).mean()),
                    "interval": interval(values - reference, labels, random),
                    "overlap": float(np.mean(shared)),
                }
            )
    figures = {
        "command": shlex.join(["python", "benchmarks/precision.py", *sys.argv[1:]]),
        "machine": platform.machine(),
        "versions": {name: version(name) for name in ("torch", "timm", "numpy")},
        "seed": arguments.seed,
        "images": len(paths),
        "cosine": {"mean": float(cosines.mean()), "min": float(cosines.min())},
        "rows": rows,
    }
    print(
        f"{len(paths)} images; cosine of fp32 to bf16 {cosines.mean():.5f}, min {cosines.min():.5f}"
    )
    print("queries gallery  R-precision  difference (points)        overlap of the ten nearest")
    for row in rows:
        low, high = (100 * bound for bound in row["interval"])
        print(
            f"{row['queries']:8}{row['gallery']:8} {row['r_precision']:10.4f}   "
            f"{100 * row['difference']:+6.2f} [{low:+.2f}, {high:+.2f}] {row['overlap']:16.4f}"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
