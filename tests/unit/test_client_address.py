"""Whose request it is: only trusted proxies are believed, and only as far as they go."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.environment import read_settings
from registry.http_api.client_address import HOPS_MAX, TrustedProxies
from registry.settings import BadSetting

PROXIES = TrustedProxies("10.0.0.0/8, 2001:db8::/32 192.0.2.7")
NOBODY = TrustedProxies("")


@pytest.mark.parametrize(
    ("peer", "headers", "client"),
    [
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [(b"X-Forwarded-For", b"203.0.113.9")], "203.0.113.9"),
        # What the client has written itself stands in front of what the proxy has added.
        ("10.0.0.1", [(b"x-forwarded-for", b"127.0.0.1, 203.0.113.9")], "203.0.113.9"),
        ("10.0.0.1", [(b"x-forwarded-for", b"127.0.0.1, 203.0.113.9, 10.1.1.1")], "203.0.113.9"),
        ("10.0.0.1", [(b"x-forwarded-for", b"127.0.0.1"), (b"X-Forwarded-For", b"203.0.113.9")], "203.0.113.9"),
        ("10.0.0.1", [(b"x-forwarded-for", b"10.2.2.2,10.1.1.1")], "10.2.2.2"),
        ("10.0.0.1", [(b"x-forwarded-for", b"203.0.113.9, nonsense, 10.1.1.1")], "10.1.1.1"),
        ("10.0.0.1", [(b"x-forwarded-for", b"")], "10.0.0.1"),
        ("10.0.0.1", [(b"x-forwarded-for", b"\xff\xfe")], "10.0.0.1"),
        ("10.0.0.1", [(b"x-forwarded-for", b"203.0.113.9:5123")], "203.0.113.9"),
        ("10.0.0.1", [(b"x-forwarded-for", b"[2001:DB9::1]:5123")], "2001:db9::1"),
        ("10.0.0.1", [(b"x-real-ip", b"203.0.113.9")], "203.0.113.9"),
        ("10.0.0.1", [(b"x-real-ip", b"203.0.113.8"), (b"x-forwarded-for", b"203.0.113.9")], "203.0.113.9"),
        ("::ffff:10.0.0.1", [(b"x-real-ip", b"::ffff:203.0.113.9")], "203.0.113.9"),
        ("2001:db8::5", [(b"x-real-ip", b"203.0.113.9")], "203.0.113.9"),
        ("192.0.2.7", [(b"x-real-ip", b"203.0.113.9")], "203.0.113.9"),
        # Not trusted: believed in nothing.
        ("192.0.2.8", [(b"x-real-ip", b"203.0.113.9"), (b"x-forwarded-for", b"203.0.113.9")], "192.0.2.8"),
        ("", [(b"x-real-ip", b"203.0.113.9")], ""),
    ],
)
def test_client_is_the_first_address_that_is_not_trusted(
    peer: str, headers: list[tuple[bytes, bytes]], client: str
) -> None:
    assert PROXIES.client_address(peer, headers) == client


def test_nobody_is_believed_by_default() -> None:
    assert not NOBODY.trusts("127.0.0.1")
    assert NOBODY.client_address("127.0.0.1", [(b"x-forwarded-for", b"203.0.113.9")]) == "127.0.0.1"


def test_hops_have_a_limit() -> None:
    """A header of many trusted addresses costs no more than this."""
    hops = b",".join([b"203.0.113.9", *[b"10.0.0.2"] * HOPS_MAX])
    assert PROXIES.client_address("10.0.0.1", [(b"x-forwarded-for", hops)]) == "10.0.0.2"


ADDRESSES = st.one_of(st.ip_addresses(v=4, network="10.0.0.0/8"), st.ip_addresses()).map(str)


@given(ADDRESSES, st.lists(ADDRESSES, max_size=8))
def test_client_follows_a_naive_walk(peer: str, hops: list[str]) -> None:
    def trusted(address: str) -> bool:
        mapped = getattr(ipaddress.ip_address(address), "ipv4_mapped", None)
        return PROXIES.trusts(str(mapped or address))

    chain = [*hops, peer]
    while len(chain) > 1 and trusted(chain[-1]):
        chain.pop()
    expected = ipaddress.ip_address(chain[-1])
    expected = getattr(expected, "ipv4_mapped", None) or expected
    assert PROXIES.client_address(peer, [(b"X-Forwarded-For", ", ".join(hops).encode())]) == str(expected)


@pytest.mark.parametrize("given", ["10.0.0.0/33", "10.0.0.1/8", "proxy", "10.0.0.0/8,x"])
def test_networks_that_are_none_are_refused(given: str) -> None:
    with pytest.raises(BadSetting, match=r"REGISTRY_TRUSTED_PROXIES has .+, it must be addresses or CIDR blocks"):
        read_settings({"REGISTRY_TRUSTED_PROXIES": given})
