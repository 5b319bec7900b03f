"""Refusals: whole responses to what is no request, after which the connection ends."""

from __future__ import annotations

from typing import Final

from registry.domain.errors import InvalidParams


def _refusal(status: bytes, content_type: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Type: %b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (
        status,
        content_type,
        len(body),
        body,
    )


_TEXT: Final = b"text/plain; charset=utf-8"
_JSON: Final = b"application/json; charset=UTF-8"

NOT_HTTP: Final = _refusal(b"400 Bad Request", _JSON, InvalidParams("the request is not well-formed HTTP").body())
TOO_LARGE: Final = _refusal(b"431 Request Header Fields Too Large", _TEXT, b"431 Request Header Fields Too Large")
TOO_SLOW: Final = _refusal(b"408 Request Timeout", _TEXT, b"408 Request Timeout")
