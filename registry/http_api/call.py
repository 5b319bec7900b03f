"""Call: what every handler needs of a request - tenant, path, query, headers and body - read once, with limits."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Final, TypeVar
from urllib.parse import unquote_to_bytes

from starlette.types import Receive, Scope

from registry.access.reach import EVERYWHERE, Reach
from registry.domain import rules
from registry.domain.access_errors import NoPermission
from registry.domain.errors import InvalidParams
from registry.domain.position import ORIGIN, Position, parse_position
from registry.domain.recorded import REQUEST_ID_MAX, Asker, asker
from registry.domain.tenant import Tenant
from registry.domain.view import Covers
from registry.http_api import bodies
from registry.http_api.client_address import FORWARDED, TrustedProxies
from registry.http_api.load import Share
from registry.usecases.principals import Grant

T = TypeVar("T")

#: Bytes of a tenant's domain or project. The API sets no limit; a key of Redis should have one.
TENANT_NAME_MAX: Final = 256
#: Tenants whose names are not decoded anew for each request.
TENANTS_REMEMBERED: Final = 4096
BODY_MAX_BYTES: Final = 2 * 1024 * 1024
#: What a flag may be, in any letter case.
FLAGS: Final = {"1": True, "true": True, "": False, "0": False, "false": False}

#: Printable ASCII without a space.
_REQUEST_ID: Final = re.compile(rb"[!-~]{1,%d}" % REQUEST_ID_MAX)
#: `gzip;q=0`: not this one (RFC 9110 12.4.2).
_GZIP_REFUSED = re.compile(rb"gzip *; *q=0(?:\.0*)? *(?:,|\Z)")


class Call:
    """One request. Everything is read lazily and complains as `InvalidParams` with the place of the bad value.

    Args:
        path: the values of the path's parameters.
        headers: name in lower case -> value; of those in `SINGLE` never a second one.
        actor: the address at the other end of the connection.
        body: all of it, or what brings it as ASGI messages.
        tenant: whose data it is about; None: as the headers and the path say.
        body_max: bytes of the largest body.
    """

    __slots__ = (
        *("_actor", "_body_max", "_headers", "_query", "_request_id", "_source"),
        *(
            "address",
            "applied",
            "covers",
            "grant",
            "new_id",
            "path",
            "query_string",
            "reach",
            "received",
            "share",
            "target",
            "tenant",
        ),
    )

    def __init__(
        self,
        path: Mapping[str, str],
        query_string: bytes,
        headers: Mapping[bytes, bytes],
        actor: str,
        body: bytes | Receive,
        tenant: Tenant | None = None,
        body_max: int = BODY_MAX_BYTES,
        target: str = "",
    ) -> None:
        self._body_max = body_max
        #: Makes an id for a request; set by the door.
        self.new_id: Callable[[], str] = str
        self._request_id = ""
        #: Method and path as they came, for the log.
        self.target = target
        #: Bytes of the body that have been read.
        self.received = 0
        self.path = path
        self.query_string = query_string
        self._headers = headers
        self.address = actor
        self._actor = actor
        #: Where there are accounts, what the caller's token grants.
        self.grant: Grant | None = None
        #: Whether a microservice (environment, application, name) is within reach; None: all are.
        self.covers: Covers | None = None
        #: The same as a value.
        self.reach: Reach = EVERYWHERE
        #: Of a question about the past: up to where the replica that was asked has applied the tenant's log, and the
        #: default tenant's, in which stands what everybody finds.
        self.applied: tuple[Position, Position] = (ORIGIN, ORIGIN)
        #: Of the requests under way, once it is one.
        self.share: Share | None = None
        self._source = body
        self._query: dict[str, str] | None = None
        self.tenant = tenant or self._read_tenant()

    @classmethod
    def of_scope(cls, scope: Scope, path: Mapping[str, str], receive: Receive, body_max: int) -> Call:
        """The call that an ASGI scope holds. Raises InvalidParams."""
        headers: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:
            if name in headers and name in SINGLE:
                raise InvalidParams(f"header {name.decode('latin-1')} is given twice")
            add_header(headers, name, value)
        client = scope.get("client")
        actor = str(client[0]) if client else ""
        target = target_of(scope)
        return cls(path, scope["query_string"], headers, actor, receive, body_max=body_max, target=target)

    @property
    def named(self) -> str:
        """The id that the request has by now, from its client or because one was asked for; else ""."""
        if not self._request_id:
            self._request_id = request_id_of(self.header(b"x-request-id").strip())
        return self._request_id

    @property
    def request_id(self) -> str:
        """What the request is called; a name is made where the client has given none that may be one."""
        if not self.named:
            self._request_id = self.new_id()
        return self._request_id

    @property
    def actor(self) -> Asker:
        """Who asks, for the record: the address, and where there are accounts, whose token it is in front of it."""
        return asker(self._actor, self.request_id, self.header(b"user-agent").decode("latin-1"))

    @actor.setter
    def actor(self, actor: str) -> None:
        self._actor = actor

    def come_through(self, proxies: TrustedProxies) -> None:
        """Take for the one who asks the client for whom trusted proxies say that they ask."""
        if proxies.trusts(self.address):
            named = [(name, self.header(name)) for name in FORWARDED if self.header(name)]
            self.address = self._actor = proxies.client_address(self.address, named)

    def require(self, environment: str, app_id: str, service_name: str) -> None:
        """Raise NoPermission when the microservice is not within reach."""
        if self.covers is not None and not self.covers(environment, app_id, service_name):
            raise NoPermission(f"not for {app_id}/{service_name}{' in ' if environment else ''}{environment}")

    # -- headers -------------------------------------------------------------------------------------------------------

    @property
    def headers(self) -> Mapping[bytes, bytes]:
        """All that is known of them, names in lower case."""
        return self._headers

    def header(self, name: bytes) -> bytes:
        """The value of a header (name in lower case), b"" when absent."""
        return self._headers.get(name, b"")

    def _read_tenant(self) -> Tenant:
        raw = self.header(b"x-domain-name")
        if "project" not in self.path:
            # Paths below /registry/v3, whose clients name the tenant in a header of their own.
            raw = self.header(b"x-tenant-name") or raw
        return tenant_of(raw, self.path.get("project", "default"))

    @property
    def consumer_id(self) -> str:
        """`X-ConsumerId`, or as one page calls it `X-consumer_id` (D5); blank means no consumer."""
        raw = self.header(b"x-consumerid") or self.header(b"x-consumer_id")
        return consumer_of(raw)

    @property
    def wanted_position(self) -> Position | None:
        """The position that the client has seen and wants this answer to include."""
        raw = self.header(b"x-registry-position")
        if not raw:
            return None
        try:
            return parse_position(raw)
        except ValueError as exc:
            raise InvalidParams(f"header X-Registry-Position: {exc}") from exc

    @property
    def accepts_gzip(self) -> bool:
        return takes_gzip(self.header(b"accept-encoding"))

    # -- path and query ------------------------------------------------------------------------------------------------

    @property
    def service_id(self) -> str:
        return service_id_of(self.path["service_id"])

    @property
    def instance_id(self) -> str:
        return instance_id_of(self.path["instance_id"])

    def query(self, name: str) -> str:
        """The value of a query parameter, "" when absent. One that is given twice is refused."""
        if self._query is None:
            self._query = parse_query(self.query_string)
        return self._query.get(name, "")

    def gives(self, name: str) -> bool:
        """Whether a query parameter is there, be it blank."""
        self.query(name)
        return self._query is not None and name in self._query

    def query_all(self, name: str) -> list[str]:
        """The values of a query parameter that may be repeated, in order."""
        return [value for key, value in _pairs(self.query_string) if key == name]

    @property
    def asks_past(self) -> bool:
        """Whether the client wants the answer of another time (`asOf`). Said quickly for those who do not."""
        raw = self.query_string
        return (b"asOf" in raw or b"%" in raw) and self.query(AS_OF) != ""

    def flag(self, name: str) -> bool:
        """A boolean parameter."""
        return parse_flag(self.query(name), name)

    @property
    def tags(self) -> tuple[str, ...]:
        return parse_tags(self.query("tags"))

    # -- body ----------------------------------------------------------------------------------------------------------

    async def body(self) -> bytes:
        """The whole body."""
        if isinstance(self._source, bytes):
            self._count(len(self._source))
            return self._source
        if self.share is None:
            return await self._read(self._source)
        self.share.give_back()
        body = await self._read(self._source)
        self.share.take()
        return body

    async def _read(self, receive: Receive) -> bytes:
        chunks: list[bytes] = []
        size = 0
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            self._count(size)
            more = message.get("more_body", False)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _count(self, size: int) -> None:
        self.received = size
        if size > self._body_max:
            raise InvalidParams(f"the body is larger than {self._body_max} bytes (REGISTRY_BODY_MAX_BYTES) - at `$`")

    async def decode(self, type_: type[T]) -> T:
        return bodies.decode(await self.body(), type_)


def target_of(scope: Scope) -> str:
    """Method and path of a request as they came, for the log."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode("utf-8", "replace")
    query: bytes = scope["query_string"]
    whole = raw + b"?" + query if query else raw
    return f"{scope.get('method', 'GET')} {whole.decode('latin-1')}"


@lru_cache(maxsize=TENANTS_REMEMBERED)
def tenant_of(raw_domain: bytes, project: str) -> Tenant:
    """The tenant by its header and path segment."""
    domain = _text(raw_domain, "header X-Domain-Name") or "default"
    for name in (domain, project):
        if len(name.encode("utf-8", "surrogatepass")) > TENANT_NAME_MAX:
            raise InvalidParams(f"a domain or project has at most {TENANT_NAME_MAX} bytes")
    return Tenant(domain, project)


def service_id_of(service_id: str) -> str:
    """The path segment, if it may be a service's id."""
    return rules.SERVICE_ID.check(service_id, "serviceId", "the path")


def instance_id_of(instance_id: str) -> str:
    """The path segment, if it may be an instance's id."""
    return rules.INSTANCE_ID.check(instance_id, "instanceId", "the path")


def request_id_of(raw: bytes) -> str:
    """A request's id by its header, "" when it is none: it is said, answered and recorded as it is."""
    return raw.decode() if _REQUEST_ID.fullmatch(raw) else ""


def takes_gzip(raw: bytes) -> bool:
    """Whether a client takes compressed answers, by its `Accept-Encoding`."""
    accepted = raw.lower()
    return b"gzip" in accepted and not _GZIP_REFUSED.search(accepted)


def consumer_of(raw: bytes) -> str:
    """The consumer by its header; blank means none."""
    if not raw:
        return ""
    consumer_id = _text(raw, "header X-ConsumerId").strip()
    return rules.SERVICE_ID.check_optional(consumer_id, "consumer id", "header `X-ConsumerId`")


class ClientGone(Exception):
    """The client closed the connection before its request was complete. Nobody is left to be answered."""


#: Headers of which a second value would leave open whose request it is.
SINGLE: Final = frozenset(
    {b"x-domain-name", b"x-tenant-name", b"x-consumerid", b"x-consumer_id", b"x-registry-position"}
)
#: Headers of which several count as one, with commas between them (RFC 9110 5.3): what is read of it is none then.
JOINED: Final = frozenset({b"authorization", b"x-auth-token", b"x-forwarded-for"})


def add_header(headers: dict[bytes, bytes], name: bytes, value: bytes) -> None:
    """One more line. Of several with one name (in lower case) the last counts, or all of them where they are a list."""
    headers[name] = b"%b, %b" % (headers[name], value) if name in headers and name in JOINED else value


#: Parameters that may be repeated.
_REPEATABLE: Final = frozenset({"property", "kind"})
#: The time for which an answer is wanted.
AS_OF: Final = "asOf"


def parse_query(raw: bytes) -> dict[str, str]:
    """Query parameters, percent-decoded; `+` is a space. A parameter given twice with different values is refused."""
    found: dict[str, str] = {}
    for name, decoded in _pairs(raw):
        if found.setdefault(name, decoded) != decoded and name not in _REPEATABLE:
            raise InvalidParams(f"given twice with different values - at query parameter `{name[:64]}`")
    return found


def _pairs(raw: bytes) -> Iterator[tuple[str, str]]:
    for pair in raw.split(b"&"):
        if pair:
            key, _, value = pair.partition(b"=")
            name = _unquote(key, "a query parameter's name")
            yield name, _unquote(value, f"query parameter `{name[:64]}`")


def parse_flag(text: str, name: str) -> bool:
    """A boolean parameter: `1`, `true` or `0`, `false`, blank, in any letter case."""
    value = FLAGS.get(text.strip().lower())
    if value is None:
        raise InvalidParams(f"{name}: 1, true, 0 or false, not {text[:32]!r} - at query parameter `{name}`")
    return value


def parse_tags(value: str) -> tuple[str, ...]:
    """A comma list of tag keys."""
    tags = tuple(tag for tag in value.split(",") if tag)
    for tag in tags:
        rules.TAG.check(tag, f"tag {tag[:64]!r}", "query parameter `tags`")
    return tags


def _unquote(raw: bytes, where: str) -> str:
    return _text(unquote_to_bytes(raw.replace(b"+", b" ")), where)


def _text(raw: bytes, where: str) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise InvalidParams(f"{where} is not UTF-8") from exc
