"""Decode images in worker processes, which may crash or be killed.

A decoder written in C can crash its process or hang. With untrusted files that must not happen to the
server process. A worker receives bytes and returns pixels through pipes, as a length and a JSON header
before raw bytes, so that nothing from a compromised worker is ever executed. It is started with
`subprocess`, which needs no guard in the main module, and with an environment without secrets.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import IO, Any, Self

from PIL import Image

from imagesearch._forks import notice_fork, on_fork
from imagesearch.errors import (
    ConfigError,
    DecodeError,
    ImageTooLargeError,
    MissingDependencyError,
    UnsupportedImageError,
)
from imagesearch.images._decode import decode
from imagesearch.images._limits import MAX_PIXELS

__all__ = ["DecoderPool", "run_worker"]

_ERRORS = {
    cls.__name__: cls
    for cls in (DecodeError, ImageTooLargeError, MissingDependencyError, UnsupportedImageError)
}
_STARTS_WITH = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from imagesearch.images._decoder_pool import run_worker; run_worker()"
)
_ENVIRONMENT = frozenset(
    {
        "PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR", "TEMP", "TMP",
        "LANG", "LC_ALL", "OMP_NUM_THREADS", "PYTHONHOME", "PYTHONMALLOC",
    }
)  # fmt: skip
_BROKEN = (OSError, EOFError, ValueError, TypeError, KeyError, struct.error)
"""Raised when the response of a process that crashed, was killed or sent garbage is read."""
_LENGTH = struct.Struct(">I")
_START_SECONDS = 60.0
"""Time limit for the imports of a worker; on a busy machine they take seconds."""


class DecoderPool:
    """Decodes images like `decode`, in worker processes that are started on demand.

    Any number of threads may call it; up to `workers` images are decoded in parallel.

    Args:
        workers: Maximum number of processes, at least 1.
        deadline: Time limit for one image in seconds, above 0.

    Raises:
        ConfigError: An argument is out of range.

    Example:
        >>> import io
        >>> buffer = io.BytesIO()
        >>> Image.new("L", (40, 30), 200).save(buffer, "PNG")
        >>> with DecoderPool() as pool:
        ...     pool.decode(buffer.getvalue()).getpixel((0, 0))
        (200, 200, 200)
    """

    def __init__(self, *, workers: int = 2, deadline: float = 30.0) -> None:
        if workers < 1:
            raise ConfigError(f"workers must be at least 1, got {workers}")
        if not deadline > 0:
            raise ConfigError(f"deadline must be above 0 seconds, got {deadline}")
        self._workers = workers
        self._deadline = deadline
        self._closed = False
        self._idle: list[_Worker] = []
        self._renew()
        on_fork(self, in_child=DecoderPool._renew)

    def _renew(self) -> None:
        """Start without workers; those of a parent process stay with it."""
        for worker in self._idle:
            worker.leave()
        self._idle = []
        self._places = threading.BoundedSemaphore(self._workers)
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the workers; busy ones stop after their current image."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.stop()

    def decode(
        self,
        data: bytes,
        *,
        shrink_to: int | None = None,
        max_pixels: int = MAX_PIXELS,
        name: str = "image",
    ) -> Image.Image:
        """Decode an image; arguments and errors are those of `decode`.

        Raises:
            DecodeError: Also if the decoder crashed or exceeded the deadline.
        """
        if shrink_to is not None and shrink_to < 1:
            raise ValueError(f"shrink_to must be at least 1, got {shrink_to}")
        notice_fork()
        request = {"shrink_to": shrink_to, "max_pixels": max_pixels, "name": name}
        with self._places:
            worker = self._take(name)
            try:
                answer, pixels = worker.ask(request, data, self._deadline)
            except BaseException as error:
                outcome = worker.stop()
                if not isinstance(error, _BROKEN):
                    raise
                reason = (
                    f"takes more than {self._deadline:g} seconds to decode"
                    if worker.timed_out
                    else f"made the decoder crash ({outcome}), as damaged files may"
                )
                raise DecodeError(
                    f"{name} {reason}; export it again or convert it to PNG"
                ) from None
            self._put_back(worker)
        if "error" in answer:
            raise _ERRORS.get(answer["error"], DecodeError)(answer["message"])
        return Image.frombytes("RGB", tuple(answer["size"]), pixels)

    def _take(self, name: str) -> _Worker:
        with self._lock:
            if self._closed:
                raise ConfigError("the decoder pool is closed")
            # The system may have killed an idle worker to free memory.
            while self._idle:
                worker = self._idle.pop()
                if worker.running:
                    return worker
                worker.stop()
        try:
            return _Worker()
        except (OSError, EOFError) as error:
            raise DecodeError(
                f"{name} cannot be decoded: starting a worker process failed ({error}); free memory "
                "or processes and try again"
            ) from error

    def _put_back(self, worker: _Worker) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(worker)
                return
        worker.stop()


class _Worker:
    """One process that decodes one image after another."""

    def __init__(self) -> None:
        self.timed_out = False
        self._process = subprocess.Popen(  # noqa: S603  # this interpreter and our own module
            [sys.executable, "-c", _STARTS_WITH, json.dumps([path for path in sys.path if path])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={key: value for key, value in os.environ.items() if key in _ENVIRONMENT},
        )
        if self._process.stdin is None or self._process.stdout is None:
            raise OSError("the worker has no pipes")
        self._input, self._output = self._process.stdin, self._process.stdout
        self._finalizer = weakref.finalize(self, _stop, self._process)
        # The first response means ready, so that start-up does not count as decoding.
        try:
            with self._within(_START_SECONDS):
                _receive(self._output)
        except BaseException:
            self.stop()
            raise

    def ask(
        self, request: dict[str, Any], data: bytes, deadline: float
    ) -> tuple[dict[str, Any], bytes]:
        """Send an image and return the response header and the pixels.

        Raises:
            OSError: The process died, or was killed at the deadline.
            EOFError: The same, during its response.
            ValueError: The response is invalid.
        """
        with self._within(deadline):
            _send(self._input, request, data)
            answer, pixels = _receive(self._output)
        if "error" not in answer:
            width, height = answer["size"]
            if len(pixels) != 3 * width * height:
                raise ValueError("the worker sent a wrong number of pixels")
        return answer, pixels

    @contextmanager
    def _within(self, seconds: float) -> Iterator[None]:
        """Kill the process after some seconds, which ends a pending read."""

        def expire() -> None:
            self.timed_out = True
            self._process.kill()

        timer = threading.Timer(seconds, expire)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    @property
    def running(self) -> bool:
        """Whether the process is running."""
        return self._process.poll() is None

    def leave(self) -> None:
        """Forget the process, in a forked child whose parent still uses it."""
        self._finalizer.detach()
        self._process.returncode = 0
        for pipe in (self._input, self._output):
            with suppress(OSError):
                pipe.close()

    def stop(self) -> str:
        """Stop the process and describe how it ended."""
        self._finalizer()
        code = self._process.returncode
        if code is not None and code < 0:
            with suppress(ValueError):
                return signal.Signals(-code).name
        return f"exit code {code}"


def _stop(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()
    # A crashed worker needs a moment to report its signal.
    try:
        process.wait(0.5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _send(pipe: IO[bytes], head: dict[str, Any], body: bytes) -> None:
    text = json.dumps(head | {"length": len(body)}).encode()
    pipe.write(_LENGTH.pack(len(text)) + text)
    pipe.write(body)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> tuple[dict[str, Any], bytes]:
    [length] = _LENGTH.unpack(_exactly(pipe, _LENGTH.size))
    head = json.loads(_exactly(pipe, length))
    return head, _exactly(pipe, head["length"])


def _exactly(pipe: IO[bytes], length: int) -> bytes:
    data = pipe.read(length)
    if len(data) < length:
        raise EOFError("the other end closed the pipe")
    return data


def run_worker() -> None:
    """Serve requests from standard input until it closes; the main loop of a worker."""
    # Ctrl+C in a terminal reaches all its processes; the parent stops this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    # Output of libraries must not mix with the responses.
    os.dup2(2, 1)
    _send(answers, {}, b"")
    with suppress(EOFError, BrokenPipeError):
        while True:
            request, data = _receive(requests)
            try:
                image = decode(
                    data,
                    shrink_to=request["shrink_to"],
                    max_pixels=request["max_pixels"],
                    name=request["name"],
                )
            except (DecodeError, MissingDependencyError) as error:
                _send(answers, {"error": type(error).__name__, "message": f"{error}"}, b"")
            else:
                _send(answers, {"size": image.size}, image.tobytes())
