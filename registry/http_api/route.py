"""ApiRoute: one operation of the API - where it is, who handles it, and what is said of it in the OpenAPI document."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from starlette.types import Receive, Send

from registry.http_api.api import Api
from registry.http_api.call import Call
from registry.http_api.reply import Reply

Handler = Callable[[Api, Call], Awaitable[Reply]]
#: Raises a RegistryError only before it has accepted the handshake, which is then refused with it.
SocketHandler = Callable[[Api, Call, Receive, Send], Awaitable[None]]


class ApiRoute(NamedTuple):
    """One operation. `{name}` in the path is one segment, matched after percent-decoding."""

    method: str
    path: str
    handler: Handler
    #: Shape of the answer; None: success has no content.
    response: Any = None
    #: Shape of the request's body; None: none is read.
    request: Any = None
    #: Query parameters.
    query: tuple[str, ...] = ()
    #: Whether success is answered in plain text.
    text: bool = False
    #: Whether it is reached by websocket, and without one only says so.
    socket: bool = False
