"""Answers: what a `Probe` is asked, answered by trying it; runs in the probe's own process."""

from __future__ import annotations

import importlib
import inspect
import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from imagesearch.config import PluginConfig, check_options
from imagesearch.errors import ImageSearchError, WeightsUnavailableError
from imagesearch.images import decode
from imagesearch.plugins import Group, plugin_class

__all__ = ["run"]


# Where a package is imported with care, that module is imported, and not the package itself.
_CAREFUL = {
    "open_clip": "imagesearch.embedders._clip_models",
    "openvino": "imagesearch.embedders._openvino",
    "tcvectordb": "imagesearch.stores.tencent._sdk",
}
_REPAIRED = "torchvision::nms"
_METHODS: dict[Group, tuple[str, ...]] = {
    "embedders": ("preprocess", "embed"),
    "stores": ("describe", "open", "upsert", "search", "get", "delete", "scan", "count", "close"),
}
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "AVIF", "TIFF", "BMP", "PPM", "JPEG2000", "ICO")
_HUB_FILE = "timm/resnet50.a1_in1k/resolve/main/config.json"


def run() -> None:
    """Answer the questions on standard input, one JSON object a line, until it ends."""
    # What packages print on import must not stand between the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for line in sys.stdin:
        asked = json.loads(line)
        answer: dict[str, Any]
        try:
            answer = _QUESTIONS[asked["question"]](**asked["arguments"])
        except Exception as error:  # noqa: BLE001  # whatever a broken package raises is the answer
            answer = {"error": type(error).__name__, "message": _short(error), "remedy": ""}
            if isinstance(error, ImageSearchError):
                answer |= {"message": error.problem, "remedy": error.remedy or ""}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _package(module: str) -> dict[str, Any]:
    """Import a package as the library does, and use what is known to fail later than that."""
    note = ""
    if module in {"torchvision", "timm"}:
        note = _torchvision()
    if module != "torchvision":
        importlib.import_module(_CAREFUL.get(module, module))
    if module == "hnswlib":
        _build_graph()
    return {"note": note if module == "torchvision" else ""}


def _torchvision() -> str:
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if _REPAIRED not in str(error):
            raise
        from imagesearch.embedders._torchvision import import_torchvision

        import_torchvision()
        return str(error)
    return ""


def _build_graph() -> None:
    """Run compiled code: an hnswlib that was built for another processor dies here."""
    import hnswlib
    import numpy as np

    graph = hnswlib.Index("ip", 16)
    graph.init_index(8, 4, 8)
    graph.add_items(np.eye(8, 16, dtype=np.float32))
    graph.knn_query(np.eye(1, 16, dtype=np.float32), 1)


def _device() -> dict[str, Any]:
    import torch

    from imagesearch.embedders import choose_device

    cuda = torch.cuda.is_available()
    return {
        "auto": str(choose_device("auto")),
        "torch": torch.__version__,
        "built_for_cuda": torch.version.cuda or "",
        "gpus": [torch.cuda.get_device_name(at) for at in range(torch.cuda.device_count())]
        if cuda
        else [],
    }


def _formats() -> dict[str, Any]:
    picture = Image.new("RGB", (32, 32), "teal")
    readable, unreadable = [], []
    Image.init()
    for format in _FORMATS:
        buffer = io.BytesIO()
        try:
            picture.save(buffer, format)
            decode(buffer.getvalue())
        # Pillow says in many ways that a codec was left out.
        except Exception:  # noqa: BLE001  # the answer is that it does not work
            unreadable.append(format)
        else:
            readable.append(format)
    return {"readable": readable, "unreadable": unreadable, "heif": _reads_heif()}


def _reads_heif() -> bool:
    try:
        import pillow_heif

        pillow_heif.register_heif_opener()
        buffer = io.BytesIO()
        Image.new("RGB", (32, 32), "teal").save(buffer, "HEIF")
        decode(buffer.getvalue())
    # Not installed, broken, or built without its codecs: any way, it does not work.
    except Exception:  # noqa: BLE001
        return False
    return True


def _plugin(group: Group, kind: str) -> dict[str, Any]:
    cls = plugin_class(group, kind)
    return {"lacking": [name for name in _METHODS[group] if not hasattr(cls, name)]}


def _embedder(kind: str, options: dict[str, Any], folder: str) -> dict[str, Any]:
    """Check an embedder's options, and look for its weights without asking the hub."""
    cls = plugin_class("embedders", kind)
    given = check_options(cls, PluginConfig(kind, options, Path(folder)))
    if not cls.__module__.startswith("imagesearch."):
        return {"weights": "unknown"}
    if "device" in given:
        from imagesearch.embedders import choose_device

        choose_device(str(given["device"]))
    signature = inspect.signature(cls).parameters
    wanted = {
        name: given.get(name, signature[name].default)
        for name in ("model", "pretrained", "weights")
        if name in signature
    }
    finders: dict[str, Callable[..., Path | None]] = {"timm": _timm_file, "clip": _clip_file}
    if kind not in finders:
        return {"weights": "none"}
    try:
        file = finders[kind](**wanted)
    except WeightsUnavailableError as error:
        # This process is offline, so that what is not in the cache is not downloaded.
        if error.repository is None:
            raise
        return {"weights": "uncached", "repository": error.repository}
    if file is None:
        return {"weights": "unknown"}
    return {"weights": "there", "file": str(file), "size": file.stat().st_size}


def _timm_file(model: str, weights: str | None) -> Path | None:
    from imagesearch.embedders._timm_models import find_model

    file = find_model(model, weights).file
    return None if file is None else file.path


def _clip_file(model: str, pretrained: str | None, weights: str | None) -> Path:
    from imagesearch.embedders._clip_models import find_model
    from imagesearch.embedders._clip_text import make_tokenizer

    source = find_model(model, pretrained, weights)
    make_tokenizer(source.create_name, source.config, source.folder)
    return source.file.path


def _hub_settings() -> dict[str, Any]:
    from huggingface_hub import constants

    return {"endpoint": str(constants.ENDPOINT), "cache": str(constants.HF_HUB_CACHE)}


def _hub(timeout: float) -> dict[str, Any]:
    from huggingface_hub import constants, get_session

    # The library behind the session differs between versions of huggingface_hub.
    session: Any = get_session()
    response = session.head(f"{constants.ENDPOINT}/{_HUB_FILE}", timeout=timeout)
    return {
        "status": int(response.status_code),
        "hub": any(name.lower().startswith("x-repo-") for name in response.headers),
    }


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__


_QUESTIONS: dict[str, Callable[..., dict[str, Any]]] = {
    "package": _package,
    "device": _device,
    "formats": _formats,
    "plugin": _plugin,
    "embedder": _embedder,
    "hub_settings": _hub_settings,
    "hub": _hub,
}
