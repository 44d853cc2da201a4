"""Inference with PyTorch: batches of pixels in, vectors out."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

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
    "choose_precision",
    "cpu_group_size",
    "describe_failure",
    "one_behind",
    "share_out",
    "stack_pixels",
    "unit",
]


_In = TypeVar("_In")
_Out = TypeVar("_Out")


def checked(vectors: NDArray[np.float32], *, name: str, what: str) -> NDArray[np.float32]:
    """Return the vectors unchanged, if all are finite.

    Args:
        vectors: A model's outputs, (n, dim).
        name: The embedder's name, for the message.
        what: The kind of input for the message, such as ``images``.

    Raises:
        EmbeddingError: A vector contains NaN or infinity.
    """
    bad = ~np.isfinite(vectors).all(axis=1)
    if bad.any():
        raise EmbeddingError(
            f"{name} returned NaN or infinity for {int(bad.sum())} of {len(vectors)} {what}: its "
            "weights are damaged, or need precision='fp32'"
        )
    return vectors


def unit(vectors: NDArray[np.float32], *, name: str, what: str) -> NDArray[np.float32]:
    """Return the vectors scaled to unit length, if all are finite and not zero.

    Args:
        vectors: A model's outputs, (n, dim).
        name: The embedder's name, for the message.
        what: The kind of input for the message, such as ``images``.

    Raises:
        EmbeddingError: A vector contains NaN or infinity, or is zero.

    Example:
        >>> unit(np.array([[3, 4]], np.float32), name="mine", what="images").round(1).tolist()
        [[0.6000000238418579, 0.800000011920929]]
    """
    zero = ~checked(vectors, name=name, what=what).any(axis=1)
    if zero.any():
        raise EmbeddingError(
            f"{name} returned a zero vector for {int(zero.sum())} of {len(vectors)} {what}, which "
            "has no direction to compare"
        )
    return normalise(vectors)


# Larger batches are slower on a CPU: activations exceed the caches, and their memory is mapped and
# unmapped at every layer (ResNet50, CPU ms per image: 96 at 4 and 8, 111 at 32).
CPU_BATCH = 8
_GPU_BATCH = 64
_CPU_GROUP = 32

# Guards torch's process-wide number of threads, see `_single_threaded_workers`.
_thread_settings = threading.Lock()


def check_running(batch_size: int | None, precision: str, *, choices: Sequence[str]) -> None:
    """Check the options of a runner, before any weights are loaded.

    Raises:
        ConfigError: The batch size is not an integer ≥ 1, or the precision is unknown.
    """
    if batch_size is not None:
        whole(batch_size, "batch_size", least=1)
    one_of(precision, "precision", choices)


def choose_precision(precision: str, device: torch.device) -> str:
    """Resolve ``auto``: ``bf16`` where the device computes in it, ``fp32`` elsewhere.

    Example:
        >>> choose_precision("fp32", torch.device("cpu"))
        'fp32'
    """
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if device.type == "cpu":
        # Without such instructions bf16 is emulated and slower than fp32.
        return "bf16" if any(_cpu_has(name) for name in _BF16_INSTRUCTIONS) else "fp32"
    return "fp32"


_BF16_INSTRUCTIONS = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")


def _cpu_has(name: str) -> bool:
    # Private to torch, and missing in its oldest supported releases.
    supported = getattr(torch.cpu, name, None)
    return supported is not None and bool(supported())


class Runner(Protocol):
    """Converts pixels to vectors."""

    @property
    def group_size(self) -> int:
        """Images in one call of `run` that use the device fully."""
        ...

    def run(self, batch: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Return the model's outputs for n ≥ 1 arrays of one shape (height, width, 3)."""
        ...


class Inference:
    """Runs uint8 pixels through a model.

    On a CPU, single-threaded workers run small batches in parallel: two such workers reached 19.3
    images per second where one model with two threads reached 16.3. A single image runs in the
    calling thread with all of torch's threads, for low latency.

    Args:
        model: A model in eval mode; it is moved to `device`.
        device: The device to run on.
        precision: ``fp32`` or ``bf16``.
        mean: Mean of each channel, in [0, 1].
        std: Standard deviation of each channel, in [0, 1].
        batch_size: Images in a batch; None for 8 on a CPU, 64 elsewhere.
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
        # The stubs of torch declare this keyword for tensors only.
        self._model = model.to(device=device, dtype=self._dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        scale = 1.0 / (255.0 * torch.tensor(std, dtype=torch.float64))
        shift = -255.0 * torch.tensor(mean, dtype=torch.float64) * scale
        self._scale = scale.to(torch.float32).view(1, 3, 1, 1).to(device)
        self._shift = shift.to(torch.float32).view(1, 3, 1, 1).to(device)
        self._batch_size = batch_size or (CPU_BATCH if device.type == "cpu" else _GPU_BATCH)
        # The stubs of torch leave the constructors of streams and events untyped.
        self._copies = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        on_fork(self, in_child=Inference._leave_threads)

    @property
    def group_size(self) -> int:
        """Images in one call of `run` that use the device fully."""
        return cpu_group_size(self._batch_size) if self._device.type == "cpu" else self._batch_size

    def run(self, batch: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Return the model's outputs.

        Args:
            batch: n ≥ 1 arrays of one shape (height, width, 3).

        Returns:
            float32 of shape (n, …).

        Raises:
            EmbeddingError: The arrays have different shapes, or the model failed.
        """
        pixels = stack_pixels(batch)
        try:
            if self._device.type != "cpu" or len(pixels) == 1:
                parts = list(one_behind(self._start, batched(pixels, self._batch_size)))
            else:
                parts = list(
                    self._workers().map(self._forward, share_out(pixels, self._batch_size))
                )
        except RuntimeError as error:
            raise describe_failure(error, self._batch_size, str(self._device)) from error
        return np.concatenate(parts)

    def _forward(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self._start(pixels)()

    def _start(self, pixels: NDArray[np.uint8]) -> Callable[[], NDArray[np.float32]]:
        """Start a batch, and return a function that waits for its outputs.

        Only CUDA computes after this returns; other devices have finished.
        """
        with torch.inference_mode():
            tensor = self._on_device(torch.from_numpy(np.ascontiguousarray(pixels)))
            # (height, width, channels) in memory is torch's channels-last format: nothing is copied.
            images = tensor.permute(0, 3, 1, 2).to(torch.float32) * self._scale + self._shift
            output = self._model(images.to(self._dtype))
            if not torch.is_tensor(output):
                raise EmbeddingError(
                    f"the model must return one tensor of vectors, got {type(output).__name__}"
                )
            return self._fetch(output.to(torch.float32))

    def _on_device(self, pixels: torch.Tensor) -> torch.Tensor:
        if self._copies is None:
            return pixels.to(self._device)
        pinned = pixels.pin_memory()
        # In a stream of its own, so that the copy overlaps with the model's work on earlier batches.
        with torch.cuda.stream(self._copies):
            copied = pinned.to(self._device, non_blocking=True)
        computing = torch.cuda.current_stream(self._device)
        computing.wait_stream(self._copies)
        # The allocator must not reuse the memory for another copy before the model has read it.
        copied.record_stream(computing)
        return copied

    def _fetch(self, output: torch.Tensor) -> Callable[[], NDArray[np.float32]]:
        if self._copies is None:
            vectors: NDArray[np.float32] = output.cpu().numpy()
            return lambda: vectors
        fetched = torch.empty(output.shape, dtype=output.dtype, pin_memory=True)
        fetched.copy_(output, non_blocking=True)
        done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        done.record(torch.cuda.current_stream(self._device))

        def wait() -> NDArray[np.float32]:
            done.synchronize()
            vectors: NDArray[np.float32] = fetched.numpy()
            return vectors

        return wait

    def _workers(self) -> ThreadPoolExecutor:
        notice_fork()
        with self._lock:
            if self._pool is None:
                self._pool = _single_threaded_workers(available_cpus())
            return self._pool

    def _leave_threads(self) -> None:
        # Threads do not survive a fork, and another thread may have held the lock.
        self._lock, self._pool = threading.Lock(), None

    def __getstate__(self) -> dict[str, Any]:
        raise TypeError("a loaded model is not pickled: make the embedder again from spec.options")


def _single_threaded_workers(count: int) -> ThreadPoolExecutor:
    """Start workers that compute with one thread each, and keep torch's global setting.

    ``torch.set_num_threads`` sets the number for the calling thread, which is needed here, and also
    the initial number of threads that start later. One thread reads the latter before the change
    and another resets it afterwards, so that the program's own threads are not affected.
    """
    ready = threading.Barrier(count)

    def become_single() -> None:
        # A thread's first call takes over the process-wide number, overriding an earlier setting.
        torch.get_num_threads()
        torch.set_num_threads(1)
        # Each worker runs exactly one of these tasks, because none ends before all have started.
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
    """Stack preprocessed images into one array (n, height, width, 3).

    Raises:
        EmbeddingError: They differ in shape, or are not results of `preprocess`.
    """
    try:
        pixels = np.stack(batch)
    except ValueError as error:
        raise EmbeddingError(f"the preprocessed images differ in shape: {error}") from error
    if pixels.ndim != 4 or pixels.shape[-1] != 3 or pixels.dtype != np.uint8:
        raise EmbeddingError(
            "preprocessed images must be uint8 of shape (height, width, 3), as preprocess returns "
            f"them, got {pixels.dtype} of shape {pixels.shape[1:]}"
        )
    return pixels


def share_out(pixels: NDArray[np.uint8], batch_size: int) -> list[NDArray[np.uint8]]:
    """Split images into batches for single-threaded workers, each up to `batch_size`.

    Fewer images than a full round are distributed evenly, so that no worker is idle.
    """
    step = min(batch_size, -(-len(pixels) // available_cpus()))
    return list(batched(pixels, step))


def one_behind(
    start: Callable[[_In], Callable[[], _Out]], batches: Iterable[_In]
) -> Iterator[_Out]:
    """Start each batch before the results of the one before it are waited for.

    Args:
        start: Starts a batch, and returns a function that waits for its results.
        batches: The batches.

    Yields:
        The results of each batch, in order.

    Example:
        >>> list(one_behind(lambda batch: lambda: sum(batch), [[1, 2], [3]]))
        [3, 3]
    """
    started: deque[Callable[[], _Out]] = deque()
    for batch in batches:
        started.append(start(batch))
        if len(started) > 1:
            yield started.popleft()()
    while started:
        yield started.popleft()()


def cpu_group_size(batch_size: int) -> int:
    """Return how many images give every worker whole batches: a multiple, at least 32.

    Example:
        >>> cpu_group_size(8) >= 32
        True
    """
    one_round = batch_size * available_cpus()
    return one_round * -(-_CPU_GROUP // one_round)


def describe_failure(
    error: RuntimeError | MemoryError, batch_size: int, device: str
) -> EmbeddingError:
    """Return the error for a model's failure, with a remedy if memory ran out."""
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
