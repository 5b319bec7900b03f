"""Networks: whom a list of them lets in."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.http_api.networks import Networks


@pytest.mark.parametrize(
    ("networks", "address", "included"),
    [
        ("", "203.0.113.9", True),
        ("", "", True),
        (" , ", "203.0.113.9", True),
        ("10.0.0.0/8", "10.255.0.1", True),
        ("10.0.0.0/8", "11.0.0.1", False),
        ("10.0.0.0/8", "::ffff:10.0.0.1", True),
        ("10.0.0.0/8", "::ffff:11.0.0.1", False),
        ("192.0.2.7, ::1", "192.0.2.7", True),
        ("192.0.2.7, ::1", "::1", True),
        ("192.0.2.7, ::1", "192.0.2.8", False),
        ("fe80::/10", "fe80::1%eth0", True),
        ("10.0.0.0/8", "", False),
        ("0.0.0.0/0,::/0", "a socket", False),
    ],
)
def test_who_is_let_in(networks: str, address: str, included: bool) -> None:
    """Where a list is given, nobody outside it gets in; a server on `::` sees IPv4 clients as IPv6 addresses."""
    assert Networks(networks).include(address) == included


@given(st.ip_addresses(v=4), st.integers(0, 32), st.ip_addresses(v=4))
def test_a_network_is_its_first_bits(inside: IPv4Address, bits: int, other: IPv4Address) -> None:
    networks = Networks(str(ip_network(f"{inside}/{bits}", strict=False)))
    assert networks.include(str(inside))
    assert networks.include(str(other)) == (int(inside) >> (32 - bits) == int(other) >> (32 - bits))
