"""Endpoint for those that keep a copy of a tenant's outline: the console, first of all."""

from __future__ import annotations

import msgspec

from registry.domain.catalog import catalog
from registry.domain.errors import InvalidParams
from registry.domain.position import ORIGIN, Position, parse_position
from registry.http_api import reply
from registry.http_api.api import Api
from registry.http_api.call import Call
from registry.http_api.reply import Reply


async def get_catalog(api: Api, call: Call) -> Reply:
    """`GET catalog`: a page of the microservices with their instances counted by status; `since` a position: only what
    has changed after it, 304 when nothing has.
    """
    since, offset = _since(call), _offset(call)
    if since != ORIGIN and api.discovery.position_text(call.tenant) == since.text().encode():
        return reply.not_modified(api.position(call.tenant))
    hidden = api.discovery.hidden(call.tenant, call.flag("withShared"))
    page = await api.discovery.read(call.tenant, lambda view: catalog(view, hidden, since, offset, call.covers))
    whole = reply.json(msgspec.json.encode(page), api.position(call.tenant))
    return await api.compressor.compress_beside(whole) if call.accepts_gzip else whole


def _since(call: Call) -> Position:
    text = call.query("since")
    try:
        return parse_position(text) if text else ORIGIN
    except ValueError as exc:
        raise InvalidParams(f"{exc} - at query parameter `since`") from exc


def _offset(call: Call) -> int:
    text = call.query("offset")
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise InvalidParams(f"offset {text[:32]!r}: a number of services - at query parameter `offset`")
    return int(text)
