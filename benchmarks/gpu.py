"""GPU: are the vectors right, and is the device kept busy? Takes at most six minutes.

    python benchmarks/gpu.py --json gpu.json

Needs no network and no data: the network has random weights (seed 0), the images are drawn noise and
gradients, encoded as JPEG. Printed are

- the cosine and the largest difference of the device's vectors to the CPU's, in fp32 and bf16;
- the batch sizes that really reach the network from `ImageIndex.add`;
- images per second of the network alone on ready batches, of `embed` on prepared pixels, of `add`
  from encoded JPEGs, and of decoding and preprocessing alone on all processors. The smaller of the
  last and the first is the ceiling of `add`.

With ``--device cpu`` it runs anywhere, as a trial of the script.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import shlex
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from imagesearch import ImageIndex, Item, MemoryStore, TimmEmbedder

BUDGET = 330.0  # seconds after which no further measurement begins
COMPARED = 64


def drawn(count, seed):
    random = np.random.default_rng(seed)
    images = []
    for _ in range(count):
        small = random.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        image = Image.fromarray(small).resize((500, 375), Image.Resampling.BICUBIC)
        noise = random.integers(-12, 13, (375, 500, 3))
        pixels = np.clip(np.asarray(image, np.int16) + noise, 0, 255).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
        images.append(buffer.getvalue())
    return images


def random_weights(model, folder):
    import safetensors.torch
    import timm

    torch.manual_seed(0)
    path = folder / f"{model}.safetensors"
    safetensors.torch.save_file(timm.create_model(model).state_dict(), str(path))
    return path


def open_rgb(data):
    with Image.open(io.BytesIO(data)) as image:
        return image.convert("RGB")


def synchronise(device):
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def rate(work, count, device, seconds=8.0):
    work()
    synchronise(device)
    start, done = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - start) < seconds:
        work()
        synchronise(device)
        done += count
    return done / elapsed


def compare(vectors, reference):
    cosines = (vectors * reference).sum(axis=1)
    return {
        "cosine": float(cosines.min()),
        "largest difference": float(np.abs(vectors - reference).max()),
    }


def observed_batches(embedder):
    """Count the batch sizes that reach the network."""
    sizes = Counter()
    network = embedder._inference._model  # noqa: SLF001  # there is no public way to see batches

    def note(_, arguments):
        sizes[len(arguments[0])] += 1

    return sizes, network.register_forward_pre_hook(note)


def measure(options, embedder, encoded, device):
    network = embedder._inference._model  # noqa: SLF001  # there is no public way to see batches
    dtype = next(network.parameters()).dtype
    size = options.batch_size
    height, width = embedder.preprocess(open_rgb(encoded[0])).shape[:2]
    ready = torch.randn(size, 3, height, width, device=device, dtype=dtype)
    ready = ready.contiguous(memory_format=torch.channels_last)

    def alone():
        with torch.inference_mode():
            network(ready)

    def prepare(data):
        return embedder.preprocess(open_rgb(data))

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        start = time.perf_counter()
        prepared = list(pool.map(prepare, encoded))
        decode = len(encoded) / (time.perf_counter() - start)
    some = prepared[: 4 * size]
    rates = {
        "network alone": rate(alone, size, device),
        "embed, prepared pixels": rate(lambda: embedder.embed(some), len(some), device),
        "decode and preprocess alone": decode,
    }
    with ImageIndex(embedder=embedder, store=MemoryStore()) as index:
        index.add([Item(data, id=f"warm-{n}") for n, data in enumerate(encoded[:size])])
        sizes, hook = observed_batches(embedder)
        start = time.perf_counter()
        report = index.add([Item(data, id=str(n)) for n, data in enumerate(encoded)])
        rates["add, encoded JPEGs"] = len(encoded) / (time.perf_counter() - start)
        hook.remove()
        assert report.embedded == len(encoded), report
    ceiling = min(decode, rates["network alone"])
    return {
        "images per second": rates,
        "batch sizes from add": {str(key): count for key, count in sorted(sizes.items())},
        "add / ceiling": rates["add, encoded JPEGs"] / ceiling,
        "bound by": "decoding" if decode < rates["network alone"] else "the network",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--images", type=int, default=2048)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        sys.exit("no CUDA device; try --device cpu --images 64")
    began = time.perf_counter()
    name = torch.cuda.get_device_name() if options.device.startswith("cuda") else platform.machine()
    figures = {
        "command": shlex.join(["python", "benchmarks/gpu.py", *sys.argv[1:]]),
        "device": name,
        "processors": len(os.sched_getaffinity(0)),
        "versions": {package: version(package) for package in ("torch", "timm", "numpy", "pillow")},
        "seed": 0,
    }
    encoded = drawn(options.images, 0)
    with tempfile.TemporaryDirectory() as folder:
        weights = random_weights(options.model, Path(folder))

        def embedder(device, precision):
            return TimmEmbedder(
                options.model,
                weights=weights,
                device=device,
                precision=precision,
                batch_size=options.batch_size,
            )

        reference = embedder("cpu", "fp32")
        pixels = [reference.preprocess(open_rgb(data)) for data in encoded[:COMPARED]]
        expected = reference.embed(pixels)
        for precision in ("fp32", "bf16"):
            if time.perf_counter() - began > BUDGET:
                print(f"{precision}: left out, the time is up")
                continue
            tested = embedder(options.device, precision)
            figures[precision] = {
                **compare(tested.embed(pixels), expected),
                **measure(options, tested, encoded, options.device),
            }
    limits = {"fp32": ("largest difference", 1e-3), "bf16": ("cosine", 0.99)}
    for precision, (figure, limit) in limits.items():
        if precision in figures:
            value = figures[precision][figure]
            good = value <= limit if precision == "fp32" else value >= limit
            print(f"{precision}: {figure} to the CPU {value:.2g} ({'good' if good else 'BAD'})")
    print(json.dumps(figures, indent=2))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
