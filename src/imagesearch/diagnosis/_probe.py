"""Probe: a separate process for checks in which a broken package may crash or hang.

`Probe` asks, and `run` answers in that process.
"""

from __future__ import annotations

import importlib
import inspect
import io
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from PIL import Image

from imagesearch.config import PluginConfig, check_options
from imagesearch.errors import ImageSearchError
from imagesearch.images import decode
from imagesearch.plugins import Group, plugin_class
from imagesearch.protocols import SupportsDiagnosis, supports

__all__ = ["Probe", "ProbeError", "all_options", "run"]

# -P: no file of the working directory may shadow a package.
_COMMAND = (sys.executable, "-P", "-c", "from imagesearch.diagnosis._probe import run; run()")
_SECONDS_TO_END = 5.0


class ProbeError(Exception):
    """A question was answered with an exception, or with the end of the process.

    Args:
        message: What happened.
        kind: Name of the exception's class; empty if the process ended or was stopped.
        remedy: The remedy of an error of this library; may be empty.
        repository: The `WeightsUnavailableError.repository` of such an error; may be empty.
    """

    def __init__(
        self, message: str, kind: str = "", remedy: str = "", repository: str = ""
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.remedy = remedy
        self.repository = repository


class Probe:
    """A process that answers questions one after the other; it is started again when it dies.

    Packages imported for one answer stay imported for the next.

    Args:
        environment: Variables that the process gets in addition to those of this one.
        patience: Seconds to wait for an answer.

    Example:
        >>> with Probe() as probe:
        ...     probe.ask("package", module="click")["note"]
        ''
    """

    def __init__(
        self, environment: Mapping[str, str] | None = None, *, patience: float = 180.0
    ) -> None:
        self._environment = {**os.environ, **(environment or {})}
        self._patience = patience
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop()

    def ask(self, question: str, **arguments: Any) -> dict[str, Any]:
        """Return the answer.

        Args:
            question: A key of `_QUESTIONS`.
            arguments: The arguments of its function, as JSON values.

        Raises:
            ProbeError: The function raised something, or the process died or did not answer.
        """
        process = self._process or self._start()
        stdin = process.stdin
        if stdin is None:
            raise ProbeError("the probe has no standard input")
        try:
            stdin.write(json.dumps({"question": question, "arguments": arguments}) + "\n")
            stdin.flush()
            line = self._lines.get(timeout=self._patience)
        except queue.Empty:
            self._stop(kill=True)
            raise ProbeError(f"no answer within {self._patience:.0f} s") from None
        except OSError:
            line = None
        if line is None:
            raise ProbeError(_ended(self._stop()))
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ProbeError(**answer["error"])
        return answer

    def _start(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(  # noqa: S603  # our own interpreter and a constant command
            _COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=self._environment,
            text=True,
            encoding="utf-8",
        )
        self._process = process
        # Late answers belong to the process that was stopped.
        self._lines = queue.SimpleQueue()
        threading.Thread(
            target=_listen, args=(process, self._lines), name="imagesearch-probe", daemon=True
        ).start()
        return process

    def _stop(self, *, kill: bool = False) -> int:
        """End the process and return its exit code."""
        process, self._process = self._process, None
        if process is None:
            return 0
        if process.stdin is not None:
            try:
                process.stdin.close()
            except OSError:
                kill = True
        if kill:
            process.kill()
        try:
            return process.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


def _listen(process: subprocess.Popen[str], lines: queue.SimpleQueue[str | None]) -> None:
    if process.stdout is not None:
        with process.stdout:
            for line in process.stdout:
                lines.put(line)
    lines.put(None)


def _ended(code: int) -> str:
    if code >= 0:
        return f"it ended the whole process with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = str(-code)
    return f"it crashed the whole process (signal {name})"


def all_options(cls: type, config: PluginConfig) -> dict[str, Any]:
    """Return checked options with the defaults of those that are not given.

    Raises:
        ConfigError: An option is invalid; see `check_options`.
    """
    given = check_options(cls, config)
    parameters = inspect.signature(cls).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    return {**defaults, **given}


# --- in the process of the probe ------------------------------------------------------------------

_METHODS: dict[Group, tuple[str, ...]] = {
    "embedders": ("preprocess", "embed"),
    "stores": ("describe", "open", "upsert", "search", "get", "delete", "scan", "count", "close"),
}
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "AVIF", "TIFF", "BMP", "PPM", "JPEG2000", "ICO")
_HUB_FILE = "timm/resnet50.a1_in1k/resolve/main/config.json"
# These import torchvision, and fail if it does.
_NEED_TORCHVISION = ("torchvision", "timm", "open_clip")


def run() -> None:
    """Answer the questions on standard input, one JSON object a line, until it ends."""
    # What packages print on import must not mix with the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for line in sys.stdin:
        question = json.loads(line)
        answer: dict[str, Any]
        try:
            answer = _QUESTIONS[question["question"]](**question["arguments"])
        except Exception as error:  # noqa: BLE001  # whatever a broken package raises is the answer
            answer = {"error": _fields_of(error)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _fields_of(error: Exception) -> dict[str, str]:
    kind = type(error).__name__
    if not isinstance(error, ImageSearchError):
        text = " ".join(str(error).split())
        return {"message": f"{kind}: {text[:300]}" if text else kind, "kind": kind}
    fields = {"message": error.problem, "kind": kind, "remedy": error.remedy or ""}
    return {**fields, "repository": getattr(error, "repository", None) or ""}


def _package(module: str) -> dict[str, Any]:
    """Import a package, and run what is known to fail later than the import."""
    note = _torchvision() if module in _NEED_TORCHVISION else ""
    if module == "openvino":
        # It would send statistics of its use.
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # as Python does
    if module != "torchvision":
        importlib.import_module(module)
    if module in {"hnswlib", "usearch"}:
        _build_graph(module)
    return {"note": note if module == "torchvision" else ""}


def _torchvision() -> str:
    """Import torchvision; returns what had to be repaired, empty if nothing."""
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        from imagesearch.embedders._torchvision import import_torchvision

        # Raises the same error again if that is another one than it repairs.
        import_torchvision()
        return str(error)
    return ""


def _build_graph(module: str) -> None:
    """Run compiled code: a library that was built for another processor crashes here."""
    import numpy as np

    vectors = np.eye(8, 16, dtype=np.float32)
    if module == "hnswlib":
        import hnswlib

        graph = hnswlib.Index("ip", 16)
        graph.init_index(8, 4, 8)
        graph.add_items(vectors)
        graph.knn_query(vectors[:1], 1)
    else:
        from usearch.compiled import Index

        index = Index(ndim=16)
        index.add_many(np.arange(8, dtype=np.uint64), vectors, threads=1)
        index.search_many(vectors[:1], 1, threads=1)


def _device() -> dict[str, Any]:
    import torch

    from imagesearch.embedders import choose_device

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return {
        "auto": str(choose_device("auto")),
        "torch": torch.__version__,
        "built_for_cuda": torch.version.cuda or "",
        "gpus": [torch.cuda.get_device_name(number) for number in range(gpus)],
    }


def _formats() -> dict[str, Any]:
    Image.init()
    readable = {format: _can_read(format) for format in _FORMATS}
    return {
        "readable": [format for format in _FORMATS if readable[format]],
        "unreadable": [format for format in _FORMATS if not readable[format]],
        "heif": _can_read("HEIF"),
    }


def _can_read(format: str) -> bool:
    buffer = io.BytesIO()
    try:
        if format == "HEIF":
            import pillow_heif

            pillow_heif.register_heif_opener()
        Image.new("RGB", (32, 32), "teal").save(buffer, format)
        decode(buffer.getvalue())
    # Not installed, broken, or built without its codec, which Pillow reports in many ways.
    except Exception:  # noqa: BLE001
        return False
    return True


def _plugin(group: Group, kind: str) -> dict[str, Any]:
    cls = plugin_class(group, kind)
    return {"missing": [name for name in _METHODS[group] if not hasattr(cls, name)]}


def _embedder(kind: str, options: dict[str, Any], folder: str) -> dict[str, Any]:
    """Check an embedder's options, and let its class check what they need."""
    cls = plugin_class("embedders", kind)
    arguments = all_options(cls, PluginConfig(kind, options, Path(folder)))
    if not supports(cls, SupportsDiagnosis):
        return {"results": None}
    return {"results": [result.to_dict() for result in cls.diagnose(arguments)]}


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


_QUESTIONS: dict[str, Callable[..., dict[str, Any]]] = {
    "package": _package,
    "device": _device,
    "formats": _formats,
    "plugin": _plugin,
    "embedder": _embedder,
    "hub_settings": _hub_settings,
    "hub": _hub,
}
