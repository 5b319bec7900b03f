"""Target: the rules for the path and query of a request, the same by every way."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from registry.domain.errors import InvalidParams
from registry.http_api import reply
from registry.http_api.reply import Header, Reply

#: Bytes of path and query from which on a request is refused.
URI_MAX_BYTES: Final = 2048


def is_malformed(query: bytes) -> bool:
    """Whether the registry refuses such a query (or a path without one).

    One that ends in `+` is let through: a documented example asks for `version=0+` just so.
    """
    return b"//" in query or query.endswith((b";", b"&", b"?", b"@"))


def segments(path: bytes) -> list[str] | None:
    """The path's segments, percent-decoded one by one; None: one of them holds a `/` of its own.

    Raises:
        InvalidParams: what is not ASCII is not percent-encoded, or what is encoded is no UTF-8.
    """
    if not path.isascii():
        raise InvalidParams("the path is not percent-encoded")
    if b"%" not in path:
        return path.decode().split("/")[1:]
    decoded = [unquote_to_bytes(segment) for segment in path.split(b"/")[1:]]
    if any(b"/" in segment for segment in decoded):
        return None
    try:
        return [segment.decode() for segment in decoded]
    except UnicodeDecodeError as exc:
        raise InvalidParams("the path is not UTF-8") from exc


def refusal(method: str, path: bytes, query: bytes, preflight: Sequence[Header] = ()) -> Reply | None:
    """What is refused before it is known which operation is meant, in plain text.

    Args:
        preflight: what is said to a browser that asks whether it may, which is answered here too.
    """
    moved = _clean(path)
    if moved != path:
        location = moved + (b"?" + query if query else b"")
        return reply.text(301, "Moved Permanently\n", (b"Location", location))
    if method == "OPTIONS":
        return reply.empty(*preflight)
    if len(path) + (len(query) + 1 if query else 0) >= URI_MAX_BYTES:
        return reply.text(400, f"the request URI has {URI_MAX_BYTES} bytes or more\n")
    if is_malformed(query or path):
        return reply.text(400, "the request URI is malformed\n")
    return None


def _clean(path: bytes) -> bytes:
    """The path without empty, `.` and `..` segments."""
    if b"//" not in path and b"/." not in path:
        return path
    clean = posixpath.normpath(path).replace(b"//", b"/")
    if path.endswith(b"/") and clean != b"/":
        clean += b"/"
    return clean if clean.isascii() else quote(clean).encode()


def encoded(path: str) -> bytes:
    """The raw path of a decoded one, for servers that do not hand on what the client sent."""
    return quote(path).encode()
