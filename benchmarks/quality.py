"""What do the projection, expand, augment and regions find more, and where do they lose?

    python benchmarks/quality.py data/imagenet50 --weights mobilenetv2_100.tf_in1k.safetensors

Images in class folders (``*/*/image`` or ``*/image``) are embedded once with mobilenetv2_100, or
the embedder of ``--config``. Every image of a class then takes the role of the query in turn;
the others are the gallery, whole, drawn to 1-10 or to 2 of each class, on which everything is
fitted anew. All searches go through `ImageIndex` with a store in memory. Gains over the projection
alone come with 95 % intervals, paired by query, resampled by class.
"""

from __future__ import annotations

import argparse
import io
import os
import platform
import shlex
import sys
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image

from imagesearch import ImageIndex, MemoryStore, Query, RecordBatch
from imagesearch.config import PluginConfig, load_config
from imagesearch.plugins import make_embedder
from imagesearch.sources import open_image
from imagesearch.types import EmbeddingSpec
from imagesearch.vectors import normalise

K = 10
GALLERIES = {"whole": (None, None), "1-10 a class": (1, 10), "2 a class": (2, 2)}
DIMS = (0, -1, 64, 128, 256)  # 0: plain; -1: the mean alone
OPTIONS = [
    {},
    {"expand": 3},
    {"expand": 5},
    {"augment": 3},
    {"augment": 5},
    {"expand": 3, "augment": 3},
    {"expand": 5, "augment": 5},
    {"expand": 9, "augment": 9},
]
BOXES = ("middle half", "middle 0.7", "anywhere", "about the middle")
FOCUS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0)
ALL = tuple(range(len(OPTIONS)))
SOME = tuple(n for n in ALL if OPTIONS[n] in ({}, {"augment": 3}, {"expand": 3, "augment": 3}))
RECOMMENDED = OPTIONS.index({"expand": 5, "augment": 5})
NOTHING_LOST = 0.99  # share of squashed copies that must find their original
COPIES = 50  # squashed copies that are asked for in a round


class Ready:
    """An embedder that is never asked: all vectors are ready."""

    def __init__(self, dim):
        self.spec = EmbeddingSpec("ready", dim, normalised=True, fingerprint="benchmark")

    def preprocess(self, image):
        raise AssertionError(f"all vectors are ready, and {image} was to be embedded")

    embed = preprocess


def mobilenet(weights):
    options = {
        "model": "mobilenetv2_100",
        "weights": str(weights),
        "preprocess": {
            "mean": [0.5] * 3,
            "std": [0.5] * 3,
            "crop_pct": 0.875,
            "interpolation": "bicubic",
        },
        "model_args": {"pad_type": "same"},
    }
    return PluginConfig("timm", options)


def squashed(image):
    buffer = io.BytesIO()
    narrow = image.resize(
        (max(1, round(0.7 * image.width)), image.height), Image.Resampling.BICUBIC
    )
    narrow.save(buffer, "JPEG", quality=85)
    return open_image(buffer.getvalue())


def boxed(image, kind, dice):
    width, height = image.size
    if kind.startswith("middle"):
        share = 0.5 if kind == "middle half" else 0.7
        sides = (0.5 - share / 2, 0.5 - share / 2, 0.5 + share / 2, 0.5 + share / 2)
    elif kind == "anywhere":
        across, down = dice.uniform(0.3, 0.8, 2)
        left, top = dice.uniform(0, 1 - across), dice.uniform(0, 1 - down)
        sides = (left, top, left + across, top + down)
    else:
        across, down = dice.uniform(0.4, 0.9, 2) / 2
        x, y = dice.uniform(0.4, 0.6, 2)
        sides = (max(0, x - across), max(0, y - down), min(1, x + across), min(1, y + down))
    left, top, right, bottom = sides
    return image.crop(
        (int(left * width), int(top * height), int(right * width) + 1, int(bottom * height) + 1)
    )


def beside(image, other, *, first):
    """Two images of the same height in one."""
    other = other.resize((max(1, round(other.width * image.height / other.height)), image.height))
    both = Image.new("RGB", (image.width + other.width, image.height))
    both.paste(image, (0 if first else other.width, 0))
    both.paste(other, (image.width if first else 0, 0))
    return both


def embed_all(paths, labels, embedder, seed):
    """Return for each look the (n, dim) unit vectors."""
    dice = np.random.default_rng(seed)
    looks = defaultdict(list)
    for number, path in enumerate(paths):
        image = open_image(str(path))
        others = np.flatnonzero(labels != labels[number])
        other = open_image(str(paths[dice.choice(others)]))
        variants = {
            "whole": image,
            "squashed": squashed(image),
            **{kind: boxed(image, kind, dice) for kind in BOXES},
            "beside another": beside(image, other, first=bool(dice.integers(2))),
        }
        arrays = [embedder.preprocess(variant) for variant in variants.values()]
        for look, vector in zip(variants, embedder.embed(arrays), strict=True):
            looks[look].append(vector)
    return {look: normalise(np.stack(vectors)) for look, vectors in looks.items()}


def rounds(labels, how, seed):
    """Let every image of a class be the query once: (gallery rows, query rows) for each round."""
    by_class = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    for turn in range(max(map(len, by_class))):
        dice = np.random.default_rng([seed, turn])
        gallery, queries = [], []
        for rows in by_class:
            if turn >= len(rows):
                gallery.extend(rows)
                continue
            queries.append(rows[turn])
            rest = dice.permutation(np.delete(rows, turn))
            least, most = how
            gallery.extend(rest if least is None else rest[: dice.integers(least, most + 1)])
        yield np.array(sorted(gallery)), np.array(queries)


def index_of(vectors, labels, dim):
    """Return an index of these vectors, and how a query becomes comparable with them."""
    as_asked = vectors
    centre = vectors.mean(axis=0)
    if dim == -1:
        as_asked = normalise(vectors - centre)
    index = ImageIndex(embedder=Ready(vectors.shape[1]), store=MemoryStore())
    count = len(vectors)
    index.store.upsert(
        RecordBatch(
            tuple(map(str, range(count))),
            tuple(f"/{row}.jpg" for row in range(count)),
            ("",) * count,
            tuple({"label": str(label)} for label in labels),
            as_asked,
        )
    )
    if dim > 0:
        # Two of each class may be fewer images than the requested dimensions.
        index = index.fit_projection(MemoryStore(), dim=min(dim, count - 1), progress=False)
        return index, index.meta.projection.apply
    return index, (lambda rows: normalise(rows - centre)) if dim == -1 else (lambda rows: rows)


def ask(index, vectors, options):
    return index.search_many([Query.vector(vector) for vector in vectors], k=K, **options)


def found(hits, label, right):
    """Share of the relevant that is among as many hits (at most K)."""
    deep = min(right, K)
    return sum(hit.metadata["label"] == label for hit in hits[:deep]) / deep


def measure(looks, labels, how, options_of, *, seed):
    """Return {(dim, option's number): each query's R-precision, P@1, copies found, classes}."""
    results = defaultdict(lambda: ([], [], [], []))
    for turn_number, (gallery, queries) in enumerate(rounds(labels, how, seed)):
        # Other images are copied in each round, so that in the end all have been.
        step = max(1, len(gallery) // COPIES)
        copied_rows = np.arange(turn_number % step, len(gallery), step)
        for dim, numbers in options_of.items():
            index, turn = index_of(looks["whole"][gallery], labels[gallery], dim)
            asked = turn(looks["whole"][queries])
            copied = turn(looks["squashed"][gallery[copied_rows]])
            for number in numbers:
                option = OPTIONS[number]
                precision, first, copy, classes = results[dim, number]
                for row, hits in zip(queries, ask(index, asked, option), strict=True):
                    right = int((labels[gallery] == labels[row]).sum())
                    if right:
                        precision.append(found(hits, labels[row], right))
                        first.append(float(hits[0].metadata["label"] == labels[row]))
                        classes.append(labels[row])
                for row, hits in zip(copied_rows, ask(index, copied, option), strict=True):
                    copy.append(float(hits[0].id == str(row)))
    return {key: tuple(map(np.array, value)) for key, value in results.items()}


def interval(gains, classes, seed):
    """Return the mean gain and its 95 % interval, resampling classes."""
    names, inverse = np.unique(classes, return_inverse=True)
    totals, counts = np.bincount(inverse, gains), np.bincount(inverse)
    drawn = np.random.default_rng(seed).integers(len(names), size=(2000, len(names)))
    means = totals[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    return gains.mean(), *np.percentile(means, [2.5, 97.5])


def words(option):
    return ", ".join(f"{name}={value}" for name, value in option.items()) or "-"


def space(dim):
    return {0: "plain", -1: "mean subtracted"}.get(dim, f"projected to {dim}")


def print_methods(looks, labels, seed):
    options_of = {dim: {128: ALL, 0: SOME, -1: SOME}.get(dim, ALL[:1]) for dim in DIMS}
    for name, how in GALLERIES.items():
        print(f"\n## Gallery: {name}\n")
        print("| vectors | options | R-precision | gain over the projection | P@1 | copies found |")
        print("|---|---|---|---|---|---|")
        results = measure(looks, labels, how, options_of, seed=seed)
        reference, _, _, classes = results[128, 0]
        for (dim, number), (precision, first, copy, _) in results.items():
            gain, low, high = interval(precision - reference, classes, seed)
            print(
                f"| {space(dim)} | {words(OPTIONS[number])} | {100 * precision.mean():.1f} "
                f"| {100 * gain:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}] "
                f"| {100 * first.mean():.1f} | {100 * copy.mean():.2f} |"
            )
    sys.stdout.flush()


def halves(labels, splits, seed):
    names = np.unique(labels)
    for split in range(splits):
        shuffled = np.random.default_rng([seed, split]).permutation(names)
        one = np.isin(labels, shuffled[: len(names) // 2])
        yield from ((one, ~one), (~one, one))


def print_cross_validation(looks, labels, splits, seed):
    """Choose the options on half of the classes, and measure them on the other half."""
    print(f"\n## Options chosen on half of the classes, measured on the other; {splits} splits\n")
    print("| options | gallery | gain over plain | gain over the projection | copies found |")
    print("|---|---|---|---|---|")
    chosen, gains = [], defaultdict(list)
    options_of = {0: ALL[:1], 128: ALL}
    measured = [
        {
            name: measure(
                {look: vectors[rows] for look, vectors in looks.items()},
                labels[rows],
                how,
                options_of,
                seed=seed,
            )
            for name, how in GALLERIES.items()
        }
        for rows, _ in halves(labels, splits, seed)
    ]
    # Each half is followed by its other half, and the other way round.
    for number, known in enumerate(measured):
        unknown = measured[number ^ 1]
        allowed = [
            number
            for number in range(len(OPTIONS))
            if all(known[name][128, number][2].mean() >= NOTHING_LOST for name in GALLERIES)
        ]
        best = max(allowed, key=lambda n: sum(known[name][128, n][0].mean() for name in GALLERIES))
        chosen.append(words(OPTIONS[best]))
        for way, option in (("chosen", best), ("recommended", RECOMMENDED)):
            for name in GALLERIES:
                picked = unknown[name][128, option]
                gains[way, name].append(
                    (
                        picked[0].mean() - unknown[name][0, 0][0].mean(),
                        picked[0].mean() - unknown[name][128, 0][0].mean(),
                        picked[2].mean(),
                    )
                )
    for (way, name), values in sorted(gains.items()):
        over_plain, over_projection, copies = 100 * np.mean(values, axis=0)
        least = 100 * np.min(values, axis=0)
        print(
            f"| {way} | {name} | {over_plain:+.1f} (least {least[0]:+.1f}) "
            f"| {over_projection:+.1f} (least {least[1]:+.1f}) "
            f"| {copies:.2f} (least {least[2]:.2f}) |"
        )
    print("\nchosen:", "; ".join(f"{c} × {chosen.count(c)}" for c in sorted(set(chosen))))
    sys.stdout.flush()


def region_gains(looks, labels, case, *, seed):
    """Return {(dim, focus): gain of each query over the whole image}, and the queries' classes."""
    whole, region = case
    gains, classes = defaultdict(list), []
    for gallery, queries in rounds(labels, (None, None), seed):
        classes.extend(labels[queries])
        right = [int((labels[gallery] == labels[row]).sum()) for row in queries]
        for dim in (0, 128):
            index, turn = index_of(looks["whole"][gallery], labels[gallery], dim)
            wide, narrow = turn(looks[whole][queries]), turn(looks[region][queries])
            precision = {}
            for focus in (0.0, *FOCUS):
                answers = ask(index, normalise((1 - focus) * wide + focus * narrow), {})
                precision[focus] = np.array(
                    [found(*each) for each in zip(answers, labels[queries], right, strict=True)]
                )
            for focus in FOCUS:
                gains[dim, focus].extend(precision[focus] - precision[0.0])
    return {key: np.array(value) for key, value in gains.items()}, np.array(classes)


def print_regions(looks, labels, splits, seed):
    cases = [("whole", kind, f"box {kind}, saying nothing") for kind in BOXES]
    cases.append(("beside another", "whole", "two images in one, box around one"))
    print("\n## Regions: gain in R-precision over the whole image, by focus\n")
    print("| query | vectors |", " | ".join(map(str, FOCUS)), "|")
    print("|---|---|" + "---|" * len(FOCUS))
    measured = {}
    for whole, region, name in cases:
        measured[name], classes = region_gains(looks, labels, (whole, region), seed=seed)
        for dim in (0, 128):
            cells = []
            for focus in FOCUS:
                gain, low, high = interval(measured[name][dim, focus], classes, seed)
                cells.append(f"{100 * gain:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]")
            print(f"| {name} | {space(dim)} |", " | ".join(cells), "|")
    blind = [name for _, _, name in cases[:-1]]
    chosen, change = [], []
    for choosing, held_out in halves(classes, splits, seed):

        def mean(focus, rows):
            return np.mean(
                [measured[name][dim, focus][rows].mean() for name in blind for dim in (0, 128)]
            )

        harmless = [focus for focus in FOCUS if mean(focus, choosing) >= -0.0005]
        focus = max(harmless, default=FOCUS[0])
        chosen.append(focus)
        change.append(mean(focus, held_out))
    print(
        "\nlargest focus that loses nothing on half of the classes with boxes that say nothing:",
        "; ".join(f"{focus} × {chosen.count(focus)}" for focus in sorted(set(chosen))),
        f"(on the other half: {100 * np.mean(change):+.2f} points on average)",
    )


def machine():
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = " ".join(
        f"{name} {version(name)}" for name in ("imagesearch-index", "numpy", "pillow")
    )
    return f"{platform.system()} {platform.machine()}, {cores} cores, {platform.python_version()}; {versions}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path, help="folder with class folders in it")
    parser.add_argument("--weights", type=Path, help="of mobilenetv2_100")
    parser.add_argument("--config", type=Path, help="TOML with an [embedder] table instead")
    parser.add_argument("--splits", type=int, default=2, help="of the classes into halves")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if (options.weights is None) == (options.config is None):
        parser.error("give either --weights or --config")
    config = mobilenet(options.weights) if options.weights else load_config(options.config).embedder

    suffixes = {".jpg", ".jpeg", ".png", ".webp"}
    paths = sorted(p for p in options.images.rglob("*") if p.suffix.lower() in suffixes)
    # Classes may stand in train/ and test/; the class is the name of the last folder.
    labels = np.array([path.parent.name for path in paths])
    print("command:", shlex.join(["python", *sys.argv]))
    print("machine:", machine())
    embedder = make_embedder(config)
    print(
        f"{len(paths)} images of {len(set(labels))} classes, {embedder.spec.name}, seed {options.seed}"
    )
    looks = embed_all(paths, labels, embedder, options.seed)
    print_methods(looks, labels, options.seed)
    print_cross_validation(looks, labels, options.splits, options.seed)
    print_regions(looks, labels, options.splits, options.seed)


if __name__ == "__main__":
    main()
