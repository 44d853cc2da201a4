"""What `duplicates` finds: planted copies of real images, and its cost on many vectors.

    python benchmarks/duplicates.py [--sweep]      quality, per tier and kind of copy
    python benchmarks/duplicates.py --scale 20000  time and memory against an n × n table

Quality reads images, and weights if they are there, from the folder that IMAGESEARCH_SHARED names
(default: ../shared beside this project). Of six images of each of 50 classes of ImageNet, copies of
every kind are made; recall is the share of copies that are put into one group with their original
when each kind stands alone with the originals, precision the share of all matches, with all kinds
and all other images of the set in the index, that join copies of one picture. Thresholds were
chosen on half of the classes; both halves are shown.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFont

from imagesearch import EmbeddingSpec, ImageIndex, IndexMeta, Item, MemoryStore, RecordBatch
from imagesearch.duplicates import TIERS, DuplicateFinder, DuplicateReport, Rules, Tier
from imagesearch.embedders import Preprocess
from imagesearch.embedders.descriptors import DescriptorEmbedder
from imagesearch.protocols import Embedder
from imagesearch.vectors import normalise

SHARED = Path(os.environ.get("IMAGESEARCH_SHARED", Path(__file__).parents[2] / "shared"))
IMAGES = "data/imagenet50"
WEIGHTS = "weights/mobilenetv2_100.tf_in1k.safetensors"
EACH = 6
DIM = 1280


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--sweep", action="store_true", help="show other thresholds, too")
    arguments.add_argument("--scale", type=int, metavar="N", help="measure N vectors instead")
    arguments.add_argument("--way", choices=tuple(WAYS), help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.way:
        print(json.dumps(WAYS[options.way](options.scale)))
        return
    print(f"command: python {' '.join(sys.argv)}")
    print(
        f"machine: {platform.machine()}, {os.cpu_count()} CPUs, {platform.system()}, Python "
        f"{platform.python_version()}; "
        + ", ".join(f"{name} {version(name)}" for name in ("numpy", "pillow"))
    )
    if options.scale:
        scale(options.scale)
    else:
        quality(sweep=options.sweep)


# Quality


def quality(*, sweep: bool) -> None:
    paths = sorted((SHARED / IMAGES).glob("t*/*/*.JPEG"))
    if not paths:
        sys.exit(f"no images in {SHARED / IMAGES}: set IMAGESEARCH_SHARED")
    with tempfile.TemporaryDirectory() as folder:
        items = list(plant(paths, Path(folder)))
        print(f"{len(items)} images: {len(paths)} photos and copies of 300 of them\n")
        runs: tuple[tuple[Tier, ...], ...] = (("near",), ("semantic",), TIERS)
        for name, embedder in embedders().items():
            with ImageIndex(embedder=embedder, store=MemoryStore()) as index:
                index.add(items, on_error="raise", progress=False)
                print(f"## {name}\n")
                show(index, runs, sweep=sweep)
                show_uploads(index, items)
                # Tier near knows nothing of embedders.
                runs = (("semantic",), TIERS)
                if embedder.spec.dim > 1000:
                    with index.fit_projection(MemoryStore(), dim=128, progress=False) as projected:
                        print(f"## {name}, projected to 128\n")
                        show(projected, (("semantic",),), sweep=sweep)


def plant(paths: list[Path], folder: Path) -> Iterator[Item]:
    classes = sorted({path.parent.name for path in paths})
    used = dict.fromkeys(classes, 0)
    for path in paths:
        label = path.parent.name
        half = "A" if classes.index(label) % 2 == 0 else "B"
        facts = {"origin": path.stem, "class": label, "half": half}
        yield Item(path, id=f"{path.stem} original", metadata={**facts, "kind": "original"})
        if path.parent.parent.name != "train" or used[label] == EACH:
            continue
        used[label] += 1
        for number, (kind, change) in enumerate(KINDS.items()):
            target = folder / f"{path.stem}-{number}.jpg"
            if change is None:
                shutil.copyfile(path, target)
            else:
                change(Image.open(path).convert("RGB")).save(target, "JPEG", quality=85)
            yield Item(target, id=f"{path.stem} {kind}", metadata={**facts, "kind": kind})


def show(index: ImageIndex, runs: tuple[tuple[Tier, ...], ...], *, sweep: bool) -> None:
    unplanted = index.duplicates(tiers=runs[-1], where='kind = "original"', progress=False)
    print(f"- photos without planted copies: {len(unplanted)} groups {[g.ids for g in unplanted]}")
    everything = {tiers: index.duplicates(tiers=tiers, progress=False) for tiers in runs}
    threshold = everything[runs[-1]].threshold
    print(f"- semantic threshold derived from the index: {threshold:.4f}")
    alone = index.duplicates(
        tiers=runs[-1], where='kind = "original" and class = "goldfish"', progress=False
    )
    print(f"- one class alone: {len(alone)} groups; its threshold {alone.threshold:.4f}\n")
    print("| kind of copy | " + " | ".join(map(" + ".join, runs)) + " |")
    print("|" + "---|" * (1 + len(runs)))
    for kind in KINDS:
        where = f'kind = "original" or kind = "{kind}"'
        cells = [
            f"{recall(index.duplicates(tiers=tiers, where=where, threshold=threshold, progress=False), kind):.3f}"
            for tiers in runs
        ]
        print(f"| recall: {kind} | " + " | ".join(cells) + " |")
    for half in ("A", "B"):
        cells = [precision(everything[tiers], half) for tiers in runs]
        print(f"| precision, all kinds, classes {half} | " + " | ".join(cells) + " |")
    print()
    if sweep:
        show_sweep(index, threshold, near=("near",) in runs)


def show_uploads(index: ImageIndex, items: list[Item]) -> None:
    """Ask for copies of 60 photos, and for 100 photos whose copies are left out."""
    threshold = index.duplicates(tiers=["semantic"], where='kind = "original"').threshold
    photos = [item for item in items if item.metadata["kind"] == "original"]
    copied = {item.metadata["origin"] for item in items if item.metadata["kind"] == "mirrored"}
    asked = sorted(copied)[::5]
    print(
        "| uploads: kind of copy | original named | exact | near | semantic |\n" + "|---" * 5 + "|"
    )
    for kind in KINDS:
        matches = [
            (item, index.is_duplicate(item.source, threshold=threshold, where='kind = "original"'))
            for item in items
            if item.metadata["kind"] == kind and item.metadata["origin"] in asked
        ]
        right = [
            match.tier for item, match in matches if match and origin(match.id) == origin(item.id)
        ]
        shares = [f"{right.count(tier) / len(matches):.2f}" for tier in TIERS]
        print(f"| {kind} | {len(right) / len(matches):.3f} | " + " | ".join(shares) + " |")
    wrong = [
        item.id
        for item in photos[::5]
        if index.is_duplicate(
            item.source, threshold=threshold, where=f'not origin = "{item.metadata["origin"]}"'
        )
    ]
    print(f"\n- of {len(photos[::5])} new photos taken for copies: {wrong}\n")


def show_sweep(index: ImageIndex, threshold: float, *, near: bool) -> None:
    mean = 1 - (1 - threshold) / (0.08 if index.meta.projection is None else 0.03)
    print("| classes A only | precision | recall over all kinds |\n|---|---|---|")
    half = 'half = "A"'
    for share in (0.02, 0.03, 0.04, 0.06, 0.08, 0.10, 0.12, 0.15, 0.20):
        report = index.duplicates(
            tiers=["semantic"], threshold=1 - share * (1 - mean), where=half, progress=False
        )
        print(f"| semantic, share {share:.2f} | {precision(report, 'A')} | {overall(report):.3f} |")
    for bits in (64, 96, 112, 128, 160) if near else ():
        report = index.duplicates(
            tiers=["near"], near_distance=bits / 512, where=half, progress=False
        )
        print(f"| near, {bits} bits | {precision(report, 'A')} | {overall(report):.3f} |")
    print()


def recall(report: DuplicateReport, kind: str) -> float:
    found = {
        origin(id)
        for group in report
        for id in group.ids
        if id.endswith(f" {kind}") and f"{origin(id)} original" in group.ids
    }
    return len(found) / (EACH * 50)


def overall(report: DuplicateReport) -> float:
    joined = sum(
        origin(copy.id) == origin(group.keep.id) for group in report for copy in group.copies
    )
    return joined / (EACH * 25 * len(KINDS))


def precision(report: DuplicateReport, half: str) -> str:
    classes = sorted({path.parent.name for path in (SHARED / IMAGES).glob("t*/*/*.JPEG")})
    labels = {path.stem: path.parent.name for path in (SHARED / IMAGES).glob("t*/*/*.JPEG")}
    right = total = 0
    for group in report:
        for copy in group.copies:
            if ("A" if classes.index(labels[origin(copy.id)]) % 2 == 0 else "B") == half:
                total += 1
                right += origin(copy.id) == origin(group.keep.id)
    return f"{right / total:.4f} of {total}" if total else "no matches"


def origin(id: str) -> str:
    return id.partition(" ")[0]


def embedders() -> dict[str, Embedder]:
    found: dict[str, Embedder] = {"descriptors": DescriptorEmbedder()}
    if not (SHARED / WEIGHTS).exists():
        print(f"no weights at {SHARED / WEIGHTS}: only the embedder without weights is measured\n")
        return found
    from imagesearch.embedders.timm import TimmEmbedder

    found["mobilenetv2_100"] = TimmEmbedder(
        "mobilenetv2_100",
        weights=SHARED / WEIGHTS,
        model_args={"pad_type": "same"},
        preprocess=Preprocess(mean=(0.5,) * 3, std=(0.5,) * 3),
    )
    return found


def through(image: Image.Image, form: str, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, form, quality=quality)
    return Image.open(buffer).convert("RGB")


def middle(share: float) -> Callable[[Image.Image], Image.Image]:
    def crop(image: Image.Image) -> Image.Image:
        left, top = (round(side * (1 - share) / 2) for side in image.size)
        return image.crop((left, top, image.width - left, image.height - top))

    return crop


def scaled(across: float, down: float) -> Callable[[Image.Image], Image.Image]:
    return lambda image: image.resize(
        (max(1, round(image.width * across)), max(1, round(image.height * down)))
    )


def watermarked(image: Image.Image) -> Image.Image:
    layer = Image.new("RGBA", image.size)
    font = ImageFont.load_default(max(12, image.height // 9))
    corner = (image.width * 0.05, image.height * 0.8)
    ImageDraw.Draw(layer).text(corner, "© sample.example", (255, 255, 255, 170), font)
    return Image.alpha_composite(image.convert("RGBA"), layer).convert("RGB")


KINDS: dict[str, Callable[[Image.Image], Image.Image] | None] = {
    "same bytes": None,
    "JPEG at quality 40": lambda image: through(image, "JPEG", 40),
    "WebP at quality 70": lambda image: through(image, "WEBP", 70),
    "half size": scaled(0.5, 0.5),
    "quarter size": scaled(0.25, 0.25),
    "squashed to 80 %": scaled(0.8, 1.0),
    "middle 95 %": middle(0.95),
    "middle 90 %": middle(0.9),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "watermarked": watermarked,
    "1.2 × brightness": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
}


# Scale


def scale(count: int) -> None:
    print(
        f"{count} clustered vectors of {DIM} float32, 5 % of them copies; each way in a process\n"
    )
    print("| way | seconds | memory beyond the vectors, MB | copies found |")
    print("|---|---|---|---|")
    for way in WAYS:
        done = subprocess.run(
            [sys.executable, __file__, "--scale", str(count), "--way", way],
            check=True,
            capture_output=True,
            text=True,
        )
        result = json.loads(done.stdout)
        print(f"| {way} | {result['seconds']:.1f} | {result['mb']:.0f} | {result['copies']} |")


def clustered(count: int) -> np.ndarray:
    dice = np.random.default_rng(7)
    centres = dice.standard_normal((count // 100 + 1, DIM), np.float32)
    vectors = dice.standard_normal((count, DIM), np.float32)
    vectors += centres[dice.integers(0, len(centres), count)]
    copies = count // 20
    vectors[-copies:] = vectors[:copies] + 0.05 * vectors[-copies:]
    return normalise(vectors)


def by_search(count: int) -> dict[str, float]:
    store, meta = MemoryStore(), IndexMeta(EmbeddingSpec("random", DIM, True, "random"))
    store.open(meta)
    vectors = clustered(count)
    names = tuple(f"{number:08}" for number in range(count))
    store.upsert(RecordBatch(names, names, names, ({},) * count, vectors))
    del vectors
    before, start = reset_peak(), time.perf_counter()
    report = DuplicateFinder(store, meta, Rules.of(("exact", "semantic"), threshold=0.95)).run()
    return {
        "seconds": time.perf_counter() - start,
        "mb": peak() - before,
        "copies": len(report.extras),
    }


def by_table(count: int) -> dict[str, float]:
    vectors = clustered(count)
    before, start = reset_peak(), time.perf_counter()
    table = vectors @ vectors.T
    columns = np.nonzero(np.triu(table, 1) >= 0.95)[1]
    return {
        "seconds": time.perf_counter() - start,
        "mb": peak() - before,
        "copies": len(set(columns.tolist())),
    }


def reset_peak() -> float:
    """Forget the highest memory use so far (Linux only) and return the use now, in MB."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak()


def peak() -> float:
    status = Path("/proc/self/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


WAYS = {"duplicates, through the store's search": by_search, "n × n table in numpy": by_table}


if __name__ == "__main__":
    main()
