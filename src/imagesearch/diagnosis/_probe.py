"""Probe: asks questions in a process of its own, where a broken package may crash or hang."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

__all__ = ["Probe", "ProbeError"]


# No file of the working folder may stand in for a package.
_COMMAND = (sys.executable, "-P", "-c", "from imagesearch.diagnosis._answers import run; run()")
_LAST_WORDS = 5.0


class ProbeError(Exception):
    """A question was answered with an exception, or with the end of the process.

    Args:
        message: What happened.
        kind: Name of the exception's class; empty if the process ended or was stopped.
        remedy: The remedy of an error of this library; may be empty.
    """

    def __init__(self, message: str, kind: str = "", remedy: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.remedy = remedy


class Probe:
    """A process that answers questions, one after the other; it is started again when it dies.

    What one answer has imported is there for the next. See `imagesearch.diagnosis._answers` for
    what can be asked.

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
            question: Name of a function in `imagesearch.diagnosis._answers`.
            arguments: Its arguments, JSON values.

        Raises:
            ProbeError: The function raised something, or the process died or did not answer.
        """
        process = self._process or self._start()
        stdin = process.stdin
        if stdin is None:
            raise ProbeError("the process that looks has no standard input")
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
            raise ProbeError(answer["message"], answer["error"], answer["remedy"])
        return answer

    def _start(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(  # noqa: S603  # our own interpreter and our own words
            _COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=self._environment,
            text=True,
            encoding="utf-8",
        )
        self._process = process
        # Answers that come too late belong to the process that was given up.
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
            return process.wait(_LAST_WORDS)
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
