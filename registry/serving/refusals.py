"""Refusals: whole responses to what is no request, after which the connection ends."""

from __future__ import annotations

from typing import Final

from registry.domain.errors import InvalidParams, Overloaded, RegistryError, TooManyRequests
from registry.http_api import reply


def _refusal(status: bytes, content_type: bytes, body: bytes, more: bytes = b"") -> bytes:
    head = (
        b"HTTP/1.1 %b\r\nContent-Type: %b\r\nContent-Length: %d\r\n"
        b"X-Content-Type-Options: nosniff\r\n%bConnection: close\r\n\r\n"
    )
    return head % (status, content_type, len(body), more) + body


def _overload(status: bytes, error: RegistryError) -> bytes:
    return _refusal(status, _JSON, error.body(), b"%b: %b\r\n" % reply.RETRY_AFTER)


_TEXT: Final = b"text/plain; charset=utf-8"
_JSON: Final = b"application/json; charset=UTF-8"

NOT_HTTP: Final = _refusal(b"400 Bad Request", _JSON, InvalidParams("the request is not well-formed HTTP").body())
TOO_LARGE: Final = _refusal(b"431 Request Header Fields Too Large", _TEXT, b"431 Request Header Fields Too Large")
TOO_SLOW: Final = _refusal(b"408 Request Timeout", _TEXT, b"408 Request Timeout")
SPEAKS_TLS: Final = _refusal(b"400 Bad Request", _JSON, InvalidParams("this port speaks TLS: use https://").body())
#: To the request that has been arriving longest when all that have come are too large together.
BODIES: Final = _overload(
    b"503 Service Unavailable", Overloaded("requests under way are too large together (REGISTRY_BODIES_MAX_BYTES)")
)
#: To a connection, and to a websocket, that is one too many, by the limit that it exceeds.
CONNECTIONS: Final = {
    "all": _overload(
        b"503 Service Unavailable", Overloaded("too many connections are open (REGISTRY_CONNECTIONS_MAX)")
    ),
    "address": _overload(
        b"429 Too Many Requests",
        TooManyRequests("too many connections of this address are open (REGISTRY_CONNECTIONS_PER_ADDRESS)"),
    ),
}
WEBSOCKETS: Final = {
    "all": _overload(b"503 Service Unavailable", Overloaded("too many websockets are open (REGISTRY_WEBSOCKETS_MAX)")),
    "address": _overload(
        b"429 Too Many Requests",
        TooManyRequests("too many websockets of this address are open (REGISTRY_WEBSOCKETS_PER_ADDRESS)"),
    ),
}
