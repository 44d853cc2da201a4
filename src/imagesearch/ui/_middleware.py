"""An ASGI middleware that checks every request before Gradio handles it.

Every web site that a user visits can send requests to a page on the same machine, through the
user's own browser. So the middleware checks, in this order:

1. The host name is one of the page's own (DNS rebinding).
2. A browser does not report another site as the sender (``Origin``, ``Sec-Fetch-Site``).
3. If there are logins, the visitor is logged in; only the login page and its files are public.
4. The body is within its limit, and JSON in it is valid Unicode.

Programs such as curl and `gradio_client` send neither ``Origin`` nor ``Sec-Fetch-Site`` and pass the
second check. Headers of proxies count only if they come from a trusted one. Responses forbid other
sites to show the page in a frame.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from imagesearch.ui._settings import Authority, PageSettings, parse_authority
from imagesearch.ui._text import Message, language_of

__all__ = ["AccessMiddleware", "middleware_lifespan"]

MAX_JSON_BYTES = 8_000_000
"""The largest body of a call; the page itself sends up to 100 results with their metadata."""

FILES_PER_UPLOAD = 100
"""The number of files of the largest size in one request; 1 on a read-only page."""

# A client reads the response only after it has sent the body, so this much is discarded.
_DRAINED = 64_000_000

# Room for multipart boundaries and the headers of the parts.
_ENVELOPE = 65_536
_UPLOAD = "/gradio_api/upload"
_LOCAL = ("127.0.0.1", "localhost", "::1")
# Gradio derives the address of the page from these headers, whoever sends them.
_PROXY_HEADERS = frozenset(
    {b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-port"}
    | {b"x-forwarded-prefix", b"x-forwarded-proto", b"x-gradio-server", b"x-real-ip"}
)
# The paths that a browser needs for the login, and those that Gradio requests from itself.
_OPEN_PATHS = frozenset(
    {"/", "/login", "/logout", "/theme.css", "/favicon.ico", "/manifest.json", "/robots.txt"}
    | {"/gradio_api/theme.css", "/gradio_api/startup-events", "/gradio_api/app_id"}
    | {"/gradio_api/login_check", "/gradio_api/user", "/gradio_api/token"}
)
_OPEN_FOLDERS = ("/assets/", "/static/", "/svelte/", "/pwa_icon")
_LOGIN_CHECK = "/gradio_api/login_check"

_Message: TypeAlias = MutableMapping[str, Any]
_Scope: TypeAlias = MutableMapping[str, Any]
_Receive: TypeAlias = Callable[[], Awaitable[_Message]]
_Send: TypeAlias = Callable[[_Message], Awaitable[None]]
_App: TypeAlias = Callable[[_Scope, _Receive, _Send], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Refusal:
    """A refused request.

    Attributes:
        status: The HTTP status.
        message: The reason.
    """

    status: int
    message: Message


class AccessMiddleware:
    """Passes requests on to the page, or refuses them.

    Args:
        app: The page.
        settings: The settings of the page.
    """

    def __init__(self, app: _App, settings: PageSettings) -> None:
        self._app = app
        self._settings = settings
        self._hosts = _own_hosts(settings)
        self._names = frozenset(filter(None, map(parse_authority, settings.allow_hosts)))
        self._proxies = [ipaddress.ip_network(proxy) for proxy in settings.trusted_proxies]
        if settings.allow_hosts:
            self._proxies += [ipaddress.ip_network(block) for block in ("127.0.0.0/8", "::1")]
        self._framing = _framing_headers(settings.allow_frames)

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Answer one request."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        scope = self._without_proxies(scope)
        refusal = self._judge(scope)
        if refusal is None and not await self._may_enter(scope):
            refusal = _Refusal(401, Message("refused_login"))
        if scope["type"] == "websocket":
            if refusal is None:
                await self._app(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1008})
            return
        send = self._with_headers(send)
        if refusal is not None:
            await self._refuse(scope, send, refusal)
        elif scope["method"] in {"GET", "HEAD", "OPTIONS"}:
            await self._app(scope, receive, send)
        elif _path(scope) == _UPLOAD:
            await self._stream(scope, receive, send)
        else:
            await self._buffer(scope, receive, send)

    def _without_proxies(self, scope: _Scope) -> _Scope:
        """Apply the headers of a trusted proxy, and remove those of all others."""
        scope = {**scope, "headers": list(scope["headers"])}
        client = (scope.get("client") or ("", 0))[0]
        if any(_is_in(client, network) for network in self._proxies):
            scheme = _first(scope, b"x-forwarded-proto")
            if scheme in {"http", "https"}:
                websocket = scope["type"] == "websocket"
                scope["scheme"] = scheme.replace("http", "ws") if websocket else scheme
            host = _first(scope, b"x-forwarded-host")
            if host:
                kept = [(name, value) for name, value in scope["headers"] if name != b"host"]
                scope["headers"] = [(b"host", host.encode("latin-1")), *kept]
        scope["headers"] = [
            (name, value) for name, value in scope["headers"] if name not in _PROXY_HEADERS
        ]
        return scope

    def _judge(self, scope: _Scope) -> _Refusal | None:
        hosts = _values(scope, b"host")
        host = parse_authority(hosts[0]) if len(hosts) == 1 else None
        if host is None or (self._hosts is not None and host.host not in self._hosts):
            return _Refusal(400, Message("refused_host"))
        origins = _values(scope, b"origin")
        if origins and not (len(origins) == 1 and self._is_own(origins[0], host)):
            return _Refusal(403, Message("refused_origin"))
        # Browsers send no origin with requests for pages, images and scripts.
        site = _first(scope, b"sec-fetch-site")
        if site in {"cross-site", "same-site"} and not self._may_link(scope):
            return _Refusal(403, Message("refused_origin"))
        return None

    def _is_own(self, origin: str, host: Authority) -> bool:
        scheme, _, rest = origin.partition("://")
        authority = parse_authority(rest)
        if scheme not in {"http", "https"} or authority is None:
            return False
        if authority.on(scheme) == host.on(scheme):
            return True
        return any(authority.on(scheme) == name.on(scheme) for name in self._names)

    def _may_link(self, scope: _Scope) -> bool:
        """Whether the request is a link from another site to the page itself."""
        target = _first(scope, b"sec-fetch-dest")
        shown = {"document"} | ({"iframe", "frame"} if self._settings.allow_frames else set())
        return (
            scope["type"] == "http"
            and scope["method"] in {"GET", "HEAD"}
            and _first(scope, b"sec-fetch-mode") == "navigate"
            and target in shown
            and _path(scope) == "/"
        )

    async def _may_enter(self, scope: _Scope) -> bool:
        """Whether the visitor is logged in, according to the page's own check of the cookies."""
        if not self._settings.logins or scope["type"] == "websocket":
            return not self._settings.logins
        path = _path(scope)
        if path in _OPEN_PATHS or path.startswith(_OPEN_FOLDERS):
            return True
        status = 0

        async def nothing() -> _Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def note(message: _Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]

        question = {
            **scope,
            "method": "GET",
            "path": _LOGIN_CHECK,
            "raw_path": _LOGIN_CHECK.encode(),
            "query_string": b"",
            "headers": [pair for pair in scope["headers"] if pair[0] in {b"host", b"cookie"}],
        }
        await self._app(question, nothing, note)
        return status == 200

    async def _buffer(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Read the body of a call, check it, and pass it on."""
        too_large = _Refusal(413, Message("refused_size", MAX_JSON_BYTES / 1e6))
        if _declared(scope) > MAX_JSON_BYTES:
            await _drain(receive)
            await self._refuse(scope, send, too_large)
            return
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            if len(body) > MAX_JSON_BYTES:
                await _drain(receive)
                await self._refuse(scope, send, too_large)
                return
            if not message.get("more_body", False):
                break
        if not _is_unicode(bytes(body)):
            await self._refuse(scope, send, _Refusal(400, Message("refused_unicode")))
            return
        pending: list[_Message] = [
            {"type": "http.request", "body": bytes(body), "more_body": False}
        ]

        async def replay() -> _Message:
            return pending.pop() if pending else await receive()

        await self._app(scope, replay, send)

    async def _stream(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Pass an upload on in pieces, up to its limit."""
        files = 1 if self._settings.read_only else FILES_PER_UPLOAD
        limit = files * self._settings.max_upload_bytes + _ENVELOPE
        too_large = _Refusal(413, Message("refused_size", limit / 1e6))
        if _declared(scope) > limit:
            await _drain(receive)
            await self._refuse(scope, send, too_large)
            return
        size = 0

        async def counted() -> _Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            return message if size <= limit else {"type": "http.disconnect"}

        async def while_small(message: _Message) -> None:
            if size <= limit:
                await send(message)

        try:
            await self._app(scope, counted, while_small)
        except Exception:
            if size <= limit:
                raise
        if size > limit:
            await _drain(receive)
            await self._refuse(scope, send, too_large)

    async def _refuse(self, scope: _Scope, send: _Send, refusal: _Refusal) -> None:
        language = self._settings.language
        if language == "auto":
            language = language_of(_first(scope, b"accept-language") or "")
        text = refusal.message.text(language)
        # Gradio's clients show either of the two.
        body = json.dumps({"detail": text, "error": text}).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        start = {"type": "http.response.start", "status": refusal.status, "headers": headers}
        await send(start)
        await send({"type": "http.response.body", "body": body})

    def _with_headers(self, send: _Send) -> _Send:
        async def send_safely(message: _Message) -> None:
            if message["type"] == "http.response.start":
                kept = [
                    (name, value)
                    for name, value in message.get("headers", [])
                    if not name.lower().startswith(b"access-control-")
                ]
                message = {**message, "headers": [*kept, *self._framing, *_SAFETY]}
            await send(message)

        return send_safely


_SAFETY = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


def middleware_lifespan(settings: PageSettings) -> Callable[[Any], Any]:
    """Return a FastAPI lifespan that puts the checks in front of all other middleware.

    Gradio puts its own middleware in front of what it is given, and its CORS middleware would
    answer other sites first.
    """

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        app.middleware_stack = AccessMiddleware(app.middleware_stack, settings)
        yield

    return lifespan


def _own_hosts(settings: PageSettings) -> Collection[str] | None:
    """Return the host names of the page; None if any is accepted."""
    names = [
        authority.host for authority in map(parse_authority, settings.allow_hosts) if authority
    ]
    if not settings.is_private and not names:
        return None
    return frozenset([*_LOCAL, settings.host.lower(), *names])


def _framing_headers(sites: Iterable[str]) -> list[tuple[bytes, bytes]]:
    ancestors = " ".join(["'self'", *sites]) if sites else "'none'"
    policy = (b"content-security-policy", f"frame-ancestors {ancestors}".encode())
    return [policy] if sites else [policy, (b"x-frame-options", b"DENY")]


async def _drain(receive: _Receive) -> None:
    """Discard the rest of a body, up to a limit."""
    size = 0
    while size <= _DRAINED:
        message = await receive()
        size += len(message.get("body", b""))
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            return


def _is_in(address: str, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(ip, "ipv4_mapped", None)
    return (mapped or ip) in network


def _path(scope: _Scope) -> str:
    path: str = scope["path"]
    return path.rstrip("/") or "/"


def _values(scope: _Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for other, value in scope["headers"] if other == name]


def _first(scope: _Scope, name: bytes) -> str | None:
    """Return the first value of a header: with several proxies, that of the visitor's nearest."""
    values = _values(scope, name)
    return values[0].partition(",")[0].strip().lower() if values else None


def _declared(scope: _Scope) -> int:
    text = _first(scope, b"content-length") or "0"
    # The server itself refuses a value that is not a number.
    return int(text) if text.isdecimal() and len(text) < 20 else 0


_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def _is_unicode(body: bytes) -> bool:
    """Whether JSON contains no lone surrogates, which cannot be encoded; True for other content."""
    if not _SURROGATE.search(body):
        return True
    try:
        json.dumps(json.loads(body), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    except (ValueError, RecursionError):
        return True
    return True
