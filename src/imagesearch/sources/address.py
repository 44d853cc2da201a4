"""Address: which hosts may be fetched from."""

from __future__ import annotations

import ipaddress
import socket

from imagesearch.errors import FetchError

__all__ = ["is_public", "public_addresses"]

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
"""RFC 6052: IPv4 addresses inside IPv6, which a gateway on the way may unpack."""


def public_addresses(host: str, port: int, *, name: str, allow_private: bool) -> list[str]:
    """Resolve a host once and return its addresses.

    Raises:
        FetchError: It cannot be resolved, or one of its addresses is not public.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise FetchError(
            f"{name}: the host {host!r} cannot be resolved ({error}); check the name and the network"
        ) from error
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    for address in addresses:
        if not allow_private and not is_public(address):
            raise FetchError(
                f"{name}: the host {host!r} has the address {address}, which is not public, so it "
                "is not fetched; for servers of your own set IMAGESEARCH_ALLOW_PRIVATE_URLS=1"
            )
    return addresses


def is_public(address: str) -> bool:
    """Whether an IP address can be reached from everywhere, also behind its IPv6 disguises.

    Example:
        >>> is_public("1.1.1.1"), is_public("127.0.0.1"), is_public("::ffff:10.0.0.1")
        (True, False, False)
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        hidden = [ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())]
        if ip in _NAT64:
            hidden.append(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF))
        if any(inner is not None and not is_public(str(inner)) for inner in hidden):
            return False
        if ip.ipv4_mapped is not None:
            return True
        if ip.is_site_local:
            return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)
