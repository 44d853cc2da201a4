"""Addresses: what IANA's registries call not globally reachable is never contacted."""

from __future__ import annotations

import ipaddress
import socket
import threading

import pytest

from imagesearch.errors import FetchError
from imagesearch.sources import read
from imagesearch.sources._fetch import IPV4_BLOCKS, IPV6_BLOCKS, fetch, is_public
from imagesearch.types import Item

REFUSED = {
    "this network": ["0.0.0.0", "0.1.2.3"],
    "private": ["10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fd12::1"],
    "shared": ["100.64.0.1", "100.127.255.255"],
    "loopback": ["127.0.0.1", "127.255.255.254", "::1"],
    "link local": ["169.254.169.254", "fe80::1", "fe80::1%eth0", "febf::1"],
    "IETF protocols": ["192.0.0.1", "192.0.0.8", "192.0.0.11", "192.0.0.170", "192.0.0.171"],
    "documentation": [
        *("192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"),
        *("3fff:fff:ffff::1", "3fff:0fff::"),
    ],
    "6to4 relay": ["192.88.99.1", "192.88.99.2"],
    "benchmarking": ["198.18.0.1", "198.19.255.255", "2001:2::1"],
    "multicast": ["224.0.0.1", "239.255.255.255", "ff02::1", "ff0e::1"],
    "reserved": ["240.0.0.1", "255.255.255.255"],
    "unspecified": ["::"],
    "site local": ["fec0::1", "feff::1"],
    "discard and dummy": ["100::1", "100:0:0:1::1"],
    "segment routing": ["5f00::1", "5f00:ffff::1"],
    "ORCHID": ["2001:10::1"],
    "IETF protocols, IPv6": ["2001:1::4", "2001:5::1", "2001:1ff::1"],
    "never assigned": ["4000::1", "1::1", "200::1", "e000::1", "::2:0:0"],
    "IPv4-mapped": ["::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:192.0.0.8"],
    "IPv4-compatible": ["::127.0.0.1", "::10.0.0.1", "::1.1.1.1"],
    "IPv4-translated": ["::ffff:0:10.0.0.1", "::ffff:0:1.1.1.1"],
    "NAT64": ["64:ff9b::10.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b::169.254.169.254"],
    "NAT64, local": ["64:ff9b:1::1.1.1.1", "64:ff9b:1::10.0.0.1"],
    "6to4": ["2002:a00:1::", "2002:7f00:1::1", "2002:101:101::1"],
    "Teredo": ["2001::1", "2001:0:53aa:64c:0:0:f5ff:fffe", "2001:0:101:101::"],
}

ROWS = [*IPV4_BLOCKS, *IPV6_BLOCKS]
CONTACTED = [
    *("1.1.1.1", "223.5.5.5", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0"),
    *("172.15.255.255", "172.32.0.0", "192.0.1.0", "192.0.3.0", "192.167.255.255", "198.17.0.1"),
    *("198.20.0.0", "223.255.255.255", "192.0.0.9", "192.0.0.10", "192.31.196.1", "192.52.193.1"),
    *("192.175.48.1", "2606:4700::1111", "2400:3200::1", "3ffe::1", "3fff:1000::", "2001:200::1"),
    *("2001:1::1", "2001:1::2", "2001:1::3", "2001:3::1", "2001:4:112::1", "2001:20::1"),
    *("2001:30::1", "2620:4f:8000::1", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1"),
]


@pytest.mark.parametrize(
    "address", [address for addresses in REFUSED.values() for address in addresses]
)
def test_an_address_that_is_not_globally_reachable_is_refused_in_every_form(address):
    assert not is_public(address)
    with pytest.raises(FetchError, match=r"not public|cannot be resolved|cannot be fetched"):
        fetch(f"http://{f'[{address}]' if ':' in address else address}:9/a.png", seconds=5)


@pytest.mark.parametrize("address", CONTACTED)
def test_an_address_that_is_globally_reachable_is_accepted(address):
    assert is_public(address)


def test_every_registered_block_that_is_not_reachable_is_refused_from_end_to_end():
    exceptions = [ipaddress.ip_network(block) for block, reachable, _ in ROWS if reachable]
    for block, reachable, name in ROWS:
        network = ipaddress.ip_network(block)
        # The forms that hold an IPv4 address are in the table above.
        if reachable or network == ipaddress.ip_network("::ffff:0:0/96"):
            continue
        for address in (network[0], network[network.num_addresses // 2], network[-1]):
            inside = any(
                address in other for other in exceptions if other.version == network.version
            )
            assert inside or not is_public(str(address)), (address, name)


@pytest.fixture
def silent_port():
    """A port on which every loopback address takes a connection and then never answers."""
    with socket.socket() as listening:
        listening.bind(("0.0.0.0", 0))
        listening.listen(0)
        yield listening.getsockname()[1]


def resolve_to(monkeypatch, addresses):
    real = socket.getaddrinfo

    def resolve(host, port, *rest, **options):
        if not host.endswith(".example"):
            return real(host, port, *rest, **options)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


def test_a_host_with_two_thousand_silent_addresses_ends_at_the_deadline(monkeypatch, silent_port):
    monkeypatch.setenv("IMAGESEARCH_ALLOW_PRIVATE_URLS", "1")
    tried = []
    connect = socket.create_connection

    def slow_connect(place, timeout):
        # As a firewall does that drops packets: nothing comes until the caller gives up.
        tried.append(place[0])
        threading.Event().wait(timeout)
        raise TimeoutError("timed out")

    addresses = [f"127.1.{number // 250}.{number % 250 + 1}" for number in range(2000)]
    resolve_to(monkeypatch, addresses)
    monkeypatch.setattr(socket, "create_connection", slow_connect)
    with pytest.raises(FetchError, match="did not arrive in time"):
        fetch(f"http://many.example:{silent_port}/a.png", seconds=0.4)
    assert 1 < len(tried) <= 8
    assert tried == addresses[: len(tried)]
    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(FetchError, match="did not arrive in time"):
        fetch(f"http://many.example:{silent_port}/a.png", seconds=0.4)


def test_all_addresses_of_a_host_are_checked_and_not_only_those_that_are_tried(monkeypatch):
    resolve_to(monkeypatch, [*(f"1.1.1.{number}" for number in range(200)), "10.0.0.1"])
    with pytest.raises(FetchError, match=r"10\.0\.0\.1, which is not public"):
        read(Item("http://many.example/a.png"))


def test_a_resolver_that_never_answers_ends_at_the_deadline(monkeypatch):
    released = threading.Event()

    def wait(host, port, **options):
        released.wait(60)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", wait)
    with pytest.raises(FetchError, match="did not arrive in time"):
        fetch("http://slow.example/a.png", seconds=0.3)
    released.set()
