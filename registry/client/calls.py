"""Calls: one request to a registry of several addresses, until one of them answers as a registry does."""

from __future__ import annotations

import logging
import random
import ssl
import time
from collections.abc import Mapping
from functools import cache, partial
from typing import Any, Final
from urllib.parse import urlencode

import httpcore
import msgspec
from msgspec import Struct

from registry import __version__
from registry.client.addresses import NOWHERE, AddressBook, Zone
from registry.client.answers import Answer, Fault, read_answer
from registry.client.connecting import Connecting
from registry.client.errors import NotOffered, Refused, Unreachable
from registry.client.login import Login
from registry.domain.errors import PositionNotReached
from registry.domain.position import ORIGIN, parse_position

logger = logging.getLogger(__name__)

#: Seconds for one request to one address; the rest of them for making the connection.
TIMEOUT_S: Final = 5.0
CONNECT_S: Final = 2.0
#: Addresses that one call asks, at most: with more, a call that all of them leave hanging would take for ever.
ATTEMPTS_MAX: Final = 4
#: Seconds. Below the idle limit of every registry, so that no request meets a connection that is being closed.
KEPT_S: Final = 45.0
CONNECTIONS_MAX: Final = 20
#: Calls in a row that no replica answered because it lacked what this client has seen.
WAITS_MAX: Final = 3
#: Bytes. Ours answers up to 16 MiB.
ANSWER_MAX: Final = 64 << 20
USER_AGENT: Final = f"registry-client/{__version__}"
#: What happens when a connection was closed while it was idle; the same address is then asked once more.
_STALE: Final = (httpcore.RemoteProtocolError, httpcore.ReadError, httpcore.WriteError)
_FAILURES: Final = (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException)


class Response(Struct, frozen=True):
    """What one address answered."""

    status: int
    body: bytes
    headers: list[tuple[bytes, bytes]]

    def header(self, name: bytes) -> str:
        """A header, its name in small letters; "" when it is missing."""
        return next((value.decode("latin-1") for key, value in self.headers if key.lower() == name), "")


def steady() -> float:
    """Seconds of the steady clock, which goes on while the machine is suspended, where there is one that does."""
    return _clock()


_BOOT_TIME: Final = getattr(time, "CLOCK_BOOTTIME", None)
_clock: Final = time.monotonic if _BOOT_TIME is None else partial(time.clock_gettime, _BOOT_TIME)


class Calls:
    """The way to a registry. Every request of this client may be sent twice, so a failed one goes to the next address.

    Args:
        tls: for https addresses; None: the authorities that the system trusts.
        timeout_s: seconds for one request to one address.
    """

    def __init__(
        self,
        book: AddressBook,
        *,
        tenant: str = "default",
        zone: Zone = NOWHERE,
        login: Login | None = None,
        tls: ssl.SSLContext | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.book = book
        self.zone = zone
        self.tls = tls or (_trust_of_the_system() if _needs_tls(book) else None)
        self.timeout_s = timeout_s
        self._login = login
        #: Of every request.
        self.headers: Final = {"X-Domain-Name": tenant, "User-Agent": USER_AGENT}
        #: The newest that an answer of this tenant was made at; no later answer may be older.
        self._position = ORIGIN
        self._waits = 0
        # What waits for a connection of its own pool waits for calls that come to their end.
        self._timeouts = {"read": timeout_s, "write": timeout_s, "connect": min(CONNECT_S, timeout_s)}
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=self.tls or _no_trust(),
            max_connections=CONNECTIONS_MAX,
            keepalive_expiry=KEPT_S,
            network_backend=Connecting(),
        )

    async def close(self) -> None:
        await self._pool.aclose()

    async def call(
        self,
        method: str,
        path: str,
        wanted: Any = None,
        *,
        body: Any = None,
        query: Mapping[str, str] | None = None,
        consumer: str = "",
        avoid: str = "",
        optional: bool = False,
    ) -> Answer:
        """Send a request, to one address after the other until a registry has answered.

        Args:
            wanted: the type of the body of a success; None: it has none.
            body: encoded as JSON.
            consumer: the id of the consuming service (X-ConsumerId).
            avoid: an address that is asked last.
            optional: not every registry has this operation.

        Raises:
            Refused: the registry refused.
            NotOffered: it has no such operation, and that was to be expected.
            Unreachable: no address answered as a registry does.
        """
        content = None if body is None else msgspec.json.encode(body)
        headers = {"X-ConsumerId": consumer} if consumer else {}
        target = f"{path}?{urlencode(query)}" if query else path
        faults = []
        behind = False
        order = sorted(self.book.order(steady(), self.zone), key=lambda url: url == avoid)[:ATTEMPTS_MAX]
        for address in order:
            try:
                answer = await self._ask(address, method, target, wanted, content, headers)
            except Fault as exc:
                if optional and exc.status == 404:
                    raise NotOffered(f"{address} has no {path}") from exc
                faults.append(f"{address} {exc}")
                behind = behind or exc.code == PositionNotReached.code
                self.book = self.book.failed(address, steady(), random.random())
                continue
            except Refused:
                self.book = self.book.answered(address)
                raise
            self.book = self.book.answered(address)
            self._waits = 0
            return answer
        self._waited_for_nothing(behind)
        raise Unreachable("; ".join(faults))

    async def text(self, path: str) -> Response:
        """What the first address says that can be connected, whatever its status.

        Raises:
            Unreachable: none can.
        """
        faults = []
        for address in self.book.order(steady(), self.zone)[:ATTEMPTS_MAX]:
            try:
                token = await self.token()
                return await self._send(address, "GET", path, None, _bearer(token))
            except Fault as exc:
                faults.append(f"{address} {exc}")
        raise Unreachable("; ".join(faults))

    async def _ask(
        self, address: str, method: str, target: str, wanted: Any, content: bytes | None, headers: Mapping[str, str]
    ) -> Answer:
        """Ask one address; with a fresh token when the one in use is not taken any more."""
        for may_renew in (True, False):
            token = await self.token()
            response = await self._send(address, method, target, content, {**headers, **_bearer(token)})
            try:
                value = read_answer(response.status, response.body, wanted)
            except Refused as exc:
                if exc.status == 401 and may_renew and self._login is not None and self._login.renew(token):
                    continue
                raise
            return Answer(response.status, value, response.header(b"x-resource-revision"), address)
        raise AssertionError("the second answer is given or raised")

    async def _send(
        self, address: str, method: str, target: str, content: bytes | None, headers: Mapping[str, str]
    ) -> Response:
        """Send one request to one address.

        Raises:
            Fault: it did not answer.
        """
        all_headers = {**self.headers, **headers}
        if self._position != ORIGIN:
            all_headers["X-Registry-Position"] = self._position.text()
        if content is not None:
            all_headers |= {"Content-Type": "application/json", "Content-Length": str(len(content))}
        elif method in ("POST", "PUT"):
            all_headers["Content-Length"] = "0"
        for may_be_again in (True, False):
            try:
                response = await self._exchange(method, address + target, content, all_headers)
            except _FAILURES as exc:
                if may_be_again and isinstance(exc, _STALE):
                    continue
                raise Fault(_said(exc, self.timeout_s)) from exc
            self._heard(response.header(b"x-registry-position"))
            return response
        raise AssertionError("the second attempt is given or raised")

    async def _exchange(self, method: str, url: str, content: bytes | None, headers: Mapping[str, str]) -> Response:
        extensions = {"timeout": self._timeouts}
        async with self._pool.stream(
            method, url, headers=list(headers.items()), content=content, extensions=extensions
        ) as response:
            chunks: list[bytes] = []
            length = 0
            async for chunk in response.aiter_stream():
                length += len(chunk)
                if length > ANSWER_MAX:
                    raise Fault(f"answered more than {ANSWER_MAX} bytes")
                chunks.append(chunk)
            return Response(response.status, b"".join(chunks), response.headers)

    def _waited_for_nothing(self, behind: bool) -> None:
        """A position of a registry that is gone would be waited for at every other one, for ever: it is given up."""
        self._waits = self._waits + 1 if behind else 0
        if self._waits >= WAITS_MAX:
            self._position = ORIGIN

    def _heard(self, text: str) -> None:
        try:
            self._position = max(self._position, parse_position(text)) if text else self._position
        except ValueError:
            logger.debug("not a position: %r", text[:64])

    async def token(self) -> str:
        """The token of the account; "" without one, and where the registry asks for none."""
        return "" if self._login is None else await self._login.token(self._post_token)

    async def _post_token(self, content: bytes) -> tuple[int, bytes]:
        """Ask any address for a token: the status and the body of what answered."""
        faults = []
        for address in self.book.order(steady(), self.zone)[:ATTEMPTS_MAX]:
            try:
                response = await self._send(address, "POST", "/v4/token", content, {})
                if response.status < 500:
                    return response.status, response.body
                raise Fault(f"answered {response.status}")
            except Fault as exc:
                faults.append(f"{address} {exc}")
        raise Unreachable("; ".join(faults))


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


@cache
def _trust_of_the_system() -> ssl.SSLContext:
    """All clients of a process share it: reading the authorities costs 20 ms and nearly a megabyte."""
    return ssl.create_default_context()


@cache
def _no_trust() -> ssl.SSLContext:
    """Without TLS there is nothing to verify; httpcore would read the authorities for each client."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _needs_tls(book: AddressBook) -> bool:
    return any(address.url.startswith("https:") for address in book.addresses)


def _said(exc: Exception, timeout_s: float) -> str:
    """What happened, in words that fit behind an address."""
    match exc:
        case httpcore.ConnectTimeout():
            return "could not be connected in time"
        case httpcore.TimeoutException():
            return f"did not answer within {timeout_s:g} s"
        case httpcore.ConnectError():
            return f"cannot be connected ({exc})"
    return f"broke the connection ({exc or type(exc).__name__})"
