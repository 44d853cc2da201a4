"""Ingest: the tutorial's loop, `ImageIndex.add` and the machine's ceiling, side by side.

    python benchmarks/ingest.py --images 200 --rounds 3

The loop is the tutorial's: open one image, timm's own transform, one image through the model, one
upsert. `add` is ours with its defaults, and once with ``resize="exact"``, whose vectors are
the loop's own. The ceiling is n_cpu / (t_decode + t_infer), both measured on one processor with
one thread. Every measurement runs in a process of its own, in turn; a measurement during which
other processes used more than 0.15 processors is made again.

Images and, for mobilenetv2_100, weights come from IMAGESEARCH_SHARED (default ../shared); the
weights of other models are random, which costs the same time.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SHARED = Path(os.environ.get("IMAGESEARCH_SHARED", Path(__file__).parents[1] / ".." / "shared"))
MOBILENET = SHARED / "weights" / "mobilenetv2_100.tf_in1k.safetensors"
OTHERS_ALLOWED = 0.15
ATTEMPTS = 6


def images(count: int) -> list[Path]:
    folder = SHARED / "data" / "imagenet50" / "train"
    found = sorted(folder.rglob("*.JPEG"))[:: max(1, 500 // count)][:count]
    if not found:
        sys.exit(f"no images in {folder}; set IMAGESEARCH_SHARED")
    return found


def settings(model: str, weights: str) -> dict:
    """Return the arguments that make the model, the same for both sides."""
    if model == "mobilenetv2_100":
        half = (0.5, 0.5, 0.5)
        return {
            "weights": weights,
            "model_args": {"pad_type": "same"},
            "preprocess": {"mean": half, "std": half},
        }
    return {"weights": weights}


def random_weights(model: str, folder: Path) -> Path:
    from imagesearch.embedders._torchvision import import_torchvision

    import_torchvision()
    import safetensors.torch
    import timm
    import torch

    torch.manual_seed(0)
    path = folder / f"{model}.safetensors"
    safetensors.torch.save_file(timm.create_model(model).state_dict(), str(path))
    return path


class Quiet:
    """Measures wall seconds, and how many processors other processes used meanwhile."""

    def __enter__(self):
        self._busy, self._own = busy_seconds(), own_seconds()
        self._start = time.perf_counter()
        return self

    def __exit__(self, *_):
        self.wall = time.perf_counter() - self._start
        own = own_seconds() - self._own
        self.others = max(0.0, busy_seconds() - self._busy - own) / self.wall


def busy_seconds() -> float:
    try:
        fields = [int(x) for x in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    except OSError:
        return own_seconds()
    idle = fields[3] + fields[4]
    return (sum(fields[:8]) - idle) / os.sysconf("SC_CLK_TCK")


def own_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def measure_loop(arguments) -> dict:
    """The tutorial: one image at a time through everything."""
    from imagesearch.embedders._torchvision import import_torchvision

    import_torchvision()
    import timm
    import torch
    from PIL import Image
    from timm.data import create_transform, resolve_model_data_config

    from imagesearch import LocalStore, RecordBatch

    options = settings(arguments.model, arguments.weights)
    model = timm.create_model(
        arguments.model,
        pretrained=True,
        pretrained_cfg_overlay={"file": options["weights"]},
        num_classes=0,
        **options.get("model_args", {}),
    ).eval()
    data = resolve_model_data_config(model)
    data.update(options.get("preprocess", {}))
    transform = create_transform(**data, is_training=False)

    def embed(path):
        with Image.open(path) as image, torch.inference_mode():
            vector = model(transform(image.convert("RGB")).unsqueeze(0))[0].numpy()
        return vector / np.linalg.norm(vector)

    paths = images(arguments.images)
    for path in paths[:5]:
        embed(path)
    vectors = []
    with tempfile.TemporaryDirectory() as folder:
        store = LocalStore(Path(folder) / "loop.idx")
        store.open(index_meta(len(embed(paths[0]))))
        with Quiet() as quiet:
            for path in paths:
                vectors.append(embed(path))
                store.upsert(
                    RecordBatch((str(path)[-100:],), (str(path),), ("",), ({},), vectors[-1][None])
                )
        store.close()
    np.save(arguments.vectors, np.stack(vectors))
    return {"wall": quiet.wall, "others": quiet.others}


def index_meta(dim):
    from imagesearch import EmbeddingSpec, IndexMeta

    return IndexMeta(EmbeddingSpec("loop", dim, normalised=True, fingerprint="loop"))


def make_embedder(arguments):
    from imagesearch import TimmEmbedder

    return TimmEmbedder(
        arguments.model,
        resize=arguments.resize,
        precision=arguments.precision,
        **settings(arguments.model, arguments.weights),
    )


def measure_add(arguments) -> dict:
    """Ours, with its defaults."""
    from imagesearch import ImageIndex, Item, LocalStore

    paths = images(arguments.images)
    embedder = make_embedder(arguments)
    with tempfile.TemporaryDirectory() as folder:
        with ImageIndex(embedder=embedder, store=LocalStore(Path(folder) / "warm.idx")) as index:
            index.add(paths[:16])
        with ImageIndex(embedder=embedder, store=LocalStore(Path(folder) / "add.idx")) as index:
            with Quiet() as quiet:
                report = index.add([Item(path, id=str(n)) for n, path in enumerate(paths)])
            assert report.ok, report
            assert report.embedded == len(paths)
            found = index.get([str(n) for n in range(len(paths))], vectors=True)
            np.save(arguments.vectors, np.stack([found[str(n)].vector for n in range(len(paths))]))
    return {"wall": quiet.wall, "others": quiet.others}


def measure_ceiling(arguments) -> dict:
    """Seconds an image for decoding and for the model, on one processor with one thread."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    from imagesearch.sources import read
    from imagesearch.types import Item

    embedder = make_embedder(arguments)
    paths = images(arguments.images)

    def prepare(path):
        return embedder.preprocess(read(Item(path)).open(shrink_to=embedder.spec.decode_size))

    prepared = [prepare(path) for path in paths[:16]]
    embedder.embed(prepared)
    with Quiet() as decoding:
        prepared = [prepare(path) for path in paths]
    with Quiet() as inferring:
        embedder.embed(prepared)
    return {
        "decode": decoding.wall / len(paths),
        "infer": inferring.wall / len(paths),
        "wall": decoding.wall + inferring.wall,
        # One processor is idle by intention; what others do there disturbs nothing.
        "others": 0.0,
    }


def child(what: str, arguments, **changes) -> dict:
    """Measure in a process of its own, again while the machine is busy."""
    options = {**vars(arguments), **changes}
    command = [sys.executable, __file__, "--measure", what]
    for name in ("model", "images", "precision", "resize", "weights", "vectors"):
        command += [f"--{name}", str(options[name])]
    best = None
    for _ in range(ATTEMPTS):
        output = subprocess.run(command, capture_output=True, text=True, check=False)
        if output.returncode:
            sys.exit(output.stderr)
        result = json.loads(output.stdout.splitlines()[-1])
        if best is None or result["others"] < best["others"]:
            best = result
        if result["others"] <= OTHERS_ALLOWED:
            break
    return best


def machine() -> str:
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        pass
    return f"{name}, {len(os.sched_getaffinity(0))} processors"


def versions() -> str:
    from importlib.metadata import version

    names = ("imagesearch-index", "torch", "timm", "pillow", "numpy")
    return ", ".join([f"Python {platform.python_version()}", *(f"{n} {version(n)}" for n in names)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    parser.add_argument("--resize", default="fast", help=argparse.SUPPRESS)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--weights", default="", help=argparse.SUPPRESS)
    parser.add_argument("--vectors", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure = {"loop": measure_loop, "add": measure_add, "ceiling": measure_ceiling}
        print(json.dumps(measure[arguments.measure](arguments)))
        return

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        real = arguments.model == "mobilenetv2_100" and MOBILENET.exists()
        weights = MOBILENET if real else random_weights(arguments.model, folder)
        arguments.weights = str(weights)
        cpus = len(os.sched_getaffinity(0))
        rows = {name: [] for name in ("loop", "exact", "fast", "ceiling", "busy")}
        for _ in range(arguments.rounds):
            loop = child("loop", arguments, vectors=folder / "loop.npy")
            exact = child("add", arguments, resize="exact", vectors=folder / "exact.npy")
            fast = child("add", arguments, vectors=folder / "fast.npy")
            ceiling = child("ceiling", arguments)
            for key, result in (("loop", loop), ("exact", exact), ("fast", fast)):
                rows[key].append(arguments.images / result["wall"])
            rows["ceiling"].append(cpus / (ceiling["decode"] + ceiling["infer"]))
            rows["busy"].append(max(result["others"] for result in (loop, exact, fast)))
        report(arguments, rows, ceiling, folder, weights="real" if real else "random, seed 0")


def report(arguments, rows, ceiling, folder, *, weights) -> None:
    reference = np.load(folder / "loop.npy")

    def cosines(name):
        same = np.sum(reference * np.load(folder / f"{name}.npy"), axis=1)
        return f"{same.mean():.6f} mean, {same.min():.6f} min"

    def median(name):
        return float(np.median(rows[name]))

    def ratios(name, base):
        each = [ours / theirs for ours, theirs in zip(rows[name], rows[base], strict=True)]
        return f"{np.median(each):5.2f}"

    print(f"machine   {machine()}")
    print(f"versions  {versions()}")
    print(f"command   {' '.join(['python', 'benchmarks/ingest.py', *sys.argv[1:]])}")
    print(
        f"model     {arguments.model}, {arguments.precision}, weights {weights}; "
        f"{arguments.images} images, {arguments.rounds} rounds, medians"
    )
    print(f"others    used at most {max(rows['busy']):.2f} processors meanwhile\n")
    print(f"{'':30} images/s   of loop   of ceiling")
    for name, title in (
        ("loop", "the tutorial's loop"),
        ("exact", "add, resize='exact'"),
        ("fast", "add"),
        ("ceiling", "ceiling"),
    ):
        print(
            f"{title:30} {median(name):8.1f}   {ratios(name, 'loop'):>7}   "
            f"{ratios(name, 'ceiling'):>10}"
        )
    print(
        f"\none thread: decode {1000 * ceiling['decode']:.1f} ms, "
        f"model {1000 * ceiling['infer']:.1f} ms an image"
    )
    print(f"cosine to the loop's vectors: exact {cosines('exact')}; default {cosines('fast')}")


if __name__ == "__main__":
    main()
