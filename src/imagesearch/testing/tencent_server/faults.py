"""Faults: what goes wrong between a client and the service, on demand."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["Fault", "FaultKind", "Faults"]

FaultKind: TypeAlias = Literal[
    "reset", "reset_after", "truncate", "status", "api_error", "garbage", "empty", "delay"
]


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    Attributes:
        kind: ``"reset"``: the connection is reset before the request is done. ``"reset_after"``:
            it is done, and the connection is reset before the answer. ``"truncate"``: it is done,
            and the connection ends in mid-answer. ``"status"``: an HTTP error with plain text; not
            done. ``"api_error"``: an error of the service with `code`; not done. ``"garbage"``: it
            is done, and the answer is no JSON. ``"empty"``: it is done, and the answer is JSON
            that says nothing. ``"delay"``: it is done, `seconds` later.
        status: HTTP status of ``"status"``; 429 is how rate limits look.
        code: Code of ``"api_error"``.
        message: Text of ``"status"`` and ``"api_error"``.
        seconds: Length of ``"delay"``.
        path: Only requests to this path; empty for all.
        every: Only each so-manieth of those requests.
        times: Only so many times; None for always.

    Example:
        >>> Fault("status", status=503, path="/document/upsert", times=1).kind
        'status'
    """

    kind: FaultKind
    status: int = 503
    code: int = 13100
    message: str = "injected by the stand-in"
    seconds: float = 0.0
    path: str = ""
    every: int = 1
    times: int | None = None


class Faults:
    """The faults that a server injects; may be changed while it runs.

    Example:
        >>> faults = Faults()
        >>> faults.add(Fault("reset", every=2))
        >>> [faults.next("/document/query") is not None for _ in range(4)]
        [False, True, False, True]
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._seen: list[int] = []
        self._fired: list[int] = []

    def add(self, fault: Fault) -> None:
        """Inject `fault` from now on."""
        with self._lock:
            self._faults.append(fault)
            self._seen.append(0)
            self._fired.append(0)

    def clear(self) -> None:
        """Inject nothing more."""
        with self._lock:
            self._faults, self._seen, self._fired = [], [], []

    @property
    def fired(self) -> int:
        """How often the present faults have struck."""
        return sum(self._fired)

    def next(self, path: str) -> Fault | None:
        """Return what goes wrong with the next request to `path`, if anything."""
        with self._lock:
            for place, fault in enumerate(self._faults):
                if fault.path and fault.path != path:
                    continue
                self._seen[place] += 1
                spent = fault.times is not None and self._fired[place] >= fault.times
                if not spent and self._seen[place] % fault.every == 0:
                    self._fired[place] += 1
                    return fault
        return None
