"""The stand-in server: HTTP, a log of requests, and fault injection."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias, cast

from typing_extensions import override

from imagesearch.testing.tencent_server._collection import ApiError, Behaviour, Limits
from imagesearch.testing.tencent_server._operations import Operations

__all__ = ["Fault", "FaultKind", "Faults", "LoggedRequest", "TencentServer"]


FaultKind: TypeAlias = Literal[
    "reset", "reset_after", "truncate", "status", "api_error", "garbage", "empty", "delay"
]


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault to inject.

    Attributes:
        kind: ``"reset"``: the connection is reset and the request not executed.
            ``"reset_after"``: it is executed, and the connection is reset before the response.
            ``"truncate"``: it is executed, and the connection closes amid the response.
            ``"status"``: an HTTP error with plain text; not executed. ``"api_error"``: an error of
            the service with `code`; not executed. ``"garbage"``: it is executed, and the response
            is not JSON. ``"empty"``: it is executed, and the response is an empty JSON object.
            ``"delay"``: it is executed, and the response comes `seconds` later.
        status: HTTP status of ``"status"``; 429 is a rate limit.
        code: Code of ``"api_error"``.
        message: Text of ``"status"`` and ``"api_error"``.
        seconds: Length of ``"delay"``.
        retry_after: The response's ``Retry-After``: seconds, or an HTTP date.
        path: Only requests to this path; empty for all.
        every: Only every n-th of those requests.
        times: How often to inject it; None for always.

    Example:
        >>> Fault("status", status=503, path="/document/upsert", times=1).kind
        'status'
    """

    kind: FaultKind
    status: int = 503
    code: int = 13100
    message: str = "injected by the stand-in"
    seconds: float = 0.0
    retry_after: int | str | None = None
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
        """Remove all faults."""
        with self._lock:
            self._faults, self._seen, self._fired = [], [], []

    @property
    def fired(self) -> int:
        """How often the current faults were injected."""
        return sum(self._fired)

    def next(self, path: str) -> Fault | None:
        """Return the fault to inject into the next request to `path`, if any."""
        with self._lock:
            for index, fault in enumerate(self._faults):
                if fault.path and fault.path != path:
                    continue
                self._seen[index] += 1
                spent = fault.times is not None and self._fired[index] >= fault.times
                if not spent and self._seen[index] % fault.every == 0:
                    self._fired[index] += 1
                    return fault
        return None


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """A request that the server received.

    Attributes:
        path: Such as ``/document/upsert``.
        body: The JSON body, or None where the server keeps no bodies.
        size: Bytes of the body.
        code: Code of the response: 0 for success, otherwise the service's code or the HTTP status.
        fault: Kind of the injected fault, or empty.
    """

    path: str
    body: dict[str, Any] | None
    size: int
    code: int
    fault: str


class TencentServer:
    """A stand-in for Tencent Cloud VectorDB, with its HTTP protocol on the loopback interface.

    Collections are kept in memory and searched exactly, whatever their index type. The official
    SDK works with it unchanged. It is for tests: it enforces the documented limits and formats, but
    its speed and recall are not those of the real service.

    Args:
        username: Account that is accepted.
        key: Its API key.
        limits: Limits to enforce.
        behaviour: Delays, and choices where the service's documentation is silent.
        keep_bodies: Whether `requests` includes the bodies.

    Attributes:
        faults: The faults to inject; see `Fault`.

    Example:
        >>> with TencentServer() as server:
        ...     server.url.startswith("http://127.0.0.1:"), server.username
        (True, 'root')
    """

    def __init__(
        self,
        *,
        username: str = "root",
        key: str = "stand-in-key",
        limits: Limits | None = None,
        behaviour: Behaviour | None = None,
        keep_bodies: bool = True,
    ) -> None:
        self.username = username
        self.key = key
        self.limits = limits or Limits()
        self.behaviour = behaviour or Behaviour()
        self.faults = Faults()
        self.operations = Operations(self.limits, self.behaviour)
        self._keep_bodies = keep_bodies
        self._requests: list[LoggedRequest] = []
        self._http: _HttpServer | None = None
        self._thread: threading.Thread | None = None
        self._port = 0
        self._allowance = _Allowance(self.behaviour.requests_per_second)

    def start(self) -> Self:
        """Listen on a free port, or on the same one as before `stop`."""
        if self._http is None:
            self._http = _HttpServer(("127.0.0.1", self._port), _Handler)
            self._port = self._http.server_address[1]
            self._http.owner = self
            self._thread = threading.Thread(
                target=self._http.serve_forever,
                kwargs={"poll_interval": 0.02},
                name="tencent-stand-in",
                daemon=True,
            )
            self._thread.start()
        return self

    def stop(self) -> None:
        """Stop listening, which is an outage for clients; the data are kept."""
        if self._http is not None and self._thread is not None:
            self._http.shutdown()
            self._http.close_connections()
            self._http.server_close()
            self._thread.join()
            self._http = self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The address, ``http://127.0.0.1:PORT``."""
        if self._http is None:
            raise RuntimeError("the stand-in is not running; use it in a with statement")
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    @property
    def requests(self) -> list[LoggedRequest]:
        """The requests so far, oldest first."""
        return list(self._requests)

    def forget_requests(self) -> None:
        """Empty the request log."""
        self._requests.clear()

    def log(self, request: LoggedRequest) -> None:
        """Append to the request log."""
        self._requests.append(request)

    def within_rate(self) -> bool:
        """Return whether a request arriving now is within `Behaviour.requests_per_second`."""
        return self._allowance.take()

    @property
    def keeps_bodies(self) -> bool:
        """Whether the request log has bodies."""
        return self._keep_bodies


class _Allowance:
    """A token bucket that holds the requests of one second."""

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self._lock = threading.Lock()
        self._tokens = rate or 0.0
        self._filled = time.monotonic()

    def take(self) -> bool:
        if self._rate is None:
            return True
        with self._lock:
            now = time.monotonic()
            filled = self._tokens + (now - self._filled) * self._rate
            self._tokens, self._filled = min(max(1.0, self._rate), filled), now
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    owner: TencentServer

    def __init__(self, *args: Any) -> None:
        self._open: set[socket.socket] = set()
        super().__init__(*args)

    @override
    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    @override
    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        """Close the connections that clients keep open, so that their threads end."""
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore errors: faults and clients that disconnect cause them on purpose."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Headers and body are sent in one packet, like the service's.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self) -> None:  # http.server calls this name
        self._respond(b"")

    def do_POST(self) -> None:  # http.server calls this name
        length = int(self.headers.get("Content-Length") or 0)
        self._respond(self.rfile.read(length))

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Log nothing to standard error."""

    def _respond(self, raw: bytes) -> None:
        owner = cast(_HttpServer, self.server).owner
        if owner.behaviour.latency:
            time.sleep(owner.behaviour.latency)
        fault = owner.faults.next(self.path)
        status, answer, body = self._answer(owner, raw, fault)
        code = json.loads(answer).get("code", 0) if answer[:1] == b"{" else status
        kept = body if owner.keeps_bodies else None
        owner.log(LoggedRequest(self.path, kept, len(raw), code, fault.kind if fault else ""))
        self._send(status, answer, fault)

    def _answer(
        self, owner: TencentServer, raw: bytes, fault: Fault | None
    ) -> tuple[int, bytes, dict[str, Any] | None]:
        expected = f"Bearer account={owner.username}&api_key={owner.key}"
        if self.headers.get("Authorization") != expected:
            return HTTPStatus.UNAUTHORIZED, b"Unauthorized", None
        if not owner.within_rate():
            return HTTPStatus.TOO_MANY_REQUESTS, b"Too Many Requests", None
        if len(raw) > owner.limits.body_bytes:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, b"Request Entity Too Large", None
        if owner.behaviour.discard_upserts and self.path == "/document/upsert":
            return HTTPStatus.OK, _json(code=0, msg="", affectedCount=raw.count(b'"id": ')), None
        try:
            body = json.loads(raw) if raw else {}
        except ValueError:
            return HTTPStatus.BAD_REQUEST, b"Bad Request", None
        match fault:
            case Fault(kind="reset"):
                return 0, b"", body
            case Fault(kind="status"):
                return fault.status, fault.message.encode(), body
            case Fault(kind="api_error"):
                return HTTPStatus.BAD_REQUEST, _json(code=fault.code, msg=fault.message), body
        try:
            answer = owner.operations.call(self.path, body)
        except ApiError as error:
            return HTTPStatus.BAD_REQUEST, _json(code=error.code, msg=error.message), body
        return HTTPStatus.OK, _json(code=0, msg="Operation success", **answer), body

    def _send(self, status: int, answer: bytes, fault: Fault | None) -> None:
        kind = fault.kind if fault else ""
        if kind in ("reset", "reset_after"):
            # Without lingering, closing the socket resets the connection.
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.close_connection = True
            self.connection.close()
            return
        if kind == "garbage":
            status, answer = HTTPStatus.OK, b"<html>502 Bad Gateway</html>"
        if kind == "empty":
            status, answer = HTTPStatus.OK, b"{}"
        if kind == "delay" and fault is not None:
            time.sleep(fault.seconds)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        if fault is not None and fault.retry_after is not None:
            self.send_header("Retry-After", str(fault.retry_after))
        self.end_headers()
        self.wfile.write(answer[: len(answer) // 2] if kind == "truncate" else answer)
        self.wfile.flush()
        if kind == "truncate":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)


def _json(**values: Any) -> bytes:
    return json.dumps(values, ensure_ascii=False).encode()
