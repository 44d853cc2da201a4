"""What the embedders find: quality on 50 classes of ImageNet, and how well copies are recognised.

    python benchmarks/embedders.py

reads the images, and the weights if they are there, from the folder that IMAGESEARCH_SHARED names
(default: ../shared beside this project). The gallery has ten images of each class, a query is one
further image of a class. mHR@10 is the share of the ten that the first ten hits hold, P@1 how often
the first hit is right, mAP@10 the average precision divided by min(relevant, 10).

    python benchmarks/embedders.py --speed

measures instead what `embed` takes in torch and OpenVINO, in fp32 and bf16: one-thread workers on
all processors, the four in turn in every round, the best round of each. The images are prepared
before. mobilenetv2_100 has its real weights, resnet50 random ones, which cost the same time; the
cosine is that to torch in fp32, the smallest of all images. On a busy machine trust the CPU time.
"""

from __future__ import annotations

import argparse
import io
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from imagesearch.embedders import Preprocess
from imagesearch.embedders.descriptors import DescriptorEmbedder
from imagesearch.protocols import Embedder

SHARED = Path(os.environ.get("IMAGESEARCH_SHARED", Path(__file__).parents[2] / "shared"))
IMAGES = "data/imagenet50"
WEIGHTS = "weights/mobilenetv2_100.tf_in1k.safetensors"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--copies", type=int, default=200, help="gallery images to copy")
    arguments.add_argument("--speed", action="store_true", help="measure runtimes, not quality")
    arguments.add_argument("--images", type=int, default=128, help="images of each round of speed")
    arguments.add_argument("--rounds", type=int, default=5, help="rounds of speed")
    arguments.add_argument("--batch-size", type=int, help="batch_size of the embedders of speed")
    options = arguments.parse_args()
    gallery, queries = (sorted((SHARED / IMAGES / part).glob("*/*")) for part in ("train", "test"))
    if not gallery or not queries:
        sys.exit(f"no images in {SHARED / IMAGES}: set IMAGESEARCH_SHARED")
    print(f"command: python {' '.join(sys.argv)}")
    packages = ["numpy", "pillow", "torch", "timm", *(["openvino"] if options.speed else [])]
    print(
        f"machine: {processor()}, {os.cpu_count()} CPUs, {platform.system()}, Python "
        f"{platform.python_version()}; " + ", ".join(f"{name} {version(name)}" for name in packages)
    )
    if options.speed:
        chosen = gallery[:: max(1, len(gallery) // options.images)][: options.images]
        speed(chosen, options.rounds, options.batch_size)
        return
    print(f"{len(gallery)} gallery images, {len(queries)} queries\n")
    print(
        "| embedder | dim | CPU-ms an image | mHR@10 | P@1 | mAP@10 | " + " | ".join(COPIES) + " |"
    )
    print("|" + "---|" * (6 + len(COPIES)))
    for name, embedder in embedders().items():
        print(row(name, embedder, gallery, queries, options.copies))


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{platform.machine()} {names[0]}" if names else platform.machine()


def speed(images: Sequence[Path], rounds: int, batch_size: int | None) -> None:
    import tempfile

    print(f"{len(images)} images, best of {rounds} rounds; load average {os.getloadavg()[0]:.1f}\n")
    print(
        "| model | runtime | precision | images/s | ratio | CPU-ms an image | ratio | min cosine |"
    )
    print("|" + "---|" * 8)
    with tempfile.TemporaryDirectory() as folder:
        for model, settings in speed_models(Path(folder)).items():
            settings["batch_size"] = batch_size
            for line in speed_rows(model, settings, images, rounds):
                print(line, flush=True)


def speed_models(folder: Path) -> dict[str, dict]:
    from imagesearch.embedders._torchvision import import_torchvision

    import_torchvision()
    import safetensors.torch
    import timm
    import torch

    torch.manual_seed(0)
    random = folder / "resnet50.safetensors"
    safetensors.torch.save_file(timm.create_model("resnet50").state_dict(), random)
    found = {"resnet50": {"weights": random}}
    if (SHARED / WEIGHTS).exists():
        half = (0.5,) * 3
        found["mobilenetv2_100"] = {
            "weights": SHARED / WEIGHTS,
            "model_args": {"pad_type": "same"},
            "mean": half,
            "std": half,
        }
    return found


def speed_rows(model: str, settings: dict, images: Sequence[Path], rounds: int) -> list[str]:
    from imagesearch.embedders.timm import TimmEmbedder

    made = {
        (runtime, precision): TimmEmbedder(
            model, **settings, runtime=runtime, precision=precision, device="cpu"
        )
        for runtime in ("torch", "openvino")
        for precision in ("fp32", "bf16")
    }
    first = made["torch", "fp32"]
    prepared = [first.preprocess(read(path, first)) for path in images]
    vectors = {kind: embedder.embed(prepared) for kind, embedder in made.items()}
    wall = dict.fromkeys(made, float("inf"))
    busy = dict.fromkeys(made, float("inf"))
    for _ in range(rounds):
        for kind, embedder in made.items():
            start, used = time.perf_counter(), time.process_time()
            embedder.embed(prepared)
            wall[kind] = min(wall[kind], time.perf_counter() - start)
            busy[kind] = min(busy[kind], time.process_time() - used)
    reference = "torch", "fp32"
    return [
        f"| {model} | {kind[0]} | {kind[1]} | {len(images) / wall[kind]:.1f} | "
        f"{wall[reference] / wall[kind]:.2f} | {1000 * busy[kind] / len(images):.1f} | "
        f"{busy[reference] / busy[kind]:.2f} | "
        f"{(vectors[kind] * vectors[reference]).sum(axis=1).min():.6f} |"
        for kind in made
    ]


def embedders() -> dict[str, Embedder]:
    found: dict[str, Embedder] = {"descriptors": DescriptorEmbedder()}
    if not (SHARED / WEIGHTS).exists():
        print(f"no weights at {SHARED / WEIGHTS}: only the embedder without weights is measured\n")
        return found
    from imagesearch.embedders.timm import TimmEmbedder

    for method in ("fast", "exact"):
        found[f"mobilenetv2_100, {method}"] = TimmEmbedder(
            "mobilenetv2_100",
            weights=SHARED / WEIGHTS,
            model_args={"pad_type": "same"},
            preprocess=Preprocess(mean=(0.5,) * 3, std=(0.5,) * 3),
            resize=method,
        )
    return found


def row(
    name: str, embedder: Embedder, gallery: Sequence[Path], queries: Sequence[Path], copies: int
) -> str:
    start = time.process_time()
    vectors = embed(embedder, [read(path, embedder) for path in gallery])
    milliseconds = 1000 * (time.process_time() - start) / len(gallery)
    asked = embed(embedder, [read(path, embedder) for path in queries])
    labels = [path.parent.name for path in gallery]
    rate, first, precision = quality(
        asked @ vectors.T, [path.parent.name for path in queries], labels
    )
    chosen = np.linspace(0, len(gallery) - 1, min(copies, len(gallery))).astype(int)
    shares = []
    for change in COPIES.values():
        copied = embed(embedder, [change(read(gallery[place], embedder)) for place in chosen])
        shares.append((np.argmax(copied @ vectors.T, axis=1) == chosen).mean())
    return (
        f"| {name} | {embedder.spec.dim} | {milliseconds:.1f} | {rate:.4f} | {first:.2f} | "
        f"{precision:.4f} | " + " | ".join(f"{100 * share:.1f} %" for share in shares) + " |"
    )


def quality(
    scores: NDArray[np.float32], asked: Sequence[str], labels: Sequence[str], k: int = 10
) -> tuple[float, float, float]:
    relevant = np.array(asked)[:, None] == np.array(labels)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    found = np.take_along_axis(relevant, order, axis=1)
    possible = np.minimum(relevant.sum(axis=1), k)
    precision = np.cumsum(found, axis=1) / np.arange(1, k + 1)
    return (
        float((found.sum(axis=1) / possible).mean()),
        float(found[:, 0].mean()),
        float(((found * precision).sum(axis=1) / possible).mean()),
    )


def read(path: Path, embedder: Embedder) -> Image.Image:
    image = Image.open(path)
    if embedder.spec.decode_size is not None:
        image.draft("RGB", (embedder.spec.decode_size,) * 2)
    return image.convert("RGB")


def embed(embedder: Embedder, images: Sequence[Image.Image]) -> NDArray[np.float32]:
    return embedder.embed([embedder.preprocess(image) for image in images])


def half_and_recompressed(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.resize((max(1, image.width // 2), max(1, image.height // 2))).save(
        buffer, "JPEG", quality=60
    )
    return Image.open(buffer).convert("RGB")


def cropped(share: float) -> Callable[[Image.Image], Image.Image]:
    def crop(image: Image.Image) -> Image.Image:
        left, top = (int(side * (1 - share) / 2) for side in image.size)
        return image.crop((left, top, image.width - left, image.height - top))

    return crop


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "half size, JPEG 60": half_and_recompressed,
    "middle 90 %": cropped(0.9),
    "middle 80 %": cropped(0.8),
    "1.3 × brightness": lambda image: ImageEnhance.Brightness(image).enhance(1.3),
}


if __name__ == "__main__":
    main()
