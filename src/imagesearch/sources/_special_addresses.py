"""The address blocks that IANA's special-purpose registries list, IPv4 and IPv6.

Python's own `ipaddress` follows these registries some years late: it calls 3fff::/20 and 192.0.0.8
global. So the rows are kept here, and the guard of `fetch` reads nothing else.

Sources:
    https://www.iana.org/assignments/iana-ipv4-special-registry/
    https://www.iana.org/assignments/iana-ipv6-special-registry/

To update: compare the column "Globally Reachable" row by row, change `AS_OF`, and run
``tests/sources/test_addresses.py``. ``True`` in a row is the registry's True; ``False`` stands for
its False and for its "N/A" (6to4, Teredo, deprecated blocks), because what a relay makes of such an
address cannot be seen from here.
"""

from __future__ import annotations

__all__ = ["AS_OF", "GLOBAL_UNICAST", "IPV4_BLOCKS", "IPV6_BLOCKS"]

AS_OF = "2026-09"
"""Year and month of the registries whose rows these are; the newest row is from April 2025."""

GLOBAL_UNICAST = "2000::/3"
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
"""As `IPV4_BLOCKS`. What lies neither here nor in `GLOBAL_UNICAST` is not assigned to anyone."""
