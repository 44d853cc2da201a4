"""The clients of a store: made when needed, dropped after a fork, used side by side."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from imagesearch._forks import notice_fork, on_fork
from imagesearch.stores.tencent._settings import Settings

if TYPE_CHECKING:
    from imagesearch.stores.tencent._client import TencentClient

__all__ = ["Clients", "Retry", "SideBySide"]


@dataclass(frozen=True, slots=True)
class Retry:
    """Exponential backoff with full jitter, so that clients which failed together part.

    The scheme and its name are those of Marc Brooker, "Exponential Backoff And Jitter" (AWS
    Architecture Blog, 2015).

    Attributes:
        retries: Repetitions after the first attempt.
        first: Longest wait before the first repetition, in seconds; it doubles each time.
        longest: Longest wait, in seconds.

    Example:
        >>> len(list(Retry(retries=4).pauses()))
        4
    """

    retries: int = 4
    first: float = 0.1
    longest: float = 3.0

    def pauses(self) -> Iterator[float]:
        """Yield the seconds to wait before each repetition."""
        for attempt in range(self.retries):
            # Spreads load; nothing secret hangs on it.
            yield random.uniform(0.0, min(self.longest, self.first * 2**attempt))  # noqa: S311


_In = TypeVar("_In")
_Out = TypeVar("_Out")


class SideBySide:
    """Calls a function for many parts, several at once; also after a fork, with new threads.

    Args:
        threads: How many at once; 1 uses no threads at all.

    Example:
        >>> SideBySide(1).each(len, ["a", "bc"])
        [1, 2]
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        on_fork(self, in_child=SideBySide._leave_threads)

    def each(self, function: Callable[[_In], _Out], parts: Iterable[_In]) -> list[_Out]:
        """Return the results in order; the first error ends it."""
        todo = list(parts)
        if len(todo) < 2 or self._threads == 1:
            return [function(part) for part in todo]
        notice_fork()
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._threads, "tencent-store")
            futures = [self._pool.submit(function, part) for part in todo]
        try:
            return [future.result() for future in futures]
        finally:
            # Nothing of a call may still be under way when it has returned.
            for future in futures:
                future.cancel()
            for future in futures:
                if not future.cancelled():
                    future.exception()

    def close(self) -> None:
        """Wait for what is under way, and end the threads."""
        notice_fork()
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown()

    def _leave_threads(self) -> None:
        # Threads do not survive a fork, and one of them may have held the lock.
        self._lock, self._pool = threading.Lock(), None


class Clients:
    """The clients of a store; several threads may ask at once, and so may forked processes.

    Args:
        settings: Whom to talk to, and how.

    Raises:
        MissingDependencyError: The package ``tcvectordb`` is not installed.
    """

    def __init__(self, settings: Settings) -> None:
        # Fails here, and not at the first request, where the package is missing.
        from imagesearch.stores.tencent import _client

        self._client_type = _client.TencentClient
        self._settings = settings
        self._lock = threading.Lock()
        self._clients: dict[bool, TencentClient] = {}
        self._left_to_parent: list[TencentClient] = []
        on_fork(self, in_child=Clients._leave_to_parent)

    def get(self, *, strong: bool = True) -> TencentClient:
        """Return the client whose reads see every acknowledged write, or one that may lag."""
        notice_fork()
        with self._lock:
            if strong not in self._clients:
                settings = self._settings
                self._clients[strong] = self._client_type(
                    url=settings.url,
                    username=settings.username,
                    key=settings.key,
                    timeout=settings.timeout,
                    ca_cert=None if settings.ca_cert is None else str(settings.ca_cert),
                    grpc=settings.transport == "grpc",
                    strong=strong,
                    connections=settings.connections,
                    retry=Retry(settings.retries),
                )
            return self._clients[strong]

    def close(self) -> None:
        """Close the connections; the next `get` opens new ones."""
        notice_fork()
        with self._lock:
            clients, self._clients = self._clients, {}
        for client in clients.values():
            client.close()

    def _leave_to_parent(self) -> None:
        # On a shared connection, each process may get the other's answers. The clients are kept,
        # because closing them would end their connections for the parent too.
        self._left_to_parent += self._clients.values()
        self._lock, self._clients = threading.Lock(), {}
