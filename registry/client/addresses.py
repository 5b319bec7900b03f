"""AddressBook: the addresses of a registry, and which of them to ask next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from registry.client.backoff import delay_s
from registry.domain.model import DataCenterInfo, Instance

SERVER_DEFAULT: Final = "http://127.0.0.1:30100"
PORT_DEFAULT: Final = 30100
#: Given and learned together; more replicas than that add nothing for one client.
ADDRESSES_MAX: Final = 64


class Zone(Struct, frozen=True):
    """Where something runs. Blank: not known."""

    region: str = ""
    name: str = ""

    def distance(self, other: Zone) -> int:
        """0: the same zone; 1: another one of the same region; 2: elsewhere, or not known."""
        if not self.region or self.region != other.region:
            return 2
        return 0 if self.name and self.name == other.name else 1


NOWHERE: Final = Zone()


def parse_zone(text: str) -> Zone:
    """Read `REGION/ZONE` or `REGION`."""
    region, _, name = text.partition("/")
    return Zone(region, name)


def zone_of(info: DataCenterInfo | None) -> Zone:
    return Zone(info.region, info.available_zone) if info else NOWHERE


class Address(Struct, frozen=True):
    """One way to a registry. Learned ones were not given by anyone: they are asked when no given one answers."""

    url: str
    zone: Zone = NOWHERE
    learned: bool = False
    #: In a row.
    failures: int = 0
    #: Asked before this moment only when there is no other choice; seconds of the steady clock.
    rested_at: float = 0.0


class AddressBook(Struct, frozen=True):
    """Every address, in order of preference apart from health and zone. `current` answered last."""

    addresses: tuple[Address, ...]
    current: str = ""

    def order(self, now: float, zone: Zone = NOWHERE) -> list[str]:
        """Which to ask, one after the other, until one answers.

        First those that have rested since they failed: the given before the learned, the near before the far, the one
        that answered last before its equals. Behind them the others, the one that has rested longest first: when
        nothing else is left, a tired address is better than none.
        """

        def rank(address: Address) -> tuple[float, bool, int, bool]:
            rest = max(0.0, address.rested_at - now)
            return (rest, address.learned, zone.distance(address.zone), address.url != self.current)

        return [address.url for address in sorted(self.addresses, key=rank)]

    def answered(self, url: str) -> AddressBook:
        """The book after this address answered."""
        fresh = (replace(a, failures=0, rested_at=0.0) if a.url == url else a for a in self.addresses)
        return AddressBook(tuple(fresh), url)

    def failed(self, url: str, now: float, draw: float) -> AddressBook:
        """The book after this address did not answer as a registry does. `draw`: a random number in [0, 1)."""
        return AddressBook(tuple(_tired(a, now, draw) if a.url == url else a for a in self.addresses), self.current)

    def learned(self, replicas: Iterable[Instance], *, tls: bool) -> AddressBook:
        """The book after a registry named its replicas: instances of SERVICECENTER (api-rules.md 3.1).

        Given addresses stay, and learn their zone; the learned ones become exactly these. `tls`: whether addresses
        that need TLS can be used.
        """
        known = {address.url: address for address in self.addresses}
        given = {url: address for url, address in known.items() if not address.learned}
        found: dict[str, Address] = {}
        for replica in replicas:
            zone = zone_of(replica.data_center_info)
            for url in filter(None, map(registry_url, replica.endpoints)):
                if url in given:
                    given[url] = replace(given[url], zone=zone)
                elif tls or url.startswith("http:"):
                    found[url] = replace(known.get(url, Address(url, learned=True)), zone=zone)
        addresses = [*given.values(), *found.values()][:ADDRESSES_MAX]
        return AddressBook(tuple(addresses), self.current)


def _tired(address: Address, now: float, draw: float) -> Address:
    failures = address.failures + 1
    return replace(address, failures=failures, rested_at=now + delay_s(failures, draw))


def address_book(servers: str | Sequence[str]) -> AddressBook:
    """A book of given addresses: URLs, or a text in which commas stand between them. `http://` and the port may miss.

    Raises:
        ValueError: there is none, one is no URL, or there are more than `ADDRESSES_MAX`.
    """
    texts = servers.split(",") if isinstance(servers, str) else servers
    urls = list(dict.fromkeys(server_url(text.strip()) for text in texts if text.strip()))
    if not 1 <= len(urls) <= ADDRESSES_MAX:
        raise ValueError(f"{len(urls)} addresses of a registry were given; give one to {ADDRESSES_MAX}")
    return AddressBook(tuple(map(Address, urls)))


def server_url(text: str) -> str:
    """`host`, `host:port` or a URL, as `http://host:port`.

    Raises:
        ValueError: it is none of them; the message is one sentence.
    """
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    beyond = host is None or parts.path.strip("/") or parts.query or parts.fragment or parts.username is not None
    if beyond or parts.scheme not in ("http", "https"):
        raise ValueError(f"{text[:200]!r} is no address of a registry; write it as {SERVER_DEFAULT}")
    if port is None:
        port = PORT_DEFAULT if "://" not in text else {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{f'[{host}]' if host and ':' in host else host}:{port}"


def registry_url(endpoint: str) -> str:
    """The address that an endpoint of a registry means, `rest://host:port/?sslEnabled=true`; "" when it means none."""
    try:
        parts = urlsplit(endpoint)
        if parts.scheme != "rest" or not parts.hostname or not parts.port:
            return ""
    except ValueError:
        return ""
    scheme = "https" if "sslEnabled=true" in parts.query else "http"
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{scheme}://{host}:{parts.port}"
