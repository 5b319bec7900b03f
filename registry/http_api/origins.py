"""Origins: which pages of other places a browser lets use this API (CORS)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from registry.http_api.reply import Header

ANY: Final = "*"
NONE: Final = "none"
#: What browsers are told before they send a request from another origin (api-rules.md 1.3).
METHODS: Final[Header] = (b"Access-Control-Allow-Methods", b"GET, POST, PUT, DELETE, UPDATE")
HEADERS: Final[Header] = (
    b"Access-Control-Allow-Headers",
    b"Origin, Accept, Content-Type, X-Domain-Name, X-ConsumerId",
)
#: With accounts they send tokens.
HEADERS_WITH_TOKEN: Final[Header] = (HEADERS[0], HEADERS[1] + b", Authorization, X-Auth-Token")


class Origins:
    """
    Args:
        allowed: `*` for all, `none`, or origins as browsers name them (`https://console.example:8443`), separated by
            commas or blanks.
        with_accounts: requests have tokens.
    """

    def __init__(self, allowed: str = ANY, with_accounts: bool = False) -> None:
        self.any = allowed == ANY
        self._asked = (METHODS, HEADERS_WITH_TOKEN if with_accounts else HEADERS)
        self._named = frozenset() if allowed in (ANY, NONE) else frozenset(allowed.replace(",", " ").encode().split())

    def lines(self, headers: Iterable[Header]) -> list[Header]:
        """What an answer to a request with these headers (names in lower case) says of its origin."""
        origin = _value(headers, b"origin")
        if origin and (self.any or origin in self._named):
            return [(b"Access-Control-Allow-Origin", b"*" if self.any else origin)]
        return []

    def preflight(self, headers: Iterable[Header]) -> tuple[Header, ...]:
        """What is said when a browser asks whether it may. With any origin allowed it is said to everyone (1.3)."""
        return self._asked if self.any or self.lines(headers) else ()

    def may_connect(self, headers: Iterable[Header]) -> bool:
        """Whether a websocket may be opened. Browsers leave that to the server; a page of our own always may."""
        headers = list(headers)
        origin = _value(headers, b"origin")
        host = origin.partition(b"://")[2]
        own = bool(host) and host == _value(headers, b"host")
        return not origin or self.any or own or origin in self._named


def _value(headers: Iterable[Header], name: bytes) -> bytes:
    return next((value for key, value in headers if key == name), b"")
