"""ClientAddress: whose request it is, when it may have come through proxies.

The peer of the connection is who asks, unless it is a proxy that the operator trusts: then the proxy's headers say for
whom it asks. What a client writes into these headers by itself is never believed.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Final

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

#: The headers in which proxies say it, names in lower case.
FORWARDED: Final = (b"x-forwarded-for", b"x-real-ip")
#: Hops of `X-Forwarded-For` that are looked at, from the nearest on.
HOPS_MAX: Final = 32


class TrustedProxies:
    """The networks whose members may say for whom they ask.

    Args:
        networks: CIDR blocks or single addresses, separated by commas or blanks; "" for none.

    Raises:
        ValueError: one of them is none.
    """

    def __init__(self, networks: str = "") -> None:
        self._networks: Final = tuple(ipaddress.ip_network(one) for one in networks.replace(",", " ").split())

    def trusts(self, address: str) -> bool:
        """Whether the address, as a socket or a header tells it, is one of theirs."""
        if not self._networks:
            return False
        parsed = _parsed(address)
        return parsed is not None and self._holds(parsed)

    def client_address(self, peer: str, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """The address of the client: that of the peer, or the one for which trusted proxies say that they ask.

        `X-Forwarded-For` is read from its end, where the nearest proxy has written: the first address that is not
        trusted is the client. Without it `X-Real-IP` counts. What is no address ends the search: the last good one
        counts.

        Args:
            peer: the other end of the connection, "" when it has no address.
            headers: names in any letter case.

        Returns:
            In its usual form: IPv4 in IPv6 as IPv4, without port and interface.
        """
        found = _parsed(peer)
        if found is None or not self._networks or not self._holds(found):
            return str(found) if found is not None else peer
        forwarded: list[bytes] = []
        real: list[bytes] = []
        for name, value in headers:
            match name.lower():
                case b"x-forwarded-for":
                    forwarded += value.split(b",")
                case b"x-real-ip":
                    real.append(value)
        for hop in reversed((forwarded or real[:1])[-HOPS_MAX:]):
            address = _parsed(hop.decode("latin-1"))
            if address is None:
                break
            found = address
            if not self._holds(address):
                break
        return str(found)

    def _holds(self, address: IPAddress) -> bool:
        return any(address in network for network in self._networks)


def _parsed(text: str) -> IPAddress | None:
    """The address in `1.2.3.4`, `1.2.3.4:80`, `2001:db8::1`, `[2001:db8::1]:80` or `fe80::1%eth0`; None: it is none."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
