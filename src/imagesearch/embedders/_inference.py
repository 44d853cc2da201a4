"""Inference: arrays through a PyTorch model, on the right device, in bounded batches."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from imagesearch._cpus import available_cpus
from imagesearch._forks import notice_fork, on_fork
from imagesearch._validation import batched, one_of, whole
from imagesearch.errors import EmbeddingError, MissingDependencyError
from imagesearch.vectors import normalise

try:
    import torch
    from torch import nn
except ImportError as error:
    raise MissingDependencyError(
        f"this embedder needs PyTorch ({error})", remedy="pip install torch"
    ) from error

__all__ = [
    "CPU_BATCH",
    "Inference",
    "Runner",
    "check_running",
    "checked",
    "describe_failure",
    "share_out",
    "stack_pixels",
    "unit",
]


def checked(vectors: NDArray[np.float32], *, name: str, what: str) -> NDArray[np.float32]:
    """Return vectors as they are, if all are finite.

    Args:
        vectors: A model's outputs, (n, dim).
        name: The embedder's, for the message.
        what: What the model was given, such as ``images``.

    Raises:
        EmbeddingError: One holds NaN or infinity.
    """
    bad = ~np.isfinite(vectors).all(axis=1)
    if bad.any():
        raise EmbeddingError(
            f"{name} gave NaN or infinity for {int(bad.sum())} of {len(vectors)} {what}: its "
            "weights are damaged, or need precision='fp32'"
        )
    return vectors


def unit(vectors: NDArray[np.float32], *, name: str, what: str) -> NDArray[np.float32]:
    """Return vectors scaled to unit length, if all are finite and have a direction.

    Args:
        vectors: A model's outputs, (n, dim).
        name: The embedder's, for the message.
        what: What the model was given, such as ``images``.

    Raises:
        EmbeddingError: One holds NaN or infinity, or is zero.

    Example:
        >>> unit(np.array([[3, 4]], np.float32), name="mine", what="images").round(1).tolist()
        [[0.6000000238418579, 0.800000011920929]]
    """
    zero = ~checked(vectors, name=name, what=what).any(axis=1)
    if zero.any():
        raise EmbeddingError(
            f"{name} gave a zero vector for {int(zero.sum())} of {len(vectors)} {what}; it has no "
            "direction to compare"
        )
    return normalise(vectors)


# Larger batches are slower on a CPU, where activations then leave the caches and are mapped and
# unmapped at every layer (ResNet50, CPU-ms an image: 96 at 4 and 8, 111 at 32).
CPU_BATCH = 8
_GPU_BATCH = 64

# Torch keeps one process-wide number that every new thread starts with; see `_quiet_workers`.
_thread_settings = threading.Lock()


def check_running(batch_size: int | None, precision: str) -> None:
    """Refuse options that no runner knows, before any weights load.

    Raises:
        ConfigError: The batch size is not a whole number ≥ 1, or the precision unknown.
    """
    if batch_size is not None:
        whole(batch_size, "batch_size", least=1)
    one_of(precision, "precision", ("fp32", "bf16"))


class Runner(Protocol):
    """What turns pixels into vectors."""

    def run(self, batch: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Return the model's outputs for n ≥ 1 arrays of one shape (height, width, 3)."""
        ...


class Inference:
    """Runs uint8 pixels through a model.

    On a CPU several workers run small batches side by side, each with one thread of its own: two
    such workers gave 19.3 images a second where one model with two threads gave 16.3. A single
    image runs in the calling thread with all of torch's threads, for the shortest answer.

    Args:
        model: In eval mode; it is moved to `device`.
        device: Where to run.
        precision: ``fp32`` or ``bf16``.
        mean: Of each channel, in [0, 1].
        std: Of each channel, in [0, 1].
        batch_size: Images that go through the model together; None for 8 on a CPU, 64 elsewhere.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        device: torch.device,
        precision: str,
        mean: Sequence[float],
        std: Sequence[float],
        batch_size: int | None,
    ) -> None:
        self._device = device
        self._dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        # The stubs of torch know this keyword for tensors only.
        self._model = model.to(device=device, dtype=self._dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        scale = 1.0 / (255.0 * torch.tensor(std, dtype=torch.float64))
        shift = -255.0 * torch.tensor(mean, dtype=torch.float64) * scale
        self._scale = scale.to(torch.float32).view(1, 3, 1, 1).to(device)
        self._shift = shift.to(torch.float32).view(1, 3, 1, 1).to(device)
        self._batch_size = batch_size or (CPU_BATCH if device.type == "cpu" else _GPU_BATCH)
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        on_fork(self, in_child=Inference._leave_threads)

    def run(self, batch: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Return the model's outputs.

        Args:
            batch: n ≥ 1 arrays of one shape (height, width, 3).

        Returns:
            float32 of shape (n, …), as the model gives them.

        Raises:
            EmbeddingError: The arrays do not fit each other or the model, or memory ran out.
        """
        pixels = stack_pixels(batch)
        try:
            if self._device.type != "cpu" or len(pixels) == 1:
                parts = list(map(self._forward, batched(pixels, self._batch_size)))
            else:
                parts = list(
                    self._workers().map(self._forward, share_out(pixels, self._batch_size))
                )
        except RuntimeError as error:
            raise describe_failure(error, self._batch_size, str(self._device)) from error
        return np.concatenate(parts)

    def _forward(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            tensor = torch.from_numpy(np.ascontiguousarray(pixels))
            if self._device.type == "cuda":
                tensor = tensor.pin_memory().to(self._device, non_blocking=True)
            else:
                tensor = tensor.to(self._device)
            # Height, width, channels in memory is what torch calls channels-last: nothing moves.
            images = tensor.permute(0, 3, 1, 2).to(torch.float32) * self._scale + self._shift
            output = self._model(images.to(self._dtype))
            if not torch.is_tensor(output):
                raise EmbeddingError(
                    f"the model gives a {type(output).__name__}, not one tensor of vectors"
                )
            vectors: NDArray[np.float32] = output.to(torch.float32).cpu().numpy()
            return vectors

    def _workers(self) -> ThreadPoolExecutor:
        notice_fork()
        with self._lock:
            if self._pool is None:
                self._pool = _quiet_workers(available_cpus())
            return self._pool

    def _leave_threads(self) -> None:
        # Threads do not survive a fork, and one of them may have held the lock.
        self._lock, self._pool = threading.Lock(), None

    def __getstate__(self) -> dict[str, Any]:
        raise TypeError("a loaded model is not pickled: make the embedder again from spec.options")


def _quiet_workers(count: int) -> ThreadPoolExecutor:
    """Start workers that compute with one thread each, and leave torch's setting as it was.

    ``torch.set_num_threads`` sets the calling thread's number and also the one that threads
    begin with which are started later. The first is wanted here. The second is read by a thread
    that starts before the change and set back by one that starts after it, so that the threads of
    the program itself never see a difference.
    """
    ready = threading.Barrier(count)

    def become_single() -> None:
        # A thread takes over the process-wide number when it first asks, and would then forget
        # its former setting.
        torch.get_num_threads()
        torch.set_num_threads(1)
        # Each worker takes exactly one of these tasks, because none ends before all have begun.
        ready.wait(timeout=60)

    with _thread_settings:
        with ThreadPoolExecutor(1) as before:
            threads = before.submit(torch.get_num_threads).result()
        pool = ThreadPoolExecutor(count, thread_name_prefix="imagesearch-model")
        try:
            for task in [pool.submit(become_single) for _ in range(count)]:
                task.result()
        finally:
            with ThreadPoolExecutor(1) as after:
                after.submit(torch.set_num_threads, threads).result()
    return pool


def stack_pixels(batch: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Put prepared images into one array (n, height, width, 3).

    Raises:
        EmbeddingError: They differ in shape, or are not what `preprocess` returns.
    """
    try:
        pixels = np.stack(batch)
    except ValueError as error:
        raise EmbeddingError(f"the prepared images differ in shape: {error}") from error
    if pixels.ndim != 4 or pixels.shape[-1] != 3 or pixels.dtype != np.uint8:
        raise EmbeddingError(
            f"prepared images have shape {pixels.shape[1:]} and type {pixels.dtype}; give what "
            "preprocess returns: (height, width, 3) of uint8"
        )
    return pixels


def share_out(pixels: NDArray[np.uint8], batch_size: int) -> list[NDArray[np.uint8]]:
    """Cut images into batches for one-thread workers, of `batch_size` at most.

    Fewer images than a full round are shared out, so that no worker stands idle.
    """
    step = min(batch_size, -(-len(pixels) // available_cpus()))
    return list(batched(pixels, step))


def describe_failure(
    error: RuntimeError | MemoryError, batch_size: int, device: str
) -> EmbeddingError:
    """Say in our words why a model failed."""
    text = (str(error).splitlines() or [""])[0]
    # A CPU's allocator raises a plain RuntimeError.
    if isinstance(error, torch.cuda.OutOfMemoryError | MemoryError) or any(
        words in text.lower()
        for words in ("out of memory", "allocate memory", "not enough memory", "bad_alloc")
    ):
        return EmbeddingError(
            f"{device} ran out of memory with batch_size={batch_size} ({text}): give a smaller "
            f"batch_size, such as {max(1, batch_size // 4)}, or device='cpu'"
        )
    return EmbeddingError(f"the model failed on {device}: {text}")
