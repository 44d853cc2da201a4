"""Clients: one for each consistency of reading, made when it is first asked for."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from imagesearch._forks import notice_fork, on_fork
from imagesearch.stores.tencent.retry import Retry
from imagesearch.stores.tencent.settings import Settings

if TYPE_CHECKING:
    from imagesearch.stores.tencent.client import TencentClient

__all__ = ["Clients"]


class Clients:
    """The clients of a store; several threads may ask at once, and so may forked processes.

    Args:
        settings: Whom to talk to, and how.

    Raises:
        MissingDependencyError: The package ``tcvectordb`` is not installed.
    """

    def __init__(self, settings: Settings) -> None:
        # Fails here, and not at the first request, where the package is missing.
        from imagesearch.stores.tencent import client

        self._client_type = client.TencentClient
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
