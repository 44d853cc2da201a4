"""Hosts: requests for names that are not ours are refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator, MutableMapping
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from imagesearch.ui.settings import PageSettings

__all__ = ["HostCheck", "host_of", "own_hosts"]

_LOCAL = ("127.0.0.1", "localhost", "::1")

_Scope: TypeAlias = MutableMapping[str, Any]
_Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_App: TypeAlias = Callable[[_Scope, _Receive, _Send], Awaitable[None]]


def own_hosts(settings: PageSettings) -> frozenset[str] | None:
    """Return the names that the page answers to; None for any.

    Example:
        >>> sorted(own_hosts(PageSettings()))
        ['127.0.0.1', '::1', 'localhost']
    """
    names = [name.lower() for name in settings.allow_hosts]
    if settings.is_private:
        return frozenset([*_LOCAL, settings.host.lower(), *names])
    return frozenset([*_LOCAL, *names]) if names else None


def host_of(header: str) -> str | None:
    """Return the name in a ``Host`` header, without the port; None if there is none.

    Example:
        >>> host_of("[::1]:7860"), host_of("Photos.example:80"), host_of("a:b:c")
        ('::1', 'photos.example', None)
    """
    try:
        parts = urlsplit(f"//{header}")
        _ = parts.port
    except ValueError:
        return None
    return parts.hostname


class HostCheck:
    """ASGI middleware that refuses requests for other hosts than ours.

    Without it any web site that a visitor opens could have its own name point to this machine (DNS
    rebinding), and read a page that is meant for this machine only.

    Args:
        app: What answers the others.
        hosts: Names in lower case.
    """

    def __init__(self, app: _App, hosts: Collection[str]) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Answer one request."""
        if scope["type"] not in {"http", "websocket"} or self._knows(scope):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            headers = [(b"content-type", b"text/plain")]
            await send({"type": "http.response.start", "status": 400, "headers": headers})
            await send({"type": "http.response.body", "body": b"unknown host name"})

    def _knows(self, scope: _Scope) -> bool:
        names = {host_of(value) for value in _host_headers(scope)}
        return bool(names) and names <= set(self._hosts)


def _host_headers(scope: _Scope) -> Iterator[str]:
    for name, value in scope["headers"]:
        if name == b"host":
            yield value.decode("latin-1")
