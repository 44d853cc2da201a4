"""The HTTP session of the SDK: a connect timeout of its own, no hidden retries, strict responses."""

from __future__ import annotations

import socket
import time
from email.utils import parsedate_to_datetime
from typing import Any

import requests
import urllib3
from typing_extensions import override
from urllib3.connection import HTTPConnection, HTTPSConnection

__all__ = ["HttpError", "MalformedResponseError", "configure_session"]


class MalformedResponseError(Exception):
    """A response that was read, but does not have the expected content."""


class HttpError(Exception):
    """A response with an error status.

    Attributes:
        code: The service's code, or else the HTTP status.
        message: The service's message, or the response's text.
        retry_after: Seconds to wait, if the response says so.
    """

    def __init__(self, code: int, message: str, retry_after: float | None) -> None:
        super().__init__(f"code {code}: {message}")
        self.code = code
        self.message = message
        self.retry_after = retry_after


def configure_session(session: requests.Session, *, connections: int, seconds: float) -> None:
    """Change the SDK's session.

    Args:
        session: The session.
        connections: Number of threads that use it, for each of which a connection is kept open.
        seconds: Longest time for connecting.
    """
    session.auth = _keep_header
    # A database does not redirect; a proxy's login page must not pass for a response.
    session.max_redirects = 0
    session.hooks["response"].append(_check_response)
    for adapter in session.adapters.values():
        if not isinstance(adapter, requests.adapters.HTTPAdapter):
            continue
        # The store repeats requests itself; urllib3 would multiply the attempts.
        adapter.max_retries = urllib3.Retry(0, read=False)
        adapter.init_poolmanager(connections, connections)
        adapter.poolmanager.pool_classes_by_scheme = _pools(seconds)


def _pools(seconds: float) -> dict[str, type[urllib3.HTTPConnectionPool]]:
    # The timeout for connecting that requests offers limits the sending of a body too, and a large
    # one takes longer than a connection.
    def connected(connection: Any, connect: Any) -> socket.socket:
        patient = connection.timeout
        connection.timeout = seconds if patient is None else min(seconds, patient)
        try:
            sock: socket.socket = connect()
        finally:
            connection.timeout = patient
        sock.settimeout(patient)
        return sock

    class Connection(HTTPConnection):
        @override
        def _new_conn(self) -> socket.socket:
            return connected(self, super()._new_conn)

    class SecureConnection(HTTPSConnection):
        @override
        def _new_conn(self) -> socket.socket:
            return connected(self, super()._new_conn)

    class Pool(urllib3.HTTPConnectionPool):
        ConnectionCls = Connection

    class SecurePool(urllib3.HTTPSConnectionPool):
        ConnectionCls = SecureConnection

    return {"http": Pool, "https": SecurePool}


def _keep_header(request: Any) -> Any:
    """Authenticate with the header that the SDK has set, ignoring ``~/.netrc``."""
    return request


def _check_response(response: requests.Response, *_args: Any, **_options: Any) -> None:
    """Refuse responses that the SDK would take for success.

    It goes by the code in the body alone, and takes a missing one for 0.
    """
    if response.ok:
        if b'"code"' not in response.content:
            raise MalformedResponseError(f"no code in {response.content[:60]!r}")
        return
    try:
        body = response.json()
    except ValueError:
        body = None
    code, message = response.status_code, f"{response.reason}: {response.text[:300]}"
    if isinstance(body, dict) and type(body.get("code")) is int and body["code"] != 0:
        code, message = body["code"], str(body.get("msg", ""))
    raise HttpError(code, message, _retry_after(response.headers.get("Retry-After")))


def _retry_after(header: str | None) -> float | None:
    """Return the seconds of a header, which has a number or a date (RFC 9110, section 10.2.3)."""
    if header is None:
        return None
    try:
        if header.strip().isdigit():
            return float(header)
        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    except ValueError:
        return None
