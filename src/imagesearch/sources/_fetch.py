"""Fetch over http and https: which addresses may be contacted, and within which bounds."""

from __future__ import annotations

import functools
import http.client
import ipaddress
import os
import queue
import re
import socket
import ssl
import threading
import time
from typing import TypeAlias
from urllib.parse import quote, urljoin, urlsplit

from imagesearch._printable import printable
from imagesearch.errors import FetchError, SourceError, SourceNotFoundError
from imagesearch.sources._special_addresses import GLOBAL_UNICAST, IPV4_BLOCKS, IPV6_BLOCKS
from imagesearch.sources._uris import canonical_uri, describe, is_url

__all__ = ["ALLOW_PRIVATE", "MAX_URL_BYTES", "fetch", "is_public", "public_addresses"]


_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")
"""RFC 6052: IPv4 addresses inside IPv6, which a gateway on the way unpacks."""


def public_addresses(
    host: str, port: int, *, name: str, allow_private: bool, deadline: float
) -> list[str]:
    """Resolve a host once and return its addresses.

    Args:
        host: Host name or IP address.
        port: TCP port, 1 to 65535.
        name: What messages call the URL.
        allow_private: Whether addresses that only this machine or network reaches are accepted.
        deadline: When to stop waiting for the resolver, as `time.monotonic` counts.

    Raises:
        TimeoutError: The resolver did not answer before the deadline.
        FetchError: The name cannot be resolved, or one of its addresses is not public.
    """
    try:
        entries = _resolve(host, port, deadline)
    except TimeoutError:
        raise
    except (OSError, UnicodeError) as error:
        raise FetchError(
            f"{name}: the host {host!r} cannot be resolved ({error}); check the name and the network"
        ) from error
    addresses = list(dict.fromkeys(entries))
    for address in addresses:
        if not allow_private and not is_public(address):
            raise FetchError(
                f"{name}: the host {host!r} has the address {address}, which is not public, so it "
                "is not fetched; for servers of your own set IMAGESEARCH_ALLOW_PRIVATE_URLS=1"
            )
    return addresses


def _resolve(host: str, port: int, deadline: float) -> list[str]:
    """Ask the resolver, which has no timeout of its own, in a thread that may be left behind."""
    answer: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            answer.put(error)
        else:
            answer.put([str(entry[4][0]) for entry in entries])

    threading.Thread(target=ask, name="imagesearch-resolver", daemon=True).start()
    try:
        result = answer.get(timeout=max(0.0, deadline - time.monotonic()))
    except queue.Empty:
        raise TimeoutError("the resolver did not answer in time") from None
    if isinstance(result, Exception):
        raise result
    return result


def is_public(address: str) -> bool:
    """Whether IANA's registries call an IP address globally reachable.

    An IPv4 address inside an IPv6 one decides about it where the system (IPv4-mapped) or a gateway
    (NAT64) unpacks it. The other forms that hold one, 6to4, Teredo and IPv4-compatible, are refused
    whatever they hold.

    Example:
        >>> is_public("1.1.1.1"), is_public("127.0.0.1"), is_public("::ffff:10.0.0.1")
        (True, False, False)
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return is_public(str(ip.ipv4_mapped))
        if ip in _TRANSLATED:
            return is_public(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
    for network, reachable in _blocks()[ip.version]:
        if ip in network:
            return reachable
    return ip.version == 4 or ip in ipaddress.IPv6Network(GLOBAL_UNICAST)


@functools.cache
def _blocks() -> dict[int, list[tuple[_Network, bool]]]:
    """Return the blocks of each IP version, the most specific first, as that row decides."""
    blocks = {
        4: [(ipaddress.ip_network(block), reachable) for block, reachable, _ in IPV4_BLOCKS],
        6: [(ipaddress.ip_network(block), reachable) for block, reachable, _ in IPV6_BLOCKS],
    }
    for rows in blocks.values():
        rows.sort(key=lambda row: -row[0].prefixlen)
    return blocks


ALLOW_PRIVATE = "IMAGESEARCH_ALLOW_PRIVATE_URLS"
"""Environment variable: ``1`` lets URLs lead to private addresses too."""

MAX_URL_BYTES = 64 * 1024 * 1024
"""Largest answer that is read."""

_SECONDS = 30.0
_REDIRECTS = 5
# A host may name thousands of addresses, all of them silent.
_ADDRESSES = 8
_CHUNK = 1 << 16
_MOVED = frozenset({301, 302, 303, 307, 308})
_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")


def fetch(url: str, *, max_bytes: int = MAX_URL_BYTES, seconds: float = _SECONDS) -> bytes:
    """Return what an http(s) URL holds.

    At most five redirects are followed. Proxies named in the environment are not used, as they
    would connect to addresses that have not been checked.

    Args:
        url: An http or https URL without user name and password.
        max_bytes: Largest answer accepted.
        seconds: Time for everything: name resolution, connecting, reading, and all redirects.

    Raises:
        SourceNotFoundError: The server says that there is nothing (404, 410).
        FetchError: A private address, another status, too large, too slow, or no connection.
        SourceError: Not such a URL.
    """
    deadline = time.monotonic() + seconds
    for _ in range(_REDIRECTS + 1):
        if not is_url(url) or _UNSAFE.search(url):
            raise SourceError(f"{describe(url)} is not an http(s) URL that can be fetched")
        url = canonical_uri(url)
        try:
            location, data = _get(url, max_bytes, deadline)
            following = urljoin(url, location)
        except SourceError:
            raise
        except ssl.SSLCertVerificationError as error:
            raise FetchError(
                f"{describe(url)}: the server's certificate is not valid "
                f"({error.verify_message}); check the address and this machine's clock"
            ) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            _make_printable(error)
            if isinstance(error, TimeoutError) or time.monotonic() >= deadline:
                raise _too_slow(url) from error
            reason = str(error) or type(error).__name__
            raise FetchError(
                f"{describe(url)} cannot be fetched: {reason}; try again later"
            ) from error
        if data is not None:
            return data
        url = following
    raise FetchError(f"{describe(url)}: more than {_REDIRECTS} redirects; give the final URL")


def _get(url: str, max_bytes: int, deadline: float) -> tuple[str, bytes | None]:
    """Ask once; return where to go on, or the bytes."""
    parts = urlsplit(url)
    secure = parts.scheme.lower() == "https"
    host = (parts.hostname or "").encode("idna").decode() if parts.hostname else ""
    port = parts.port or (443 if secure else 80)
    addresses = public_addresses(
        host,
        port,
        name=describe(url),
        allow_private=os.environ.get(ALLOW_PRIVATE) == "1",
        deadline=deadline,
    )
    left = deadline - time.monotonic()
    if left <= 0:
        raise _too_slow(url)
    connection = _Connection(host, port, addresses=addresses, secure=secure, deadline=deadline)
    # A socket's own timeout starts again with each byte, so a slow server could hold on for ever.
    watch = threading.Timer(left, connection.abort)
    watch.daemon = True
    watch.start()
    try:
        path = quote(parts.path or "/", safe="%/:=&~+!$,;'@()*[]")
        query = f"?{quote(parts.query, safe='%/:=&?~+!$,;@()*[]' + chr(39))}" if parts.query else ""
        connection.request("GET", path + query, headers=_HEADERS)
        with connection.getresponse() as response:
            if response.status in _MOVED and response.getheader("Location"):
                return response.getheader("Location", ""), None
            _check(response, url, max_bytes)
            data = _body(response, url, max_bytes)
        if time.monotonic() >= deadline:
            raise _too_slow(url)
        return "", data
    finally:
        watch.cancel()
        connection.close()


_HEADERS = {
    "Accept": "image/*,*/*;q=0.5",
    "Accept-Encoding": "identity",
    "User-Agent": "imagesearch",
    "Connection": "close",
}


def _check(response: http.client.HTTPResponse, url: str, max_bytes: int) -> None:
    if response.status in {404, 410}:
        raise SourceNotFoundError(f"{describe(url)} does not exist (status {response.status})")
    if response.status != 200:
        raise FetchError(
            f"{describe(url)} cannot be fetched: the server answered {response.status} "
            f"{http.client.responses.get(response.status, '')}".rstrip()
        )
    if response.getheader("Content-Encoding", "identity").lower() != "identity":
        raise FetchError(
            f"{describe(url)}: the server sent a compressed response although none was requested"
        )
    if response.length is not None and response.length > max_bytes:
        raise _too_large(url, max_bytes)


def _body(response: http.client.HTTPResponse, url: str, max_bytes: int) -> bytes:
    expected = response.length
    chunks: list[bytes] = []
    size = 0
    while chunk := response.read(min(_CHUNK, max_bytes + 1 - size)):
        chunks.append(chunk)
        size += len(chunk)
        if size > max_bytes:
            raise _too_large(url, max_bytes)
    if expected is not None and size < expected:
        raise FetchError(
            f"{describe(url)}: the connection ended after {size} of {expected} bytes; try again"
        )
    return b"".join(chunks)


def _make_printable(error: Exception) -> None:
    """Escape what a server wrote into an exception, which tracebacks and logs print as it is."""
    error.args = tuple(
        printable(argument) if isinstance(argument, str) else argument for argument in error.args
    )


def _too_large(url: str, max_bytes: int) -> FetchError:
    return FetchError(
        f"{describe(url)} is larger than {max_bytes / 1e6:.0f} MB; fetch it yourself and give the file"
    )


def _too_slow(url: str) -> FetchError:
    return FetchError(f"{describe(url)} did not arrive in time; try again, or fetch it yourself")


class _Connection(http.client.HTTPConnection):
    """A connection to addresses that have been checked, under the host's own name."""

    def __init__(
        self, host: str, port: int, *, addresses: list[str], secure: bool, deadline: float
    ) -> None:
        super().__init__(host, port)
        self._addresses = addresses
        self._secure = secure
        self._deadline = deadline
        self.default_port = 443 if secure else 80
        self._aborted = False
        self._raw: socket.socket | None = None

    def connect(self) -> None:
        raw = self._connect_to_any()
        self._raw = self.sock = raw
        if self._aborted:
            raise TimeoutError("aborted")
        if self._secure:
            self.sock = ssl.create_default_context().wrap_socket(raw, server_hostname=self.host)
            self._raw = self.sock

    def _connect_to_any(self) -> socket.socket:
        """Try the first addresses; one that is silent leaves the others their share of the time."""
        failure: OSError | None = None
        addresses = self._addresses[:_ADDRESSES]
        for place, address in enumerate(addresses):
            left = self._deadline - time.monotonic()
            if left <= 0:
                break
            try:
                share = left / (len(addresses) - place)
                raw = socket.create_connection((address, self.port), share)
            except OSError as error:
                failure = error
            else:
                raw.settimeout(left)
                return raw
        raise failure or OSError("the host has no address")

    def abort(self) -> None:
        """End the connection from another thread."""
        self._aborted = True
        raw = self._raw
        if raw is not None:
            try:
                socket.socket.shutdown(raw, socket.SHUT_RDWR)
            except OSError:
                return
