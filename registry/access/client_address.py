"""Client address: whose request it is, where proxies stand in front.

Anybody can write `X-Forwarded-For`. It counts only as far as it was written by proxies that are trusted.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network


def parse_networks(text: str) -> tuple[Network, ...]:
    """A comma list of addresses and CIDR blocks. Raises ValueError."""
    return tuple(ip_network(part.strip(), strict=False) for part in text.split(",") if part.strip())


def client_address(peer: str, forwarded_for: str, real_ip: str, trusted: Sequence[Network]) -> str:
    """The address nearest to us that is of no trusted proxy; the peer's, where a proxy says nothing that helps.

    Each proxy appends the address that it was asked from, so the list is read from its end.
    """
    if not _is_trusted(peer, trusted):
        return peer
    for text in reversed(forwarded_for.split(",")):
        address = _parse(text)
        if address is None:
            break
        if not _is_within(address, trusted):
            return str(address)
    address = _parse(real_ip)
    return peer if address is None else str(address)


def _is_trusted(text: str, trusted: Sequence[Network]) -> bool:
    address = _parse(text) if trusted else None
    return address is not None and _is_within(address, trusted)


def _is_within(address: IPv4Address | IPv6Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text.strip())
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
