"""Address: which hosts may be fetched from."""

from __future__ import annotations

import functools
import ipaddress
import queue
import socket
import threading
import time
from typing import TypeAlias

from imagesearch.errors import FetchError
from imagesearch.sources._special_addresses import GLOBAL_UNICAST, IPV4_BLOCKS, IPV6_BLOCKS

__all__ = ["is_public", "public_addresses"]

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
