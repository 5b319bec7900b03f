"""Operation: one thing that a client can ask for, and everything that is to be known of it outside its handler.

The route, both ways through the server, the OpenAPI document, durability, access, metric labels and the tables of
registry/docs/api.md come from these.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Any, Final

from msgspec import Struct
from starlette.types import Receive, Send

from registry.access.rule import Rule
from registry.http_api.api import Api
from registry.http_api.call import Call
from registry.http_api.reply import Reply
from registry.http_api.sockets import WebSocket

Handler = Callable[[Api, Call], Awaitable[Reply]]
#: Raises a RegistryError only before it has accepted the handshake, which is then refused with it.
SocketHandler = Callable[[Api, Call, WebSocket, Receive, Send], Awaitable[None]]


#: Below these stands what a tenant has registered.
_OF_TENANT: Final = (
    *("/v4/{project}/registry/", "/v4/{project}/govern/", "/v1/{project}/gov/"),
    *("/v1/{project}/find/", "/v1/{project}/schemas/", "/v1/{project}/catalog", "/v1/{project}/instances"),
)


class Kind(Enum):
    """What an operation does, apart from what it is about."""

    READ = "read"
    #: It appends events, so it can be asked to be durable.
    WRITE = "write"
    #: It renews leases: no event, and never refused for what it costs.
    BEAT = "beat"
    #: It changes this replica only.
    LOCAL = "local"
    #: It reads the past, which is answered beside the present.
    PAST = "past"
    #: It tells what happens as it happens, for as long as the client listens.
    FEED = "feed"
    #: It is spoken by websocket. Without an upgrade its handler says so.
    SOCKET = "socket"


class Operation(Struct, frozen=True, kw_only=True):
    """One operation. `{name}` in the path is one segment."""

    #: Names it in metrics and logs, and in the OpenAPI document.
    name: str
    method: str
    path: str
    handler: Handler
    kind: Kind = Kind.READ
    #: The rights that it needs, where there are accounts.
    access: Rule
    #: It is about the log of the accounts, and not about a tenant.
    of_accounts: bool = False
    #: Shape of the answer; None: success has no content.
    response: Any = None
    #: Shape of the request's body; None: none is read.
    request: Any = None
    #: Query parameters, and those of them that must be given.
    query: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    #: The handler of the websocket.
    socket: SocketHandler | None = None
    #: Success is answered in plain text.
    text: bool = False
    #: It stands below /registry/v3 too.
    in_v3: bool = False
    #: Its answers may come by the short way.
    hot: bool = False
    deprecated: bool = False

    @property
    def appends(self) -> bool:
        """It appends events, so there is something to be made durable."""
        return self.kind is Kind.WRITE

    @property
    def as_of(self) -> bool:
        """It reads what a tenant has registered, so it can be asked what it would have answered before (`asOf`)."""
        of_replica = self.path.endswith(("/version", "/health", "/readiness"))
        return self.kind is Kind.READ and self.path.startswith(_OF_TENANT) and not of_replica

    @property
    def is_admin(self) -> bool:
        """It is for those who look after the registry, and may be limited to some networks."""
        return "/admin/" in self.path

    @property
    def summary(self) -> str:
        """What the operation is, for people: the first paragraph of its handler's docstring."""
        text = (self.handler.__doc__ or "").strip().partition("\n\n")[0]
        return " ".join(line.strip() for line in text.splitlines())
