"""Handshake: with what a websocket begins, for the websocket protocol and for the application."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.types import Scope

from registry.serving.exchange import STATUS_LINES, decoded
from registry.serving.reader import Head

#: What a handshake consists of; other headers are no business of the websocket protocol.
_HEADERS: Final = (b"host", b"origin", b"connection")
_REFUSAL_END: Final = b"Content-Length: 0\r\nConnection: close\r\n\r\n"

#: The answers of an application that does not want the websocket, and of one that fails.
UNWANTED: Final = STATUS_LINES[403] + _REFUSAL_END
FAILED: Final = STATUS_LINES[500] + _REFUSAL_END


def handshake_of(head: Head) -> bytes:
    """The handshake as the websocket protocol wants to see it."""
    lines = [b"GET %b HTTP/1.1" % (head.path + (b"?" + head.query if head.query else b"")), b"Upgrade: websocket"]
    for name, value in head.headers:
        if name.lower() in _HEADERS or name.lower().startswith(b"sec-websocket-"):
            lines.append(name + b": " + value)
    return b"\r\n".join(lines) + b"\r\n\r\n"


def scope_of(head: Head, transport: asyncio.Transport, extensions: dict[str, object]) -> Scope:
    """The handshake as ASGI says it."""
    peer, name = (transport.get_extra_info(info) for info in ("peername", "sockname"))
    offers = [value for key, value in head.headers if key.lower() == b"sec-websocket-protocol"]
    return {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "wss" if is_secure(transport) else "ws",
        "path": decoded(head.path),
        "raw_path": head.path,
        "query_string": head.query,
        "root_path": "",
        "headers": [(key.lower(), value) for key, value in head.headers],
        "client": (str(peer[0]), int(peer[1])) if isinstance(peer, tuple) else None,
        "server": (str(name[0]), int(name[1])) if isinstance(name, tuple) else None,
        "subprotocols": [offer.strip().decode("latin-1") for value in offers for offer in value.split(b",")],
        "state": {},
        "extensions": {"websocket.http.response": {}, **extensions},
    }


def is_secure(transport: asyncio.Transport) -> bool:
    return bool(transport.get_extra_info("sslcontext"))
