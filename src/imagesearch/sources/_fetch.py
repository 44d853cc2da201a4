"""Fetch over http and https: from public addresses only, within limits of size and time."""

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
from imagesearch.sources._uris import canonical_uri, describe, is_url

__all__ = ["ALLOW_PRIVATE", "IPV4_BLOCKS", "IPV6_BLOCKS", "MAX_URL_BYTES", "fetch", "is_public"]

_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")
"""RFC 6052: IPv4 addresses inside IPv6, which a gateway unpacks (NAT64)."""


def _public_addresses(
    host: str, port: int, *, name: str, allow_private: bool, deadline: float
) -> list[str]:
    """Resolve a host once and return its addresses.

    Args:
        host: Host name or IP address.
        port: TCP port, 1 to 65535.
        name: The URL as messages show it.
        allow_private: Whether addresses that are not public are accepted.
        deadline: When to stop waiting for the resolver, on the clock of `time.monotonic`.

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
    """Call the resolver, which has no timeout, in a thread that is abandoned at the deadline."""
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
    """Return whether an IP address is globally reachable by IANA's registries.

    For IPv4-mapped and NAT64 addresses, which are unpacked by the system or a gateway, the IPv4
    address inside decides. 6to4, Teredo and IPv4-compatible addresses are never public.

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
    return ip.version == 4 or ip in ipaddress.IPv6Network(_GLOBAL_UNICAST)


@functools.cache
def _blocks() -> dict[int, list[tuple[_Network, bool]]]:
    """Return the blocks of each IP version; the first that contains an address decides."""
    blocks = {
        4: [(ipaddress.ip_network(block), reachable) for block, reachable, _ in IPV4_BLOCKS],
        6: [(ipaddress.ip_network(block), reachable) for block, reachable, _ in IPV6_BLOCKS],
    }
    for rows in blocks.values():
        rows.sort(key=lambda row: -row[0].prefixlen)
    return blocks


ALLOW_PRIVATE = "IMAGESEARCH_ALLOW_PRIVATE_URLS"
"""Environment variable: ``1`` allows URLs with private addresses."""

MAX_URL_BYTES = 64 * 1024 * 1024
"""Largest response that is read."""

_SECONDS = 30.0
_REDIRECTS = 5
# A host may have thousands of addresses, none of which responds.
_ADDRESSES = 8
_CHUNK = 1 << 16
_MOVED = frozenset({301, 302, 303, 307, 308})
_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")


def fetch(url: str, *, max_bytes: int = MAX_URL_BYTES, seconds: float = _SECONDS) -> bytes:
    """Return the content of an http(s) URL.

    At most five redirects are followed. Proxies from the environment are not used, because they
    would connect to addresses that were not checked.

    Args:
        url: An http or https URL without user name and password.
        max_bytes: Largest response accepted.
        seconds: Time limit for everything: name resolution, connecting, reading, all redirects.

    Raises:
        SourceNotFoundError: The server answered 404 or 410.
        FetchError: A private address, another status, too large, too slow, or no connection.
        SourceError: The URL is invalid.
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
    """Send one request; return the location of a redirect, or the content."""
    parts = urlsplit(url)
    secure = parts.scheme.lower() == "https"
    host = (parts.hostname or "").encode("idna").decode() if parts.hostname else ""
    port = parts.port or (443 if secure else 80)
    addresses = _public_addresses(
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
    # A socket's own timeout restarts with each byte, so a slow server could take for ever.
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
    """Escape text from a server in an exception, which tracebacks and logs print as it is."""
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
    """A connection to checked addresses, under the host's own name."""

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
        """Try the first addresses, each for its share of the remaining time."""
        failure: OSError | None = None
        addresses = self._addresses[:_ADDRESSES]
        for position, address in enumerate(addresses):
            left = self._deadline - time.monotonic()
            if left <= 0:
                break
            try:
                share = left / (len(addresses) - position)
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


# The address blocks of IANA's special-purpose registries, as of September 2026 (the newest row is
# from April 2025). Python's `ipaddress` follows them years late: it calls 3fff::/20 and 192.0.0.8
# global.
#   https://www.iana.org/assignments/iana-ipv4-special-registry/
#   https://www.iana.org/assignments/iana-ipv6-special-registry/
# To update, compare the column "Globally Reachable" row by row, and run
# tests/sources/test_addresses.py. True is the registry's True; False stands for its False and its
# "N/A" (6to4, Teredo, deprecated blocks), because it cannot be seen where a relay sends those.

_GLOBAL_UNICAST = "2000::/3"
"""The only IPv6 block from which addresses are assigned (RFC 4291, section 2.4)."""

IPV4_BLOCKS: tuple[tuple[str, bool, str], ...] = (
    ("0.0.0.0/8", False, "this network, RFC 791"),
    ("0.0.0.0/32", False, "this host on this network, RFC 1122"),
    ("10.0.0.0/8", False, "private use, RFC 1918"),
    ("100.64.0.0/10", False, "shared address space, RFC 6598"),
    ("127.0.0.0/8", False, "loopback, RFC 1122"),
    ("169.254.0.0/16", False, "link local, RFC 3927"),
    ("172.16.0.0/12", False, "private use, RFC 1918"),
    ("192.0.0.0/24", False, "IETF protocol assignments, RFC 6890"),
    ("192.0.0.0/29", False, "IPv4 service continuity, RFC 7335"),
    ("192.0.0.8/32", False, "IPv4 dummy address, RFC 7600"),
    ("192.0.0.9/32", True, "Port Control Protocol anycast, RFC 7723"),
    ("192.0.0.10/32", True, "TURN anycast, RFC 8155"),
    ("192.0.0.170/32", False, "NAT64/DNS64 discovery, RFC 7050"),
    ("192.0.0.171/32", False, "NAT64/DNS64 discovery, RFC 7050"),
    ("192.0.2.0/24", False, "documentation, RFC 5737"),
    ("192.31.196.0/24", True, "AS112-v4, RFC 7535"),
    ("192.52.193.0/24", True, "AMT, RFC 7450"),
    ("192.88.99.0/24", False, "6to4 relay anycast, deprecated, RFC 7526"),
    ("192.88.99.2/32", False, "6a44 relay anycast, RFC 6751"),
    ("192.168.0.0/16", False, "private use, RFC 1918"),
    ("192.175.48.0/24", True, "direct delegation AS112 service, RFC 7534"),
    ("198.18.0.0/15", False, "benchmarking, RFC 2544"),
    ("198.51.100.0/24", False, "documentation, RFC 5737"),
    ("203.0.113.0/24", False, "documentation, RFC 5737"),
    # Of another registry: the IPv4 multicast address space.
    ("224.0.0.0/4", False, "multicast, RFC 5771"),
    ("240.0.0.0/4", False, "reserved, RFC 1112"),
    ("255.255.255.255/32", False, "limited broadcast, RFC 8190"),
)
"""Block, whether it is globally reachable, and what it is."""

IPV6_BLOCKS: tuple[tuple[str, bool, str], ...] = (
    ("::1/128", False, "loopback, RFC 4291"),
    ("::/128", False, "unspecified, RFC 4291"),
    ("::ffff:0:0/96", False, "IPv4-mapped, RFC 4291"),
    ("64:ff9b::/96", True, "IPv4-IPv6 translation, RFC 6052"),
    ("64:ff9b:1::/48", False, "IPv4-IPv6 translation, local use, RFC 8215"),
    ("100::/64", False, "discard only, RFC 6666"),
    ("100:0:0:1::/64", False, "dummy prefix, RFC 9780"),
    ("2001::/23", False, "IETF protocol assignments, RFC 2928"),
    ("2001::/32", False, "Teredo, RFC 4380"),
    ("2001:1::1/128", True, "Port Control Protocol anycast, RFC 7723"),
    ("2001:1::2/128", True, "TURN anycast, RFC 8155"),
    ("2001:1::3/128", True, "DNS-SD service registration anycast, RFC 9665"),
    ("2001:2::/48", False, "benchmarking, RFC 5180"),
    ("2001:3::/32", True, "AMT, RFC 7450"),
    ("2001:4:112::/48", True, "AS112-v6, RFC 7535"),
    ("2001:10::/28", False, "ORCHID, deprecated, RFC 4843"),
    ("2001:20::/28", True, "ORCHIDv2, RFC 7343"),
    ("2001:30::/28", True, "drone remote identification, RFC 9374"),
    ("2001:db8::/32", False, "documentation, RFC 3849"),
    ("2002::/16", False, "6to4, RFC 3056"),
    ("2620:4f:8000::/48", True, "direct delegation AS112 service, RFC 7534"),
    ("3fff::/20", False, "documentation, RFC 9637"),
    ("5f00::/16", False, "segment routing identifiers, RFC 9602"),
    ("fc00::/7", False, "unique local, RFC 4193"),
    ("fe80::/10", False, "link local, RFC 4291"),
)
"""As `IPV4_BLOCKS`. Addresses neither here nor in `_GLOBAL_UNICAST` are not assigned."""
