"""Inference with OpenVINO, which is faster than PyTorch on many CPUs."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from typing_extensions import override

from imagesearch._cpus import available_cpus
from imagesearch._forks import notice_fork, on_fork
from imagesearch.embedders._inference import (
    CPU_BATCH,
    cpu_group_size,
    describe_failure,
    share_out,
    stack_pixels,
)
from imagesearch.errors import ConfigError, MissingDependencyError

__all__ = ["OpenVinoInference", "TorchScriptPythonDecoder", "openvino"]


@contextmanager
def _hidden(package: str) -> Iterator[None]:
    present = {
        name: sys.modules.pop(name)
        for name in list(sys.modules)
        if name == package or name.startswith(f"{package}.")
    }
    # None marks a module that cannot be imported (Python reference, "The module cache").
    sys.modules[package] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[package]
        sys.modules.update(present)


try:
    with _hidden("openvino_telemetry"):
        import openvino
        import openvino.frontend
        from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
except ImportError as error:
    raise MissingDependencyError(
        f"runtime='openvino' needs the package openvino ({error})",
        remedy='pip install "imagesearch-index[openvino]"',
    ) from error


# A correctly converted model differs by rounding only (measured: below 5e-7 in an element of a unit
# vector); vectors of a wrongly converted one have another direction.
_SAME_DIRECTION = 0.9999

# Destroying a compiled model waits for its threads, which do not exist in a forked child, so a
# child keeps the models of its parent.
_of_parents: list[Any] = []


class OpenVinoInference:
    """Runs uint8 pixels through a model that OpenVINO has compiled for this CPU.

    Small batches run in parallel, each on one thread (a stream in OpenVINO's terms); a single image
    runs on all threads, for low latency. There are as many threads as processors available to this
    process, and torch's own setting is not changed.

    Args:
        model: A model in eval mode, float32, on the CPU. Its weights are shared, not copied.
        name: The model's name, for messages.
        precision: ``fp32`` or ``bf16``.
        mean: Mean of each channel, in [0, 1].
        std: Standard deviation of each channel, in [0, 1].
        input_size: (height, width) in pixels.
        batch_size: Images in a batch; None for 8.

    Raises:
        ConfigError: OpenVINO cannot convert the model or returns other vectors than torch, or the
            processor does not support bf16.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        name: str,
        precision: str,
        mean: Sequence[float],
        std: Sequence[float],
        input_size: tuple[int, int],
        batch_size: int | None,
    ) -> None:
        self._batch_size = batch_size or CPU_BATCH
        self._precision = "bf16" if precision == "bf16" else "f32"
        complete = _WithNormalisation(model, mean, std).eval()
        probe = np.random.default_rng(0).integers(0, 256, (3, *input_size, 3), dtype=np.uint8)
        self._model = _convert(complete, probe[:2], name)
        _require_same_vectors(complete, self._model, probe, name)
        self._lock = threading.Lock()
        self._engine: _Engine | None = _Engine(self._model, self._precision)
        if self._engine.precision != self._precision:
            raise ConfigError(
                f"this processor does not support {precision} (OpenVINO falls back to "
                f"{self._engine.precision}); use precision='fp32'"
            )
        on_fork(self, in_child=OpenVinoInference._leave_engine)

    @property
    def group_size(self) -> int:
        """Images in one call of `run` that use the processors fully."""
        return cpu_group_size(self._batch_size)

    def run(self, batch: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Return the model's outputs; see `Inference.run`.

        Raises:
            EmbeddingError: The arrays have different shapes, or the model failed.
        """
        pixels = stack_pixels(batch)
        try:
            engine = self._engine_of_this_process()
            if len(pixels) == 1:
                return engine.run_single(pixels)
            return np.concatenate(engine.run_parallel(share_out(pixels, self._batch_size)))
        except (RuntimeError, MemoryError) as error:
            raise describe_failure(error, self._batch_size, "cpu") from error

    def _engine_of_this_process(self) -> _Engine:
        notice_fork()
        with self._lock:
            if self._engine is None:
                self._engine = _Engine(self._model, self._precision)
            return self._engine

    def _leave_engine(self) -> None:
        self._lock = threading.Lock()
        if self._engine is not None:
            _of_parents.append(self._engine)
            self._engine = None

    def __getstate__(self) -> dict[str, Any]:
        raise TypeError("a loaded model is not pickled: make the embedder again from spec.options")


class _Engine:
    """The compiled forms of one model, with their threads, in one process."""

    def __init__(self, model: Any, precision: str) -> None:
        self._model = model
        self._precision = precision
        self._lock = threading.Lock()
        self._single_lock = threading.Lock()
        self._cpus = available_cpus()
        compiled = _compile(model, precision, streams=1, threads=self._cpus)
        self.precision = _short(compiled.get_property("INFERENCE_PRECISION_HINT"))
        self._single = compiled.create_infer_request()
        self._idle: SimpleQueue[Any] = SimpleQueue()
        self._pool: ThreadPoolExecutor | None = None

    def run_single(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        with self._single_lock:
            return _infer(self._single, pixels)

    def run_parallel(self, parts: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        with self._lock:
            if self._pool is None:
                self._pool = self._started_pool()
        return list(self._pool.map(self._run_part, parts))

    def _started_pool(self) -> ThreadPoolExecutor:
        compiled = _compile(self._model, self._precision, streams=self._cpus, threads=self._cpus)
        for request in [compiled.create_infer_request() for _ in range(self._cpus)]:
            self._idle.put(request)
        # These threads only wait for OpenVINO's own.
        return ThreadPoolExecutor(self._cpus, thread_name_prefix="imagesearch-openvino")

    def _run_part(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        request = self._idle.get()
        try:
            return _infer(request, pixels)
        finally:
            self._idle.put(request)


class _WithNormalisation(nn.Module):
    """A model with uint8 pixels (n, height, width, 3) as its input."""

    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(self, model: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        scale = 1.0 / (255.0 * torch.tensor(std, dtype=torch.float64))
        shift = -255.0 * torch.tensor(mean, dtype=torch.float64) * scale
        self.model = model
        self.register_buffer("scale", scale.to(torch.float32).view(1, 3, 1, 1))
        self.register_buffer("shift", shift.to(torch.float32).view(1, 3, 1, 1))

    @override
    def forward(self, pixels: torch.Tensor) -> Any:
        images = pixels.permute(0, 3, 1, 2).to(torch.float32)
        return self.model(images * self.scale + self.shift)


def _convert(model: nn.Module, example: NDArray[np.uint8], name: str) -> Any:
    try:
        with warnings.catch_warnings(), torch.no_grad():
            # OpenVINO supports traced models best; torch warns that tracing is deprecated, and of
            # every shape read in Python. `_require_same_vectors` verifies the result.
            warnings.simplefilter("ignore")
            traced = torch.jit.trace(model, torch.from_numpy(example), check_trace=False)  # type: ignore[no-untyped-call]  # torch leaves it untyped
            # openvino.convert_model does the same, but also sends telemetry, sets the root logger's
            # level, and prints if sys.argv contains --verbose.
            decoder = TorchScriptPythonDecoder(traced)
            frontend = openvino.frontend.FrontEndManager().load_by_framework("pytorch")
            converted = frontend.convert(frontend.load(decoder))
            converted.reshape([-1, *example.shape[1:]])
    # OpenVINO's OpConversionFailure derives from Exception, and a model's code may raise any class.
    except Exception as error:
        raise _not_usable(name, "cannot be converted", error) from error
    return converted


def _require_same_vectors(
    model: nn.Module, converted: Any, probe: NDArray[np.uint8], name: str
) -> None:
    with torch.inference_mode():
        output = model(torch.from_numpy(probe))
    if not torch.is_tensor(output):
        raise ConfigError(f"{name} must return one tensor of vectors, got {type(output).__name__}")
    try:
        compiled = _compile(converted, "f32", streams=1, threads=available_cpus())
        vectors = _infer(compiled.create_infer_request(), probe)
    except RuntimeError as error:
        raise _not_usable(name, "cannot be run", error) from error
    if vectors.shape == tuple(output.shape):
        cosine = _cosine(output.numpy(), vectors)
        # NaN is caused by the weights, and reported when images are embedded.
        if not (cosine < _SAME_DIRECTION).any():
            return
        difference = f"cosine {np.nanmin(cosine):.4f}"
    else:
        difference = f"shape {vectors.shape} instead of {tuple(output.shape)}"
    raise ConfigError(
        f"{name} returns other vectors with OpenVINO {openvino.__version__} than with torch "
        f"({difference}); use runtime='torch'"
    )


def _cosine(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float64]:
    left, right = (array.reshape(len(array), -1).astype(np.float64) for array in (first, second))
    with np.errstate(all="ignore"):
        lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
        cosine: NDArray[np.float64] = (left * right).sum(axis=1) / lengths
    return cosine


def _compile(model: Any, precision: str, *, streams: int, threads: int) -> Any:
    settings = {
        "INFERENCE_PRECISION_HINT": precision,
        "NUM_STREAMS": streams,
        "INFERENCE_NUM_THREADS": threads,
        # Pinned threads would stay on processors that are busy with other work.
        "ENABLE_CPU_PINNING": False,
    }
    return openvino.Core().compile_model(model, "CPU", settings)


def _infer(request: Any, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    output: NDArray[np.float32] = request.infer([pixels], share_inputs=True)[0]
    return output.astype(np.float32, copy=False)


def _short(element_type: Any) -> str:
    return str(element_type.get_type_name())


def _not_usable(name: str, problem: str, error: Exception) -> ConfigError:
    text = " ".join(str(error).split())[:300]
    return ConfigError(
        f"{name} {problem} by OpenVINO {openvino.__version__} ({text}); use runtime='torch'"
    )
