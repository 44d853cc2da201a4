"""Clients: one for each consistency of reading, made when it is first asked for."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

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
        self._process = os.getpid()
        self._left_to_the_parent: list[TencentClient] = []

    def get(self, *, strong: bool = True) -> TencentClient:
        """Return the client whose reads see every acknowledged write, or one that may lag."""
        self._part_from_the_parent()
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
        self._part_from_the_parent()
        with self._lock:
            clients, self._clients = self._clients, {}
        for client in clients.values():
            client.close()

    def _part_from_the_parent(self) -> None:
        """Use connections of its own after a fork: on shared ones, one gets the other's answers."""
        if self._process == os.getpid():
            return
        # Kept, for closing them would end them for the parent too; the lock may be held over there.
        self._left_to_the_parent += self._clients.values()
        self._lock, self._clients, self._process = threading.Lock(), {}, os.getpid()
