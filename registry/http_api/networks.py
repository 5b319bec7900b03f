"""Networks: from where something may be asked for."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network


class Networks:
    """Those of a list such as `10.0.0.0/8, 2001:db8::/32 192.168.1.7`; with a blank one, all there are.

    Raises:
        ValueError: something in the list is no network; the message says what.
    """

    def __init__(self, text: str = "") -> None:
        self._networks: tuple[IPv4Network | IPv6Network, ...] = tuple(
            ip_network(name) for name in text.replace(",", " ").split()
        )

    def include(self, address: str) -> bool:
        """Whether the address is in one of them. What is no address, such as that of a Unix socket, is in none."""
        if not self._networks:
            return True
        try:
            parsed = ip_address(address.partition("%")[0])
        except ValueError:
            return False
        if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped:
            parsed = parsed.ipv4_mapped
        return any(parsed in network for network in self._networks)
